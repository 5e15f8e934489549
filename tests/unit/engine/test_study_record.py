"""The study's own record and its results, from a state that is made of lists."""

import queue
from pathlib import Path

import pytest
import yaml
from fakes import space_of

from hrm_sweep.engine import study_record
from hrm_sweep.engine.progress import TrialProgress
from hrm_sweep.engine.state import StudyState
from hrm_sweep.engine.study_record import Report, StudyRecord, is_recorded
from hrm_sweep.runs import layout
from hrm_sweep.runs.outcomes import Outcome
from hrm_sweep.runs.record import Record, read
from hrm_sweep.runs.writers import seen_writer
from hrm_sweep.search.objectives import parse_objectives
from hrm_sweep.search.space import Space
from hrm_sweep.system.writers import LeaseState


class Kept:
    """A study of which only the record is real."""

    def __init__(self, folder: Path, objective="loss", direction="minimize", **fields) -> None:
        self.folder = folder
        objectives = parse_objectives(objective, direction)
        self.state = StudyState(name="study", objectives=objectives, num_trials=3, **fields)
        self.prepared: queue.SimpleQueue[str] = queue.SimpleQueue()
        """Gets a word whenever the report is prepared."""
        self.report = Report(lambda: ["report.html"], prepare=lambda: self.prepared.put("done"))
        space = space_of("+a=fixed", "x=0,1,2")
        self.record = StudyRecord(
            folder,
            space,
            self.report,
            reproduce=lambda trial: f"again {trial.number}",
            name="study",
        )
        for observer in (self.report, self.record):
            observer.begin(self.state)

    def end_trial(self, number: int, outcome: str = "complete", **values: float) -> None:
        trial = TrialProgress(number, {"x": number}, self.folder / str(number))
        trial.outcome, trial.values = Outcome.named(outcome), values
        self.state.ended[number] = trial
        self.report.trial_ended(trial)
        self.record.trial_ended(trial)

    def end(self) -> dict:
        """Ends the study; its results."""
        self.report.end()
        self.record.end()
        return yaml.safe_load((self.folder / layout.STUDY_RESULTS).read_text())

    def metrics(self) -> list[tuple[int, dict]]:
        entries = [entry for entry in read(self.folder) if entry.event == "metrics"]
        return [(entry.fields["step"], entry.fields["values"]) for entry in entries]


def test_the_best_value_is_written_after_each_trial_whatever_their_order(tmp_path):
    kept = Kept(tmp_path)
    kept.end_trial(2, loss=3.0)
    kept.end_trial(0, "failed")
    kept.end_trial(1, loss=2.0)
    assert kept.metrics() == [
        (2, {"loss": 3.0}),
        (1, {"best/loss": 3.0}),  # of one trial
        (1, {"loss": 2.0}),
        (3, {"best/loss": 2.0}),  # of three
    ]


def test_the_results_of_a_study(tmp_path):
    kept = Kept(tmp_path)
    kept.end_trial(0, loss=3.0)
    kept.end_trial(1, loss=2.0, other=1.0)
    kept.end_trial(2, "failed")
    assert kept.end() == {
        "name": "optuna",
        "objective": ["loss"],
        "best_params": {"x": 1},
        "best_value": 2.0,
        "best_trial": 1,
        "best_folder": str(tmp_path / "1"),
        "best_mlflow_run_id": None,
        "best_overrides": ["+a=fixed", "x=1"],
        "best_reproduce": "again 1",
        "trials": {"complete": 2, "failed": 1},
    }
    last = read(tmp_path)[-1]
    assert last.event == "finished"
    assert last.fields == {
        "outcome": "complete",
        "best": {"loss": 2.0},
        "reason": "2 complete, 1 failed",
        "artifacts": ["multirun.yaml", "optimization_results.yaml", "report.html"],
    }
    assert is_recorded(tmp_path, name="study")
    assert not is_recorded(tmp_path, name="another")


def test_the_report_is_prepared_once_when_no_trial_waits(tmp_path):
    kept = Kept(tmp_path, num_slots=1)
    kept.end_trial(0, loss=1.0)
    kept.report.end()
    assert kept.prepared.empty()  # two are left, for one worker
    kept.end_trial(1, loss=1.0)
    kept.end_trial(2, loss=1.0)
    kept.end()
    assert kept.prepared.get() == "done"
    assert kept.prepared.empty()


def test_a_front_has_a_solution_for_each_of_its_trials(tmp_path):
    kept = Kept(tmp_path, ["a", "b"], ["minimize", "maximize"])
    kept.end_trial(0, a=1.0, b=1.0)
    kept.end_trial(1, a=2.0, b=2.0)
    kept.end_trial(2, a=3.0, b=1.0)
    results = kept.end()
    assert [(each["trial"], each["values"]) for each in results["solutions"]] == [
        (0, [1.0, 1.0]),
        (1, [2.0, 2.0]),
    ]
    assert all("best/a" not in values for _, values in kept.metrics())


@pytest.mark.parametrize(
    ("fields", "outcome", "files"),
    [
        pytest.param({}, "failed", ["report.html"], id="no trial is complete"),
        pytest.param({"is_closed": True}, "interrupted", [], id="stopped"),
    ],
)
def test_a_study_without_a_best_trial(tmp_path, fields, outcome, files):
    kept = Kept(tmp_path, **fields)
    kept.end_trial(0, "failed")
    assert kept.end() == {"name": "optuna", "objective": ["loss"], "trials": {"failed": 1}}
    last = read(tmp_path)[-1].fields
    assert (last["outcome"], last["best"], last["artifacts"][2:]) == (outcome, {}, files)
    assert not is_recorded(tmp_path)


def test_steps_of_the_best_value_continue_when_another_sweep_takes_the_record(tmp_path):
    first = Kept(tmp_path)
    first.end_trial(0, loss=3.0)
    first.end_trial(1, loss=2.0)
    first.end()
    second = Kept(tmp_path)
    second.end_trial(2, loss=1.0)
    steps = [step for step, values in second.metrics() if "best/loss" in values]
    assert steps == [1, 2, 3, 4]  # the third at the end of the first sweep


def test_a_record_that_another_sweep_took_a_moment_ago_is_left_to_it(tmp_path, monkeypatch):
    looks = iter([({}, LeaseState.EXPIRED)])  # what was seen before it was taken
    monkeypatch.setattr(
        study_record, "seen_writer", lambda folder: next(looks, None) or seen_writer(folder)
    )
    folder = tmp_path
    with Record(folder) as theirs:
        theirs.append("started", kind="study")
        report = Report(list, prepare=lambda: None)
        StudyRecord(folder, Space(), report, reproduce=str, name="study")
    assert [entry.event for entry in read(folder)] == ["started"]
