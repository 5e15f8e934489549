"""A single run at the prompt: stopped by Ctrl-C, continued by the command that it names."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest
from studies import PATIENCE_SECONDS, expect_signals, until, written

from hrm_sweep import load_run

SMALL = (
    "trainer=smoke",
    "tracking=off",
    "hidden_dim=32",
    "data.num_puzzles=64",
    "data.num_eval_puzzles=8",
    "trainer.epochs=20",
)
FOLDER = Path("multirun/train/mine")


def start(*typed: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "hrm_sweep", *typed],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=expect_signals,
    )


def epochs() -> list[int]:
    """Those that the record has, in its order."""
    return [entry.fields["step"] for entry in written(FOLDER) if entry.event == "metrics"]


@pytest.mark.usefixtures("in_a_folder_of_its_own")
def test_a_run_stops_at_the_end_of_an_epoch_and_continues():
    process = start(*SMALL, "study.name=mine")
    until(lambda: len(epochs()) >= 1)
    process.send_signal(signal.SIGINT)
    printed, errors = process.communicate(timeout=PATIENCE_SECONDS)
    last = epochs()[-1]
    assert (process.returncode, errors) == (130, "")
    assert "Stopping at the end of this epoch; Ctrl-C again stops at once\n" in printed
    assert printed.endswith(
        f"Stopped after epoch {last}, saved. Continue with: python -m hrm_sweep resume {FOLDER}\n"
    )

    listed, _ = start("list").communicate(timeout=PATIENCE_SECONDS)
    assert "  resume with: python -m hrm_sweep resume mine\n" in listed
    shown, _ = start("show", "mine").communicate(timeout=PATIENCE_SECONDS)
    assert f"  resume     python -m hrm_sweep resume {FOLDER}\n" in shown

    printed, errors = start("resume", "mine").communicate(timeout=PATIENCE_SECONDS)
    assert f"resumes after epoch {last}\n" in printed, errors
    assert epochs() == [*range(1, 21)]
    assert load_run(FOLDER)

    refused = start("resume", str(FOLDER))
    _, errors = refused.communicate(timeout=PATIENCE_SECONDS)
    assert refused.returncode == 2
    assert errors.startswith(f"study.name=mine: that run is complete, see {FOLDER};")


@pytest.mark.usefixtures("in_a_folder_of_its_own")
@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_what_asks_for_the_same_as_ctrl_c(number, code):
    process = start(*SMALL, "study.name=mine")
    until(lambda: len(epochs()) >= 1)
    process.send_signal(number)
    printed, errors = process.communicate(timeout=PATIENCE_SECONDS)
    assert (process.returncode, errors) == (code, "")
    assert printed.endswith(f"Continue with: python -m hrm_sweep resume {FOLDER}\n")
    assert written(FOLDER)[-1].fields["outcome"] == "interrupted"


@pytest.mark.usefixtures("in_a_folder_of_its_own")
def test_a_second_ctrl_c_does_not_wait_for_the_epoch():
    process = start(*SMALL, "study.name=mine", "data.num_puzzles=100000")
    until(lambda: "expected" in {entry.event for entry in written(FOLDER)})
    process.send_signal(signal.SIGINT)
    assert process.stdout is not None
    while "Stopping" not in process.stdout.readline():
        assert process.poll() is None
    process.send_signal(signal.SIGINT)
    printed, _ = process.communicate(timeout=PATIENCE_SECONDS)
    assert process.returncode == 130
    assert f"Stopped. Continue with: python -m hrm_sweep resume {FOLDER}\n" in printed
    assert epochs() == []
    assert written(FOLDER)[-1].fields["outcome"] == "interrupted"
