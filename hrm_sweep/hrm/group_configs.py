"""The config keys of the learning half; their values live in `conf/`, one YAML file for each class.

Imported at every start, so torch stays out. A class checks itself when it is built and raises
`ConfigError` with the key as it is called here; whoever built it knows what the user typed.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TypeAlias

from hrm_sweep.errors import ConfigError
from hrm_sweep.hrm.data.checks import MISSING, at_least, one_of
from hrm_sweep.hrm.data.configs import DATA as DATA


@dataclass(kw_only=True, slots=True)
class _ModelConfig:
    """What every model has: its blocks, its input and its loss."""

    name: str = MISSING
    hidden_dim: int = MISSING
    """Width of a token's state."""
    num_heads: int = MISSING
    """Attention heads; they share hidden_dim evenly."""
    expansion: float = MISSING
    """Size of the MLP: a plain one of hidden_dim x expansion has as many weights as this SwiGLU."""
    mlp_multiple_of: int = MISSING
    """The MLP's width is rounded up to this; 256 as published hides small changes of hidden_dim."""
    pos_encodings: str = MISSING
    """How tokens know their place: `rope` or `learned`."""
    puzzle_emb_ndim: int = MISSING
    """Numbers learnt for each puzzle identifier, put before the tokens; 0: no identifiers."""
    puzzle_emb_len: int | None = None
    """Positions before the tokens that these take, zeros after them; null: as many as they need.
    Published TRM weights need 16."""
    loss: str = MISSING
    """Token loss: `stablemax` as in HRM, or `softmax`."""
    init_from: str | None = MISSING
    """File of weights to start from, ours or of the published code; null: random ones."""


@dataclass(kw_only=True, slots=True)
class _HaltingConfig(_ModelConfig):
    """A model that thinks in segments until it halts."""

    H_cycles: int = MISSING
    """Updates of the high level (of the answer) in a segment."""
    L_cycles: int = MISSING
    """Updates of the low level (of the latent) before each of those."""
    halting: str = MISSING
    """What the halting head learns: `q_learning` as in HRM, `bce` ("is it solved?") as in TRM."""
    halt_max_steps: int = MISSING
    """Most segments that a puzzle gets."""
    eval_max_steps: int | None = MISSING
    """The same for held-out puzzles; null: as many. More of them can solve more puzzles than in
    training (HRM, section 2: inference-time scaling)."""
    halt_exploration_prob: float = MISSING
    """Share of training segments that draw a least number of segments before halting counts."""
    eval_halting: str = MISSING
    """When the answer to a held-out puzzle is taken: `never` before it has had all its
    segments, as published, or `early`, as soon as the model halts, which costs less."""


@dataclass(kw_only=True, slots=True)
class HRMConfig(_HaltingConfig):
    """Hierarchical Reasoning Model, arXiv:2506.21734."""

    H_layers: int = MISSING
    """Blocks of the high level."""
    L_layers: int = MISSING
    """Blocks of the low level."""

    def __post_init__(self) -> None:
        _check_model(self)
        _check_halting(self)
        at_least("H_layers", self.H_layers, 1)
        at_least("L_layers", self.L_layers, 1)


@dataclass(kw_only=True, slots=True)
class TRMConfig(_HaltingConfig):
    """Tiny Recursive Model, arXiv:2510.04871: one network for both levels."""

    L_layers: int = MISSING
    """Blocks of the network."""

    def __post_init__(self) -> None:
        _check_model(self)
        _check_halting(self)
        at_least("L_layers", self.L_layers, 1)


@dataclass(kw_only=True, slots=True)
class TransformerConfig(_ModelConfig):
    """One pass through a stack of the same blocks: what recursion has to beat."""

    num_layers: int = MISSING
    """Blocks; H_layers + L_layers of an HRM give a model of equal size."""

    def __post_init__(self) -> None:
        _check_model(self)
        at_least("num_layers", self.num_layers, 1)


