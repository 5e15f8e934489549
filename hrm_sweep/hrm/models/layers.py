"""The layers of every model: linear layers, embeddings, rotary positions and the post-norm block.

Shapes, in names of tensors: B rows of a batch, T tokens of a row, R = B · T both in one dimension,
D hidden_dim, N heads, K size of a head, M width of the MLP, V vocabulary. A row's tokens are the
prefix of the puzzle embedding and the puzzle's. Parameters are named as in the published HRM code,
so that its checkpoints can be loaded.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from hrm_sweep.hrm.backends.backend import (
    Backend,
    BlockKernel,
    BlockWeights,
    MixerWeights,
    PointwiseWeights,
    SequenceLayout,
)
from hrm_sweep.hrm.backends.eager import EagerBackend
from hrm_sweep.hrm.models.configs import ModelConfig

ROPE_BASE = 10_000.0  # RoFormer, arXiv:2104.09864
_TRUNCATED_STD = 0.87962566  # standard deviation of a standard normal truncated at ±2


def truncated_normal(*shape: int, std: float) -> Tensor:
    """Return truncated normal numbers, cut at two standard deviations, of a given final `std`."""
    drawn = torch.empty(shape)
    wide = std / _TRUNCATED_STD
    return nn.init.trunc_normal_(drawn, std=wide, a=-2 * wide, b=2 * wide) if std else drawn.zero_()


class Linear(nn.Module):
    """The fp32 weight of a linear layer without bias, and its `compute_copy` in bf16, if any.

    bf16 is faster at small sizes only if weights are cast once per optimizer step and not in each
    call; `params.FlatParams` casts them and collects the gradients of the copies.
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(truncated_normal(outputs, inputs, std=inputs**-0.5))  # LeCun
        self.compute_copy: Tensor | None = None

    @property
    def compute_weight(self) -> Tensor:
        """The weight [outputs, inputs] to compute with."""
        return self.weight if self.compute_copy is None else self.compute_copy


class Head(nn.Module):
    """The output head: logits of the vocabulary. It is small, so it stays in fp32."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(truncated_normal(outputs, inputs, std=inputs**-0.5))

    def forward(self, x: Tensor) -> Tensor:
        """Return logits [..., V] of states [..., D]."""
        return functional.linear(x, self.weight)


class QHead(nn.Module):
    """The halting head: Q values of halting and of continuing."""

    def __init__(self, inputs: int) -> None:
        super().__init__()
        # as published: both values start near zero (sigmoid(-5) = 0.007) for every state, which
        # speeds up the start of Q-learning's bootstrapping
        self.weight = nn.Parameter(torch.zeros(2, inputs))
        self.bias = nn.Parameter(torch.full((2,), -5.0))

    def forward(self, x_BD: Tensor) -> tuple[Tensor, Tensor]:
        """Return the logits of both values, each [B]."""
        halt_B, continue_B = functional.linear(x_BD, self.weight, self.bias).unbind(dim=-1)
        return halt_B, continue_B


class Embedding(nn.Module):
    """A vector for each token or position."""

    def __init__(self, count: int, size: int, *, std: float) -> None:
        super().__init__()
        self.embedding_weight = nn.Parameter(truncated_normal(count, size, std=std))

    def forward(self, ids: Tensor) -> Tensor:
        """Return vectors [..., size] of ids, int64 [...]."""
        return functional.embedding(ids, self.embedding_weight)


class PuzzleEmbedding(nn.Module):
    """A vector for each puzzle identifier, initially zero.

    The table is a buffer, as a batch uses few of its vectors: in training `rows` holds those of the
    batch, [B, size], a leaf that receives their gradient, and `ids` their indices, [B].
    `optim.SignSGD` updates the table.
    """

    def __init__(self, count: int, size: int) -> None:
        super().__init__()
        self.weights: Tensor
        self.register_buffer("weights", torch.zeros(count, size))
        self.ids: Tensor | None = None
        self.rows: Tensor | None = None

    def forward(self, ids_B: Tensor) -> Tensor:
        """Return vectors [B, size] of identifiers, int64 [B]."""
        rows = self.weights[ids_B]
        if self.training and torch.is_grad_enabled():
            self.ids, self.rows = ids_B, rows.requires_grad_()
        return rows


def rope_table(tokens: int, head_size: int) -> Tensor:
    """Return the complex factors of rotary positions (arXiv:2104.09864), [T, K / 2, 2].

    They rotate each pair of numbers of a query or key, and scale it by K^-1/4, so that their
    product is scaled by 1 / sqrt(K).
    """
    speeds = ROPE_BASE ** -(torch.arange(0, head_size, 2).float() / head_size)
    angles = torch.outer(torch.arange(tokens).float(), speeds)
    return torch.view_as_real(torch.polar(torch.full_like(angles, head_size**-0.25), angles))


class Attention(nn.Module):
    """The weights of non-causal multi-head attention.

    The published code rotates the numbers k and k + K/2 of a head as a pair. Here the two are
    neighbours, which makes the rotation one complex product. So the rows of queries and keys are in
    another order than in a checkpoint; they are permuted when a state dict is loaded or saved.
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
        self.row_order = order.flatten()
        """Index in the published order of each row here."""
        self.register_state_dict_post_hook(_to_published_order)
        self.register_load_state_dict_pre_hook(_from_published_order)


