"""Studies that version 0.1.0 made before records named their app: everything can still be read.

`tests/data/studies-0.1.0.tar.gz` holds what that version left behind, without weights and pictures:
`shipped` (two trials of the shipped app, two repeats each), `foreign` (six trials of the parabola,
three of them failed), the single run `alone`, and the databases of Optuna and MLflow. The expected
values are those that version 0.1.0 printed.
"""

import json
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path

import optuna
import pandas
import pytest
from hydra.core.global_hydra import GlobalHydra
from paths import TESTS
from truth import Truth

import hrm_sweep
from hrm_sweep.commands.rerun import recorded_recipe
from hrm_sweep.commands.resolve import resolve_run
from hrm_sweep.hrm import app
from hrm_sweep.hrm.description import APP
from hrm_sweep.runs.app import register, runner_of

BEST_LOSS = 2.405987858772278
RUN_IDS = {
    "shipped/1": "6be794db6e3742638878aa566a2ea216",
    "shipped/1/0": "76610690339a4d7a918db11567069331",
    "foreign/4": "48711cbd1dda4577a1df15b5719bbc9d",
}
RECIPE = [
    "hidden_dim=16",
    "model.num_heads=2",
    "data.num_puzzles=8",
    "data.num_eval_puzzles=8",
    "trainer=smoke",
]


@pytest.fixture(autouse=True)
def old(tmp_path, monkeypatch) -> Path:
    """A working folder with the studies."""
    with tarfile.open(TESTS / "data/studies-0.1.0.tar.gz") as archive:
        archive.extractall(tmp_path, filter="data")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return tmp_path


@pytest.fixture
def shipped_app() -> Iterator[None]:
    """Register the shipped app, as the command line does."""
    register(APP, runner=app)
    yield
    GlobalHydra.instance().clear()


def test_list_shows_both_studies(typed):
    code, said, _ = typed("list", "--json")
    foreign, shipped = (line for line in json.loads(said) if line["kind"] == "study")
    assert code == 0
    assert (foreign["name"], foreign["trials"]) == ("foreign", {"complete": 3, "failed": 3})
    assert foreign["best"] == {"objective": 0.0, "trial": 4}
    assert (shipped["name"], shipped["trials"]) == ("shipped", {"complete": 2})
    assert (shipped["best"]["trial"], shipped["best"]["eval/loss"]) == (1, BEST_LOSS)
    assert [study["can_go_on"] for study in (foreign, shipped)] == [False, False]


def test_best_of_the_shipped_app_has_its_metrics_as_per_cent(typed):
    said = typed("best", "shipped")[1]
    assert said.startswith("Trial 1 of shipped: lr=3e-3\n")
    assert "  exact match     0.0 ± 0.0 %\n" in said
    assert "  token accuracy  20.2 ± 15.4 %\n" in said
    assert "not clearly worse: they are equal; the lower eval/loss decides\n" in said
    command = " ".join(["python -m hrm_sweep lr=3e-3", *RECIPE])
    assert f"  run again       {command}\n" in said


def test_best_of_another_app(typed):
    described = json.loads(typed("best", "foreign", "--json")[1])
    assert (described["trial"], described["values"]) == (4, {"objective": 0.0})
    assert described["params"] == {"x": 2, "end": "well"}
    assert described["command"] == ["python", "parabola.py", "+x=2", "+end=well"]


@pytest.mark.parametrize(("text", "run_id"), RUN_IDS.items())
def test_show_by_name_and_by_mlflow_run_id(text, run_id, typed):
    by_name, by_id = (typed("show", named)[1] for named in (text, run_id))
    assert by_name == by_id
    assert run_id in by_name


def test_show_draws_the_curves_of_a_run(typed):
    said = typed("show", "shipped/1/0")[1]
    assert "train/loss           █▁  2.421 → 2.247\n" in said
    assert "eval/token_accuracy  ▁█  30.0 % → 31.1 %\n" in said
    failed = typed("show", "foreign/1")[1]
    assert "  ValueError: this one raises\n" in failed
    assert "objective  █▄▃▂▂▂▁▁▁▁  2 → 1.1\n" in failed


