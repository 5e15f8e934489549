"""Studies of the parabola in processes of their own, and what their tests wait for.

A test that needs a trial to run still, or two to run at once, lets them wait for a file that it
makes when it has seen what it needs; so no speed of the machine changes what comes out.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import optuna

from hrm_sweep.runs.record import Entry, RecordReader

APP = Path(__file__).parent / "apps" / "parabola.py"
UNTRACKED = "hydra.sweeper.tracking.name=off"
STUDY = Path("multirun/study")
PATIENCE_SECONDS = 180.0
"""What takes so long has gone wrong, also on a machine that is slow and busy."""


def command(
    *overrides: str, app: Path = APP, name: str = "study", folder: Path | None = STUDY
) -> list[str]:
    """A sweep of a study.

    Args:
        name: as it is typed.
        folder: of the study; None: where it has one, or Hydra's default, one of today.
    """
    flags = ["-m", "hydra/sweeper=hrm_sweep", "hydra/launcher=pool"]
    into = [f"hydra.sweep.dir={folder}"] if folder else []
    of_study = [UNTRACKED, f"hydra.sweeper.study_name={name}"]
    return [sys.executable, str(app), *flags, *into, *of_study, *overrides]


def sweep(*overrides: str) -> subprocess.CompletedProcess[str]:
    """A sweep from its start to its end."""
    return subprocess.run(
        command(*overrides), capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=False
    )


def expect_signals() -> None:
    """Undo what `nohup … &` does: a shell's background job ignores some."""
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)


class Sweep:
    """A sweep that runs, in a process group of its own, and what it has printed so far."""

    def __init__(self, typed: list[str], log: Path, **environment: str) -> None:
        self._log = log
        with log.open("w") as printed:
            self.process = subprocess.Popen(
                typed,
                stdout=printed,
                stderr=printed,
                env={**os.environ, **environment},
                start_new_session=True,
                preexec_fn=expect_signals,
            )

    @property
    def printed(self) -> str:
        return self._log.read_text()

    def ends(self) -> int:
        """Waits for its end; its exit code."""
        return self.process.wait(timeout=PATIENCE_SECONDS)

    def signal(self, number: int) -> None:
        """To its whole group, as a terminal does."""
        os.killpg(self.process.pid, number)

    def kill(self) -> None:
        """It and whatever it has started, if it runs still."""
        if self.process.poll() is None:
            self.signal(signal.SIGKILL)
            self.process.wait()


def awaiting(name: str, values: Iterable[int]) -> str:
    """The override by which trials with these values of x wait, after two steps, for a file."""
    return f"+awaited={{{','.join(f'{x}:{name}' for x in values)}}}"


def until(condition: Callable[[], object], *, seconds: float = PATIENCE_SECONDS) -> None:
    """Waits until the condition comes true."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.02)


def study() -> optuna.Study:
    return optuna.load_study(study_name="study", storage="sqlite:///multirun/optuna.db")


def begun() -> list[Path]:
    """Folders of the trials that have begun."""
    return [path.parent for path in STUDY.glob("*/record.jsonl")]


def written(folder: Path) -> list[Entry]:
    """What is in the record there so far, if there is one."""
    return RecordReader(folder).new_entries()


def steps(number: int) -> list[int]:
    """The steps that a trial has written."""
    entries = written(STUDY / str(number))
    return [entry.fields["step"] for entry in entries if entry.event == "metrics"]


def endings(number: int) -> list[str]:
    """How the attempts of a trial ended, as its record says; the last thing that is written."""
    entries = written(STUDY / str(number))
    return [entry.fields["outcome"] for entry in entries if entry.event == "finished"]


def complete() -> dict[int, bytes]:
    """The trials that are complete, and their results."""
    numbers = [int(folder.name) for folder in begun()]
    done = [number for number in numbers if endings(number)[-1:] == ["complete"]]
    return {number: (STUDY / str(number) / "result.json").read_bytes() for number in done}


def is_gone(pid: int) -> bool:
    """Whether a process has ended; one that was not waited for yet has."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return Path(f"/proc/{pid}/stat").exists() and " Z " in Path(f"/proc/{pid}/stat").read_text()
