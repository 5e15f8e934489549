"""Studies and runs read back from their folders, and which trial is called the best."""

import math
import shutil
from types import SimpleNamespace

import pytest
from scipy import stats

from hrm_sweep.commands.resolve import resolve_run, resolve_study, studies, trial_of
from hrm_sweep.engine.progress import RecordTail, TrialProgress
from hrm_sweep.errors import RecordError
from hrm_sweep.hrm.description import APP
from hrm_sweep.report.data import Data
from hrm_sweep.runs import handle as trial
from hrm_sweep.runs import ranking
from hrm_sweep.runs.outcomes import Outcome
from hrm_sweep.runs.record import Record
from hrm_sweep.runs.run import Run
from hrm_sweep.runs.study import Study
from hrm_sweep.search.objectives import parse_objectives
from hrm_sweep.search.values import plain

pytestmark = pytest.mark.usefixtures("in_studies_folder")


def test_studies_are_listed_the_newest_first():
    assert [study.name for study in studies()] == ["repeated", "grid"]


def test_a_study_tells_what_it_was_asked():
    study = resolve_study("grid")
    assert (study.objective_names, study.directions) == (["objective"], ["minimize"])
    assert study.searched == ["x", "end"]
    assert study.command.endswith("study_name=grid +x=3,1,2 +end=well,raise")
    assert study.counted() == {"complete": 3, "failed": 3}
    assert not study.can_go_on


def test_a_trial_tells_how_it_ended():
    complete, failed = resolve_study("grid").trials[:2]
    assert complete.outcome is Outcome.COMPLETE
    assert complete.values == {"objective": 1.0}
    assert complete.params(["x", "end"]) == {"x": 3, "end": "well"}
    assert complete.curves[10] == {"objective": 1.1}
    assert sorted(complete.curves) == list(range(1, 11))
    assert failed.outcome is Outcome.FAILED
    assert failed.reason == "ValueError: this one raises"


def test_repeats_are_the_runs_below_a_trial():
    trial = trial_of(resolve_study("repeated"), 1)
    assert [repeat.values["objective"] for repeat in trial.repeats] == [4.0, 4.5, 5.0]
    assert trial.values == {"objective": 4.5, "objective/std": 0.5}
    assert len(resolve_study("repeated").trials) == 2


def test_an_edited_record_is_named_and_concerns_its_trial_only(tmp_path, monkeypatch, capsys):
    shutil.copytree("multirun", tmp_path / "multirun")
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "multirun/grid/0/record.jsonl"
    path.write_text(
        path.read_text().replace('"best": {"objective": 1.0}', '"best": {"objective": 0.0}')
    )
    study = resolve_study("grid")
    assert [run.number for run in study.trials] == [1, 2, 3, 4, 5]
    (left_out,) = capsys.readouterr().err.splitlines()
    assert left_out.startswith("left out: multirun/grid/0/record.jsonl, line ")
    assert "changed after it was written" in left_out
    assert left_out.endswith("; set it aside with: mv multirun/grid/0 multirun/grid/0.damaged")
    with pytest.raises(RecordError, match="changed after it was written"):
        resolve_run("grid/0")


def test_the_best_is_the_lowest_and_ties_go_to_the_lower_number():
    assert [run.number for run in ranking.ranked(resolve_study("grid"))] == [4, 0, 2]


def fake(values, *, repeats=0, held_out=None, number=0):
    """A run as ranking sees it."""
    return SimpleNamespace(
        values=values, repeats=[None] * repeats, num_held_out=held_out, number=number,
        outcome=Outcome.COMPLETE, app=APP,
    )  # fmt: skip


def test_repeated_trials_are_compared_by_welchs_t_test():
    one = fake({"m": 0.9, "m/std": 0.02}, repeats=5)
    two = fake({"m": 0.87, "m/std": 0.05}, repeats=4)
    truth = stats.ttest_ind_from_stats(
        0.9, 0.02, 5, 0.87, 0.05, 4, equal_var=False, alternative="greater"
    ).pvalue
    verdict = ranking.compared(one, two, "m", "maximize")
    assert verdict.p_value == pytest.approx(truth)
    assert verdict.is_clear is False
    assert verdict.words.startswith("not clearly worse: Welch's t-test over repeats, p = 0.1")


def test_single_runs_are_compared_by_the_shares_of_puzzles():
    one, two = (fake({"eval/exact_match": share}, held_out=128) for share in (0.98, 0.85))
    pooled = (0.98 + 0.85) / 2
    truth = stats.norm.sf(0.13 / math.sqrt(pooled * (1 - pooled) * 2 / 128))
    verdict = ranking.compared(one, two, "eval/exact_match", "maximize")
    assert verdict.p_value == pytest.approx(truth)
    assert verdict.is_clear is True


