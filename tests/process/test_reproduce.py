"""Runs that come out again, and what is said of those that do not."""

import math
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from hydra.core.global_hydra import GlobalHydra
from paths import TESTS
from trainings import SMALL, interrupted_amid_an_epoch

from hrm_sweep import load_run
from hrm_sweep.commands import rerun
from hrm_sweep.commands.resolve import reproductions, resolve_run, resolve_study, studies
from hrm_sweep.errors import RecordError
from hrm_sweep.hrm import app, config
from hrm_sweep.hrm.description import APP
from hrm_sweep.report.data import Data
from hrm_sweep.runs import compare
from hrm_sweep.runs.run import Run


def run(
    curves, *, weights=None, config=None, folder=Path("nowhere"), recipe=(), app=None, values=None
):
    """A run as a comparison sees it."""
    return SimpleNamespace(
        curves=curves, values=values or {}, facts={"weights": weights} if weights else {},
        config=config or {}, folder=folder, recipe=list(recipe), app=app,
    )  # fmt: skip


CURVES = {1: {"eval/loss": 2.0, "time/examples_per_second": 9.0}, 2: {"eval/loss": 0.5}}


def test_equal_curves_and_weights_are_identical_whatever_the_clock_says():
    faster = {1: {"eval/loss": 2.0, "time/examples_per_second": 11.0}, 2: {"eval/loss": 0.5}}
    compared = compare.compare(run(CURVES, weights="a"), run(faster, weights="a"))
    assert (compared.num_values, compared.drifts, compared.weights_equal) == (2, [], True)
    assert compared.is_identical


@pytest.mark.parametrize(
    ("now", "first", "size"),
    [
        pytest.param({1: {"eval/loss": 2.0 + 2**-51}, 2: {"eval/loss": 0.5}}, 1, 2**-52, id="bit"),
        pytest.param({1: {"eval/loss": 2.0}, 2: {"eval/loss": 0.4}}, 2, 0.1, id="small values"),
        pytest.param({1: {"eval/loss": 2.0}}, 2, math.inf, id="a step is missing"),
        pytest.param({1: {"eval/loss": math.nan}, 2: {"eval/loss": 0.5}}, 1, math.inf, id="nan"),
    ],
)
def test_a_drift_is_named_with_its_step_and_size(now, first, size):
    compared = compare.compare(run(CURVES), run(now))
    assert [drift.step for drift in compared.drifts] == [first]
    assert compared.largest.size == pytest.approx(size)
    assert compared.is_within(size)
    assert compared.is_within(size / 2) is math.isinf(size)


def test_final_values_are_compared_too():
    compared = compare.compare(run({}, values={"error": 0.5}), run({}, values={"error": 0.25}))
    assert (compared.num_values, compared.verdict(0.0)) == (1, "no")
    assert compared.drifts == [compare.Drift(None, "error", 0.5, 0.25)]
    assert compare.compare(run(CURVES, values={"a": 1.0}), run(CURVES)).drifts[0].now is None
    assert compare.compare(
        run(CURVES, values={"a": 1.0}), run(CURVES, values={"a": 1.0})
    ).is_identical


def test_nan_is_reproduced_by_nan():
    curves = {1: {"eval/loss": math.nan}}
    assert compare.compare(run(curves), run(curves)).is_identical


def test_other_weights_are_no_reproduction_though_every_value_is_equal():
    assert not compare.compare(run(CURVES, weights="a"), run(CURVES, weights="b")).is_identical


HERE = {
    "python": "3.11.7", "platform": "Linux", "cpu": "EPYC", "cpu_features": ["avx2", "fma"],
    "packages": {"torch": "2.13.0"}, "git_commit": "a" * 40, "git_dirty": False,
    "git_changes": None,
}  # fmt: skip


@pytest.mark.parametrize(
    ("change", "told"),
    [
        pytest.param({}, [], id="nothing"),
        pytest.param({"python": "3.12.1"}, ["Python: 3.12.1, now 3.11.7"], id="Python"),
        pytest.param(
            {"cpu_features": ["avx2", "avx512f"]},
            ["CPU features: without avx512f, with fma"],
            id="CPU features",
        ),
        pytest.param({"packages": {"torch": "2.12.0"}}, ["torch: 2.12.0, now 2.13.0"], id="torch"),
        pytest.param(
            {"git_commit": "b" * 40}, ["git commit: bbbbbbbbbb, now aaaaaaaaaa"], id="commit"
        ),
        pytest.param({"git_dirty": True}, ["uncommitted changes then"], id="dirty tree"),
    ],
)
def test_what_differs_between_two_machines_is_said(change, told):
    assert list(compare.differences({**HERE, **change}, HERE)) == told


