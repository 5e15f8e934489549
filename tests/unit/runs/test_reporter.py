"""What a training framework reports, as a trial's curves."""

import pytest

import hrm_sweep
from hrm_sweep.runs import handle as trial
from hrm_sweep.runs import record
from hrm_sweep.runs.curves import curves
from hrm_sweep.runs.reporter import Reporter

STARTED = {"kind": "trial", "name": "0", "params": {}, "tags": {}, "description": ""}


def test_each_metric_is_logged_once_a_step_and_the_last_that_was_held_counts(tmp_path):
    with trial.session(tmp_path, **STARTED):
        reporter = Reporter("epoch")
        for loss in (3.0, 2.0):
            reporter.hold({"loss": loss})
        reporter.release(1)
        reporter.release(1)
        reporter.log({"loss": 9.0, "accuracy": 0.5}, 1)
        reporter.log({"loss": 1.0}, 2)
        reporter.log({"accuracy": 0.1}, 1)
        assert reporter.last_step == 2
    assert curves(record.read(tmp_path)) == {1: {"loss": 2.0, "accuracy": 0.5}, 2: {"loss": 1.0}}


def test_a_resumed_run_continues_after_its_last_step(tmp_path):
    with trial.session(tmp_path, **STARTED):
        Reporter(None).log({"loss": 3.0}, 4)
    with trial.session(tmp_path, **STARTED):
        assert Reporter(None).last_step == 4


@pytest.mark.parametrize(
    ("axis", "by_epochs", "expected", "length"),
    [
        pytest.param(None, True, "epoch", 10, id="epochs"),
        pytest.param(None, False, "step", 400, id="steps"),
        pytest.param("step", True, "step", 400, id="steps that the user wants"),
        pytest.param("epoch", False, "epoch", 10, id="epochs that the user wants"),
    ],
)
def test_a_step_is_what_the_trainer_validates_by(tmp_path, axis, by_epochs, expected, length):
    with trial.session(tmp_path, **STARTED):
        reporter = Reporter(axis)
        reporter.begin(by_epochs=by_epochs, num_epochs=10, num_steps=400)
        reporter.begin(by_epochs=by_epochs, num_epochs=0, num_steps=-1)  # of no known length
        assert reporter.axis == expected
    (told,) = [entry for entry in record.read(tmp_path) if entry.event == "expected"]
    assert told.fields["num_steps"] == length


def test_one_function_logs_from_anywhere(tmp_path):
    hrm_sweep.log_metrics({"loss": 3.0}, step=1)  # outside a study it is only checked
    with pytest.raises(TypeError, match="step='one': must be a whole number"):
        hrm_sweep.log_metrics({"loss": 3.0}, step="one")
    with trial.session(tmp_path, **STARTED):
        hrm_sweep.log_metrics({"loss": 3.0}, step=1)
    assert curves(record.read(tmp_path)) == {1: {"loss": 3.0}}
