"""A run's folder gives back the model and the task it was trained on."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import hrm_sweep
from hrm_sweep.errors import CheckpointError, ConfigError, RecordError
from hrm_sweep.hrm.data.task import IGNORE
from hrm_sweep.hrm.training.evaluate import evaluate

SMALL = "hidden_dim=32 epochs=2 data.num_puzzles=16 data.num_eval_puzzles=8 tracking=off"


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A run of the real command, in the precision that this CPU has."""
    here = tmp_path_factory.mktemp("trained")
    line = [sys.executable, "-m", "hrm_sweep", *SMALL.split(), "study.name=one"]
    done = subprocess.run(line, cwd=here, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return here / "multirun" / "train" / "one"


def test_the_loaded_model_scores_what_the_run_recorded(folder):
    model, task = hrm_sweep.load_run(folder)
    history = json.loads((folder / "training_history.json").read_text())
    measured = evaluate(model, task)
    assert any(all(row[name] == measured[name] for name in measured) for row in history)


def test_three_lines_predict(folder):
    run = hrm_sweep.load_run(str(folder))
    batch = run.task.eval.take(torch.tensor([0]))
    picture = run.task.picture(run.predict(batch)[0])
    shown = json.loads((folder / "predictions.json").read_text())[0]["prediction"]
    scored = (batch.labels[0] != IGNORE).reshape(run.task.shape).numpy()
    assert picture[scored].tolist() == torch.tensor(shown).numpy()[scored].tolist()


def test_it_needs_no_file_that_the_weights_were_started_from(folder, tmp_path):
    copy = shutil.copytree(folder, tmp_path / "copy")
    edit(copy, "init_from: null", "init_from: gone.pth")
    assert hrm_sweep.load_run(copy).task.name == "copy_increment"


def edit(folder: Path, old: str, new: str) -> None:
    path = folder / "config.yaml"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def damage(folder: Path) -> None:
    path = folder / "best_model.pth"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("harm", "error", "words"),
    [
        pytest.param(
            lambda run: (run / "config.yaml").unlink(),
            RecordError,
            "not the folder of a run, it has no config.yaml; give the folder of a run",
            id="another folder",
        ),
        pytest.param(
            lambda run: (run / "best_model.pth").unlink(),
            CheckpointError,
            "best_model.pth: not there; a run leaves it when it ends, after one epoch at least",
            id="no weights yet",
        ),
        pytest.param(damage, CheckpointError, "damaged, its SHA-256 is not that in", id="damaged"),
        pytest.param(
            lambda run: edit(run, "hidden_dim: 32", "hidden_dim: 64"),
            CheckpointError,
            "weights of another model: ",
            id="another model",
        ),
        pytest.param(
            lambda run: edit(run, "num_heads: 4", "num_heads: 5"),
            ConfigError,
            "hidden_dim=32: must be a multiple of model.num_heads=5",
            id="a config that breaks a rule",
        ),
        pytest.param(
            lambda run: (run / "config.yaml").write_text("model: {"),
            RecordError,
            "config.yaml: cannot be read (",
            id="half a config",
        ),
        pytest.param(
            lambda run: (run / "config.yaml").write_text("x: 1"),
            RecordError,
            "config.yaml: not the config of a training",
            id="the config of another app",
        ),
    ],
)
def test_what_cannot_be_loaded_is_said_in_one_line(folder, tmp_path, harm, error, words):
    run = shutil.copytree(folder, tmp_path / "run")
    harm(run)
    with pytest.raises(error) as caught:
        hrm_sweep.load_run(run)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_folder_above_names_its_runs(folder):
    with pytest.raises(RecordError, match=r"it has no config\.yaml; it has those of one$"):
        hrm_sweep.load_run(folder.parent)


def test_the_package_names_what_it_has():
    assert "load_run" in hrm_sweep.__all__
    with pytest.raises(AttributeError, match="has no attribute 'load_runs'"):
        _ = hrm_sweep.load_runs
