"""The handle of a run: what its task says is in the record, once."""

import json
import re
from contextlib import nullcontext

import numpy as np
import pytest

from hrm_sweep.engine.progress import RecordTail, TrialProgress
from hrm_sweep.errors import Interrupted
from hrm_sweep.runs import handle as trial
from hrm_sweep.runs import record
from hrm_sweep.runs.curves import curves, read_curves
from hrm_sweep.runs.outcomes import Outcome
from hrm_sweep.runs.run import Run

STARTED = {"kind": "trial", "name": "0", "params": {}, "tags": {}, "description": ""}


def test_a_step_may_be_told_in_several_calls_and_be_the_zeroth(tmp_path):
    heard = []
    with trial.session(tmp_path, **STARTED) as handle:
        handle.listeners.append(lambda step, values: heard.append((step, dict(values))))
        handle.log({"loss": 3.0}, step=0)
        handle.log({"loss": 2.0}, step=1)
        handle.log({"accuracy": 0.5}, step=1)
    told = {0: {"loss": 3.0}, 1: {"loss": 2.0, "accuracy": 0.5}}
    assert curves(record.read(tmp_path)) == told
    assert heard == [(0, {"loss": 3.0}), (1, {"loss": 2.0}), (1, {"accuracy": 0.5})]


def test_a_run_that_continues_tells_again_only_what_is_new(tmp_path):
    for steps in ((0, 1), (1, 2)):
        with trial.session(tmp_path, **STARTED) as handle:
            for step in steps:
                handle.log({"loss": float(step)}, step=step)
    measured = [entry for entry in record.read(tmp_path) if entry.event == "metrics"]
    assert [entry.fields["step"] for entry in measured] == [0, 1, 2]