@pytest.mark.parametrize(
    ("one", "two", "words"),
    [
        pytest.param({"m": 1.0}, {"m": 1.0}, "not clearly worse: they are equal", id="equal"),
        pytest.param({"m": 1.0}, {"m": 2.0}, "one run of each cannot tell", id="single losses"),
    ],
)
def test_what_cannot_be_told_is_said(one, two, words):
    assert words in ranking.compared(fake(one), fake(two), "m", "minimize").words


def limited(*shares, most):
    """A study of single runs with a share each, which is to be high but not above `most`."""
    name = "eval/exact_match"
    runs = [fake({name: share}, held_out=1000, number=n) for n, share in enumerate(shares)]
    judged = parse_objectives(name, "maximize", {name: f"<= {most}"})
    return SimpleNamespace(
        objective_names=[name],
        directions=["maximize"],
        objectives=judged,
        trials=runs,
        tie_breaker=None,
        app=APP,
    )


@pytest.mark.parametrize(
    ("shares", "words"),
    [
        pytest.param((0.99, 0.7, 0.5), "50.0 % (trial 2), clearly worse: two shares", id="allowed"),
        pytest.param((0.99, 0.7), "none, no other trial keeps to the constraints", id="no other"),
        pytest.param((0.99, 0.9), "", id="not even the best"),
        pytest.param((0.7,), "", id="alone"),
    ],
)
def test_the_next_best_is_one_that_keeps_to_the_constraints(shares, words):
    study = limited(*shares, most=0.8)
    told = ranking.next_best(study, ranking.ranked(study))
    assert told.startswith(words)
    assert bool(told) == bool(words)


def test_best_so_far_is_of_trials_that_keep_to_the_constraints():
    assert Data(limited(0.5, 0.99, 0.7, 0.6, most=0.8)).so_far == ([0, 2, 3], [0.5, 0.7, 0.7])


def test_repeats_without_any_spread_are_judged_by_their_puzzles_if_at_all():
    name = "eval/exact_match"
    shares = [{name: 1.0, f"{name}/std": 0.0}, {name: 127 / 128, f"{name}/std": 0.0}]
    one, two = (fake(values, repeats=2, held_out=128) for values in shares)
    pooled = 255 / 256
    truth = stats.norm.sf(1 / 128 / math.sqrt(pooled * (1 - pooled) * 2 / 128))
    verdict = ranking.compared(one, two, name, "maximize")
    assert (verdict.is_clear, verdict.p_value) == (False, pytest.approx(truth))
    one, two = (fake(values, repeats=2) for values in shares)
    assert ranking.compared(one, two, name, "maximize") == ranking.Verdict(
        None, None, "no repeat of either differs, which leaves no noise to judge by"
    )


@pytest.mark.parametrize("direction", ["maximize", "minimize"])
def test_what_is_better_is_not_called_worse(direction):
    ahead, behind = (1, -1) if direction == "maximize" else (-1, 1)
    one, two = (fake({"m": value, "m/std": 0.1}, repeats=4) for value in (ahead, behind))
    assert ranking.compared(one, two, "m", direction).is_clear is True
    assert ranking.compared(two, one, "m", direction).is_clear is False


def test_the_pareto_front_is_what_no_other_trial_beats():
    points = [(1, 9), (2, 8), (2, 9), (3, 7), (3, 7), (0, 1)]
    runs = [
        fake({"loss": float(low), "score": float(high)}, number=number)
        for number, (low, high) in enumerate(points)
    ]
    names, ways = ["loss", "score"], ["minimize", "maximize"]
    study = SimpleNamespace(
        objective_names=names,
        directions=ways,
        objectives=parse_objectives(names, ways),
        trials=runs,
    )
    assert [run.number for run in ranking.front(study)] == [5, 0]


@pytest.mark.parametrize(
    ("text", "value"),
    [("1e-4", 1e-4), ("3", 3), ("true", True), ("null", None), ("hrm", "hrm"), ("'a b'", "a b")],
)
def test_an_overrides_value_is_plain(text, value):
    assert plain(text) == value
    assert type(plain(text)) is type(value)


def test_a_run_that_went_on_took_the_time_of_both_attempts(tmp_path):
    who = {"kind": "train", "tags": {}, "description": ""}
    with Record(tmp_path) as record:
        record.append("started", **who)
        record.append("finished", outcome="interrupted", reason="", best={}, seconds=3600.0)
    with trial.session(tmp_path, **who):
        pass
    assert Run.open(tmp_path).attempts == 2
    assert 3600 <= Run.open(tmp_path).seconds < 3700
    assert RecordTail(TrialProgress(0, {}, tmp_path)).progress.seconds == Run.open(tmp_path).seconds


def test_the_record_of_a_study_is_a_run_too():
    assert isinstance(Study(Run.open(resolve_study("grid").folder)).num_trials, int)
