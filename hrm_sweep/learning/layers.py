"""The parts of every model: linear layers, embeddings, positions and the post-norm block.

Shapes, in names of tensors: B rows of a batch, T tokens with the prefix in front, D hidden_dim,
N heads, K numbers of a head, M width of the MLP, V vocabulary, P puzzle identifiers. A `Linear`
computes in the dtype of its working copy, everything else in the dtype of the states (fp32).
Parameters are named as in the published HRM code, so that its checkpoints fit.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from hrm_sweep.learning.configs import ModelConfig
from hrm_sweep.learning.kernels import Rope, attention, rms_norm_of_sum, swiglu

ROPE_BASE = 10_000.0  # RoFormer, arXiv:2104.09864
_KEPT_STD = 0.87962566  # standard deviation of a standard normal cut at ±2: undone by the drawing


def truncated_normal(*shape: int, std: float) -> Tensor:
    """Normal numbers cut at two of their deviations before scaling; `std` is that of the result."""
    drawn = torch.empty(shape)
    wide = std / _KEPT_STD
    return nn.init.trunc_normal_(drawn, std=wide, a=-2 * wide, b=2 * wide) if std else drawn.zero_()


class Linear(nn.Module):
    """y = W x without bias, W in fp32 or, where somebody keeps one up to date, its `working` copy.

    Casting once per optimizer step and not in each call is what makes bf16 pay at small sizes;
    `optim.WorkingCopies` does it and brings the gradient back.
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(truncated_normal(outputs, inputs, std=inputs**-0.5))  # LeCun
        self.working: Tensor | None = None

    def forward(self, x: Tensor) -> Tensor:
        """[..., outputs] from [..., inputs], in the dtype of the weights in use."""
        weight = self.weight if self.working is None else self.working
        return functional.linear(x.to(weight.dtype), weight)


