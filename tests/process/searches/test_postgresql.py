"""Studies on a real PostgreSQL, and many first starts at once on either database."""

import os
import re
import subprocess
import sys
import uuid
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import optuna
import pytest
from studies import PATIENCE_SECONDS, command, until

from hrm_sweep.runs import record
from hrm_sweep.storage.optuna_storage import SharedStorage

PASSWORD = "canary-9f3b"
SWEEPS = 8

pytestmark = pytest.mark.usefixtures("in_a_folder_of_its_own")


@pytest.fixture
def url(postgresql) -> str:
    """A fresh database, and its address with a password in it."""
    name = f"study_{uuid.uuid4().hex}"
    postgresql.psql(f"CREATE DATABASE {name}")
    postgresql.psql(f"CREATE ROLE {name} LOGIN SUPERUSER PASSWORD '{PASSWORD}'")
    return postgresql.get_uri().replace("postgres:@/postgres", f"{name}:{PASSWORD}@/{name}")


def sweeps(
    number: int, *overrides: str, url: str, places: Sequence[Path] = (Path(),) * SWEEPS
) -> list[str]:
    """Starts so many sweeps at once, each in its place; what each printed."""
    started = [
        subprocess.Popen(
            command(*overrides),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={**os.environ, "HRM_SWEEP_STORAGE": url},
            cwd=place,
        )
        for place in places[:number]
    ]
    printed = [process.communicate(timeout=PATIENCE_SECONDS)[0] for process in started]
    assert [process.returncode for process in started] == [0] * number, printed
    return printed


def test_two_sweeps_at_once_share_a_study_and_a_third_extends_it(url):
    printed = sweeps(2, "+x=range(0,12)", "+pause=0.02", url=url)
    trials = optuna.load_study(study_name="study", storage=url).get_trials()
    assert [trial.params["x"] for trial in trials] == list(range(12))
    assert {trial.state.name for trial in trials} == {"COMPLETE"}
    for number in range(12):
        events = [entry.event for entry in record.read(Path(f"multirun/study/{number}"))]
        assert events.count("started") == 1
    before = {trial.number: trial.datetime_complete for trial in trials}

    printed += sweeps(1, "+x=range(0,14)", "+pause=0.02", url=url)
    trials = optuna.load_study(study_name="study", storage=url).get_trials()
    assert [trial.params["x"] for trial in trials] == list(range(14))
    assert {t.number: t.datetime_complete for t in trials[:12]} == before
    assert all(trial.intermediate_values.keys() == set(range(1, 11)) for trial in trials)

    assert PASSWORD not in "".join(printed)
    files = [path for path in Path().rglob("*") if path.is_file()]
    assert not [path for path in files if PASSWORD.encode() in path.read_bytes()]


def test_two_folders_share_a_study(url):
    """As two machines do, or two terminals in different places: neither sees the other's locks."""
    places = [Path("here"), Path("there")]
    for place in places:
        place.mkdir()
    sweeps(2, "+x=range(0,12)", "+pause=0.05", url=url, places=places)
    trials = optuna.load_study(study_name="study", storage=url).get_trials()
    assert {trial.state.name for trial in trials} == {"COMPLETE"}
    folders = list(Path().glob("*/multirun/study/[0-9]*"))
    assert sorted(int(folder.name) for folder in folders) == list(range(12))
    for folder in folders:
        assert [entry.event for entry in record.read(folder)].count("started") == 1


def on(machine: str, *, unseen: str) -> list[str]:
    """What runs a command under another host name and without a folder that others have. It takes
    rights that not everybody has."""
    as_root = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
    enter = f'hostname {machine} && mount -t tmpfs none {unseen} && exec "$@"'
    return ["unshare", *as_root, "--uts", "--mount", "sh", "-c", enter, "sh"]


