"""Studies with several objectives, constraints, zips, repeats that are judged: the front door."""

import json
import re
from pathlib import Path

import optuna
import pytest
from omegaconf import OmegaConf
from studies import STUDY, study, sweep

TWO = ("hydra.sweeper.objective=[objective,size]", "hydra.sweeper.direction=[minimize,maximize]")
pytestmark = pytest.mark.usefixtures("in_a_folder_of_its_own")


@pytest.mark.parametrize("returns", ["tuple", "dict"])
def test_several_objectives_have_a_front(returns):
    done = sweep("+x=0,1,2,3", f"+returns={returns}", *TWO)
    assert done.returncode == 0, done.stderr
    assert [trial.values for trial in study().get_trials()] == [[4, 0], [1, 1], [0, 2], [1, 3]]
    assert sorted(trial.number for trial in study().best_trials) == [2, 3]
    marked = re.findall(r"^\* +(\d)", done.stdout.partition("Finished")[2], re.M)
    assert sorted(marked) == ["2", "3"]
    assert "front       2 trials that no other beats: 2, 3\n" in done.stdout
    assert "python -m hrm_sweep best --pareto\n" in done.stdout
    assert "once more" not in done.stdout
    results = OmegaConf.load("multirun/study/optimization_results.yaml")
    solutions = [(each.trial, each.params.x, list(each["values"])) for each in results.solutions]
    assert solutions == [(2, 2, [0, 2]), (3, 3, [1, 3])]


def test_a_pruner_beside_several_objectives_is_refused():
    done = sweep("+x=0,1", *TWO, "hydra.sweeper.pruner={_target_:optuna.pruners.MedianPruner}")
    assert done.returncode == 2
    assert done.stderr.startswith(
        "hydra.sweeper.pruner=MedianPruner: a trial with several objectives"
    )
    assert not Path("multirun").exists()


def test_constraints_have_names_and_bounds():
    done = sweep("+x=0,1,2,3", "+returns=dict", "hydra.sweeper.constraints={size: '<= 1'}")
    assert done.returncode == 0, done.stderr
    assert study().best_trial.number == 1
    assert [trial.constraints for trial in study().get_trials()] == [
        {"size": excess} for excess in (-1, 0, 1, 2)
    ]
    assert re.search(
        r"^trial 2  x=2  step 10/10  objective 0  size 2  done in \d+ s, breaks size <= 1$",
        done.stdout,
        re.M,
    )
    assert OmegaConf.load("multirun/study/optimization_results.yaml").best_trial == 1


def test_results_name_the_trial_its_folder_and_the_command_that_reproduces_it():
    assert sweep("+x=1,2").returncode == 0
    results = OmegaConf.load("multirun/study/optimization_results.yaml")
    assert (results.best_trial, results.best_folder) == (1, "multirun/study/1")
    assert results.best_overrides == ["+x=2"]
    assert results.best_reproduce == "python -m hrm_sweep reproduce study --trial 1"
    assert results.best_mlflow_run_id is None  # untracked


def test_our_words_of_the_grammar_work_on_the_command_line():
    done = sweep("+x=zip(1,2)", "+y=logrange(1,100,3)", "+z=zip(a,b)")
    assert done.returncode == 0, done.stderr
    points = [tuple(trial.params[name] for name in "xyz") for trial in study().get_trials()]
    assert points == [(x, y, z) for x, z in ((1, "a"), (2, "b")) for y in (1, 10, 100)]


def test_the_engine_says_which_sampler_it_chose():
    sampler = "hydra.sweeper.sampler={_target_: hrm_sweep.search.samplers.Auto}"
    done = sweep("+x=interval(0,4)", "+y=a,b", "hydra.sweeper.n_trials=3", sampler)
    assert done.returncode == 0, done.stderr
    assert "Search of 3 trials, proposed by TPESampler (auto: y has no order)" in done.stdout


def test_wilcoxon_judges_between_repeats():
    pruner = "hydra.sweeper.pruner={_target_: optuna.pruners.WilcoxonPruner, p_threshold: 0.1}"
    seeds = ("+seed=0", "+noise=0.01", "hydra.launcher.workers=1")
    done = sweep("+x=2,9", *seeds, "hydra.sweeper.repeats=6", pruner)
    assert done.returncode == 0, done.stderr
    good, bad = study().get_trials()
    assert (good.state.name, bad.state.name) == ("COMPLETE", "PRUNED")
    assert sorted(bad.intermediate_values) == [1, 2, 3, 4]  # 0.5 ** 4 < 0.1
    assert not Path("multirun/study/1/4").exists()


def test_wilcoxon_without_repeats_is_refused():
    done = sweep("+x=2,9", "hydra.sweeper.pruner={_target_: optuna.pruners.WilcoxonPruner}")
    assert done.returncode == 2
    assert "it judges a trial between its repeats, and there is one" in done.stderr


