"""The shipped app through the front door, tracked: a small study in MLflow and Optuna."""

import base64
import importlib.metadata
import json
import os
import re
import runpy
import subprocess
import sys
import zlib
from pathlib import Path

import optuna
import pytest
import torch
from mlflow import MlflowClient
from paths import ROOT, TESTS
from studies import PATIENCE_SECONDS

from hrm_sweep.commands import pages
from hrm_sweep.hrm.training import checkpoint
from hrm_sweep.runs.record import read, values_of

TOUR = runpy.run_path(str(ROOT / "docs" / "mlflow_tour.py"))
SMALL = [
    "trainer=smoke",
    "hidden_dim=32",
    "epochs=2",
    "data.num_puzzles=16",
    "data.num_eval_puzzles=8",
]

SAME = r"(\d+) of \1 values and the final weights are identical, bit for bit"


def hrm_sweep(*arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "hrm_sweep", *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=False,
    )


def git(*arguments: str) -> str:
    """Of the code that trains."""
    command = ["git", "-C", str(TESTS), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("tracked")


@pytest.fixture(scope="module")
def printed(folder) -> str:
    done = hrm_sweep("-m", "lr=1e-4,1e-3,3e-4", "study.name=small", *SMALL, folder=folder)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def runs(folder, printed):
    """The study's run in MLflow, and its trials by number."""
    client = MlflowClient(f"sqlite:///{folder}/mlruns/mlflow.db")
    experiment = client.get_experiment_by_name("hrm_sweep")
    found = client.search_runs([experiment.experiment_id])
    parent = next(run for run in found if "mlflow.parentRunId" not in run.data.tags)
    trials = {int(run.data.tags["hrm_sweep.trial"]): run for run in found if run is not parent}
    return client, parent, trials


@pytest.fixture(scope="module")
def trials(folder, printed):
    storage = f"sqlite:///{folder}/multirun/optuna.db"
    return optuna.load_study(study_name="small", storage=storage).get_trials()


def test_a_study_is_a_parent_run_and_its_trials_are_the_children(runs):
    _, parent, children = runs
    assert parent.info.run_name == "small"
    assert sorted(children) == [0, 1, 2]
    for run in children.values():
        assert run.info.status == "FINISHED"
        assert run.data.tags["mlflow.parentRunId"] == parent.info.run_id
        assert run.data.tags["hrm_sweep.study"] == "small"
    assert {run.info.run_name for run in children.values()} == {
        "0 lr=1e-4",
        "1 lr=1e-3",
        "2 lr=3e-4",
    }
    assert parent.info.status == "FINISHED"


def test_optuna_names_the_runs_and_the_best_trial(folder, runs):
    _, _, children = runs
    study = optuna.load_study(study_name="small", storage=f"sqlite:///{folder}/multirun/optuna.db")
    run_ids = {trial.number: trial.user_attrs["mlflow_run_id"] for trial in study.trials}
    assert run_ids == {number: run.info.run_id for number, run in children.items()}
    best = hrm_sweep("best", "--json", folder=folder)
    assert study.user_attrs["best_trial"] == json.loads(best.stdout)["trial"]


def test_mlflow_sorts_the_trials_as_the_terminal_does(folder, printed, runs):
    client, parent, children = runs
    table = [line.split()[0] for line in printed.replace("*", " ").splitlines() if " s" in line]
    sorted_by_mlflow = client.search_runs(
        [parent.info.experiment_id],
        f"tags.`mlflow.parentRunId` = '{parent.info.run_id}'",
        order_by=["metrics.`hrm_sweep.rank` ASC"],
    )
    numbers = [run.data.tags["hrm_sweep.trial"] for run in sorted_by_mlflow]
    assert len({run.data.metrics["best/eval/exact_match"] for run in children.values()}) == 1
    assert numbers == table[-3:]


@pytest.mark.parametrize(
    ("name", "page"),
    [
        pytest.param(None, "/runs?viewStateShareKey={study}&workflowType=mach", id="the newest"),
        pytest.param("small", "/runs?viewStateShareKey={study}&workflowType=mach", id="a study"),
        pytest.param("small/1", "/runs/{trial}", id="a trial"),
    ],
)
def test_ui_opens_on_what_was_named(folder, runs, monkeypatch, name, page):
    _, parent, children = runs
    monkeypatch.chdir(folder)
    expected = page.format(study=parent.info.run_id, trial=children[1].info.run_id)
    address = pages._page(pages._shown(name))
    assert address.startswith(f"/#/experiments/{parent.info.experiment_id}{expected}")


def test_a_run_says_what_it_is_and_leads_to_optuna_and_to_the_other_trials(folder, runs):
    client, parent, children = runs
    note = parent.data.tags["mlflow.note.content"]
    assert note.startswith("    python -m hrm_sweep -m lr=1e-4,1e-3,3e-4 study.name=small")
    commit, is_changed = git("rev-parse", "HEAD"), bool(git("status", "--porcelain", "-uno"))
    code = f"git commit `{commit[:10]}`{' and changes after it' * is_changed}"
    assert f"study small · folder `multirun/small` · {code}\n" in note
    for run in (parent, children[0]):
        assert run.data.tags["mlflow.source.git.commit"] == commit
        assert run.data.tags["hrm_sweep.git_dirty"] == str(is_changed).lower()
    assert parent.data.params == {"lr": "1e-4, 1e-3, 3e-4"}
    view = f"#/experiments/{parent.info.experiment_id}/runs?viewStateShareKey={parent.info.run_id}"
    assert f"[compare the trials]({view}&workflowType=machine_learning)" in note
    assert "in Optuna: `python -m hrm_sweep dashboard small`" in note
    note = children[1].data.tags["mlflow.note.content"]
    assert note.startswith("    python -m hrm_sweep lr=1e-3 trainer=smoke")
    assert "trial 1 of study small · folder `multirun/small/1` · git commit `" in note
    assert "in Optuna: `python -m hrm_sweep dashboard small`" in note
    assert "127.0.0.1" not in str(parent.data.tags)
    assert "127.0.0.1" not in Path(folder, "multirun/small/record.jsonl").read_text()
    shared = client.get_experiment(parent.info.experiment_id).tags
    packed = shared[f"mlflow.sharedViewState.{parent.info.run_id}"].removeprefix("deflate;")
    state = json.loads(zlib.decompress(base64.b64decode(packed)))
    assert state["searchFilter"] == f"tags.`mlflow.parentRunId` = '{parent.info.run_id}'"
    assert (state["orderByKey"], state["orderByAsc"]) == ("metrics.`hrm_sweep.rank`", True)
    assert state["selectedColumns"] == [
        "params.`lr`",
        "metrics.`hrm_sweep.rank`",
        "metrics.`best/eval/exact_match`",
        "metrics.`best/eval/loss`",
        "tags.`hrm_sweep.outcome`",
    ]


def test_a_run_says_what_it_ran_on(runs):
    for run in runs[2].values():
        assert run.data.tags["hrm_sweep.threads"] == "1"
        assert (
            f"mlflow {importlib.metadata.version('mlflow')}" in run.data.tags["hrm_sweep.versions"]
        )
        assert "usable cores: " in run.data.tags["hrm_sweep.cpu"]
        assert 100 < run.data.metrics["system/memory_peak_mb"] < 10_000
        assert 0 < run.data.metrics["system/cpu_seconds"] < 100
        used = run.inputs.dataset_inputs[0].dataset
        assert (used.name, len(used.digest) > 8) == ("copy_increment", True)
        assert json.loads(used.profile)["train_size"] == 16


def test_params_are_the_flattened_config(runs):
    assert runs[2][0].data.params["lr"] == "0.0001"
    assert runs[2][1].data.params["optimizer.lr"] == "0.001"
    assert runs[2][1].data.params["model.hidden_dim"] == "32"


def test_every_epoch_is_in_mlflow_and_in_optuna(runs, trials):
    client, _, children = runs
    for trial in trials:
        run_id = children[trial.number].info.run_id
        history = client.get_metric_history(run_id, "eval/exact_match")
        assert {point.step: point.value for point in history} == trial.intermediate_values
        assert sorted(trial.intermediate_values) == [1, 2]


def test_optuna_knows_the_run_and_the_folder(runs, trials, folder):
    for trial in trials:
        assert trial.user_attrs["mlflow_run_id"] == runs[2][trial.number].info.run_id
        assert (folder / trial.user_attrs["folder"] / "result.json").exists()
        assert trial.value == runs[2][trial.number].data.metrics["best/eval/exact_match"]


def test_the_artifacts_are_there(runs):
    client, _, children = runs
    for run in children.values():
        names = {file.path for file in client.list_artifacts(run.info.run_id)}
        assert {
            "best_model.pth",
            "final_model.pth",
            "training_history.json",
            "training_metrics.png",
            "prediction_vs_groundtruth.png",
            "config.yaml",
            "overrides.yaml",
            "environment.json",
            "run.log",
        } <= names


def test_the_metrics_have_the_names_of_the_design(runs):
    measured = set(runs[2][0].data.metrics)
    assert {
        "train/loss",
        "train/lm_loss",
        "train/q_halt_loss",
        "train/token_accuracy",
        "train/exact_match",
        "eval/loss",
        "eval/token_accuracy",
        "eval/exact_match",
        "eval/exact_match/copy",
        "eval/exact_match/increment",
        "eval/token_accuracy/copy",
        "eval/mode_share",
        "eval/segments",
        "optimizer/lr",
        "time/examples_per_second",
    } <= measured


def test_the_screen_ends_with_what_to_type_next(printed):
    after = printed.partition("Finished in")[2]
    assert "  report      multirun/small/report.html\n" in after
    assert "  reproduce   python -m hrm_sweep reproduce\n" in after
    assert "  once more   python -m hrm_sweep lr=1e-3 trainer=smoke" in after
    assert "  compare     python -m hrm_sweep ui\n" in after
    assert "  explore     python -m hrm_sweep dashboard\n" in after


def test_a_single_run_leaves_the_same_record_and_artifacts(folder, printed):
    done = hrm_sweep("lr=1e-3", "study.name=alone", *SMALL, folder=folder)
    assert done.returncode == 0, done.stderr
    assert "epoch 2/2" in done.stdout
    alone, trial = folder / "multirun/train/alone", folder / "multirun/small/1"
    assert {path.name for path in alone.glob("[!.]*")} == {
        path.name for path in trial.glob("[!.]*")
    }
    assert history(alone) == history(trial)


@pytest.fixture
def browser() -> None:
    if TOUR["chromium"]() is None:
        pytest.skip("no Chromium: apt-get install chromium")


@pytest.mark.usefixtures("browser")
def test_the_pages_of_a_study_in_a_browser(folder, runs, tmp_path):
    """The tour of which the README shows pictures: it waits for each thing that it names."""
    seen = TOUR["tour"](folder / "multirun/small", f"sqlite:///{folder}/mlruns/mlflow.db", tmp_path)
    assert "study small · folder multirun/small · git commit " in seen.note
    assert {"best/eval/exact_match", "best/eval/loss", "lr"} <= set(seen.columns.split("\n"))
    judged = {
        run.info.run_name: run.data.metrics["best/eval/exact_match"] for run in runs[2].values()
    }
    assert sorted(seen.runs) == sorted(judged)
    shown = [judged[name] for name in seen.runs]
    assert shown == sorted(shown, reverse=True)
    assert "lr" in seen.axes
    assert seen.num_points == 3
    assert min(seen.picture_size) > 500
    assert all(path.stat().st_size < 200_000 for path in tmp_path.glob("*.png"))


def test_tracking_off_changes_no_number_and_makes_no_mlflow(folder, printed, tmp_path):
    done = hrm_sweep("lr=1e-3", "study.name=off", "tracking=off", *SMALL, folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert not (tmp_path / "mlruns").exists()
    off, trial = tmp_path / "multirun/train/off", folder / "multirun/small/1"
    assert history(off) == history(trial)
    assert measurements(off) == measurements(trial)
    for name in ("best_model.pth", "final_model.pth"):
        without, tracked = checkpoint.load(off / name), checkpoint.load(trial / name)
        assert without["model"].keys() == tracked["model"].keys()
        assert all(map(torch.equal, without["model"].values(), tracked["model"].values()))


def measurements(folder: Path) -> list[dict[str, float]]:
    """Every value of the record, bit for bit, but for the time it took."""
    return [
        {name: value for name, value in values_of(entry).items() if not name.startswith("time/")}
        for entry in read(folder)
        if entry.event == "metrics"
    ]


def history(folder: Path) -> list[dict[str, float]]:
    """What was measured in each epoch, but for the time it took."""
    epochs = json.loads((folder / "training_history.json").read_text())
    return [{k: v for k, v in epoch.items() if not k.startswith("time/")} for epoch in epochs]


def test_the_best_trial_is_reproduced_bit_for_bit_and_linked(folder, printed, runs):
    done = hrm_sweep("reproduce", "small", folder=folder)
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(SAME, done.stdout)
    client, _, trials = runs
    found = client.search_runs(
        [trials[1].info.experiment_id],
        f"tags.`hrm_sweep.reproduces` = '{trials[1].info.run_id}'",
    )
    assert [run.info.run_name for run in found] == ["small-1-again"]
    assert found[0].data.tags["hrm_sweep.weights"] == trials[1].data.tags["hrm_sweep.weights"]
    assert found[0].data.tags["hrm_sweep.reproduced"] == "identical"


def test_a_trial_whose_folder_is_gone_is_reproduced_from_its_run_in_mlflow(runs, folder, tmp_path):
    run_id = runs[2][0].info.run_id
    uri = f"sqlite:///{folder}/mlruns/mlflow.db"
    done = subprocess.run(
        [sys.executable, "-m", "hrm_sweep", "reproduce", run_id],
        cwd=tmp_path, env={**os.environ, "MLFLOW_TRACKING_URI": uri},
        capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"downloaded from MLflow to multirun/fetched/{run_id}" in done.stdout
    assert re.search(SAME, done.stdout)


def test_trials_are_taken_only_from_a_machine_that_has_some(printed, folder):
    done = hrm_sweep("resume", "small", "--take-from", "nowhere", folder=folder)
    assert done.returncode == 2
    assert done.stderr == (
        "take_from=nowhere: no trial of the study runs there; none runs on another machine\n"
    )
