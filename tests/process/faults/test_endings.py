"""How a trial ended is what its record says, whatever becomes of those who ran it."""

import fcntl
import os
import re
import signal
import subprocess
import sys
import termios
from pathlib import Path

import psutil
import pytest
from studies import (
    PATIENCE_SECONDS,
    awaiting,
    command,
    endings,
    expect_signals,
    steps,
    study,
    sweep,
    until,
)

from hrm_sweep.runs import handle as trial
from hrm_sweep.runs import record
from hrm_sweep.runs.outcomes import Outcome

pytestmark = pytest.mark.usefixtures("in_a_folder_of_its_own")


def outcomes() -> dict[str, tuple[str, int]]:
    """By the value of the only parameter: outcome and number of attempts."""
    return {
        next(iter(trial.params.values())): (
            trial.user_attrs["outcome"],
            trial.user_attrs["attempt"],
        )
        for trial in study().get_trials()
    }


def test_a_task_that_interrupts_itself_has_failed():
    done = sweep("+x=1", "+end=interrupt,well")
    assert done.returncode == 0, done.stderr
    assert outcomes() == {"interrupt": ("failed", 1), "well": ("complete", 1)}
    assert "failed: KeyboardInterrupt" in done.stdout
    assert endings(0) == ["failed"]


@pytest.mark.skipif(sys.platform != "linux", reason="the system has no such signals")
def test_a_worker_killed_by_a_signal_without_a_name():
    done = sweep("+x=1", "+end='real-time signal',well", "hydra.sweeper.max_attempts=1")
    assert done.returncode == 0, done.stderr
    assert outcomes() == {"real-time signal": ("killed", 1), "well": ("complete", 1)}
    assert "killed: its process was killed by signal 40" in done.stdout


def test_a_trial_whose_worker_dies_after_its_end_is_complete(start):
    sweep = start("+x=1,3", "+returns=late")
    until(Path("returning").exists)
    os.kill(int(Path("returning").read_text()), signal.SIGKILL)
    assert sweep.ends() == 0, sweep.printed
    assert "2 complete" in sweep.printed
    assert [endings(0), endings(1)] == [["complete"], ["complete"]]


class TestCtrlC:
    def test_twice_a_trial_that_has_ended_counts(self, start):
        sweep = start("+x=1", "+pause=0,1000", "+returns=late", "hydra.launcher.workers=2")
        until(lambda: Path("returning").exists() and steps(1))
        sweep.signal(signal.SIGINT)
        until(Path("stopping").exists)  # of two at once the system keeps one
        sweep.signal(signal.SIGINT)
        assert sweep.ends() == 130, sweep.printed
        assert "1 complete, 1 interrupted" in sweep.printed
        assert [trial.state.name for trial in study().get_trials()] == ["COMPLETE", "WAITING"]

    @pytest.mark.parametrize(
        ("launcher", "running"),
        [
            pytest.param(["hydra/launcher=basic"], [1], id="basic"),
            pytest.param(["hydra/launcher=joblib", "hydra.launcher.n_jobs=2"], [1, 2], id="joblib"),
        ],
    )
    def test_with_a_launcher_of_hydras_own_what_has_ended_is_told(self, start, launcher, running):
        sweep = start("+x=1", "+pause=0,1000,2000,3000", *launcher)
        until(lambda: endings(0) == ["complete"] and all(steps(number) for number in running))
        sweep.signal(signal.SIGINT)
        assert sweep.ends() == 130, sweep.printed
        first, *others = study().get_trials()
        assert (first.state.name, first.value) == ("COMPLETE", 1)
        assert [trial.state.name for trial in others] == ["WAITING"] * 3
        assert all(trial.user_attrs.get("attempt", 0) == 0 for trial in others)
        assert "1 complete" in sweep.printed
        assert endings(1) == ["interrupted"]


class TestALauncherThatRaises:
    def test_for_a_killed_job_the_others_continue(self):
        jobs = ["hydra/launcher=joblib", "hydra.launcher.n_jobs=2", "hydra.sweeper.max_attempts=2"]
        done = sweep("+x=1", "+end=a,b,die,c,d,e", *jobs)
        assert done.returncode == 0, done.stderr
        told = outcomes()
        assert told.pop("die") == ("killed", 2)
        assert {outcome for outcome, _ in told.values()} == {"complete"}
        assert re.search(r"^trial 2  .*end=die.*  killed: ", done.stdout, re.M)

    def test_for_a_config_that_cannot_be_read_the_others_continue(self):
        needed = "hydra.output_subdir=${oc.select:y,none}"
        done = sweep("+x=1", "+y=a,${nowhere},b", needed, "hydra/launcher=basic")
        assert done.returncode == 0, done.stderr
        assert "failed: InterpolationKeyError" in done.stdout
        assert [trial.state.name for trial in study().get_trials()] == [
            "COMPLETE",
            "FAIL",
            "COMPLETE",
        ]
        assert [each for _, each in outcomes().values()] == [1, 1, 1]


