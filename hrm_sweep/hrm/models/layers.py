"""The parts of every model: linear layers, embeddings, positions and the post-norm block.

Shapes, in names of tensors: B rows of a batch, T tokens with the prefix in front, R = B · T of both
in one dimension, D hidden_dim, N heads, K numbers of a head, M width of the MLP, V vocabulary.
Parameters are named as in the published HRM code, so that its checkpoints fit.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from hrm_sweep.hrm.backends.backend import Backend, BlockKernel, BlockWeights, SequenceLayout
from hrm_sweep.hrm.backends.eager import EagerBlock
from hrm_sweep.hrm.group_configs import ModelConfig

ROPE_BASE = 10_000.0  # RoFormer, arXiv:2104.09864
_KEPT_STD = 0.87962566  # standard deviation of a standard normal cut at ±2: undone by the drawing


def truncated_normal(*shape: int, std: float) -> Tensor:
    """Normal numbers cut at two of their deviations before scaling; `std` is that of the result."""
    drawn = torch.empty(shape)
    wide = std / _KEPT_STD
    return nn.init.trunc_normal_(drawn, std=wide, a=-2 * wide, b=2 * wide) if std else drawn.zero_()


class Linear(nn.Module):
    """A matrix without bias, in fp32 and, where somebody keeps one up to date, as a `working` copy.

    Casting once per optimizer step and not in each call is what makes bf16 pay at small sizes;
    `optim.Weights` does it and brings the gradient back.
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(truncated_normal(outputs, inputs, std=inputs**-0.5))  # LeCun
        self.working: Tensor | None = None

    @property
    def in_use(self) -> Tensor:
        return self.weight if self.working is None else self.working


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


def rope_table(tokens: int, head_size: int) -> Tensor:
    """[T, K / 2, 2], as complex numbers: by how much rotary positions (arXiv:2104.09864) turn each
    pair of numbers of a query or key, scaled by K^-1/4, so that their product is scaled by
    1 / sqrt(K)."""
    speeds = ROPE_BASE ** -(torch.arange(0, head_size, 2).float() / head_size)
    angles = torch.outer(torch.arange(tokens).float(), speeds)
    return torch.view_as_real(torch.polar(torch.full_like(angles, head_size**-0.25), angles))


class Attention(nn.Module):
    """The weights of attention: every token sees every other.

    The published code turns the numbers k and k + K/2 of a head together. Here those are
    neighbours, which makes the turn one complex product; so the rows of queries and keys stand in
    another order than in a checkpoint, and change places on the way in and out.
    """

    def __init__(self, hidden_dim: int, num_heads: int) -> None:
        super().__init__()
        self.qkv_proj = Linear(hidden_dim, 3 * hidden_dim)
        self.o_proj = Linear(hidden_dim, hidden_dim)
        size = hidden_dim // num_heads
        order = torch.arange(3 * hidden_dim).view(3, num_heads, size)
        if size % 2 == 0:
            pairs = order[:2].unflatten(-1, (2, -1)).transpose(-1, -2).flatten(-2)
            order = torch.cat((pairs, order[2:]))
        self._order = order.flatten()
        """Places in the published order of the rows as they stand here."""
        self.register_state_dict_post_hook(_to_published_order)
        self.register_load_state_dict_pre_hook(_from_published_order)


def _to_published_order(
    attention: Attention, state: dict[str, Any], prefix: str, _metadata: Any
) -> None:
    name = f"{prefix}qkv_proj.weight"
    state[name] = state[name][attention._order.argsort()]


def _from_published_order(
    attention: Attention, state: dict[str, Any], prefix: str, *_: Any
) -> None:
    name = f"{prefix}qkv_proj.weight"
    if name in state and len(state[name]) == len(attention._order):
        state[name] = state[name][attention._order]


class SwiGLU(nn.Module):
    """The weights of down(silu(gate x) · up x), arXiv:2002.05202."""

    def __init__(self, hidden_dim: int, expansion: float, multiple_of: int) -> None:
        super().__init__()
        width = mlp_width(hidden_dim, expansion, multiple_of)
        self.gate_up_proj = Linear(hidden_dim, 2 * width)
        self.down_proj = Linear(width, hidden_dim)


def mlp_width(hidden_dim: int, expansion: float, multiple_of: int) -> int:
    """Two thirds of a plain MLP's width, as three matrices take the place of two; rounded up."""
    return -(-round(expansion * hidden_dim * 2 / 3) // multiple_of) * multiple_of


class Block(nn.Module):
    """Attention, then MLP, each added to its input and normed after the sum (post-norm)."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.self_attn = Attention(config.hidden_dim, config.num_heads)
        self.mlp = SwiGLU(config.hidden_dim, config.expansion, config.mlp_multiple_of)
        attention, mlp = self.self_attn, self.mlp
        self._linear = attention.qkv_proj, attention.o_proj, mlp.gate_up_proj, mlp.down_proj
        """Once more, as each look-up of a module's module takes its time."""
        self._kernel: BlockKernel = EagerBlock(self._weights())

    def forward(self, x_RD: Tensor, layout: SequenceLayout) -> Tensor:
        return self._kernel(x_RD, layout)

    def first_token(self, x_RD: Tensor, layout: SequenceLayout) -> Tensor:
        """Return the first token of each sequence of what `forward` returns, [B, D]."""
        return self._kernel.first_token(x_RD, layout)

    def use_backend(self, backend: Backend, threads: int) -> None:
        """Compute with this backend from now on."""
        parameters = BlockWeights(*[linear.weight for linear in self._linear])
        self._kernel = backend.block(parameters, threads)
        self.refresh()

    def refresh(self) -> None:
        """Prepare the weights in use for the backend, after every change of them."""
        self._kernel.prepare(self._weights())

    def _weights(self) -> BlockWeights:
        return BlockWeights(*[linear.in_use for linear in self._linear])


class Level(nn.Module):
    """A stack of blocks that updates a state; what it reasons about is added to the state."""

    def __init__(self, config: ModelConfig, num_layers: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(Block(config) for _ in range(num_layers))

    def forward(self, state_RD: Tensor, injection_RD: Tensor, layout: SequenceLayout) -> Tensor:
        x_RD = state_RD + injection_RD
        for layer in self.layers:
            x_RD = layer(x_RD, layout)
        return x_RD

    def first_token(self, state_RD: Tensor, injection_RD: Tensor, layout: SequenceLayout) -> Tensor:
        """The first token of each row of what `forward` gives, [B, D]."""
        x_RD = state_RD + injection_RD
        *others, last = self.layers
        for layer in others:
            x_RD = layer(x_RD, layout)
        assert isinstance(last, Block)
        return last.first_token(x_RD, layout)