@dataclass(kw_only=True, slots=True)
class _OptimizerConfig:
    """What every optimizer has: its schedule, its clipping, and sign-SGD for puzzle embeddings."""

    name: str = MISSING
    lr: float = MISSING
    """Learning rate at the top of its schedule."""
    lr_min_ratio: float = MISSING
    """The cosine ends at this share of lr; 1 keeps it constant."""
    warmup: float = MISSING
    """Share of the training in which lr rises from 0."""
    weight_decay: float = MISSING
    beta1: float = MISSING
    beta2: float = MISSING
    max_grad_norm: float | None = MISSING
    """A longer gradient is scaled down to this length; null: never."""
    puzzle_emb_lr: float = MISSING
    """Step of the puzzle embedding, trained by the sign of its gradient; follows the schedule."""
    puzzle_emb_weight_decay: float = MISSING


@dataclass(kw_only=True, slots=True)
class AdamWConfig(_OptimizerConfig):
    """AdamW, arXiv:1711.05101."""

    def __post_init__(self) -> None:
        _check_optimizer(self)


@dataclass(kw_only=True, slots=True)
class AdamAtan2Config(_OptimizerConfig):
    """Adam without an epsilon, as HRM was trained: arXiv:2407.05872, section 3.4."""

    def __post_init__(self) -> None:
        _check_optimizer(self)


@dataclass(kw_only=True, slots=True)
class EarlyStoppingConfig:
    """When to stop before the last epoch."""

    patience: int | None = MISSING
    """Evaluations in a row without an improvement that end the training; null: never."""
    min_improvement: float = MISSING
    """An improvement of `trainer.monitor` counts if it is larger than this."""

    def __post_init__(self) -> None:
        if self.patience is not None:
            at_least("patience", self.patience, 1)
        _not_negative("min_improvement", self.min_improvement)


MOST_THREADS = 1024
"""Some ten thousand end the process without a word."""


@dataclass(kw_only=True, slots=True)
class TrainerConfig:
    """How long, how exactly and on how many threads to train."""

    epochs: int = MISSING
    """Times that every training puzzle is drawn."""
    batches: str = MISSING
    """How puzzles get into a batch: `stream`, a row takes the next one as soon as its own is
    finished; `published`, as in the published loop: one segment for each batch of the loader."""
    precision: str = MISSING
    """Of the blocks' linear layers: fp32, bf16, or auto: bf16 where the CPU computes in it."""
    compile: str = MISSING
    """Whether kernels compiled for this CPU compute the blocks, which takes a C++ compiler: on,
    off, or auto: in all but the shortest trainings."""
    eval_every: int = MISSING
    """Epochs from one evaluation to the next; the last epoch always has one."""
    threads: int = MISSING
    """Threads of one training; equal numbers need equal thread counts."""
    monitor: str = MISSING
    """The evaluation metric that picks the best epoch."""
    ema: float | None = MISSING
    """Evaluate and keep a running average of the weights with this decay (0.999); null: the weights
    themselves."""
    early_stopping: EarlyStoppingConfig = MISSING

    def __post_init__(self) -> None:
        at_least("epochs", self.epochs, 1)
        at_least("eval_every", self.eval_every, 1)
        at_least("threads", self.threads, 1)
        if self.threads > MOST_THREADS:
            raise ConfigError("threads", self.threads, f"must be at most {MOST_THREADS}")
        one_of("precision", self.precision, ("auto", "fp32", "bf16"))
        self.compile = {"True": "on", "False": "off"}.get(self.compile, self.compile)  # YAML's on
        one_of("compile", self.compile, ("auto", "on", "off"))
        one_of("batches", self.batches, ("stream", "published"))
        if self.ema is not None and not 0 <= self.ema < 1:
            raise ConfigError("ema", self.ema, "must be from 0 up to, not with, 1", "try ema=0.999")


ModelConfig: TypeAlias = HRMConfig | TRMConfig | TransformerConfig
OptimizerConfig: TypeAlias = AdamWConfig | AdamAtan2Config

MODELS: dict[str, type] = {
    "hrm": HRMConfig,
    "trm": TRMConfig,
    "transformer": TransformerConfig,
}
OPTIMIZERS: dict[str, type] = {
    "adamw": AdamWConfig,
    "adam_atan2": AdamAtan2Config,
}


