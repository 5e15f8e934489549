"""Hugging Face's Trainer in a study: curves, pruning and resuming."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest
from apps.huggingface_app import make_trainer
from paths import TESTS
from studies import PATIENCE_SECONDS, command

from hrm_sweep.errors import Interrupted
from hrm_sweep.huggingface import last_checkpoint
from hrm_sweep.runs import handle as trial
from hrm_sweep.runs import record
from hrm_sweep.runs.curves import curves, read_curves

APP = TESTS / "apps" / "huggingface_app.py"
STARTED = {"kind": "trial", "name": "0", "params": {}, "tags": {}, "description": ""}

pytestmark = pytest.mark.usefixtures("in_a_folder_of_its_own")


def study(*overrides: str) -> str:
    """Run a study of the app; return what it printed."""
    done = subprocess.run(
        command("hydra.sweeper.objective=eval_loss", *overrides, app=APP),
        capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def of(measured: dict[int, dict[str, float]], *names: str) -> dict[int, list[float | None]]:
    return {step: [values.get(name) for name in names] for step, values in measured.items()}


def test_a_study_has_curves_by_epochs_and_prunes():
    pruner = "{_target_:optuna.pruners.ThresholdPruner,upper:5}"
    said = study("+lr=1e-4,100", f"hydra.sweeper.pruner={pruner}")
    assert "1 complete, 1 pruned" in said
    measured = curves(record.read(Path("multirun/study/0")))
    assert sorted(measured) == [1, 2, 3]
    for values in measured.values():
        assert {"loss", "grad_norm", "learning_rate", "eval_loss"} <= values.keys()
        assert not {"epoch", "eval_runtime"} & values.keys()


def test_a_killed_trial_continues_from_its_checkpoint():
    study("+lr=1e-2", "+die_at=2,null")
    entries = record.read(Path("multirun/study/0"))
    (_, again) = [entry.number for entry in entries if entry.event == "started"]
    after = [entry.fields["step"] for entry in entries[again:] if entry.event == "metrics"]
    assert set(after) == {3}
    assert not read_curves(entries).remeasured
    undisturbed = curves(record.read(Path("multirun/study/1")))
    assert of(curves(entries), "eval_loss", "loss") == of(undisturbed, "eval_loss", "loss")


def trained(folder: Path, **settings: Any) -> dict[int, dict[str, float]]:
    with trial.session(folder, **STARTED):
        trainer = make_trainer(folder, learning_rate=0.0, **settings)
        trainer.train(resume_from_checkpoint=last_checkpoint())
        trainer.evaluate()
    return curves(record.read(folder))


@pytest.mark.parametrize(
    ("settings", "losses", "evaluations"),
    [
        pytest.param({"num_train_epochs": 2}, [1, 2], [1, 2], id="epochs"),
        pytest.param({"eval_strategy": "steps", "max_steps": 3, "eval_steps": 2},
                     [1, 2, 3], [2, 3], id="steps"),
        pytest.param({"eval_strategy": "no", "num_train_epochs": 1}, [1, 2], [2],
                     id="one evaluation at the end"),
    ],
)  # fmt: skip
def test_a_step_is_what_the_trainer_evaluates_by(tmp_path, settings, losses, evaluations):
    measured = trained(tmp_path / "0", **settings)
    assert [step for step, values in measured.items() if "loss" in values] == losses
    assert [step for step, values in measured.items() if "eval_loss" in values] == evaluations


def test_only_whole_checkpoints_of_the_trial_are_found(tmp_path):
    folder = tmp_path / "0"
    trained(folder, num_train_epochs=2)
    (folder / "checkpoint-4" / "trainer_state.json").unlink()
    with trial.session(folder, **STARTED):
        assert last_checkpoint() == str(folder / "checkpoint-2")
    (folder / "record.jsonl").unlink()
    with trial.session(folder, **STARTED):
        assert last_checkpoint() is None


def test_a_study_that_stops_stops_the_trainer(tmp_path):
    before = trial.set_stop_check(lambda: True)
    try:
        with pytest.raises(Interrupted, match="stopped after step 1"):
            trained(tmp_path / "0", num_train_epochs=2)
    finally:
        trial.set_stop_check(before)
