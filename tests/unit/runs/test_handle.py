"""The handle of a run: what its task says is in the record, once."""

import json

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


def test_a_run_that_goes_on_tells_again_only_what_is_new(tmp_path):
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