def test_two_machines_share_a_study(url):
    """Their host names differ, and neither sees the other's folder."""
    machines = {"machine-a": 2, "machine-b": 1}
    for machine in machines:
        Path(machine).mkdir()
    try:
        probe = [*on("probe", unseen="machine-a"), "true"]
        subprocess.run(probe, check=True, capture_output=True, text=True)
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"no machines of their own here: {error}, {getattr(error, 'stderr', '')}")
    started = {}
    both, one = Path("both-began").absolute(), Path("one-ended").absolute()
    awaited = f"+awaited={{0:{both},1:{both},14:{one}}}"
    for machine, workers in machines.items():
        (other,) = machines.keys() - {machine}
        settings = ["+x=range(0,15)", awaited, f"hydra.launcher.workers={workers}"]
        started[machine] = subprocess.Popen(
            [*on(machine, unseen=f"../{other}"), *command(*settings)],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={**os.environ, "HRM_SWEEP_STORAGE": url},
            cwd=machine,
        )
    until(
        lambda: all([*Path(name).glob("multirun/study/[0-9]*")] for name in machines), seconds=120
    )
    both.touch()
    until(lambda: any(process.poll() is not None for process in started.values()))
    one.touch()
    printed = {
        name: process.communicate(timeout=PATIENCE_SECONDS)[0] for name, process in started.items()
    }
    assert [process.returncode for process in started.values()] == [0, 0], printed

    trials = optuna.load_study(study_name="study", storage=url).get_trials()
    assert [trial.params["x"] for trial in trials] == list(range(15))
    assert {trial.state.name for trial in trials} == {"COMPLETE"}
    ran = {name: sorted(Path(name).glob("multirun/study/[0-9]*")) for name in started}
    for name, folders in ran.items():
        hosts = {trials[int(folder.name)].user_attrs["owner"]["host"] for folder in folders}
        assert hosts == {name}
    folders = [folder for several in ran.values() for folder in several]
    assert sorted(int(folder.name) for folder in folders) == list(range(15))
    for folder in folders:
        assert [entry.event for entry in record.read(folder)].count("started") == 1
    last, first = sorted(started, key=lambda name: "Another sweep" in printed[name])
    told = re.search(r"Another sweep still runs \d+ of its trials, on (\S+)\. If", printed[first])
    assert told, "\n".join(printed.values())
    assert told[1] == last
    assert f"hydra.sweeper.take_from={last}\n" in printed[first]
    assert "Another sweep" not in printed[last]
    assert PASSWORD not in "".join(printed.values())

    (has_best,) = (name for name in ran if Path(name, "multirun/study/2").exists())
    (lacks_best,) = machines.keys() - {has_best}
    answers = {}
    for machine in machines:
        (other,) = machines.keys() - {machine}
        for words in (["list"], ["best", "study"]):
            done = subprocess.run(
                [*on(machine, unseen=f"../{other}"), sys.executable, "-m", "hrm_sweep", *words],
                capture_output=True,
                text=True,
                env={**os.environ, "HRM_SWEEP_STORAGE": url},
                cwd=machine,
                check=True,
            )
            answers[machine, words[0]] = done.stdout
    for machine in machines:
        assert "15 complete (trial" in answers[machine, "list"]
        assert "Trial 2 of study: x=2" in answers[machine, "best"]
    assert f" on {has_best}:" in answers[lacks_best, "best"]
    assert PASSWORD not in "".join(answers.values())


def test_a_pruner_judges_by_what_postgresql_has(url):
    pruner = "hydra.sweeper.pruner={_target_:optuna.pruners.ThresholdPruner,upper:3.0}"
    (printed,) = sweeps(1, "+x=2,9", pruner, url=url)
    states = [t.state.name for t in optuna.load_study(study_name="study", storage=url).get_trials()]
    assert states == ["COMPLETE", "PRUNED"]
    assert PASSWORD not in printed


def test_a_step_that_its_integers_cannot_hold_is_left_out(url):
    storage = SharedStorage(url)
    study = storage.open_study("study", ["minimize"])
    storage.report(study.ask(), {1: 3.0, 2**31: 2.0, 2**31 - 1: 1.0})
    assert study.trials[0].intermediate_values == {1: 3.0, 2**31 - 1: 1.0}


FIRST_START = """
import sys
from hrm_sweep.storage.optuna_storage import SharedStorage
print("ready", flush=True)
sys.stdin.readline()
SharedStorage(sys.argv[1]).open_study("study", ["minimize"])
"""


def test_eight_first_starts_at_once_on_a_fresh_sqlite_database():
    check_first_starts("sqlite:///new.db")


def test_eight_first_starts_at_once_on_a_fresh_postgresql_database(url):
    check_first_starts(url)


def check_first_starts(url: str) -> None:
    pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    typed = [sys.executable, "-c", FIRST_START, url]
    started = [subprocess.Popen(typed, text=True, **pipes) for _ in range(SWEEPS)]
    assert [process.stdout.readline() for process in started] == ["ready\n"] * SWEEPS
    for process in started:
        process.stdin.write("go\n")
        process.stdin.flush()
    errors = [process.communicate(timeout=PATIENCE_SECONDS)[1] for process in started]
    assert [process.returncode for process in started] == [0] * SWEEPS, errors
    assert optuna.get_all_study_names(url) == ["study"]


def test_a_password_in_an_address_that_does_not_work_is_not_shown():
    wrong = f"postgresql://somebody:{PASSWORD}@127.0.0.1:1/none"
    done = subprocess.run(
        command("+x=1,2"),
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "HRM_SWEEP_STORAGE": wrong},
    )
    assert done.returncode == 2
    assert done.stderr.startswith(
        "hydra.sweeper.storage=postgresql://somebody:***@127.0.0.1:1/none: cannot be opened"
    )
    assert PASSWORD not in done.stdout + done.stderr


def test_transactions_of_different_studies_do_not_wait_for_each_other(url):
    storage, other = SharedStorage(url), SharedStorage(url)

    def enter(study: str) -> str:
        with other.exclusive_transaction(study):
            return study

    waiting = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
    with storage.engine.connect() as connection, ThreadPoolExecutor(1) as thread:
        with storage.exclusive_transaction("one"):
            assert thread.submit(enter, "two").result(PATIENCE_SECONDS) == "two"
            same = thread.submit(enter, "one")
            until(lambda: connection.exec_driver_sql(waiting).scalar() == 1)
            assert not same.done()
        assert same.result(PATIENCE_SECONDS) == "one"
