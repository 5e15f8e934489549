"""Training, told in the order it happens; who calls `epochs` records, prunes and draws."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import Any, NoReturn

import torch
from torch import Tensor

from hrm_sweep.errors import Diverged
from hrm_sweep.hrm.backends.select import select_backend
from hrm_sweep.hrm.data.task import Task
from hrm_sweep.hrm.group_configs import OptimizerConfig, TrainerConfig
from hrm_sweep.hrm.models.act import ACT, Carry
from hrm_sweep.hrm.training.batches import Batches
from hrm_sweep.hrm.training.batching import Rows
from hrm_sweep.hrm.training.best import Best
from hrm_sweep.hrm.training.evaluate import evaluate
from hrm_sweep.hrm.training.losses import score, segment_losses
from hrm_sweep.hrm.training.metrics import Measurement, Sums
from hrm_sweep.hrm.training.optim import Average, Stepper, Weights, compute_dtype
from hrm_sweep.hrm.training.stream import Stream


class Trainer:
    """Trains `model` on `task`, one optimizer step for each segment of thought.

    Its numbers are a function of the model's weights, the task, the configs and the seed, for one
    kind of CPU and number of threads. `state` holds all that the next epoch depends on.
    """

    def __init__(
        self,
        model: ACT,
        task: Task,
        optimizer_config: OptimizerConfig,
        trainer_config: TrainerConfig,
        *,
        batch_size: int,
        seed: int,
    ) -> None:
        torch.set_num_threads(trainer_config.threads)
        self.model, self.task, self.config = model, task, trainer_config
        self.backend = select_backend(trainer_config, model, len(task.train), batch_size)
        self.epoch = 0
        """Epochs finished."""
        self.weights_epoch: int | None = 0
        """The epoch at whose end the weights were as they are; None amid an epoch."""
        self.best = Best(trainer_config)
        self._weights = Weights(model, compute_dtype(trainer_config.precision))
        self._stepper = Stepper(model, self._weights, optimizer_config)
        self._average: Average | None = None
        if trainer_config.ema is not None:
            self._average = Average(self._weights, trainer_config.ema)
        rows = {"stream": Stream, "published": Batches}[trainer_config.batches]
        self._rows: Rows = rows(task, batch_size)
        self._carry = model.initial_carry(batch_size)
        self._generator = torch.Generator().manual_seed(seed)
        self._steps = 0
        self._last_good = "nothing yet"

    def epochs(self) -> Iterator[Measurement]:
        """Trains epoch after epoch, evaluates when it is time, and yields what that gave.

        After early stopping the model has its best weights again.

        Raises:
            Diverged: a loss or a gradient is not finite; the weights are those before that step.
        """
        while self.epoch < self.config.epochs and not self.best.patience_is_over:
            started, self.weights_epoch = time.perf_counter(), None
            sums = self._train_epoch()
            seconds = time.perf_counter() - started
            values = sums.means()
            values["optimizer/lr"] = self._stepper.lr
            values["time/examples_per_second"] = self._rows.drawn / seconds
            is_evaluated = self._is_evaluated(self.epoch + 1)
            if is_evaluated:
                values |= self.evaluate()
            self.epoch += 1
            self.weights_epoch = self.epoch
            if is_evaluated and self.best.judge(self.epoch, values):
                self.best.weights = self.weights()
            yield Measurement(self.epoch, values)
        if self.best.patience_is_over:
            self._restore_best()

    def evaluate(self) -> dict[str, float]:
        """Metrics of the held-out puzzles, with the average of the weights if one is kept."""
        with self._evaluated_weights():
            values = evaluate(self.model, self.task)
        if not math.isfinite(values["eval/loss"]):
            self._raise_diverged("eval/loss", values["eval/loss"])
        return values

    def weights(self) -> dict[str, Tensor]:
        """A copy of the model's state, by name, as it is evaluated."""
        with self._evaluated_weights():
            return _copied(self.model.state_dict())

    def state(self) -> dict[str, Any]:
        """Everything the next epoch depends on, tensors and plain values; between two epochs."""
        return {
            "epoch": self.epoch,
            "steps": self._steps,
            "last_good": self._last_good,
            "model": _copied(self.model.state_dict()),
            "optimizer": _copied(self._stepper.state()),
            "average": None
            if self._average is None
            else {"vector": self._average.vector.clone(), "steps": self._average.steps},
            "rows": self._rows.state(),
            "carry": {
                "states": [state.clone() for state in self._carry.states],
                "steps": self._carry.steps.clone(),
                "halted": self._carry.halted.clone(),
            },
            "generator": self._generator.get_state(),
            "best": self.best.state(),
        }

    def load_state(self, state: dict[str, Any]) -> None:
        """Goes back to where `state` was taken; the next epochs are bit for bit the same."""
        self.epoch, self._steps = state["epoch"], state["steps"]
        self.weights_epoch = self.epoch
        self._last_good = state["last_good"]
        self.model.load_state_dict(state["model"])
        self._stepper.load_state(_copied(state["optimizer"]))
        if self._average is not None:
            self._average.vector.copy_(state["average"]["vector"])
            self._average.steps = state["average"]["steps"]
        self._rows.load_state(state["rows"])
        carry = _copied(state["carry"])
        self._carry = Carry(tuple(carry["states"]), carry["steps"], carry["halted"])
        self._generator.set_state(state["generator"])
        self.best.load_state(state["best"])

    def _train_epoch(self) -> Sums:
        sums = Sums()
        self.model.train()
        self._rows.start(self.epoch + 1)
        self._rows.fill()
        while True:  # one segment at least, even if the task has fewer puzzles than there are rows
            self._train_segment(sums)
            if not self._rows.fill():
                return sums

    def _train_segment(self, sums: Sums) -> None:
        """One segment of every row, and one step of the optimizer."""
        batch = self._rows.batch
        carry, thought = self.model(self._carry, batch.inputs, batch.identifiers, self._generator)
        achieved = score(thought.logits.argmax(dim=-1), batch.labels)
        losses = segment_losses(thought, batch.labels, achieved, loss=self.model.loss)
        loss = self._rows.minimised(losses).sum() / len(batch)
        self._steps += 1
        if not math.isfinite(loss.item()):
            self._raise_diverged("train/loss", loss.item())
        loss.backward()
        progress = (self.epoch + self._rows.share_drawn) / self.config.epochs
        norm = self._stepper.step(progress)
        if not math.isfinite(norm):
            self._raise_diverged("the gradient's length", norm)
        if self._average is not None:
            self._average.step()
        self._carry = carry._replace(halted=self._rows.release(carry.halted, achieved))
        self._last_good = f"train/loss={loss.item():.6g} at step {self._steps}"
        self._rows.count(sums, losses, achieved)

    def _is_evaluated(self, epoch: int) -> bool:
        return epoch % self.config.eval_every == 0 or epoch == self.config.epochs

    def _evaluated_weights(self) -> AbstractContextManager[None]:
        if self._average is None:
            return nullcontext()
        return self._weights.replaced_by(self._average.vector)

    def _restore_best(self) -> None:
        assert self.best.weights is not None
        self.model.load_state_dict(self.best.weights)
        self.weights_epoch = self.best.epoch
        if self._average is not None:
            self._average.vector.copy_(self._weights.vector.detach())

    def _raise_diverged(self, name: str, value: float) -> NoReturn:
        raise Diverged(
            f"{name} is {value} at step {self._steps} (epoch {self.epoch + 1}); "
            f"last good: {self._last_good}"
        )


def _copied(value: Any) -> Any:
    if isinstance(value, Tensor):
        return value.detach().clone()
    if isinstance(value, dict):
        return {key: _copied(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_copied(item) for item in value]
    return value
