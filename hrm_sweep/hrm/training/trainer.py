"""The training loop. The caller of `Trainer.epochs` records its measurements and prunes."""

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
from hrm_sweep.hrm.models.act import ACT, Carry
from hrm_sweep.hrm.training.batching import (
    BatchSlots,
    ContinuousBatching,
    PaddedBatching,
    PublishedBatching,
)
from hrm_sweep.hrm.training.best import BestEpoch
from hrm_sweep.hrm.training.configs import OptimizerConfig, TrainerConfig
from hrm_sweep.hrm.training.evaluate import evaluate
from hrm_sweep.hrm.training.losses import TrainingLosses
from hrm_sweep.hrm.training.metrics import MeanMetrics, Measurement
from hrm_sweep.hrm.training.optim import EMA, OptimizerStep, compute_dtype
from hrm_sweep.hrm.training.params import FlatParams


class Trainer:
    """Training of `model` on `task` with deep supervision: an optimizer step for each segment.

    Its metrics are a function of the model's weights, the task, the configs and the seed, for one
    kind of CPU and one number of threads. `state` returns all that the next epoch depends on.
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
        """Number of finished epochs."""
        self.weights_epoch: int | None = 0
        """The epoch at whose end the model had its present weights; None within an epoch."""
        self.best = BestEpoch(trainer_config)
        self._params = FlatParams(model, compute_dtype(trainer_config.precision))
        self._optimizer = OptimizerStep(
            model,
            self._params,
            optimizer_config,
            self.backend,
            threads=trainer_config.threads,
            freeze=trainer_config.freeze_weights,
        )
        self._ema: EMA | None = None
        if trainer_config.ema is not None:
            self._ema = EMA(self._params, trainer_config.ema, warmup=trainer_config.ema_warmup)
        self._losses = TrainingLosses(model, self.backend, trainer_config.threads)
        self._slots = _batch_slots(trainer_config, task, batch_size)
        self._carry = model.initial_carry(batch_size)
        self._generator = torch.Generator().manual_seed(seed)
        self._steps = 0
        self._last_good = "nothing yet"

    @property
    def precision(self) -> str:
        """Value of a run's tag `precision`, fp32 or bf16: what `auto` came to on this CPU."""
        is_bf16 = compute_dtype(self.config.precision) == torch.bfloat16
        return "bf16" if is_bf16 else "fp32"

    def epochs(self) -> Iterator[Measurement]:
        """Train epoch after epoch, evaluate where due, and yield the metrics of each epoch.

        After early stopping the model has its best weights again.

        Raises:
            Diverged: A loss or a gradient is not finite; the weights are those before that step.
        """
        while self.epoch < self.config.epochs and not self.best.should_stop:
            started, self.weights_epoch = time.perf_counter(), None
            metrics = self._train_epoch()
            seconds = time.perf_counter() - started
            values = metrics.means()
            self.task.observe(values)
            values["optimizer/lr"] = self._optimizer.lr
            values["time/examples_per_second"] = self._slots.num_drawn / seconds
            is_evaluated = self._is_evaluated(self.epoch + 1)
            if is_evaluated:
                values |= self.evaluate()
            self.epoch += 1
            self.weights_epoch = self.epoch
            if is_evaluated and self.best.update(self.epoch, values):
                self.best.weights = self.weights()
            yield Measurement(self.epoch, values)
        if self.best.should_stop:
            self._restore_best()

    def evaluate(self) -> dict[str, float]:
        """Return the metrics of the held-out puzzles, computed with the EMA if there is one.

        Raises:
            Diverged: The loss is not finite.
        """
        with self._evaluated_weights():
            values = evaluate(self.model, self.task)
        if not math.isfinite(values["eval/loss"]):
            self._raise_diverged("eval/loss", values["eval/loss"])
        return values

    def weights(self) -> dict[str, Tensor]:
        """Return a copy of the model's state dict, with the EMA if there is one."""
        with self._evaluated_weights():
            return _copied(self.model.state_dict())

    def state(self) -> dict[str, Any]:
        """Return a copy of all that the next epoch depends on, tensors and plain values.

        To be called between two epochs.
        """
        return {
            "epoch": self.epoch,
            "steps": self._steps,
            "last_good": self._last_good,
            "model": _copied(self.model.state_dict()),
            "optimizer": _copied(self._optimizer.state()),
            "average": None
            if self._ema is None
            else {"vector": self._ema.vector.clone(), "steps": self._ema.steps},
            "rows": self._slots.state(),
            "task": self.task.state(),
            "carry": {
                "states": [state.clone() for state in self._carry.states],
                "steps": self._carry.steps.clone(),
                "halted": self._carry.halted.clone(),
            },
            "generator": self._generator.get_state(),
            "best": self.best.state(),
        }

    def load_state(self, state: dict[str, Any]) -> None:
        """Restore what `state` returned; the next epochs are bit for bit those that followed it."""
        self.epoch, self._steps = state["epoch"], state["steps"]
        self.weights_epoch = self.epoch
        self._last_good = state["last_good"]
        self.model.load_state_dict(state["model"])
        self._optimizer.load_state(_copied(state["optimizer"]))
        if self._ema is not None:
            self._ema.vector.copy_(state["average"]["vector"])
            self._ema.steps = state["average"]["steps"]
        self._slots.load_state(state["rows"])
        self.task.load_state(state.get("task", {}))  # earlier checkpoints have none
        carry = _copied(state["carry"])
        self._carry = Carry(tuple(carry["states"]), carry["steps"], carry["halted"])
        self._generator.set_state(state["generator"])
        self.best.load_state(state["best"])

    def _train_epoch(self) -> MeanMetrics:
        metrics = MeanMetrics()
        self.model.train()
        self._slots.start(self.epoch + 1)
        can_train = self._slots.fill() or self._slots.trains_unfilled
        while can_train:
            self._train_segment(metrics)
            can_train = self._slots.fill()
        return metrics

    def _train_segment(self, metrics: MeanMetrics) -> None:
        """Run one segment of every row and one optimizer step."""
        batch = self._slots.batch
        carry, segment = self.model.segment(
            self._carry, batch.inputs, batch.identifiers, self._generator
        )
        losses, score = self._losses(segment, batch.labels)
        mean_loss = self._slots.training_loss(losses).mean()
        loss = mean_loss.item()
        self._steps += 1
        if not math.isfinite(loss):
            self._raise_diverged("train/loss", loss)
        mean_loss.backward()
        progress = (self.epoch + self._slots.share_drawn) / self.config.epochs
        norm = self._optimizer.step(progress)
        if not math.isfinite(norm):
            self._raise_diverged("the gradient's norm", norm)
        if self._ema is not None:
            self._ema.update()
        self._carry = carry._replace(halted=self._slots.release(carry.halted, score))
        self._last_good = f"train/loss={loss:.6g} at step {self._steps}"
        self._slots.add_metrics(metrics, losses, score)

    def _is_evaluated(self, epoch: int) -> bool:
        return epoch % self.config.eval_every == 0 or epoch == self.config.epochs

    def _evaluated_weights(self) -> AbstractContextManager[None]:
        if self._ema is None:
            return nullcontext()
        return self._params.replaced_by(self._ema.vector)

    def _restore_best(self) -> None:
        assert self.best.weights is not None
        self.model.load_state_dict(self.best.weights)
        self.weights_epoch = self.best.epoch
        if self._ema is not None:
            self._ema.vector.copy_(self._params.vector.detach())

    def _raise_diverged(self, name: str, value: float) -> NoReturn:
        raise Diverged(
            f"{name} is {value} at step {self._steps} (epoch {self.epoch + 1}); "
            f"last good: {self._last_good}"
        )


def _batch_slots(config: TrainerConfig, task: Task, rows: int) -> BatchSlots:
    if config.batches == "published":
        return PublishedBatching(task, rows, interval=config.eval_every)
    return (PaddedBatching if config.batches == "padded" else ContinuousBatching)(task, rows)


def _copied(value: Any) -> Any:
    if isinstance(value, Tensor):
        return value.detach().clone()
    if isinstance(value, dict):
        return {key: _copied(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_copied(item) for item in value]
    return value
