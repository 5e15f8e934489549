"""Trials that failed are run again on request, under their numbers."""

import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from studies import PATIENCE_SECONDS, STUDY, command, endings, study

AGAIN = "hydra.sweeper.run_again="
APP = """
import hydra
from pathlib import Path
from hrm_sweep import trial

@hydra.main(version_base=None, config_path=None)
def main(cfg):
    trial.current().log({"objective": cfg.x}, step=1)
    if cfg.x > 1 and not Path("mended").exists():
        raise FileNotFoundError("the data of this recipe")
    return cfg.x

if __name__ == "__main__":
    main()
"""

pytestmark = pytest.mark.usefixtures("in_a_folder_of_its_own")


@pytest.fixture
def failed() -> subprocess.CompletedProcess[str]:
    """A study whose trials 1 and 2 of three have failed."""
    Path("app.py").write_text(APP)
    done = sweep()
    assert done.returncode == 0, done.stderr
    assert states() == ["COMPLETE", "FAIL", "FAIL"]
    return done


def sweep(*overrides: str) -> subprocess.CompletedProcess[str]:
    return run(command("+x=1,2,3", *overrides, app=Path("app.py")))


def run(typed: list[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        typed, capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=False
    )


def states() -> list[str]:
    return [trial.state.name for trial in study().get_trials()]


def test_the_printed_command_runs_what_failed(failed):
    (line,) = [line for line in failed.stdout.splitlines() if "run failed" in line]
    Path("mended").touch()
    done = run([sys.executable, *shlex.split(line)[3:]])
    assert done.returncode == 0, done.stderr
    assert "3 complete" in done.stdout
    assert states() == ["COMPLETE"] * 3
    assert [endings(number) for number in range(3)] == [["complete"], *[["failed", "complete"]] * 2]
    assert [trial.value for trial in study().get_trials()] == [1, 2, 3]
    again = sweep()  # it was asked for once
    assert "nothing is left to run" in again.stdout


def test_resume_of_another_app_names_its_command(failed):
    done = run([sys.executable, "-m", "hrm_sweep", "resume", "study", "--failed"])
    assert done.returncode == 2
    assert done.stderr == "study: there is no terminal to confirm at; add --yes\n"
    assert f"hydra.sweep.dir={STUDY.absolute()} {AGAIN}failed +x=1,2,3\n" in done.stdout
    done = run([sys.executable, "-m", "hrm_sweep", "resume", "study", "--trial", "2"])
    assert f"'{AGAIN}[2]'" in done.stdout


def test_one_trial_alone_that_fails_again_has_all_its_attempts(failed):
    done = sweep(f"{AGAIN}[2]")
    assert done.returncode == 0, done.stderr
    assert states() == ["COMPLETE", "FAIL", "FAIL"]
    assert [endings(number) for number in (1, 2)] == [["failed"], ["failed", "failed"]]


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        pytest.param("[0]", "run_again=0: that trial is complete", id="complete"),
        pytest.param("[7]", "no trial of that number; it has 0 to 2", id="unknown"),
        pytest.param("some", "run_again=some: must be failed, or a list of numbers", id="word"),
        pytest.param("[a]", "must be failed, or a list of numbers of trials", id="no numbers"),
    ],
)
def test_what_cannot_be_run_again(failed, asked, words):
    done = sweep(f"{AGAIN}{asked}")
    assert done.returncode == 2
    assert words in done.stderr
    assert states() == ["COMPLETE", "FAIL", "FAIL"]


def test_the_shipped_app():
    typed = [
        *(sys.executable, "-m", "hrm_sweep", "-m", "study.name=s", "tracking=off", "trainer=smoke"),
        *("lr=1e-3", "hidden_dim=32,64", "data.num_puzzles=16", "data.num_eval_puzzles=8"),
        *("epochs=1", "trainer.epochs=1", "model.num_heads=8", "study.timeout=600"),
    ]
    done = run(typed)
    assert done.returncode == 0, done.stdout + done.stderr
    done = run([sys.executable, "-m", "hrm_sweep", "resume", "s", "--trial", "0"])
    assert done.returncode == 2
    assert "run_again=0: that trial is complete" in done.stderr
    done = run([sys.executable, "-m", "hrm_sweep", "resume", "s", "--failed"])
    assert "nothing is left to run" in done.stdout, done.stderr