class TestAnEndThatCannotBeWritten:
    """As on a disk that is full."""

    def run(self, folder: Path, *, fault) -> None:
        with trial.session(folder, kind="train", name="one", params={}, tags={}) as handle:
            fault(handle)

    def test_leaves_no_trial_behind_and_no_lock(self, tmp_path):
        def is_no_json(handle):
            handle.artifact(object())

        with pytest.raises(TypeError):
            self.run(tmp_path / "run", fault=is_no_json)
        assert trial.current().folder == Path().absolute()
        assert record.write_end(tmp_path / "run", outcome=Outcome.FAILED.word)

    def test_the_record_ends_without_its_result(self, tmp_path):
        def is_in_the_way(handle):
            (handle.folder / "result.json" / "file").mkdir(parents=True)

        with pytest.raises(IsADirectoryError):
            self.run(tmp_path / "run", fault=is_in_the_way)
        assert record.read(tmp_path / "run")[-1].fields["outcome"] == "complete"


class TestSignalsThatAskForTheSame:
    """Docker, systemd and Slurm send SIGTERM; a terminal that is closed sends SIGHUP."""

    SIGNALS = pytest.mark.parametrize(
        ("number", "code"),
        [
            pytest.param(signal.SIGTERM, 143, id="SIGTERM"),
            pytest.param(signal.SIGHUP, 129, id="SIGHUP"),
        ],
    )

    @SIGNALS
    def test_a_study_stops_at_the_next_report_and_is_resumed(self, start, number, code):
        sweep = start("+x=1,3", awaiting("go", [1]), "hydra.launcher.workers=1")
        until(lambda: steps(0) == [1, 2])
        sweep.process.send_signal(number)
        assert sweep.ends() == code, sweep.printed
        assert "Stopped. Continue with: python" in sweep.printed
        assert "Traceback" not in sweep.printed
        assert [trial.state.name for trial in study().get_trials()] == ["WAITING"] * 2
        Path("go").touch()
        again = start("+x=1,3", awaiting("go", [1]))
        assert again.ends() == 0, again.printed
        assert [trial.user_attrs["attempt"] for trial in study().get_trials()] == [1, 1]

    def test_all_processes_of_a_service_get_sigterm(self, start):
        sweep = start("+x=1,3", awaiting("go", [1, 3]), "hydra.launcher.workers=2")
        until(lambda: steps(0) == steps(1) == [1, 2])
        for process in [*psutil.Process(sweep.process.pid).children(), sweep.process]:
            process.send_signal(signal.SIGTERM)
        assert sweep.ends() == 143, sweep.printed
        assert [endings(number) for number in (0, 1)] == [["interrupted"]] * 2

    def test_a_worker_that_is_asked_alone_puts_its_trial_back(self, start):
        sweep = start("+x=1,3", awaiting("go", [1]), "hydra.launcher.workers=1")
        until(lambda: steps(0) == [1, 2])
        (worker,) = psutil.Process(sweep.process.pid).children()
        worker.terminate()
        until(lambda: endings(0) == ["interrupted"])
        Path("go").touch()
        assert sweep.ends() == 0, sweep.printed
        assert endings(0) == ["interrupted", "complete"]
        assert [trial.user_attrs["attempt"] for trial in study().get_trials()] == [2, 1]

    def test_nohup_keeps_a_study_running(self, start):
        sweep = start("+x=1", awaiting("go", [1]), before=("nohup",))
        until(lambda: steps(0) == [1, 2])
        sweep.process.send_signal(signal.SIGHUP)
        Path("go").touch()
        assert sweep.ends() == 0, sweep.printed

    def test_a_terminal_that_is_closed(self):
        ours, theirs = os.openpty()
        process = subprocess.Popen(
            command("+x=1,3", awaiting("go", [1]), "hydra.launcher.workers=1"),
            stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True,
            preexec_fn=lambda: (expect_signals(), fcntl.ioctl(0, termios.TIOCSCTTY, 0)),
        )  # fmt: skip
        os.close(theirs)
        until(lambda: steps(0) == [1, 2])
        os.close(ours)
        assert process.wait(timeout=PATIENCE_SECONDS) == 129
        assert endings(0) == ["interrupted"]
        assert [trial.state.name for trial in study().get_trials()] == ["WAITING"] * 2