def _to_published_order(
    attention: Attention, state: dict[str, Any], prefix: str, _metadata: Any
) -> None:
    name = f"{prefix}qkv_proj.weight"
    state[name] = state[name][attention.row_order.argsort()]


def _from_published_order(
    attention: Attention, state: dict[str, Any], prefix: str, *_: Any
) -> None:
    name = f"{prefix}qkv_proj.weight"
    if name in state and len(state[name]) == len(attention.row_order):
        state[name] = state[name][attention.row_order]


class SwiGLU(nn.Module):
    """The weights of down(silu(gate x) · up x), SwiGLU (arXiv:2002.05202), x of `size` numbers."""

    def __init__(self, size: int, expansion: float, multiple_of: int) -> None:
        super().__init__()
        width = mlp_width(size, expansion, multiple_of)
        self.gate_up_proj = Linear(size, 2 * width)
        self.down_proj = Linear(width, size)


def mlp_width(size: int, expansion: float, multiple_of: int) -> int:
    """Return the width of a SwiGLU with as many weights as an MLP of width size · expansion.

    That is two thirds of it, as there are three matrices instead of two, rounded up to a multiple.
    """
    return -(-round(expansion * size * 2 / 3) // multiple_of) * multiple_of


WEIGHTS: dict[str, Callable[..., Any]] = {
    "attention": BlockWeights,
    "mlp_t": MixerWeights,
    "none": PointwiseWeights,
}
"""The matrices of a block by how it mixes over tokens."""


class Block(nn.Module):
    """A post-norm transformer block: attention, then SwiGLU, each with RMSNorm after the sum.

    With `mixing=mlp_t` a SwiGLU over the tokens of each feature takes the place of attention, with
    `none` there is neither.
    """

    def __init__(self, config: ModelConfig, tokens: int) -> None:
        super().__init__()
        self._mixing = config.mixes_by
        first: tuple[Linear, ...] = ()
        if self._mixing == "mlp_t":
            self.mlp_t = SwiGLU(tokens, config.expansion, config.mlp_multiple_of)
            first = self.mlp_t.gate_up_proj, self.mlp_t.down_proj
        elif self._mixing == "attention":
            self.self_attn = Attention(config.hidden_dim, config.num_heads)
            first = self.self_attn.qkv_proj, self.self_attn.o_proj
        self.mlp = SwiGLU(config.hidden_dim, config.expansion, config.mlp_multiple_of)
        self._linear = *first, self.mlp.gate_up_proj, self.mlp.down_proj
        """Kept apart from the modules, whose attributes take longer to look up."""
        self.kernel: BlockKernel[Any]
        """What computes the block."""
        self.use_backend(EagerBackend(), threads=1)

    @property
    def sizes_of_products(self) -> list[int]:
        """The hidden size and the widths of the MLPs, which the compiled block takes in pairs."""
        mlps = [self.mlp, self.mlp_t] if self._mixing == "mlp_t" else [self.mlp]
        return [len(self.mlp.down_proj.weight), *(m.down_proj.weight.shape[1] for m in mlps)]

    def forward(self, x_RD: Tensor, layout: SequenceLayout) -> Tensor:
        """Return the states after the block, [R, D]."""
        return self.kernel(x_RD, layout)

    def first_token(self, x_RD: Tensor, layout: SequenceLayout) -> Tensor:
        """Return the first token of each row of what `forward` returns, [B, D], at a lower cost."""
        return self.kernel.first_token(x_RD, layout)

    def use_backend(self, backend: Backend, threads: int) -> None:
        """Compute with this backend from now on."""
        parameters = WEIGHTS[self._mixing](*[linear.weight for linear in self._linear])
        kernels: dict[str, Callable[[Any, int], BlockKernel[Any]]] = {
            "attention": backend.block,
            "mlp_t": backend.mixer,
            "none": backend.pointwise,
        }
        self.kernel = kernels[self._mixing](parameters, threads)
        self.refresh()

    def refresh(self) -> None:
        """Prepare the weights for the backend, after every change of `Linear.compute_weight`."""
        weights = WEIGHTS[self._mixing]
        self.kernel.prepare(weights(*[linear.compute_weight for linear in self._linear]))


class Level(nn.Module):
    """A recurrent level: a stack of blocks that updates a state."""

    def __init__(self, config: ModelConfig, num_layers: int, tokens: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(Block(config, tokens) for _ in range(num_layers))

    @property
    def kernels(self) -> list[BlockKernel[Any]]:
        """What computes the blocks."""
        return [layer.kernel for layer in self.layers if isinstance(layer, Block)]

    def forward(self, state_RD: Tensor, injection_RD: Tensor, layout: SequenceLayout) -> Tensor:
        """Return the blocks' output for the sum of state and input injection, [R, D]."""
        x_RD = state_RD + injection_RD
        for layer in self.layers:
            x_RD = layer(x_RD, layout)
        return x_RD

    def first_token(self, state_RD: Tensor, injection_RD: Tensor, layout: SequenceLayout) -> Tensor:
        """Return the first token of each row of what `forward` returns, [B, D]."""
        x_RD = state_RD + injection_RD
        *others, last = self.layers
        for layer in others:
            x_RD = layer(x_RD, layout)
        assert isinstance(last, Block)
        return last.first_token(x_RD, layout)
