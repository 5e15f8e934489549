"""A disk of several machines whose locks are seen on one machine alone: a free lock proves nothing.

The other machine is a process with another host's name, whose `flock` is a preload's.
"""

import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from studies import Sweep, awaiting, begun, command, endings, study, until, written

SOURCE = Path(__file__).with_name("local_flock.c")
SPACE = ("+x=1,3,2", awaiting("go", [1, 3]))
WORKERS = "hydra.launcher.workers=2"
COMPILER = shutil.which("cc")
PLACES = {
    "here": [],
    "node7": ["unshare", "--uts", "sh", "-c", 'hostname node7; exec "$@"', "sh"],
    "container": ["unshare", "--mount", "--pid", "--fork", "--mount-proc"],
}
"""How a command is started there; the container has the host name and the boot of this machine."""


def can_rename_host() -> bool:
    tried = ["unshare", "--uts", "hostname", "node7"]
    return bool(shutil.which("unshare")) and not subprocess.run(tried, check=False).returncode


pytestmark = [
    pytest.mark.skipif(sys.platform != "linux" or not COMPILER, reason="needs Linux and cc"),
    pytest.mark.skipif(not can_rename_host(), reason="only root may give a process a host's name"),
]


@pytest.fixture(scope="session")
def preload(tmp_path_factory) -> Path:
    library = tmp_path_factory.mktemp("preload") / "local_flock.so"
    built = [str(COMPILER), "-shared", "-fPIC", "-o", str(library), str(SOURCE), "-ldl"]
    subprocess.run(built, check=True)
    return library


@pytest.fixture
def on(preload, tmp_path, in_a_folder_of_its_own) -> Iterator[Callable[..., Sweep]]:
    """Starts a command in one of `PLACES`, with locks of its own."""
    started: list[Sweep] = []

    def begin(place: str, *typed: str) -> Sweep:
        locks = tmp_path / f"locks of {place}"
        locks.mkdir(exist_ok=True)
        started.append(
            Sweep(
                [*PLACES[place], *typed],
                tmp_path / f"{len(started)}.log",
                LD_PRELOAD=str(preload),
                MACHINE_LOCKS=str(locks),
            )
        )
        return started[-1]

    yield begin
    for each in started:
        each.kill()


def ends(started: Sweep, code: int = 0) -> str:
    assert started.ends() == code, started.printed
    return started.printed


def cli(*typed: str) -> list[str]:
    return [sys.executable, "-m", "hrm_sweep", *typed]


def attempts(number: int) -> int:
    return [entry.event for entry in written(Path(f"multirun/study/{number}"))].count("started")


@pytest.mark.parametrize(
    ("place", "host"), [("here", None), ("node7", "node7"), ("container", socket.gethostname())]
)
def test_trials_that_run_there_are_left_to_it(place, host, on):
    there = on(place, *command(*SPACE, WORKERS))
    until(lambda: len(begun()) == 2)
    said = ends(on("here", *command(*SPACE)))
    assert "Another sweep still runs 2 of its trials, on" in said
    assert (f"take_from={host}\n" in said) is bool(host)
    assert [trial.state.name for trial in study().get_trials()] == ["RUNNING"] * 2 + ["COMPLETE"]
    listed = ends(on("here", *cli("list")))
    assert (" 1 complete, 2 unknown " if host else " 1 complete, 2 running ") in listed
    Path("go").touch()
    ends(there)
    assert [attempts(number) for number in range(3)] == [1, 1, 1]
    assert [endings(number) for number in range(3)] == [["complete"]] * 3


class TestKilledThere:
    """A study whose first two trials ran on node7 when that was lost."""

    @pytest.fixture(autouse=True)
    @staticmethod
    def _lost(on):
        there = on("node7", *command(*SPACE, WORKERS))
        until(lambda: len(begun()) == 2)
        there.kill()
        Path("go").touch()

    def test_every_command_says_that_its_state_is_unknown(self, on):
        take = "python -m hrm_sweep resume study --take-from node7"
        said = (
            "it may still run on node7, which cannot be seen from here; "
            f"if it has ended there: {take}"
        )
        listed = ends(on("here", *cli("list")))
        assert " 2 unknown, 1 to go " in listed
        assert f"  study: {said}\n" in listed
        shown = ends(on("here", *cli("show", "study/0")))
        assert " · unknown\n" in shown
        assert said in shown
        assert ends(on("here", *cli("delete", "study", "--yes")), 2) == f"study: {said}\n"
        assert [endings(number) for number in (0, 1)] == [[], []]

    def test_only_who_says_that_it_is_gone_takes_its_trials(self, on):
        said = ends(on("here", *command(*SPACE)))
        assert "hydra.sweeper.take_from=node7\n" in said
        assert [endings(number) for number in range(3)] == [[], [], ["complete"]]
        said = ends(on("here", *command(*SPACE, "hydra.sweeper.take_from=node7")))
        assert "Another sweep" not in said
        assert [endings(number) for number in range(3)] == [["killed", "complete"]] * 2 + [
            ["complete"]
        ]
        assert written(Path("multirun/study"))[-1].fields["outcome"] == "complete"

    def test_it_resumes_there_by_itself(self, on):
        ends(on("node7", *command(*SPACE)))
        assert [endings(number)[-1] for number in range(3)] == ["complete"] * 3

    def test_without_a_database_its_trials_are_left_to_it_all_the_same(self, on):
        Path("multirun/optuna.db").unlink()
        refused = ends(on("here", *command(*SPACE)), 2)
        assert "another study may work there, on node7, which cannot be" in refused
        (lock,) = Path("multirun/study").glob(".node7-*.lock")
        assert f"(if it has ended, remove {lock}); take another folder, or join" in refused
        lock.unlink()
        said = ends(on("here", *command(*SPACE)))
        assert "take_from=node7" in said
        assert [endings(number) for number in range(3)] == [[], [], ["complete"]]


def test_a_single_run_continues_only_if_the_user_says_that_it_has_ended(on):
    small = ("trainer=smoke", "tracking=off", "hidden_dim=32", "data.num_puzzles=64")
    run = cli(*small, "data.num_eval_puzzles=8", "trainer.epochs=20", "study.name=mine")
    folder = Path("multirun/train/mine")
    there = on("node7", *run)
    until(lambda: any(entry.event == "metrics" for entry in written(folder)))
    there.kill()
    refused = ends(on("here", *cli("resume", "mine")), 2)
    assert refused == (
        f"{folder}: it may still run on node7, which cannot be seen from here; if it has ended "
        f"there: python -m hrm_sweep resume {folder} --take-from node7\n"
    )
    other = ends(on("here", *cli("resume", "mine", "--take-from", "node8")), 2)
    assert other.startswith("--take-from=node8: the single run mine is not left on another machine")
    assert f"{folder}: it may still run on node7" in ends(on("here", *run), 2)
    ends(on("here", *cli("resume", "mine", "--take-from", "node7")))
    assert written(folder)[-1].fields["outcome"] == "complete"