class Head(nn.Module):
    """Logits of the vocabulary; small, so it stays in fp32."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(truncated_normal(outputs, inputs, std=inputs**-0.5))

    def forward(self, x: Tensor) -> Tensor:
        return functional.linear(x, self.weight)


class QHead(nn.Module):
    """Values of halting and of going on, from a state."""

    def __init__(self, inputs: int) -> None:
        super().__init__()
        # published: almost zero (sigmoid(-5) = 0.007) whatever the state, which makes the
        # bootstrapping of Q-learning start quickly
        self.weight = nn.Parameter(torch.zeros(2, inputs))
        self.bias = nn.Parameter(torch.full((2,), -5.0))

    def forward(self, x_BD: Tensor) -> tuple[Tensor, Tensor]:
        """Logits [B] of the two values."""
        halt_B, continue_B = functional.linear(x_BD, self.weight, self.bias).unbind(dim=-1)
        return halt_B, continue_B


class Embedding(nn.Module):
    """A vector for each token or place."""

    def __init__(self, count: int, size: int, *, std: float) -> None:
        super().__init__()
        self.embedding_weight = nn.Parameter(truncated_normal(count, size, std=std))

    def forward(self, ids: Tensor) -> Tensor:
        """[..., size] from int64 [...]."""
        return functional.embedding(ids, self.embedding_weight)


class PuzzleEmbedding(nn.Module):
    """A vector for each puzzle identifier, zero at first; of many, a batch touches few.

    The table is a buffer: in training `rows` holds the vectors of the batch, a leaf that receives
    their gradient, and `ids` their places. `optim.SignSGD` brings them home.
    """

    def __init__(self, count: int, size: int) -> None:
        super().__init__()
        self.weights: Tensor
        self.register_buffer("weights", torch.zeros(count, size))
        self.ids: Tensor | None = None
        self.rows: Tensor | None = None

    def forward(self, ids_B: Tensor) -> Tensor:
        """[B, size] from int64 [B]."""
        rows = self.weights[ids_B]
        if self.training and torch.is_grad_enabled():
            self.ids, self.rows = ids_B, rows.requires_grad_()
        return rows


class RotaryPositions(nn.Module):
    """Tables for `kernels.attention`; nothing to learn, nothing in a checkpoint."""

    def __init__(self, tokens: int, head_size: int) -> None:
        super().__init__()
        turns_H = ROPE_BASE ** -(torch.arange(0, head_size, 2).float() / head_size)
        angles_TH = torch.outer(torch.arange(tokens).float(), turns_H)
        scale = head_size**-0.25
        self.cos: Tensor
        self.sin: Tensor
        self.register_buffer("cos", angles_TH.cos().repeat(1, 2) * scale, persistent=False)
        self.register_buffer("sin", angles_TH.sin() * scale, persistent=False)

    def forward(self) -> Rope:
        return Rope(self.cos, self.sin)


class Attention(nn.Module):
    """Every token sees every other; one projection gives queries, keys and values."""

    def __init__(self, hidden_dim: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.qkv_proj = Linear(hidden_dim, 3 * hidden_dim)
        self.o_proj = Linear(hidden_dim, hidden_dim)

    def forward(self, x_BTD: Tensor, rope: Rope | None) -> Tensor:
        return self.o_proj(attention(self.qkv_proj(x_BTD), self.num_heads, rope))

    def first_token(self, x_BTD: Tensor, rope: Rope | None) -> Tensor:
        """What `forward` gives for the first token, [B, 1, D]."""
        return self.o_proj(attention(self.qkv_proj(x_BTD), self.num_heads, rope)[:, :1])


class SwiGLU(nn.Module):
    """down(silu(gate x) · up x), arXiv:2002.05202."""

    def __init__(self, hidden_dim: int, expansion: float, multiple_of: int) -> None:
        super().__init__()
        width = mlp_width(hidden_dim, expansion, multiple_of)
        self.gate_up_proj = Linear(hidden_dim, 2 * width)
        self.down_proj = Linear(width, hidden_dim)

    def forward(self, x_BTD: Tensor) -> Tensor:
        return self.down_proj(swiglu(self.gate_up_proj(x_BTD)))


def mlp_width(hidden_dim: int, expansion: float, multiple_of: int) -> int:
    """Two thirds of a plain MLP's width, as three matrices take the place of two; rounded up."""
    return -(-round(expansion * hidden_dim * 2 / 3) // multiple_of) * multiple_of


class Block(nn.Module):
    """Attention, then MLP, each added to its input and normed after the sum (post-norm)."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.self_attn = Attention(config.hidden_dim, config.num_heads)
        self.mlp = SwiGLU(config.hidden_dim, config.expansion, config.mlp_multiple_of)

    def forward(self, x_BTD: Tensor, rope: Rope | None) -> Tensor:
        x_BTD = rms_norm_of_sum(x_BTD, self.self_attn(x_BTD, rope))
        return rms_norm_of_sum(x_BTD, self.mlp(x_BTD))

    def first_token(self, x_BTD: Tensor, rope: Rope | None) -> Tensor:
        """What `forward` gives for the first token, [B, 1, D], at a part of the cost."""
        first = rms_norm_of_sum(x_BTD[:, :1], self.self_attn.first_token(x_BTD, rope))
        return rms_norm_of_sum(first, self.mlp(first))


class Level(nn.Module):
    """A stack of blocks that updates a state; what it reasons about is added to the state."""

    def __init__(self, config: ModelConfig, num_layers: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(Block(config) for _ in range(num_layers))

    def forward(self, state_BTD: Tensor, injection_BTD: Tensor, rope: Rope | None) -> Tensor:
        x_BTD = state_BTD + injection_BTD
        for block in self.layers:
            x_BTD = block(x_BTD, rope)
        return x_BTD

    def first_token(self, state_BTD: Tensor, injection_BTD: Tensor, rope: Rope | None) -> Tensor:
        """What `forward` gives for the first token, [B, 1, D]."""
        x_BTD = state_BTD + injection_BTD
        for block in self.layers[:-1]:
            x_BTD = block(x_BTD, rope)
        last = self.layers[-1]
        assert isinstance(last, Block)
        return last.first_token(x_BTD, rope)
