"""The keys of `model=…`: one class for each model. Their values are in `conf/model/`.

PyTorch is not imported, as the configs are read at every start. A class checks itself when it is
made and raises `ConfigError` with the key as it is called here; `hrm.config` adds its group.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from hrm_sweep.errors import ConfigError
from hrm_sweep.hrm.checks import MISSING, at_least, check_choices, choice, positive, share


@dataclass(kw_only=True, slots=True)
class _ModelConfig:
    """The keys of every model: its blocks, its input and its loss."""

    name: str = MISSING
    """The chosen option of the group."""
    hidden_dim: int = MISSING
    """Width of a token's state."""
    num_heads: int = MISSING
    """Number of attention heads; it must divide hidden_dim."""
    expansion: float = MISSING
    """Size of the SwiGLU: it has as many weights as an MLP of width hidden_dim · expansion."""
    mlp_multiple_of: int = MISSING
    """The width of the SwiGLU is rounded up to a multiple of this. The published 256 hides small
    changes of hidden_dim."""
    pos_encodings: str = choice("rope", "learned", "none")
    """Position encodings: `rope`, `learned` or `none`. Attention without any cannot tell positions
    apart; `mlp_t` can, and rope, which turns queries and keys, changes nothing there."""
    mlp_t: bool = False
    """Whether blocks mix over tokens by a SwiGLU instead of attention, as in TRM's recipe for
    Sudoku. Its weights fit one number of tokens."""
    mixing: str = choice("attention", "mlp_t", "none", default="attention")
    """How blocks mix over tokens: `attention`, `mlp_t` (the same as mlp_t=true), or `none`: tokens
    see neither each other nor the puzzle embedding, a baseline that shows what mixing does."""
    puzzle_emb_ndim: int = MISSING
    """Size of the puzzle embedding, the vector learned for each identifier and put before the
    tokens; 0: the model does not see identifiers."""
    puzzle_emb_len: int | None = None
    """Number of positions of the puzzle embedding, padded with zeros; null: as few as possible.
    Published TRM weights need 16."""
    loss: str = choice("stablemax", "softmax")
    """Token loss: `stablemax`, as in HRM, or `softmax`."""
    init_from: str | None = MISSING
    """Checkpoint to start from, ours or of the published code; null: random initialization."""

    @property
    def mixes_by(self) -> str:
        """`mixing`, which the published key `mlp_t` decides if it is true."""
        return "mlp_t" if self.mlp_t else self.mixing


@dataclass(kw_only=True, slots=True)
class _HaltingConfig(_ModelConfig):
    """The keys of a recursive model, which runs segments until it halts."""

    H_cycles: int = MISSING
    """Updates of the high level (in TRM, the answer) in a segment."""
    L_cycles: int = MISSING
    """Updates of the low level (in TRM, the latent) before each high-level update."""
    halting: str = choice("q_learning", "bce")
    """Training of the halting head: `q_learning`, as in HRM, or `bce`, as in TRM: binary cross
    entropy on "the answer is correct"."""
    halt_max_steps: int = MISSING
    """Maximum number of segments of a puzzle."""
    eval_max_steps: int | None = MISSING
    """The same for held-out puzzles; null: the same value. A larger one may solve more puzzles
    (HRM, section 2: inference-time scaling)."""
    halt_exploration_prob: float = MISSING
    """Probability with which a training segment draws a minimum number of segments."""
    eval_halting: str = choice("never", "early")
    """When the answer to a held-out puzzle is taken: `never` before its last segment, as
    published, or `early`, as soon as the model halts, which costs less."""


@dataclass(kw_only=True, slots=True)
class HRMConfig(_HaltingConfig):
    """Hierarchical Reasoning Model, arXiv:2506.21734."""

    H_layers: int = MISSING
    """Number of blocks of the high level."""
    L_layers: int = MISSING
    """Number of blocks of the low level."""

    def __post_init__(self) -> None:
        _check_model(self)
        _check_halting(self)
        at_least("H_layers", self.H_layers, 1)
        at_least("L_layers", self.L_layers, 1)


@dataclass(kw_only=True, slots=True)
class TRMConfig(_HaltingConfig):
    """Tiny Recursive Model, arXiv:2510.04871: one network for both levels."""

    L_layers: int = MISSING
    """Number of blocks of the network."""

    def __post_init__(self) -> None:
        _check_model(self)
        _check_halting(self)
        at_least("L_layers", self.L_layers, 1)


@dataclass(kw_only=True, slots=True)
class TransformerConfig(_ModelConfig):
    """A single pass through a stack of the same blocks: the baseline without recursion."""

    num_layers: int = MISSING
    """Number of blocks; H_layers + L_layers of an HRM makes a model of equal size."""

    def __post_init__(self) -> None:
        _check_model(self)
        at_least("num_layers", self.num_layers, 1)


ModelConfig: TypeAlias = HRMConfig | TRMConfig | TransformerConfig

MODELS: dict[str, type] = {
    "hrm": HRMConfig,
    "trm": TRMConfig,
    "transformer": TransformerConfig,
}
"""The class for each `name` in the YAML files."""


def _check_model(config: _ModelConfig) -> None:
    for key in ("hidden_dim", "num_heads", "mlp_multiple_of"):
        at_least(key, getattr(config, key), 1)
    at_least("puzzle_emb_ndim", config.puzzle_emb_ndim, 0)
    _check_puzzle_embedding(config)
    check_choices(config)
    if config.mlp_t and config.mixing == "none":
        rule = "names another way of mixing over tokens than mixing=none"
        raise ConfigError("mlp_t", "true", rule, "set mixing alone")
    positive("expansion", config.expansion, "try expansion=4")
    _check_heads(config)


def _check_heads(config: _ModelConfig) -> None:
    if config.mixes_by != "attention":
        return
    hidden_dim, num_heads = config.hidden_dim, config.num_heads
    unit = 2 * num_heads if config.pos_encodings == "rope" else num_heads
    if hidden_dim % unit == 0:
        return
    below, above = hidden_dim // unit * unit, (hidden_dim // unit + 1) * unit
    sizes = " or ".join(str(size) for size in (below, above) if size)
    fitting = [n for n in range(num_heads, 0, -1) if hidden_dim % (unit // num_heads * n) == 0]
    rule = f"must be a multiple of num_heads={num_heads}"
    if hidden_dim % num_heads == 0:
        rule = f"num_heads={num_heads} makes heads of odd size, and rope rotates pairs"
    raise ConfigError(
        "hidden_dim",
        hidden_dim,
        rule,
        f"try hidden_dim={sizes}" + (f", or num_heads={fitting[0]}" if fitting else ""),
    )


def _check_puzzle_embedding(config: _ModelConfig) -> None:
    length, size, width = config.puzzle_emb_len, config.puzzle_emb_ndim, config.hidden_dim
    if length is None:
        return
    if size == 0:
        rule = "needs a puzzle embedding, but puzzle_emb_ndim=0"
        raise ConfigError("puzzle_emb_len", length, rule, "try puzzle_emb_len=null")
    if length * width < size:
        rule = f"must hold puzzle_emb_ndim={size} with hidden_dim={width} per position"
        raise ConfigError("puzzle_emb_len", length, rule, f"try puzzle_emb_len={-(-size // width)}")


def _check_halting(config: _HaltingConfig) -> None:
    for key in ("H_cycles", "L_cycles", "halt_max_steps"):
        at_least(key, getattr(config, key), 1)
    if config.eval_max_steps is not None:
        at_least("eval_max_steps", config.eval_max_steps, 1)
    share("halt_exploration_prob", config.halt_exploration_prob)