def lower_is_better(metric: str) -> bool:
    """Whether a smaller value of this metric is the better one: losses, what thinking costs, and
    how alike the answers are."""
    return metric.endswith("loss") or metric in ("eval/segments", "eval/mode_share")


def _check_model(config: _ModelConfig) -> None:
    for key in ("hidden_dim", "num_heads", "mlp_multiple_of"):
        at_least(key, getattr(config, key), 1)
    at_least("puzzle_emb_ndim", config.puzzle_emb_ndim, 0)
    _check_puzzle_embedding(config)
    one_of("pos_encodings", config.pos_encodings, ("rope", "learned"))
    one_of("loss", config.loss, ("stablemax", "softmax"))
    if not (config.expansion > 0 and math.isfinite(config.expansion)):
        raise ConfigError("expansion", config.expansion, "must be above 0", "try expansion=4")
    _check_heads(config)


def _check_heads(config: _ModelConfig) -> None:
    hidden_dim, num_heads = config.hidden_dim, config.num_heads
    unit = 2 * num_heads if config.pos_encodings == "rope" else num_heads
    if hidden_dim % unit == 0:
        return
    below, above = hidden_dim // unit * unit, (hidden_dim // unit + 1) * unit
    sizes = " or ".join(str(size) for size in (below, above) if size)
    fitting = [n for n in range(num_heads, 0, -1) if hidden_dim % (unit // num_heads * n) == 0]
    rule = f"must be a multiple of num_heads={num_heads}"
    if hidden_dim % num_heads == 0:
        rule = f"num_heads={num_heads} make heads of odd size, and rope turns pairs"
    raise ConfigError(
        "hidden_dim",
        hidden_dim,
        rule,
        f"try hidden_dim={sizes}" + (f", or num_heads={fitting[0]}" if fitting else ""),
    )


def _check_puzzle_embedding(config: _ModelConfig) -> None:
    length, numbers, width = config.puzzle_emb_len, config.puzzle_emb_ndim, config.hidden_dim
    if length is None:
        return
    if numbers == 0:
        rule = "there is nothing to put there with puzzle_emb_ndim=0"
        raise ConfigError("puzzle_emb_len", length, rule, "try puzzle_emb_len=null")
    if length * width < numbers:
        rule = f"must hold puzzle_emb_ndim={numbers} at hidden_dim={width} a position"
        raise ConfigError(
            "puzzle_emb_len", length, rule, f"try puzzle_emb_len={-(-numbers // width)}"
        )


def _check_halting(config: _HaltingConfig) -> None:
    for key in ("H_cycles", "L_cycles", "halt_max_steps"):
        at_least(key, getattr(config, key), 1)
    if config.eval_max_steps is not None:
        at_least("eval_max_steps", config.eval_max_steps, 1)
    one_of("halting", config.halting, ("q_learning", "bce"))
    one_of("eval_halting", config.eval_halting, ("never", "early"))
    if not 0 <= config.halt_exploration_prob <= 1:
        raise ConfigError(
            "halt_exploration_prob", config.halt_exploration_prob, "must be a share from 0 to 1"
        )


def _check_optimizer(config: _OptimizerConfig) -> None:
    if not (config.lr > 0 and math.isfinite(config.lr)):
        raise ConfigError("lr", config.lr, "must be above 0", "try lr=1e-3")
    for key in ("beta1", "beta2"):
        if not 0 <= getattr(config, key) < 1:
            raise ConfigError(key, getattr(config, key), "must be from 0 up to, not with, 1")
    for key in ("lr_min_ratio", "warmup"):
        if not 0 <= getattr(config, key) <= 1:
            raise ConfigError(key, getattr(config, key), "must be a share from 0 to 1")
    for key in ("weight_decay", "puzzle_emb_lr", "puzzle_emb_weight_decay"):
        _not_negative(key, getattr(config, key))
    if config.max_grad_norm is not None and not config.max_grad_norm > 0:
        raise ConfigError(
            "max_grad_norm", config.max_grad_norm, "must be above 0", "null switches clipping off"
        )


def _not_negative(key: str, value: float) -> None:
    if not (value >= 0 and math.isfinite(value)):
        raise ConfigError(key, value, "must be a number from 0 up")