@pytest.mark.parametrize(
    ("change", "told"),
    [
        pytest.param({}, [], id="nothing"),
        pytest.param(
            {"dataset": {"name": "puzzles", "digest": "00ff"}},
            ["data set puzzles: its digest was 00ff, now abcd"],
            id="other files under the same path",
        ),
        pytest.param(
            {"facts": {"compiled": "yes"}},
            ["compiled (trainer.compile): yes, now no"],
            id="no compiler any more",
        ),
        pytest.param({"dataset": {}, "facts": {}}, [], id="it did not say"),
    ],
)
def test_what_two_runs_of_a_recipe_did_differently_is_said(change, told):
    now = {"dataset": {"name": "puzzles", "digest": "abcd"}, "facts": {"compiled": "no"}}
    before = SimpleNamespace(**{**now, **change})
    assert list(compare.other_work(before, SimpleNamespace(**now))) == told


@pytest.fixture
def _no_hydra():
    config.register_resolvers()
    yield
    GlobalHydra.instance().clear()


@pytest.mark.usefixtures("_no_hydra")
def test_defaults_that_have_changed_since_are_put_back(capsys, tmp_path):
    recorded = app.flat(app.compose([]))
    recorded |= {"lr": 0.25, "optimizer.lr": 0.25, "model.L_cycles": 7}
    recorded |= {"optimizer.max_grad_norm": None}
    recorded_run = run({}, config=recorded, folder=tmp_path, app=APP)
    overrides = rerun.recorded_recipe(recorded_run, app)
    put_back = ["++lr=0.25", "++model.L_cycles=7", "++optimizer.max_grad_norm=null"]
    assert sorted(overrides) == put_back
    said = capsys.readouterr().out
    assert "default changed since: model.L_cycles was 7; the recorded value is used" in said
    again = app.flat(app.compose(overrides))
    assert again["optimizer.lr"] == 0.25
    assert again["optimizer.max_grad_norm"] is None
    assert compare.changed_config(recorded, again, APP.ignored_keys) == {}


@pytest.fixture
def copied(studies_folder, tmp_path, monkeypatch) -> Path:
    """The finished studies, to be spoilt."""
    shutil.copytree(studies_folder / "multirun", tmp_path / "multirun")
    monkeypatch.chdir(tmp_path)
    return tmp_path / "multirun"


def hrm_sweep(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "hrm_sweep", *arguments], capture_output=True, text=True, check=False
    )


def test_a_trial_of_any_app_comes_out_again(copied):
    done = hrm_sweep("reproduce", "repeated", "--trial", "1", "--repeat", "2", "--yes")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Trial 1 of repeated, repeat 2: +x=4 +seed=0 +noise=0.5 seed=2" in done.stdout
    assert "Reproduced: 11 of 11 values are identical, bit for bit" in done.stdout
    copies = reproductions(resolve_study("repeated"))
    assert [each.folder for each in copies] == [Path("multirun/reproduced/repeated-1-2-again")]
    original = Path("multirun/repeated/1/2")
    assert {copies[0].copy_of, copies[0].trials[0].copy_of} == {original}
    assert resolve_study(None).name == "repeated"
    removed = hrm_sweep("delete", "repeated/1", "--reproductions", "--yes")
    assert removed.stdout.endswith("repeated-1-2-again: removed.\n")
    assert [study.name for study in studies()] == ["repeated", "grid"]


@pytest.mark.parametrize(
    ("file", "old", "new", "words"),
    [
        pytest.param(
            "record.jsonl", '"objective": 2.0', '"objective": 1.0', "line 3: changed after it was",
            id="record",
        ),
        pytest.param(
            "result.json", '"objective": 1.0', '"objective": 0.5',
            "edited, it has objective=0.5 and the record 1.0", id="result",
        ),
    ],
)  # fmt: skip
def test_an_edited_record_is_named(file, old, new, words, copied):
    path = copied / "grid/0" / file
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new, 1))
    done = hrm_sweep("reproduce", "grid/0")
    assert done.returncode == 2
    assert f"multirun/grid/0/{file}" in done.stderr
    assert words in done.stderr


