"""Kills at random times, of a worker, of the sweeper, of the whole group: no trial is lost, none
that has finished runs again, and nobody is left behind."""

import random
import subprocess
import time
from pathlib import Path

import optuna
import psutil
import pytest
from studies import PATIENCE_SECONDS, command

from hrm_sweep.runs import record

TRIALS, STEPS, CHECKPOINT_EVERY = 6, 10, 3


def start() -> subprocess.Popen[bytes]:
    settings = ["hydra.launcher.workers=2", "hydra.sweeper.max_attempts=1000"]
    space = [f"+x=range(0,{TRIALS})", "+pause=0.02", f"+checkpoint_every={CHECKPOINT_EVERY}"]
    with Path("printed.log").open("ab") as log:
        return subprocess.Popen(
            command(*settings, *space), stdout=log, stderr=log, start_new_session=True
        )


def family(process: subprocess.Popen[bytes]) -> list[psutil.Process]:
    try:
        return psutil.Process(process.pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return []


def results() -> dict[Path, bytes]:
    """The results of the trials that are complete, and the very files. A trial is, when its record
    says so, which comes after its result is written."""
    folders = [path.parent for path in Path("multirun/study").glob("*/record.jsonl")]
    ended = filter(is_complete, folders)
    return {folder: (folder / "result.json").read_bytes() for folder in ended}


def is_complete(folder: Path) -> bool:
    ends = [entry.fields["outcome"] for entry in record.read(folder) if entry.event == "finished"]
    return ends[-1:] == ["complete"]


def wait_for_a_moment(process: subprocess.Popen[bytes], chance: random.Random) -> None:
    """Now and then while it starts, mostly while trials run."""
    if chance.random() < 0.3:
        time.sleep(chance.uniform(0, 2))
        return
    known = sizes()
    while process.poll() is None and sizes() == known:
        time.sleep(0.005)
    time.sleep(chance.uniform(0, 0.6))


def sizes() -> int:
    return sum(path.stat().st_size for path in Path("multirun/study").glob("*/record.jsonl"))


def command_of(child: psutil.Process) -> str:
    """ "" for one that has just ended."""
    try:
        return " ".join(child.cmdline())
    except (psutil.NoSuchProcess, psutil.ZombieProcess):
        return ""


def kill(process: subprocess.Popen[bytes], whom: str, chance: random.Random) -> None:
    children = family(process)
    if whom == "worker":
        workers = [child for child in children if "hrm_sweep.launch.worker" in command_of(child)]
        for worker in chance.sample(workers, min(1, len(workers))):
            worker.kill()
        return
    process.kill()
    process.wait()
    _, alive = psutil.wait_procs(children, timeout=PATIENCE_SECONDS)
    assert not alive, "a process outlived its study"


@pytest.mark.parametrize("whom", ["worker", "sweeper"])  # the whole group: test_chaos
def test_a_study_survives_kills_at_random_times(whom, request, tmp_path, monkeypatch):
    chance, left = random.Random(0), request.config.getoption("--kills")
    while left > 0:
        folder = tmp_path / str(left)
        folder.mkdir()
        monkeypatch.chdir(folder)
        done: dict[Path, bytes] = {}
        while left > 0 and len(done) < TRIALS:
            process = start()
            while left > 0 and process.poll() is None:
                wait_for_a_moment(process, chance)
                kill(process, whom, chance)
                left -= 1
                assert done.items() <= results().items(), "a finished trial was run again"
                done = results()
            process.wait(timeout=PATIENCE_SECONDS)
        process = start()
        assert process.wait(timeout=PATIENCE_SECONDS) == 0, Path("printed.log").read_text()[-2000:]
        assert done.items() <= results().items(), "a finished trial was run again"
        check_whole()


def test_sweeps_that_start_together_run_no_trial_twice(request, tmp_path, monkeypatch):
    for number in range(request.config.getoption("--starts")):
        folder = tmp_path / str(number)
        folder.mkdir()
        monkeypatch.chdir(folder)
        both = [start(), start()]
        assert [process.wait(timeout=PATIENCE_SECONDS) for process in both] == [0, 0]
        check_whole()
        for trial in range(TRIALS):
            events = [entry.event for entry in record.read(Path(f"multirun/study/{trial}"))]
            assert events.count("started") == 1


def check_whole() -> None:
    """Each trial is there once, and its record and curve are as if nothing had happened."""
    storage = optuna.storages.RDBStorage("sqlite:///multirun/optuna.db")
    trials = optuna.load_study(study_name="study", storage=storage).get_trials()
    assert {trial.state.name for trial in trials} == {"COMPLETE"}
    assert [trial.params["x"] for trial in trials] == list(range(TRIALS))
    for trial in trials:
        x = trial.params["x"]
        assert trial.value == (x - 2) ** 2
        curve = {step: pytest.approx((x - 2) ** 2 + 1 / step) for step in range(1, STEPS + 1)}
        assert trial.intermediate_values == curve
        entries = record.read(Path(trial.user_attrs["folder"]))
        steps = [entry.fields["step"] for entry in entries if entry.event == "metrics"]
        assert steps == list(range(1, STEPS + 1))
        endings = [entry.fields["outcome"] for entry in entries if entry.event == "finished"]
        assert endings.count("complete") == 1
        check_little_was_done_again(Path(trial.user_attrs["folder"]) / "run.log")
    storage.engine.dispose()


def check_little_was_done_again(log: Path) -> None:
    """Each attempt goes on from the last checkpoint."""
    done = 0
    for line in log.read_text().splitlines():
        if line.startswith("step "):
            step = int(line.removeprefix("step "))
            assert done - CHECKPOINT_EVERY < step <= done + 1
            done = max(done, step)