def test_no_file_of_a_run_has_the_secrets_of_its_exception(tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", "c4n4ry-Sesame")
    with pytest.raises(RuntimeError), trial.session(tmp_path, **STARTED):
        raise RuntimeError("refused c4n4ry-Sesame, and PGPASSWORD=c4n4ry-Otter")
    texts = {path.name: path.read_text() for path in tmp_path.iterdir() if path.is_file()}
    assert {"result.json", "record.jsonl"} <= texts.keys()
    assert not [name for name, text in texts.items() if "c4n4ry" in text]
    reason = json.loads(texts["result.json"])["reason"]
    assert reason == "RuntimeError: refused ***, and PGPASSWORD=***"


def attempt(folder, measured: dict[int, dict[str, float]]) -> None:
    """One attempt of a run, which logs each step."""
    with trial.session(folder, **STARTED) as handle:
        for step, values in measured.items():
            handle.log(values, step=step)


FIRST = {1: {"loss": 3.0, "time/s": 1.0}, 2: {"loss": 2.0}, 3: {"loss": float("nan")}}


@pytest.mark.parametrize(
    ("second", "expected", "void"),
    [
        pytest.param(
            {1: {"loss": 3.5}, 2: {"loss": 2.5}}, {1: {"loss": 3.5}, 2: {"loss": 2.5}},
            [(2, 1, 3)], id="from the beginning",
        ),
        pytest.param(
            {1: {"loss": 3.0, "time/s": 2.0}, 2: {"loss": 2.5}}, {1: FIRST[1], 2: {"loss": 2.5}},
            [(2, 2, 3)], id="equal at first",
        ),
        pytest.param(
            {1: {"loss": 3.0}, 2: {"loss": 2.0}, 3: {"loss": float("nan")}, 4: {"loss": 1.0}},
            FIRST | {4: {"loss": 1.0}}, [], id="deterministic",
        ),
        pytest.param({3: {"loss": float("nan")}, 4: {"loss": 1.0}}, FIRST | {4: {"loss": 1.0}}, [],
                     id="from a checkpoint"),
        pytest.param({0: {"loss": 9.0}, 2: {"loss": 8.0}}, {0: {"loss": 9.0}, 2: {"loss": 8.0}},
                     [(2, 1, 3)], id="other steps"),
        pytest.param(
            {3: {"loss": float("nan")}, 2: {"loss": 2.5}},
            {1: FIRST[1], 2: {"loss": 2.5}, 3: {"loss": float("nan")}},
            [(2, 2, 3)], id="backwards",
        ),
    ],
)  # fmt: skip
def test_a_curve_never_mixes_two_attempts_that_differ(second, expected, void, tmp_path):
    attempt(tmp_path, FIRST)
    tail = RecordTail(TrialProgress(0, {}, tmp_path))
    attempt(tmp_path, second)
    entries = record.read(tmp_path)
    assert repr(dict(sorted(curves(entries).items()))) == repr(expected)
    assert read_curves(entries).remeasured == void
    tail.read()
    assert tail.is_rewound == bool(void)
    assert Run.open(tmp_path).remeasured == void


def test_a_row_shows_all_of_its_newest_step(tmp_path):
    progress = TrialProgress(0, {}, tmp_path)
    tail = RecordTail(progress)
    with trial.session(tmp_path, **STARTED) as handle:
        handle.log({"loss": 3.0, "accuracy": 0.1}, step=1)
        handle.log({"loss": 2.0}, step=2)
        handle.log({"accuracy": 0.5}, step=2)
        tail.read()
    assert (progress.step, progress.values) == (2, {"loss": 2.0, "accuracy": 0.5})


@pytest.mark.parametrize(
    ("old", "arguments", "new"),
    [
        pytest.param("expect", (10,), "set_num_steps", id="expect"),
        pytest.param("doing", ("warms up",), "set_status", id="doing"),
        pytest.param("conclude", (Outcome.FAILED, "no"), "set_outcome", id="conclude"),
    ],
)
def test_an_old_name_works_and_names_the_new_one(old, arguments, new, tmp_path):
    with trial.session(tmp_path, **STARTED) as handle:
        with pytest.warns(DeprecationWarning, match=f"{old} is now {new}"):
            method = getattr(handle, old)
        assert method == getattr(handle, new)
        method(*arguments)


def test_a_name_that_never_was_is_none_of_the_handle(tmp_path):
    no_attribute = pytest.raises(AttributeError, match="no attribute 'exspect'")
    with trial.session(tmp_path, **STARTED) as handle, no_attribute:
        handle.exspect(10)


def test_a_stop_that_is_asked_for_ends_the_run_after_its_measurement(tmp_path):
    before = trial.set_stop_check(lambda: True)
    try:
        with pytest.raises(Interrupted), trial.session(tmp_path, **STARTED) as handle:
            handle.log({"loss": 1.0}, step=1)
    finally:
        trial.set_stop_check(before)
    assert curves(record.read(tmp_path)) == {1: {"loss": 1.0}}
    assert not trial.stop_requested()


class TestWithoutATrial:
    """In `python app.py`, in a notebook, in a test of the user's own."""

    def test_nothing_is_written_and_nothing_is_refused_that_a_study_takes(
        self, tmp_path, monkeypatch
    ):
        monkeypatch.chdir(tmp_path)
        handle = trial.current()
        handle.set_num_steps(2)
        handle.set_status("warms up")
        handle.log({"loss": np.float32(0.5), "hits": np.array(3), "ok": True}, step=np.int64(1))
        handle.log_dataset(name="line", train_size=3, eval_size=1)
        handle.artifact("model.pt")
        handle.set_tags(weights="abc")
        handle.set_outcome(Outcome.COMPLETE)
        assert handle.folder == tmp_path
        assert (handle.last_step, handle.tags) == (1, {"weights": "abc"})
        assert list(tmp_path.iterdir()) == []

    def test_it_ends_with_the_trial(self, tmp_path):
        with trial.session(tmp_path, **STARTED) as handle:
            assert trial.current() is handle
        assert trial.current() is not handle


WRONG = [
    pytest.param(lambda handle: handle.log({"loss": "low"}, step=1), "'loss': 'low'", id="text"),
    pytest.param(lambda handle: handle.log({"loss": None}, step=1), "must be a number", id="none"),
    pytest.param(lambda handle: handle.log({3: 0.5}, step=1), "must be text", id="no name"),
    pytest.param(lambda handle: handle.log(0.5, step=1), "takes named numbers", id="no names"),
    pytest.param(lambda handle: handle.log({}, step=1.5), "step=1.5: must be a whole", id="half"),
    pytest.param(lambda handle: handle.log({}, step=-1), "step=-1: must be 0 or more", id="below"),
    pytest.param(lambda handle: handle.log({}, step=None), "step=None: must be", id="no step"),
    pytest.param(lambda handle: handle.set_num_steps("ten"), "num_steps='ten': must", id="steps"),
    pytest.param(lambda handle: handle.log_dataset(name=object()), "JSON", id="dataset"),
]


@pytest.mark.parametrize(("call", "rule"), WRONG)
@pytest.mark.parametrize("is_tracked", [True, False])
def test_wrong_arguments_are_refused_with_a_trial_and_without(call, rule, is_tracked, tmp_path):
    tracked = trial.session(tmp_path, **STARTED) if is_tracked else nullcontext(trial.current())
    with tracked as handle, pytest.raises((TypeError, ValueError), match=re.escape(rule)):
        call(handle)
    assert not curves(record.read(tmp_path) if is_tracked else [])