def test_patience_wraps_another_pruner():
    inner = "{_target_: optuna.pruners.ThresholdPruner, upper: 3.0}"
    pruner = f"{{_target_: optuna.pruners.PatientPruner, wrapped_pruner: {inner}, patience: 20}}"
    done = sweep("+x=2,9", f"hydra.sweeper.pruner={pruner}")
    assert done.returncode == 0, done.stderr  # alone, the inner one would have ended x=9 at once
    assert [trial.state.name for trial in study().get_trials()] == ["COMPLETE"] * 2


def test_a_recipe_that_is_done_is_not_run_again():
    seeds = ("+seed=0,1", "+noise=1", "hydra.sweeper.repeats=3", "hydra.launcher.workers=1")
    done = sweep("+x=2", *seeds)
    assert done.returncode == 0, done.stderr
    keys = [(trial, repeat) for trial in (0, 1) for repeat in (0, 1, 2)]
    results = {
        (trial, repeat): json.loads((STUDY / f"{trial}/{repeat}/result.json").read_text())
        for trial, repeat in keys
    }
    seed_of = {key: sum(key) for key in results}
    assert {key: result["values"]["objective"] for key, result in results.items()} == seed_of
    told = {key: result["reason"] for key, result in results.items() if result["reason"]}
    assert told == {
        (1, 0): "the recipe of trial 0, repeat 1, whose values these are",
        (1, 1): "the recipe of trial 0, repeat 2, whose values these are",
    }


def test_a_dry_run_knows_what_is_done_and_how_long_the_rest_takes():
    assert sweep("+x=1,2", "+pause=0.02").returncode == 0
    before = sorted(Path().rglob("*"))
    done = sweep("+x=1,2,3", "+pause=0.02", "hydra.sweeper.dry_run=true")
    assert done.returncode == 0, done.stderr
    assert "  0  +x=1 +pause=0.02  (complete as trial 0)" in done.stdout
    assert "  2  +x=3 +pause=0.02\n" in done.stdout
    assert re.search(r"2 done, 1 to run, about \d+ s with \d+ workers?", done.stdout)
    assert sorted(Path().rglob("*")) == before


def test_the_joblib_launcher_takes_the_trials_in_batches():
    done = sweep("+x=1,2,3", "hydra/launcher=joblib", "hydra.launcher.n_jobs=2")
    assert done.returncode == 0, done.stderr
    assert [trial.value for trial in study().get_trials()] == [1, 0, 1]


def test_optuna_takes_rows_of_a_curve_at_once():
    """Its schema is its own affair: what our one statement writes is what it reads."""
    from hrm_sweep.storage.optuna_storage import SharedStorage

    Path("multirun").mkdir()
    ledger = SharedStorage("sqlite:///multirun/optuna.db")
    trial = ledger.open_study("study", ["minimize"]).ask()
    curve = {1: 0.5, 2: float("inf"), 3: float("nan"), 4: -1e300}
    ledger.report(trial, {1: 0.5})
    ledger.report(trial, curve)
    read = study().get_trials()[0].intermediate_values
    assert repr(read) == repr(curve)


def test_what_waits_again_keeps_its_number_parameters_and_curve():
    from hrm_sweep.storage.optuna_storage import SharedStorage

    Path("multirun").mkdir()
    ledger = SharedStorage("sqlite:///multirun/optuna.db")
    made = ledger.open_study("study", ["minimize"])
    trial = made.ask({"x": optuna.distributions.FloatDistribution(0, 1)})
    trial.report(7.0, 1)
    trial.set_user_attr("folder", "here")
    ledger.requeue(trial)
    again = ledger.start(made, trial._trial_id)
    assert (again.number, again.params) == (0, trial.params)
    assert again.user_attrs == {"folder": "here"}
    made.tell(again, 1.0)
    (told,) = study().get_trials()
    assert (told.state.name, told.value, told.intermediate_values) == ("COMPLETE", 1.0, {1: 7.0})
    assert ledger.start(made, trial._trial_id) is None


def test_a_transaction_is_there_whole_or_not_at_all():
    from hrm_sweep.storage.optuna_storage import SharedStorage

    Path("multirun").mkdir()
    ledger = SharedStorage("sqlite:///multirun/optuna.db")
    made = ledger.open_study("study", ["minimize"])

    def breaks_off():
        with ledger.exclusive_transaction("study"):
            made.ask().set_user_attr("a", 1)
            raise RuntimeError("in the middle")

    with pytest.raises(RuntimeError, match="in the middle"):
        breaks_off()
    assert study().get_trials() == []
    with ledger.exclusive_transaction("study"):
        made.ask()
    assert len(study().get_trials()) == 1
