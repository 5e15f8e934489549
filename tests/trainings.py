"""Short trainings of the shipped app, for tests that stop, kill, resume and reproduce them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from composed import composed
from small import adamw_config, hrm_config, small_task, trainer_config

from hrm_sweep.hrm import train
from hrm_sweep.hrm.config import Config
from hrm_sweep.hrm.data.task import Task
from hrm_sweep.hrm.models.act import ACT
from hrm_sweep.hrm.models.build import build_model
from hrm_sweep.hrm.training import checkpoint
from hrm_sweep.hrm.training.trainer import Trainer
from hrm_sweep.runs import handle as trial
from hrm_sweep.runs import record

SMALL = (
    "trainer=smoke",
    "hidden_dim=32",
    "epochs=4",
    "trainer.epochs=4",
    "data.num_puzzles=16",
    "data.num_eval_puzzles=8",
)


def composed_small(*more: str) -> Config:
    return composed(*SMALL, *more)


def trained(small, folder, *, stop_after=None, kill_after=None):
    """Runs in `folder`, stopped in order or killed after some epoch; its history."""

    def watch(step, values):
        if step == kill_after:
            raise MemoryError  # nothing is caught, nothing is saved: as if the process were gone

    with trial.session(folder, name="run", params={}, tags={}) as handle:
        handle.listeners.append(watch)
        before = trial.set_stop_check(lambda: handle.last_step == stop_after)
        try:
            train.run(small, handle)
        finally:
            trial.set_stop_check(before)
    return measured(folder)


def measured(folder):
    """Step -> values of the record, without the time they took."""
    return [
        (entry.fields["step"], {k: v for k, v in entry.fields["values"].items() if "time" not in k})
        for entry in record.read(folder)
        if entry.event == "metrics"
    ]


def weights(folder):
    return checkpoint.load(folder / "final_model.pth")["model"]


def assert_same(folder, whole):
    history, final = whole
    assert measured(folder) == history
    assert all(torch.equal(tensor, final[name]) for name, tensor in weights(folder).items())


@contextmanager
def interrupted_amid_an_epoch(epoch: int) -> Iterator[None]:
    """Ctrl-C in the middle of the epoch after `epoch`: its second segment does not begin."""
    segments, run_segment = 0, ACT.segment

    def segment(model: ACT, *arguments: Any) -> Any:
        nonlocal segments
        if model.training and trial.current().last_step == epoch:
            segments += 1
            if segments == 2:
                raise KeyboardInterrupt
        return run_segment(model, *arguments)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ACT, "segment", segment)
        yield


def build(
    *,
    task: Task | None = None,
    model: Any = None,
    optimizer: Any = None,
    batch_size: int = 4,
    seed: int = 0,
    **trainer: Any,
) -> Trainer:
    """A trainer of a small model, equal for equal arguments."""
    task = task or small_task()  # the same for every seed of the weights
    torch.manual_seed(seed)
    built = build_model(model or hrm_config(halt_exploration_prob=0.3), task)
    return Trainer(
        built,
        task,
        optimizer or adamw_config(),
        trainer_config(**trainer),
        batch_size=batch_size,
        seed=seed,
    )
