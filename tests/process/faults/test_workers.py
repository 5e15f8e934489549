"""Workers that die at any moment, or cannot start: no trial pays for it but the one that ran."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
from studies import APP, PATIENCE_SECONDS, awaiting, command, endings, steps, study, sweep, until

WORKER = "hrm_sweep.launch.worker"
SPAWN = "hydra.launcher.start_method=spawn"
LONGER_THAN_A_SOCKET_HOLDS = f"+text={'x' * 100_000}"
"""It is in a job's result several times."""

pytestmark = pytest.mark.usefixtures("in_a_folder_of_its_own")


@pytest.fixture
def modules(monkeypatch) -> Path:
    """A folder that workers import from."""
    folder = Path("modules").absolute()
    folder.mkdir()
    monkeypatch.setenv("PYTHONPATH", str(folder))
    return folder


def workers(sweep: psutil.Process) -> list[psutil.Process]:
    return [child for child in sweep.children() if WORKER in " ".join(child.cmdline())]


def states() -> list[str]:
    return [trial.state.name for trial in study().get_trials()]


def test_a_worker_killed_with_half_a_result_on_its_way(start):
    sweep = start("+x=range(0,4)", awaiting("go", [0]), LONGER_THAN_A_SOCKET_HOLDS)
    until(lambda: steps(0) == [1, 2])
    sweep.process.send_signal(signal.SIGSTOP)  # it reads no results
    Path("go").touch()
    until(lambda: endings(0) == ["complete"])
    for worker in workers(psutil.Process(sweep.process.pid)):
        worker.kill()
    sweep.process.send_signal(signal.SIGCONT)
    assert sweep.ends() == 0, sweep.printed
    assert states() == ["COMPLETE"] * 4
    assert [endings(number)[-1] for number in range(4)] == ["complete"] * 4
    assert endings(0) == ["complete"]


@pytest.mark.parametrize(
    "death",
    [
        pytest.param("os.kill(os.getpid(), 9)", id="killed"),
        pytest.param("os._exit(3)", id="exit code"),
        pytest.param("raise MemoryError", id="no memory"),
    ],
)
def test_workers_that_die_while_they_start_are_replaced(modules, death):
    modules.joinpath("fragile.py").write_text(
        "import os\nfrom pathlib import Path\n"
        "deaths = len(list(Path('deaths').iterdir()))\n"
        f"if deaths < 3:\n    Path('deaths', str(os.getpid())).touch()\n    {death}\n"
    )
    Path("deaths").mkdir()
    done = sweep("+x=range(0,3)", "hydra.launcher.workers=2", "hydra.launcher.preload=[fragile]")
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(list(Path("deaths").iterdir())) >= 3
    assert states() == ["COMPLETE"] * 3
    assert [endings(number) for number in range(3)] == [["complete"]] * 3


@pytest.mark.parametrize(
    ("module", "last_words"),
    [
        pytest.param(
            "raise ValueError('not here')", "exit code 1: ValueError: not here", id="raises"
        ),
        pytest.param("import no_such_module", "No module named 'no_such_module'", id="imports"),
        pytest.param("import os; os.kill(os.getpid(), 9)", "killed by SIGKILL", id="killed"),
        pytest.param("x = [0] * 10**10", "MemoryError", id="a limit of the memory"),
    ],
)
def test_workers_that_can_never_start(modules, module, last_words):
    modules.joinpath("broken.py").write_text(module)
    limit = "ulimit -v 8000000; " if "MemoryError" in last_words else ""
    typed = command("+x=1,2", "hydra.launcher.workers=2", "hydra.launcher.preload=[broken]")
    done = subprocess.run(
        ["bash", "-c", f'{limit}exec "$@"', "bash", *typed],
        capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    last = done.stderr.splitlines()[-1]
    assert last.startswith("no worker can start: its process ")
    assert last_words in last
    assert "Traceback" not in done.stdout + done.stderr
    assert states() == ["WAITING"] * 2
    again = sweep("+x=1,2")
    assert again.returncode == 0, again.stdout + again.stderr
    assert states() == ["COMPLETE"] * 2


def test_one_slot_that_cannot_start_leaves_the_trials_to_the_others(modules, start):
    modules.joinpath("one.py").write_text(
        "import os\ntry:\n    os.mkdir('first')\nexcept FileExistsError:\n    os._exit(7)\n"
    )
    two = ("hydra.launcher.workers=2", "hydra.launcher.preload=[one]", SPAWN)
    sweep = start("+x=range(0,3)", awaiting("go", [0]), *two)
    until(lambda: "1 of 2 workers are left: " in sweep.printed)
    Path("go").touch()
    assert sweep.ends() == 0, sweep.printed
    assert "1 of 2 workers are left: its process ended with exit code 7" in sweep.printed
    assert states() == ["COMPLETE"] * 3


def test_a_main_module_that_starts_when_it_is_imported():
    Path("app.py").write_text(APP.read_text().partition("if __name__")[0] + "main()\n")
    done = subprocess.run(
        command("+x=1,2", app=Path("app.py")),
        capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert re.search(r"no worker can start: .*under `if __name__ == \"__main__\":`", done.stderr)


def test_an_app_without_a_file():
    with APP.open() as program:
        done = subprocess.run(
            [sys.executable, "-", *command("+x=1,2")[2:]],
            stdin=program, capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=False,
        )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert states() == ["COMPLETE"] * 2


FORKS = """
import os, signal, hydra

@hydra.main(version_base=None, config_path=None)
def main(cfg):
    child = os.fork()
    if child == 0:
        try:
            os.kill(os.getpid(), signal.SIGTERM)
        finally:
            os._exit(0)
    return float(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))

if __name__ == "__main__":
    main()
"""


@pytest.mark.parametrize("launcher", ["pool", "basic"])
def test_sigterm_ends_what_a_trial_has_forked(launcher):
    """`multiprocessing.Pool` and data loaders end their processes so, and wait for them."""
    Path("app.py").write_text(FORKS)
    done = subprocess.run(
        [*command("+x=1", app=Path("app.py")), f"hydra/launcher={launcher}"],
        capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert study().best_value == -signal.SIGTERM


CHILDREN = """
import signal, subprocess, sys, hydra

@hydra.main(version_base=None, config_path=None)
def main(cfg):
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(1000)"])
    with open("children", "a") as file:
        file.write(f"{child.pid} {signal.getsignal(signal.SIGINT) is signal.SIG_IGN}\\n")
    child.wait()
    return 1.0

if __name__ == "__main__":
    main()
"""


@pytest.mark.parametrize("end", ["timeout", "ctrl-c", "worker killed", "sweep killed"])
def test_what_a_trial_started_ends_with_it(start, end):
    Path("app.py").write_text(CHILDREN)
    limit = ["hydra.launcher.timeout=5"] if end == "timeout" else []
    sweep = start("+x=1", "hydra.sweeper.max_attempts=1", *limit, app=Path("app.py"))
    until(lambda: Path("children").exists() and Path("children").read_text().endswith("\n"))
    pid, ignores = Path("children").read_text().split()
    child = psutil.Process(int(pid))
    assert ignores == "False"
    if end == "ctrl-c":
        sweep.signal(signal.SIGINT)
    elif end == "worker killed":
        os.kill(child.ppid(), signal.SIGKILL)
    elif end == "sweep killed":
        sweep.process.kill()
    assert (
        sweep.ends() == {"timeout": 1, "ctrl-c": 130, "worker killed": 1, "sweep killed": -9}[end]
    )
    until(lambda: not child.is_running() or child.status() == psutil.STATUS_ZOMBIE)
