"""Which models stay as a study runs, with real records and a state that is made of lists."""

from pathlib import Path

import pytest

from hrm_sweep.engine.model_keeper import ModelKeeper
from hrm_sweep.engine.progress import TrialProgress
from hrm_sweep.engine.state import StudyState
from hrm_sweep.runs import models
from hrm_sweep.runs.app import App
from hrm_sweep.runs.outcomes import Outcome
from hrm_sweep.runs.record import Record
from hrm_sweep.runs.run import Run
from hrm_sweep.search.objectives import parse_objectives

MODEL = "model.pth"
STARTED = {"kind": "trial", "tags": {}, "app": App(name="any", command=("any",)).to_record()}


def write_run(folder: Path, outcome: str = "complete", **facts: str) -> None:
    with Record(folder) as record:
        record.append("started", **STARTED)
        (folder / MODEL).write_text("weights")
        record.append("finished", outcome=outcome, best={}, facts=facts)


class Kept:
    """A study whose trials end one after the other."""

    def __init__(self, folder: Path, keep="best", objective="loss", constraints=None, **options):
        self.folder = folder
        directions = ["minimize"] * (1 if isinstance(objective, str) else len(objective))
        objectives = parse_objectives(objective, directions, constraints, **options)
        self.state = StudyState(name="study", objectives=objectives, num_trials=9)
        self.keeper = ModelKeeper(folder, keep, by="a setting")
        self.keeper.begin(self.state)

    def end_trial(self, number: int, outcome: str = "complete", **values: float) -> TrialProgress:
        folder = self.folder / str(number)
        if not folder.exists():
            write_run(folder, outcome)
        trial = TrialProgress(number, {}, folder, outcome=Outcome.named(outcome), values=values)
        self.state.ended[number] = trial
        return trial

    def end(self, number: int, outcome: str = "complete", **values: float) -> None:
        self.keeper.trial_ended(self.end_trial(number, outcome, **values))

    @property
    def models(self) -> list[str]:
        found = self.folder.rglob(MODEL)
        return sorted(str(path.parent.relative_to(self.folder)) for path in found)


def test_only_the_best_keeps_its_model_and_the_folder_says_who_removed_the_others(tmp_path):
    kept = Kept(tmp_path)
    for number, loss in enumerate([3.0, 2.0, 2.5, 2.0]):
        kept.end(number, loss=loss)
    assert kept.models == ["1"], "of equal trials the first is the best"
    assert models.describe_removed(Run.open(tmp_path / "0")).startswith("removed by a setting on 2")
    assert models.describe_removed(Run.open(tmp_path / "1")) == ""


def test_a_tie_breaker_decides_whose_model_stays(tmp_path):
    kept = Kept(tmp_path, objective="error", tie_breaker="loss")
    kept.end(0, error=1.0, loss=2.0)
    kept.end(1, error=1.0, loss=1.0)
    assert kept.models == ["1"]


def test_the_whole_pareto_front_keeps_its_models(tmp_path):
    kept = Kept(tmp_path, objective=["a", "b"])
    for number, (a, b) in enumerate([(1, 3), (3, 1), (2, 2), (3, 3), (0, 3)]):
        kept.end(number, a=float(a), b=float(b))
    assert kept.models == ["1", "2", "4"]


def test_where_all_break_a_constraint_the_one_that_does_least_keeps_its_model(tmp_path):
    kept = Kept(tmp_path, constraints={"size": "<= 1"})
    kept.end(0, loss=1.0, size=9.0)
    kept.end(1, loss=2.0, size=2.0)
    assert kept.models == ["1"]
    kept.end(2, loss=5.0, size=1.0)
    assert kept.models == ["2"]


def test_a_trial_that_waits_to_be_run_again_keeps_its_checkpoint(tmp_path):
    kept = Kept(tmp_path)
    kept.end(0, loss=1.0)
    waiting = kept.end_trial(1, "interrupted")
    waiting.goes_back = True
    kept.keeper.trial_ended(waiting)
    for number, outcome in ((2, "pruned"), (3, "failed"), (4, "killed")):
        kept.end(number, outcome)
    assert kept.models == ["0", "1"]
    with Record(tmp_path / "5") as record:  # an attempt that another sweep has just begun
        record.append("started", **STARTED)
        (tmp_path / "5" / MODEL).write_text("weights")
        kept.end(5, "pruned")
    assert kept.models == ["0", "1", "5"]


def test_repeats_keep_or_lose_their_models_with_their_trial(tmp_path):
    kept = Kept(tmp_path)
    for number, loss in enumerate([2.0, 1.0]):
        for name in (f"{number}", f"{number}/0", f"{number}/1"):
            write_run(tmp_path / name)
        kept.end(number, loss=loss)
    assert kept.models == ["1", "1/0", "1/1"]


def test_the_run_whose_result_the_best_has_reused_keeps_its_model(tmp_path):
    kept = Kept(tmp_path)
    kept.end(1, loss=1.0)
    write_run(tmp_path / "0", taken_from="../1")
    kept.end(0, loss=1.0)
    kept.keeper.end()
    assert "1" in kept.models
    kept.end(2, loss=0.5)
    kept.keeper.end()
    assert kept.models == ["2"]


def test_the_results_of_other_sweeps_count_at_the_end(tmp_path):
    kept = Kept(tmp_path)
    kept.end(0, loss=2.0)
    kept.end_trial(1, loss=1.0)
    elsewhere = TrialProgress(2, {}, tmp_path.parent / "elsewhere" / "2", values={"loss": 0.5})
    elsewhere.outcome = Outcome.COMPLETE
    write_run(elsewhere.folder)
    kept.state.ended[2] = elsewhere
    kept.keeper.end()
    assert kept.models == []
    assert (elsewhere.folder / MODEL).exists(), "it is the folder of another study"


@pytest.mark.parametrize(("keep", "left"), [("none", []), ("best", ["0"])])
def test_a_resumed_study_removes_what_it_does_not_keep_any_more(tmp_path, keep, left):
    before = Kept(tmp_path, keep)
    for number in range(2):
        before.end_trial(number, loss=float(number))
    after = ModelKeeper(tmp_path, keep, by="a setting")
    after.begin(before.state)
    assert before.models == left