def test_report_is_written(typed):
    assert typed("report", "shipped")[0] == 0
    page = Path("multirun/shipped/report.html").read_text(encoding="utf-8")
    assert "20.2 ± 15.4 %" in page


def test_export_and_load_study_give_a_row_for_each_repeat(typed):
    assert typed("export", "shipped", "--to", "shipped.csv")[0] == 0
    for table in (pandas.read_csv("shipped.csv"), hrm_sweep.load_study("shipped").trials):
        assert [*table["trial"]] == [0, 0, 1, 1]
        assert [*table["repeat"]] == [0, 1, 0, 1]
        assert [*table["params.lr"]] == [1e-3, 1e-3, 3e-3, 3e-3]
        assert table["eval/loss"][2:].mean() == pytest.approx(BEST_LOSS, rel=1e-12)
    assert [*hrm_sweep.load_study("foreign").trials["outcome"]] == ["complete", "failed"] * 3


def test_optuna_has_all_trials():
    studies = {
        name: optuna.load_study(study_name=name, storage="sqlite:///multirun/optuna.db")
        for name in ("shipped", "foreign")
    }
    assert studies["shipped"].best_trials[0].number in (0, 1)
    assert [trial.state.name for trial in studies["foreign"].trials] == ["COMPLETE", "FAIL"] * 3
    assert studies["foreign"].best_trial.params == {"x": 2, "end": "well"}


def test_mlflow_has_all_runs_and_sync_finds_nothing_to_send(typed):
    truth = Truth("sqlite:///mlruns/mlflow.db")
    assert len(truth.runs()) == 15
    assert truth.run("1 lr=3e-3").data.metrics["best/eval/loss"] == BEST_LOSS
    assert truth.run("4 x=2 end=well").data.metrics["best/objective"] == 0.0
    assert typed("sync") == (0, "everything is in MLflow\n", "")


def test_sync_sends_a_copy_to_another_mlflow(typed):
    code, said, _ = typed("sync", "shipped", "--to", "sqlite:///copy/mlflow.db")
    assert (code, said.startswith("shipped: sent ")) == (0, True)
    copy = Truth("sqlite:///copy/mlflow.db")
    assert len(copy.runs()) == 7
    assert copy.run("1 lr=3e-3").data.metrics["best/eval/loss"] == BEST_LOSS


def test_resume_finds_nothing_left_to_run(old):
    done = subprocess.run(
        [sys.executable, "-m", "hrm_sweep", "resume", "shipped"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Grid of 2, every point once · nothing is left to run\n" in done.stdout
    assert "*  1      3e-3  0.0 ± 0.0 %  2.406 ± 0.1192   20.2 ± 15.4 %" in done.stdout


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(None, id="missing"),
        pytest.param("hydra: [", id="no YAML"),
        pytest.param("[1]", id="a list"),
        pytest.param("lr: 1", id="without Hydra's part"),
        pytest.param("hydra: null", id="an empty part"),
    ],
)
@pytest.mark.usefixtures("shipped_app")
def test_resume_needs_what_hydra_saved(text, old, typed):
    saved = Path("multirun/shipped/multirun.yaml")
    saved.unlink() if text is None else saved.write_text(text)
    code, _, error = typed("resume", "shipped")
    assert code == 2
    assert error == (
        f"{saved}: does not have the study's overrides; repeat its command with study.name=shipped"
    )


@pytest.mark.usefixtures("shipped_app")
def test_reproduce_reads_the_recorded_recipe(capsys):
    run = resolve_run("shipped/1/0")
    overrides = recorded_recipe(run, runner_of(run.app))
    assert overrides == ["lr=0.003", *RECIPE, "seed=0"]
    assert capsys.readouterr().out == ""  # no default has changed since


def test_resume_of_another_app_says_how(typed):
    code, said, error = typed("resume", "foreign")
    assert code == 2
    assert error == "foreign: there is no terminal to confirm at; add --yes"
    flags = "-m hydra/sweeper=hrm_sweep hydra/launcher=pool hydra.sweeper.study_name=foreign"
    assert f"  runs python parabola.py {flags} " in said
    assert said.rstrip().endswith(" +x=3,1,2 +end=well,raise")
