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
from hrm_sweep.hrm.data.tokens import IGNORE
from hrm_sweep.hrm.train import EXAMPLES_PER_PATTERN
from hrm_sweep.hrm.training.evaluate import examples
from hrm_sweep.runs.run import Run

SMALL = "hidden_dim=32 epochs=2 data.num_puzzles=16 data.num_eval_puzzles=8 tracking=off"


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A run of the real command, in the precision that this CPU has."""
    return trained(tmp_path_factory.mktemp("trained"), "one")


def trained(here: Path, name: str, *typed: str) -> Path:
    line = [sys.executable, "-m", "hrm_sweep", *SMALL.split(), f"study.name={name}", *typed]
    done = subprocess.run(line, cwd=here, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return here / "multirun" / "train" / name


HERE = {
    "eager, fp32": "trainer.compile=off trainer.precision=fp32",
    "eager, bf16": "trainer.compile=off trainer.precision=bf16",
    "compiled, fp32": "trainer.compile=on trainer.precision=fp32",
    "compiled, bf16, two threads": "trainer.compile=on trainer.precision=bf16 trainer.threads=2",
    "compiled, average": "trainer.compile=on trainer.ema=0.9",
    "eager, two threads": "trainer.compile=off trainer.threads=2",
    "trm": "model=trm trainer.compile=on",
    "transformer": "model=transformer trainer.compile=on",
}


@pytest.mark.parametrize("typed", [pytest.param(typed, id=name) for name, typed in HERE.items()])
def test_the_loaded_model_is_the_run_s_bit_for_bit(typed, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = trained(tmp_path, "one", *typed.split())
    recorded = Run.open(folder)
    torch.set_num_threads(1)
    best = hrm_sweep.load_run(folder)
    assert recorded.values == {name: best.evaluate()[name] for name in recorded.values}
    shown = json.loads((folder / "predictions.json").read_text())
    assert examples(best.model, best.task, per_pattern=EXAMPLES_PER_PATTERN) == shown
    final = hrm_sweep.load_run(folder, weights="final").evaluate()
    last = recorded.curves[max(recorded.curves)]
    assert {name: final[name] for name in final if name in last} == {
        name: value for name, value in last.items() if name.startswith("eval/")
    }
    other = {"eval/exact_match_never"} if "transformer" not in typed else set()
    assert {*final} - {*last} == {*recorded.values} - {*last} == other


def test_kernels_that_cannot_be_built_are_named(tmp_path, monkeypatch):
    folder = trained(tmp_path, "one", "trainer.compile=on")
    library = Run.open(folder).facts["compiled"]
    monkeypatch.setenv("CXX", "no-such-compiler")
    words = f"computed with the kernels {library}, which cannot be had here, now PyTorch's own"
    with pytest.warns(UserWarning, match=words):
        hrm_sweep.load_run(folder)


def test_an_edited_or_lost_config_file_changes_nothing(folder, tmp_path):
    copy = shutil.copytree(folder, tmp_path / "copy")
    text = (copy / "config.yaml").read_text()
    (copy / "config.yaml").write_text(text.replace("num_heads: 4", "num_heads: 2"))
    expected = hrm_sweep.load_run(folder).evaluate()
    assert hrm_sweep.load_run(copy).evaluate() == expected
    (copy / "config.yaml").unlink()
    assert hrm_sweep.load_run(copy).evaluate() == expected


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
    """Edit the config of a folder that has lost its record."""
    (folder / "record.jsonl").unlink(missing_ok=True)
    path = folder / "config.yaml"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def replaced_config(folder: Path, text: str | None) -> None:
    (folder / "record.jsonl").unlink()
    (folder / "config.yaml").unlink()
    if text is not None:
        (folder / "config.yaml").write_text(text)


def damage(folder: Path) -> None:
    path = folder / "best_model.pth"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("harm", "error", "words"),
    [
        pytest.param(
            lambda run: replaced_config(run, None),
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
            lambda run: replaced_config(run, "model: {"),
            RecordError,
            "config.yaml: cannot be read (",
            id="half a config",
        ),
        pytest.param(
            lambda run: replaced_config(run, "x: 1"),
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
