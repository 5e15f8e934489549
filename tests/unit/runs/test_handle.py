"""The handle of a run: what its task says is in the record, once."""

from hrm_sweep.engine.progress import RecordTail, TrialProgress
from hrm_sweep.runs import handle as trial
from hrm_sweep.runs import record

STARTED = {"kind": "trial", "name": "0", "params": {}, "tags": {}, "description": ""}


def test_a_step_may_be_told_in_several_calls_and_be_the_zeroth(tmp_path):
    heard = []
    with trial.session(tmp_path, **STARTED) as handle:
        handle.listeners.append(lambda step, values: heard.append((step, dict(values))))
        handle.log({"loss": 3.0}, step=0)
        handle.log({"loss": 2.0}, step=1)
        handle.log({"accuracy": 0.5}, step=1)
    told = {0: {"loss": 3.0}, 1: {"loss": 2.0, "accuracy": 0.5}}
    assert record.curves(record.read(tmp_path)) == told
    assert heard == [(0, {"loss": 3.0}), (1, {"loss": 2.0}), (1, {"accuracy": 0.5})]


def test_a_run_that_goes_on_tells_again_only_what_is_new(tmp_path):
    for steps in ((0, 1), (1, 2)):
        with trial.session(tmp_path, **STARTED) as handle:
            for step in steps:
                handle.log({"loss": float(step)}, step=step)
    measured = [entry for entry in record.read(tmp_path) if entry.event == "metrics"]
    assert [entry.fields["step"] for entry in measured] == [0, 1, 2]


def test_a_row_shows_all_of_its_newest_step(tmp_path):
    progress = TrialProgress(0, {}, tmp_path)
    tail = RecordTail(progress)
    with trial.session(tmp_path, **STARTED) as handle:
        handle.log({"loss": 3.0, "accuracy": 0.1}, step=1)
        handle.log({"loss": 2.0}, step=2)
        handle.log({"accuracy": 0.5}, step=2)
        tail.read()
    assert (progress.step, progress.values) == (2, {"loss": 2.0, "accuracy": 0.5})
