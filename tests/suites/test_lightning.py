"""An unchanged app of Lightning in a study: curves, pruning, resuming and reproducing."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import lightning.pytorch as lightning
import optuna
import pytest
import torch
from paths import TESTS
from studies import PATIENCE_SECONDS, command
from truth import Truth

from hrm_sweep.errors import Interrupted
from hrm_sweep.lightning import TrialLogger, last_checkpoint
from hrm_sweep.runs import handle as trial
from hrm_sweep.runs import record
from hrm_sweep.runs.curves import curves, read_curves

APP = TESTS / "apps" / "lightning_app.py"
LOGGER = "+logger.trial._target_=hrm_sweep.lightning.TrialLogger"
STARTED = {"kind": "trial", "name": "0", "params": {}, "tags": {}, "description": ""}
MEASURED = {"train/loss", "train/epoch_loss", "val/loss"}

pytestmark = pytest.mark.usefixtures("in_a_folder_of_its_own")


def study(*overrides: str) -> str:
    """Run a study of the app with the one override more; return what it printed."""
    done = subprocess.run(
        command(LOGGER, "hydra.sweeper.objective=val/loss", *overrides, app=APP),
        capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def curve_of(number: int) -> dict[int, dict[str, float]]:
    return curves(record.read(Path("multirun/study", str(number))))


@pytest.mark.parametrize("package", ["lightning.pytorch", "pytorch_lightning"])
def test_one_override_gives_curves_by_epochs_and_prunes(package):
    pruner = "{_target_:optuna.pruners.ThresholdPruner,upper:10}"
    said = study("lr=0.1,5", f"package={package}", f"hydra.sweeper.pruner={pruner}")
    assert "1 complete, 1 pruned" in said
    assert {step: set(values) for step, values in curve_of(0).items()} == {
        1: MEASURED, 2: MEASURED, 3: MEASURED, 4: MEASURED | {"test/loss"}
    }  # fmt: skip
    (pruned,) = curve_of(1).values()
    assert pruned["val/loss"] > 10


def test_a_killed_trial_continues_from_its_checkpoint_and_is_reproduced():
    study("ckpt_path=last", "die_at=2,null")
    entries = record.read(Path("multirun/study/0"))
    (_, again) = [entry.number for entry in entries if entry.event == "started"]
    after = [entry.fields["step"] for entry in entries[again:] if entry.event == "metrics"]
    assert set(after) == {3, 4}
    assert not read_curves(entries).remeasured
    assert curve_of(0) == curve_of(1)
    done = subprocess.run(
        [sys.executable, "-m", "hrm_sweep", "reproduce", "study", "--trial", "1", "--yes"],
        capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "identical, bit for bit" in done.stdout


def test_lightnings_own_logger_makes_a_child_of_the_trials_run(tmp_path):
    own = "{_target_:lightning.pytorch.loggers.MLFlowLogger,experiment_name:hrm_sweep,run_name:own}"
    tracked = "hydra.sweeper.tracking.name=mlflow"
    preload = "hydra.launcher.preload=[lightning.pytorch.loggers]"  # reads the address then
    study("lr=0.1", f"+logger.own={own}", tracked, preload)
    truth = Truth(f"sqlite:///{tmp_path}/mlruns/mlflow.db")
    parent = truth.run("own").data.tags["mlflow.parentRunId"]
    assert parent == truth.run("0").info.run_id


class Counter(lightning.LightningModule):
    """Measures in which step or epoch it is."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(1, 1)

    def training_step(self, batch: Any) -> torch.Tensor:
        self.log("train/step", float(self.global_step))
        return self.layer(batch).sum()

    def validation_step(self, batch: Any) -> None:
        self.log("val/epoch", float(self.current_epoch + 1))

    def test_step(self, batch: Any) -> None:
        self.log("test/loss", 1.0)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.0)


