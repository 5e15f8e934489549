"""The keys of `optimizer=…` and `trainer=…`. Their values are in `conf/`.

PyTorch is not imported, as the configs are read at every start. A class checks itself when it is
made and raises `ConfigError` with the key as it is called here; `hrm.config` adds its group.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from hrm_sweep.errors import ConfigError
from hrm_sweep.hrm.checks import (
    MISSING,
    at_least,
    below_one,
    check_choices,
    choice,
    not_negative,
    positive,
    share,
)


@dataclass(kw_only=True, slots=True)
class _OptimizerConfig:
    """The keys of every optimizer: schedule, clipping, and sign-SGD for puzzle embeddings."""

    name: str = MISSING
    """The chosen option of the group."""
    lr: float = MISSING
    """Learning rate, at the peak of its schedule."""
    lr_min_ratio: float = MISSING
    """Share of lr at which the cosine ends; 1: lr is constant after the warmup."""
    warmup: float = MISSING
    """Share of the training in which lr rises linearly from 0."""
    warmup_steps: int | None = None
    """The same in optimizer steps, as published, instead of `warmup`; null: by `warmup`."""
    weight_decay: float = MISSING
    """Share by which weights shrink in a step, times lr; decoupled from the gradient."""
    beta1: float = MISSING
    """Decay of the moving average of gradients."""
    beta2: float = MISSING
    """Decay of the moving average of squared gradients."""
    max_grad_norm: float | None = MISSING
    """L2 norm to which larger gradients are clipped; null: no clipping."""
    puzzle_emb_lr: float = MISSING
    """Learning rate of the puzzle embedding's sign-SGD; it follows the same schedule."""
    puzzle_emb_weight_decay: float = MISSING
    """Weight decay of the puzzle embedding."""

    def __post_init__(self) -> None:
        positive("lr", self.lr, "try lr=1e-3")
        for key in ("beta1", "beta2"):
            below_one(key, getattr(self, key))
        for key in ("lr_min_ratio", "warmup"):
            share(key, getattr(self, key))
        for key in ("weight_decay", "puzzle_emb_lr", "puzzle_emb_weight_decay"):
            not_negative(key, getattr(self, key))
        if self.warmup_steps is not None:
            at_least("warmup_steps", self.warmup_steps, 1)
        if self.max_grad_norm is not None and not self.max_grad_norm > 0:
            way_out = "null switches clipping off"
            raise ConfigError("max_grad_norm", self.max_grad_norm, "must be above 0", way_out)


@dataclass(kw_only=True, slots=True)
class AdamWConfig(_OptimizerConfig):
    """AdamW, arXiv:1711.05101."""


@dataclass(kw_only=True, slots=True)
class AdamAtan2Config(_OptimizerConfig):
    """Adam with atan2 in place of epsilon, arXiv:2407.05872, section 3.4.

    Its step is that of adam-atan2 0.0.3, with which HRM and TRM were trained.
    """


@dataclass(kw_only=True, slots=True)
class EarlyStoppingConfig:
    """The keys of early stopping."""

    patience: int | None = MISSING
    """Consecutive evaluations without an improvement that end the training; null: never."""
    min_improvement: float = MISSING
    """Improvements of `trainer.monitor` up to this size do not count."""

    def __post_init__(self) -> None:
        if self.patience is not None:
            at_least("patience", self.patience, 1)
        not_negative("min_improvement", self.min_improvement)


MAX_THREADS = 1024
"""Upper bound of `threads`: OpenMP aborts the process at roughly 10,000."""


@dataclass(kw_only=True, slots=True)
class TrainerConfig:
    """The keys of the training loop."""

    epochs: int = MISSING
    """Number of times that every training puzzle is drawn."""
    batches: str = choice("stream", "published", "padded")
    """Batching: `stream`, continuous: a row takes the next puzzle as soon as its own is finished;
    `published`, as in the published loop: one segment for each batch of the loader; batches run
    across the epochs between two evaluations, then an incomplete one is dropped; `padded`, as in
    the experiment that this project began with: an epoch's last batch has trained padding rows."""
    precision: str = choice("auto", "fp32", "bf16")
    """Precision of the blocks' linear layers: fp32, bf16, or auto: bf16 if the CPU is faster in
    it."""
    compile: str = choice("auto", "on", "off")
    """Whether blocks are computed by kernels compiled for this CPU, which needs a C++ compiler: on,
    off, or auto: on unless the training is very short."""
    eval_every: int = MISSING
    """Epochs between evaluations; the last epoch is always evaluated."""
    threads: int = MISSING
    """Number of threads of one training; results are reproducible for the same number."""
    monitor: str = MISSING
    """The evaluation metric that selects the best epoch."""
    ema: float | None = MISSING
    """Decay, such as 0.999, of an exponential moving average of the weights that is evaluated and
    kept instead of them; null: no average."""
    ema_warmup: bool = True
    """Whether the decay rises to `ema` in the first steps; false: it is constant, as published."""
    freeze_weights: bool = False
    """Whether puzzle embeddings alone are trained, as in the published key of that name."""
    early_stopping: EarlyStoppingConfig = MISSING

    def __post_init__(self) -> None:
        at_least("epochs", self.epochs, 1)
        at_least("eval_every", self.eval_every, 1)
        at_least("threads", self.threads, 1)
        if self.threads > MAX_THREADS:
            raise ConfigError("threads", self.threads, f"must be at most {MAX_THREADS}")
        self.compile = {"True": "on", "False": "off"}.get(self.compile, self.compile)  # YAML's on
        check_choices(self)
        if self.ema is not None:
            below_one("ema", self.ema, "try ema=0.999")


OptimizerConfig: TypeAlias = AdamWConfig | AdamAtan2Config

OPTIMIZERS: dict[str, type[OptimizerConfig]] = {
    "adamw": AdamWConfig,
    "adam_atan2": AdamAtan2Config,
}
"""The class for each `name` in the YAML files."""