def test_an_incomplete_record_is_named(copied):
    (copied / "grid/0/result.json").unlink()
    with pytest.raises(RecordError, match=r"grid/0: incomplete, result.json is missing"):
        compare.check(resolve_run("grid/0"))


@pytest.mark.slow
def test_an_app_that_has_changed_does_not_reproduce_and_says_where(copied):
    app_file = copied.parent / "app.py"
    source = (TESTS / "apps/parabola.py").read_text()
    app_file.write_text(source)
    flags = ["hydra/sweeper=hrm_sweep", "hydra/launcher=pool", "hydra.sweeper.tracking.name=off"]
    names = ["hydra.sweep.dir=multirun/own", "hydra.sweeper.study_name=own"]
    subprocess.run(
        [sys.executable, "app.py", "-m", *flags, *names, "+x=1,2"], check=True, capture_output=True
    )
    app_file.write_text(source.replace("** 2 + 1 / step", "** 2 + 1.001 / step"))
    asked = hrm_sweep("reproduce", "own")
    assert asked.returncode == 2
    assert "  runs python app.py -m hydra/sweeper=hrm_sweep" in asked.stdout
    assert asked.stderr == ("Trial 1 of own: there is no terminal to confirm at; add --yes\n")
    assert not (copied / "reproduced").exists()
    done = hrm_sweep("reproduce", "own", "--yes")
    assert done.returncode == 1, done.stderr
    assert "Not reproduced: 1 of 11 values are identical" in done.stdout
    assert "first difference  step 1, objective: 1.0, now 1.001" in done.stdout
    near = hrm_sweep("reproduce", "own", "--yes", "--tolerance", "0.01")
    assert near.returncode == 0
    assert "Reproduced within 0.01: 1 of 11 values" in near.stdout
    names = sorted(path.name for path in (copied / "reproduced").iterdir())
    assert names == ["own-1-again", "own-1-again-2"]


@pytest.mark.usefixtures("in_a_folder_of_its_own")
def test_a_run_stopped_amid_an_epoch_is_reproduced_up_to_it(typed):
    with interrupted_amid_an_epoch(2):
        typed(*SMALL, "study.name=stopped", "tracking=off")
    stopped = Run.open(Path("multirun/train/stopped"))
    assert (stopped.config["model.init_from"], stopped.facts) == (
        None,
        {"compiled": "no", "precision": "fp32", "best_epoch": "2", "phase": "pattern recognition"},
    )
    code, said, _ = typed("reproduce", "multirun/train/stopped")
    assert code == 0, said
    assert "Reproduced: 36 of 36 values are identical, bit for bit" in said
    assert "not compared: the final weights; the run did not end at the end of an epoch" in said


@pytest.mark.usefixtures("in_a_folder_of_its_own")
@pytest.mark.slow
def test_values_that_were_taken_over_lead_to_the_run_that_was_trained():
    hrm_sweep("-m", "seed=0,1", *SMALL, "study.repeats=2", "study.workers=1", "study.name=twins",
              "tracking=off")  # fmt: skip
    done = hrm_sweep("reproduce", "twins", "--trial", "1", "--repeat", "0")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Trial 1 of twins, repeat 0 reused the values of a run with the same re" in done.stdout
    assert "values and the final weights are identical" in done.stdout
    taken, trained = (Run.open(Path("multirun/twins") / name) for name in ("1/0", "0/1"))
    assert taken.facts == {"taken_from": "../../0/1"}
    assert taken.num_held_out == trained.num_held_out == 8
    assert sorted(Data(resolve_study("twins")).curves[1]) == [1, 2, 3, 4]
    assert load_run(taken.folder).model.inner.embed_scale == 32**0.5


def test_a_pruned_trial_is_reproduced_as_far_as_it_came(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    small = ["hidden_dim=32", "data.num_puzzles=16", "data.num_eval_puzzles=8", "trainer=smoke"]
    pruner = ["study/pruner=threshold", "study.pruner.lower=2", "study.pruner.n_warmup_steps=2"]
    hrm_sweep("-m", "lr=1e-3", "trainer.epochs=4", "study.name=cut", *small, *pruner,
              "tracking=off")  # fmt: skip
    done = hrm_sweep("reproduce", "cut/0")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "stopped after step 2, like the run that it repeats" in done.stdout
    assert "36 of 36 values and the final weights are identical" in done.stdout