LOADER = torch.utils.data.DataLoader(torch.ones(4, 1))
"""Four batches an epoch."""


def fitted(axis: str | None = None, **settings: Any) -> lightning.Trainer:
    """Return the trainer that has trained in the run of this process."""
    settings = {"max_epochs": 2, "log_every_n_steps": 1} | settings
    trainer = lightning.Trainer(
        accelerator="cpu", enable_progress_bar=False, logger=TrialLogger(axis), **settings
    )
    trainer.fit(Counter(), LOADER, LOADER, ckpt_path=last_checkpoint())
    return trainer


def trained(folder: Path, **settings: Any) -> dict[int, Any]:
    """Train and test in a trial; return the curves of its record."""
    with trial.session(folder, **STARTED):
        trainer = fitted(**settings)
        trainer.validate(trainer.model, LOADER, verbose=False)
        trainer.test(trainer.model, LOADER, verbose=False)
    return curves(record.read(folder))


END = {"test/loss": 1.0}


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        pytest.param(
            {},
            {1: {"train/step": 3, "val/epoch": 1}, 2: {"train/step": 7, "val/epoch": 2, **END}},
            id="the last value of each epoch",
        ),
        pytest.param(
            {"check_val_every_n_epoch": 2},
            {1: {"train/step": 3}, 2: {"train/step": 7, "val/epoch": 2, **END}},
            id="an epoch without validation",
        ),
        pytest.param(
            {"val_check_interval": 2},
            {1: {"train/step": 3, "val/epoch": 1}, 2: {"train/step": 7, "val/epoch": 2, **END}},
            id="two validations in an epoch",
        ),
        pytest.param(
            {"max_epochs": -1, "max_steps": 3, "limit_val_batches": 0, "log_every_n_steps": 2},
            {1: {"train/step": 1, **END}},
            id="steps, where there are no epochs",
        ),
        pytest.param(
            {"axis": "step", "max_epochs": 1},
            {step: {"train/step": step} for step in range(3)}
            | {3: {"train/step": 3, "val/epoch": 1, **END}},
            id="steps, where the user says so",
        ),
    ],
)
def test_what_a_step_is(tmp_path, settings, expected):
    assert trained(tmp_path / "0", **settings) == expected


def test_checkpoints_are_in_the_folder_of_the_trial_and_only_those_of_it_are_found(tmp_path):
    folder = tmp_path / "0"
    trained(folder)
    (saved,) = (folder / "checkpoints").iterdir()
    with trial.session(folder, **STARTED):
        assert last_checkpoint() == saved
    (folder / "record.jsonl").unlink()
    with trial.session(folder, **STARTED):
        assert last_checkpoint() is None
    assert last_checkpoint() is None


def test_a_study_that_stops_stops_the_trainer(tmp_path):
    before = trial.set_stop_check(lambda: True)
    try:
        with pytest.raises(Interrupted, match="stopped after step 1"):
            trained(tmp_path / "0")
    finally:
        trial.set_stop_check(before)
    assert record.read(tmp_path / "0")[-1].fields["outcome"] == "interrupted"


def test_a_pruned_trial_passes_through_the_trainer(tmp_path):
    def prune(step: int, _: Any) -> None:
        raise optuna.TrialPruned(f"pruned after step {step}")

    def train() -> None:
        with trial.session(tmp_path / "0", **STARTED) as handle:
            handle.listeners.append(prune)
            fitted()

    with pytest.raises(optuna.TrialPruned, match="pruned after step 1"):
        train()
    assert record.read(tmp_path / "0")[-1].fields["outcome"] == "pruned"


def test_outside_a_study_nothing_is_written(tmp_path):
    fitted(enable_checkpointing=False)
    assert list(tmp_path.iterdir()) == []


def test_an_axis_that_is_none_is_refused():
    with pytest.raises(ValueError, match="axis='batch': must be one of epoch, step, or None"):
        TrialLogger("batch")
