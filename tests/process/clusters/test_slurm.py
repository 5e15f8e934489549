"""Studies whose trials are jobs of Slurm: a real one on one node, or a fake of its commands."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from slurm import Cluster, Fake, Real, why_not_real
from studies import STUDY, awaiting, begun, command, complete, endings, steps, study, until, written

SLURM = ("hydra/launcher=slurm", "hydra.launcher.max_jobs=2")

pytestmark = pytest.mark.usefixtures("in_a_folder_of_its_own")


@pytest.fixture(scope="module")
def real(tmp_path_factory):
    if why := why_not_real():
        pytest.skip(why)
    cluster = Real(tmp_path_factory.mktemp("slurm"))
    with cluster.runs():
        yield cluster


@pytest.fixture(params=["fake", "real"])
def cluster(request, tmp_path, monkeypatch) -> Cluster:
    cluster = request.getfixturevalue("real") if request.param == "real" else Fake(tmp_path)
    for name, value in cluster.environment.items():
        monkeypatch.setenv(name, value)
    cluster.begin()
    yield cluster
    cluster.release()
    cluster.clear()


@pytest.fixture
def fake(tmp_path, monkeypatch) -> Fake:
    cluster = Fake(tmp_path)
    for name, value in cluster.environment.items():
        monkeypatch.setenv(name, value)
    yield cluster
    cluster.clear()


def starts(number: int) -> int:
    """How many attempts of a trial have begun."""
    return sum(entry.event == "started" for entry in written(STUDY / str(number)))


def has_steps(number: int, last: int = 2):
    return lambda: steps(number)[-1:] == [last]


def killed(sweep) -> None:
    """Kills the driver alone; jobs are no children of it."""
    os.kill(sweep.process.pid, signal.SIGKILL)
    sweep.process.wait()


def span(number: int) -> tuple[int, int]:
    entries = written(STUDY / str(number))
    return entries[0].time_ms, entries[-1].time_ms


def test_trials_are_jobs_in_a_rolling_window(cluster, start):
    sweep = start(*SLURM, "+x=0,1,2,3,4,5")
    assert sweep.ends() == 0, sweep.printed
    assert ": 6 complete" in sweep.printed
    assert sorted(complete()) == [0, 1, 2, 3, 4, 5]
    spans = [span(number) for number in range(6)]
    for begin, _ in spans:
        assert sum(first <= begin <= last for first, last in spans) <= 2
    assert [begin for begin, _ in spans[:2]] < [begin for begin, _ in spans[4:]]
    jobs = [trial.user_attrs["job"] for trial in study().trials]
    assert jobs == [f"SLURM_JOB_ID={cluster.job_of(number)}" for number in range(6)]
    assert not (STUDY / ".jobs").exists()


def test_the_job_of_a_trial_is_shown(fake, start):
    sweep = start(*SLURM, "+x=0")
    assert sweep.ends() == 0, sweep.printed
    shown = subprocess.run(
        [sys.executable, "-m", "hrm_sweep", "show", "study/0"],
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    assert f"SLURM_JOB_ID={fake.job_of(0)}" in shown


def test_jobs_of_a_killed_driver_are_adopted(cluster, start):
    """One runs on, one ends meanwhile, and one waits in the queue; none is submitted twice."""
    typed = ("hydra/launcher=slurm", "hydra.launcher.max_jobs=3", "+x=0,1,2,3")
    both = "+awaited={0:go,1:end}"
    sweep = start(*typed, both)
    until(lambda: has_steps(0)() and has_steps(1)() and cluster.states())
    killed(sweep)
    Path("end").touch()
    until(lambda: endings(1) == ["complete"])
    submitted = len(cluster.states())
    again = start(*typed, both)
    until(lambda: "complete" in again.printed or len(complete()) >= 3)
    assert endings(0) == []
    Path("go").touch()
    assert again.ends() == 0, again.printed
    assert sorted(complete()) == [0, 1, 2, 3]
    assert [starts(number) for number in range(4)] == [1, 1, 1, 1]
    assert steps(0) == list(range(1, 11))
    assert len(cluster.states()) == submitted + 4 - submitted
    assert [trial.user_attrs["attempt"] for trial in study().trials] == [1, 1, 1, 1]


def test_jobs_that_wait_are_adopted(cluster, start):
    cluster.hold()
    sweep = start(*SLURM, "+x=0,1")
    until(lambda: len(cluster.states()) == 2)
    killed(sweep)
    again = start(*SLURM, "+x=0,1")
    until(lambda: "Resumes study" in again.printed)
    cluster.release()
    assert again.ends() == 0, again.printed
    assert sorted(complete()) == [0, 1]
    assert len(cluster.states()) == 2


def test_a_job_that_is_gone_is_submitted_again(cluster, start):
    cluster.hold()
    sweep = start(*SLURM, "+x=0")
    until(lambda: len(cluster.states()) == 1)
    killed(sweep)
    cluster.cancel("--quiet", cluster.job_of(0))
    cluster.release()
    again = start(*SLURM, "+x=0")
    assert again.ends() == 0, again.printed
    assert sorted(complete()) == [0]
    assert len(cluster.states()) == 2


def test_a_ticket_without_a_job_costs_no_attempt(fake, start):
    """As a driver leaves it that is killed before `sbatch`."""
    fake.hold()
    sweep = start(*SLURM, "+x=0")
    until(lambda: len(fake.states()) == 1)
    killed(sweep)
    fake.cancel("--quiet", "1")
    (fake.folder / "1.json").unlink()
    fake.release()
    again = start(*SLURM, "+x=0")
    assert again.ends() == 0, again.printed
    assert study().trials[0].user_attrs["attempt"] == 1
    assert "its job ended while no sweep followed it" not in again.printed


def test_a_job_does_nothing_when_its_trial_was_run_otherwise(cluster, start):
    cluster.hold()
    sweep = start(*SLURM, "+x=0")
    until(lambda: len(cluster.states()) == 1)
    killed(sweep)
    pool = start("+x=0")
    assert pool.ends() == 0, pool.printed
    cluster.release()
    until(lambda: set(cluster.states().values()) <= {"COMPLETED"})
    assert starts(0) == 1
    assert sorted(complete()) == [0]


def test_ctrl_c_cancels_jobs(cluster, start):
    sweep = start(*SLURM, "+x=0,1,2", awaiting("go", [0, 1, 2]))
    until(lambda: has_steps(0)() and has_steps(1)())
    sweep.signal(signal.SIGINT)
    assert sweep.ends() == 130, sweep.printed
    assert "Stopped. Continue with:" in sweep.printed
    assert set(cluster.states().values()).isdisjoint(("PENDING", "RUNNING"))
    assert endings(0) == endings(1) == ["interrupted"]
    Path("go").touch()
    again = start(*SLURM, "+x=0,1,2", awaiting("go", [0, 1, 2]))
    assert again.ends() == 0, again.printed
    assert sorted(complete()) == [0, 1, 2]
    assert [trial.user_attrs["attempt"] for trial in study().trials] == [1, 1, 1]


def test_ctrl_c_takes_waiting_jobs_out_of_the_queue(cluster, start):
    cluster.hold()
    sweep = start(*SLURM, "+x=0,1")
    until(lambda: len(cluster.states()) == 2)
    sweep.signal(signal.SIGINT)
    assert sweep.ends() == 130, sweep.printed
    cluster.release()
    assert set(cluster.states().values()) == {"CANCELLED"}
    assert begun() == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_sweep_can_leave_its_jobs(cluster, start, number):
    typed = (*SLURM, "hydra.launcher.on_interrupt=leave", "+x=0,1,2", awaiting("go", [0, 1]))
    sweep = start(*typed)
    until(lambda: has_steps(0)() and has_steps(1)())
    sweep.signal(number)
    assert sweep.ends() == 128 + number, sweep.printed
    assert "2 jobs left in Slurm's queue, where `resume` finds them" in sweep.printed
    assert "Stopped. Continue with:" in sweep.printed
    assert len(cluster.running()) == 2
    Path("go").touch()
    again = start(*typed)
    assert again.ends() == 0, again.printed
    assert sorted(complete()) == [0, 1, 2]
    assert [starts(number) for number in range(3)] == [1, 1, 1]


def test_a_cancelled_job_costs_an_attempt(cluster, start):
    sweep = start(*SLURM, "+x=0", awaiting("go", [0]))
    until(has_steps(0))
    cluster.cancel("--quiet", cluster.job_of(0))
    until(lambda: starts(0) == 2)
    Path("go").touch()
    assert sweep.ends() == 0, sweep.printed
    assert study().trials[0].user_attrs["attempt"] == 2
    assert "was cancelled" in sweep.printed


def test_a_job_at_its_time_limit_continues_from_its_checkpoint(cluster, start):
    sweep = start(*SLURM, "+x=0", awaiting("go", [0]), "+checkpoint_every=1")
    until(has_steps(0))
    cluster.cancel("--signal=USR2", cluster.job_of(0))
    until(lambda: starts(0) == 2)
    Path("go").touch()
    assert sweep.ends() == 0, sweep.printed
    assert endings(0) == ["interrupted", "complete"]
    assert steps(0) == list(range(1, 11))
    assert study().trials[0].user_attrs["attempt"] == 1


def test_a_preempted_job_is_submitted_again(cluster, start):
    """By real jobs of a partition above, where there is one; else by the signal they send."""
    sweep = start(*SLURM, "+x=0", awaiting("go", [0]), "+checkpoint_every=1")
    until(has_steps(0))
    if cluster.is_real:
        urgent = "#!/bin/sh\n#SBATCH --partition=urgent --ntasks=4 --job-name=u.9\ntrue\n"
        subprocess.run(["sbatch"], input=urgent, text=True, check=True, capture_output=True)
    else:
        cluster.cancel("--signal=TERM", cluster.job_of(0))
    until(lambda: starts(0) == 2)
    Path("go").touch()
    assert sweep.ends() == 0, sweep.printed
    assert endings(0) == ["interrupted", "complete"]
    assert steps(0) == list(range(1, 11))
    assert study().trials[0].user_attrs["attempt"] == 1


def test_jobs_that_die_end_the_trial_without_sacct(cluster, start):
    assert subprocess.run(["sh", "-c", "sacct -n"], capture_output=True).returncode != 0
    sweep = start(*SLURM, "+x=0", "+end=die", "hydra.sweeper.max_attempts=2")
    assert sweep.ends() == 1, sweep.printed
    assert endings(0) == ["killed", "killed"]
    assert "ended as FAILED" in sweep.printed


def test_pruned_trials_are_those_of_the_pool(cluster, start):
    typed = [
        *("+x=interval(-4,4)", "hydra.sweeper.n_trials=8", "hydra.sweeper.seed=1"),
        *("hydra/sweeper/pruner=median", "hydra.sweeper.pruner.n_startup_trials=2"),
    ]

    def states() -> list[tuple[str, int]]:
        return [(trial.state.name, trial.last_step) for trial in study().trials]

    assert start(*typed, "hydra.launcher.workers=1").ends() == 0
    expected = states()
    assert "PRUNED" in dict(expected)
    for left in (Path("multirun"), STUDY.parent / "optuna.db"):
        subprocess.run(["rm", "-rf", str(left)], check=True)
    sweep = start(*typed, "hydra/launcher=slurm", "hydra.launcher.max_jobs=1")
    assert sweep.ends() == 0, sweep.printed
    assert states() == expected


def test_what_slurm_refuses_is_refused_before_anything_is_created(cluster):
    typed = command(*SLURM, "+x=0,1", "hydra.launcher.partition=nothere")
    done = subprocess.run(typed, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith("hydra/launcher=slurm: refuses such jobs: ")
    assert "nvalid partition" in done.stderr
    assert not Path("multirun").exists()


@pytest.mark.parametrize(
    ("override", "words"),
    [
        pytest.param("max_jobs=0", "hydra.launcher.max_jobs=0: must be 1 or more", id="none"),
        pytest.param(
            "on_interrupt=stay",
            "hydra.launcher.on_interrupt=stay: must be ask, cancel or leave",
            id="on_interrupt",
        ),
        pytest.param(
            "additional_parameters.array=3",
            "hydra.launcher.additional_parameters.array=3: is set by the launcher, which finds its "
            "jobs by it; leave it out",
            id="array",
        ),
        pytest.param(
            "timeout_min=0", "hydra.launcher.timeout_min=0.0: must be more than 0", id="no time"
        ),
    ],
)
def test_a_setting_out_of_its_range_is_refused(fake, override, words):
    sign = "+" if "additional" in override else ""
    typed = command(*SLURM, "+x=0", f"{sign}hydra.launcher.{override}")
    done = subprocess.run(typed, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (2, f"{words}\n")
    assert not Path("multirun").exists()


def test_a_machine_without_slurm_is_refused(monkeypatch):
    monkeypatch.setenv("PATH", str(Path(sys.executable).parent))
    typed = command(*SLURM, "+x=0")
    done = subprocess.run(typed, capture_output=True, text=True, check=False)
    words = "needs sbatch, squeue, scancel, not found here; start it where jobs are submitted\n"
    assert (done.returncode, done.stderr) == (2, f"hydra/launcher=slurm: {words}")


def test_a_queue_that_does_not_answer_ends_nothing(fake, start):
    sweep = start(*SLURM, "+x=0,1", awaiting("go", [0]))
    until(has_steps(0))
    (fake.folder / "silent").touch()
    (fake.folder / "refuses").touch()
    until(lambda: "trying again" in sweep.printed)
    Path("go").touch()
    until(lambda: endings(0) == ["complete"])
    (fake.folder / "silent").unlink()
    (fake.folder / "refuses").unlink()
    assert sweep.ends() == 0, sweep.printed
    assert sorted(complete()) == [0, 1]
