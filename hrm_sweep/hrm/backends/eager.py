"""Blocks computed by PyTorch's operators, where there is no compiler or compiling does not pay.

Composed naively, half of a small model's step goes into passes over memory and calls. Here a block
is one autograd node; its parts work in place where they may, and each has its backward beside it.
Linear layers compute in the dtype of their weights; norm and attention in that of the states, fp32
or wider. Shapes as in `backend`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from hrm_sweep.compat import torch as torch_compat
from hrm_sweep.hrm.backends.backend import (
    AdamVectors,
    BlockKernel,
    BlockWeights,
    EmbeddingWeights,
    MixerWeights,
    PointwiseWeights,
    ReadoutWeights,
    SequenceLayout,
    refuse_second_derivative,
)
from hrm_sweep.hrm.backends.eager_adam import EagerAdam
from hrm_sweep.hrm.backends.eager_swiglu import (
    EagerSwiGLU,
    norm_backward,
    norm_of_sum,
    swiglu,
    swiglu_backward,
)
from hrm_sweep.hrm.backends.mixer import Mixer, Pointwise

LONGEST_PLAIN = 128
"""Tokens up to which materialized attention weights beat PyTorch's blockwise (flash) kernel. With
backward, 8 sequences, 4 heads of 32: 0.6 against 1.0 ms at 37 tokens, 1.7 to 2.8 at 82, 28 to 15 at
197."""


class EagerBackend:
    """The `Backend` of every machine."""

    name = "no"

    def missing(self) -> None:
        """Return None: PyTorch is all it needs."""

    def load(self) -> None:
        """Do nothing: PyTorch is loaded."""

    def block(self, parameters: BlockWeights, threads: int) -> EagerBlock:  # noqa: ARG002
        """Return a kernel; PyTorch's own setting decides how many threads compute."""
        return EagerBlock(parameters)

    def mixer(self, parameters: MixerWeights, threads: int) -> Mixer:  # noqa: ARG002
        """Return a kernel for a block that mixes over tokens."""
        return Mixer(EagerSwiGLU(*parameters[:2]), EagerSwiGLU(*parameters[2:]))

    def pointwise(self, parameters: PointwiseWeights, threads: int) -> Pointwise:  # noqa: ARG002
        """Return a kernel for a block without mixing over tokens."""
        return Pointwise(EagerSwiGLU(*parameters))

    def recursion(self, low: Sequence[BlockKernel[Any]], high: Sequence[BlockKernel[Any]]) -> None:
        """Return None: the model runs block by block."""

    def embedding(self, weights: EmbeddingWeights, tokens: int, scale: float, threads: int) -> None:
        """Return None: the model makes its input states with PyTorch's operators."""

    def readout(self, weights: ReadoutWeights, tokens: int, loss: str, threads: int) -> None:
        """Return None: `losses` computes with PyTorch's operators."""

    def adam(self, vectors: AdamVectors, threads: int) -> EagerAdam:  # noqa: ARG002
        """Return a kernel for the update of all parameters."""
        return EagerAdam(vectors)


class EagerBlock:
    """A `BlockKernel`, differentiable with respect to the states and to the prepared weights.

    Args:
        weights: All fp32, fp64 or bf16.
    """

    def __init__(self, weights: BlockWeights) -> None:
        self._weights = weights

    def prepare(self, weights: BlockWeights) -> None:
        """Compute with these weights from now on; later changes of their values count, too."""
        self._weights = weights

    def __call__(self, x_RD: Tensor, layout: SequenceLayout) -> Tensor:
        """Return the states after the block, [R, D]."""
        if torch.is_grad_enabled():
            return _Block.apply(x_RD, *self._weights, layout)
        return _forward(x_RD, self._weights, layout)[0]

    @torch.no_grad()
    def first_token(self, x_RD: Tensor, layout: SequenceLayout) -> Tensor:
        """Return the states [B, D] of the first tokens, which attend to all."""
        weights = self._weights
        dtype = weights.qkv.dtype
        first_BD = x_RD.view(-1, layout.tokens, x_RD.shape[-1])[:, 0]
        qkv = torch.mm(x_RD.to(dtype), weights.qkv.t())
        attn_out, _ = _attention(qkv, layout, x_RD.dtype, queries=1)
        h, _ = norm_of_sum(first_BD, torch.mm(attn_out, weights.out.t()))
        act, _ = swiglu(torch.mm(h.to(dtype), weights.gate_up.t()))
        return norm_of_sum(h, torch.mm(act, weights.down.t()))[0]


class _Block(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        qkv: Tensor,
        out: Tensor,
        gate_up: Tensor,
        down: Tensor,
        layout: SequenceLayout,
    ) -> Tensor:
        weights = BlockWeights(qkv, out, gate_up, down)
        result, saved = _forward(x, weights, layout)
        ctx.save_for_backward(*weights, *saved)
        ctx.layout = layout
        return result

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        refuse_second_derivative()
        w_qkv, w_out, w_gate_up, w_down, *saved = ctx.saved_tensors
        x, attn_out, h, h_inverse, y, gate_up, silu, act, z, z_inverse, *attended = saved
        grad = norm_backward(grad, z, z_inverse)
        down = grad.to(w_down.dtype)  # may be grad itself, which changes below
        grad_w_down = torch.mm(down.t(), act)
        grad_gate_up = swiglu_backward(torch.mm(down, w_down), gate_up, silu)
        grad_w_gate_up = torch.mm(grad_gate_up.t(), y)
        grad.add_(torch.mm(grad_gate_up, w_gate_up))
        grad = norm_backward(grad, h, h_inverse)
        out = grad.to(w_out.dtype)
        grad_w_out = torch.mm(out.t(), attn_out)
        grad_qkv = _attention_backward(torch.mm(out, w_out), attended, ctx.layout)
        grad_w_qkv = torch.mm(grad_qkv.t(), x)
        grad.add_(torch.mm(grad_qkv, w_qkv))
        return grad, grad_w_qkv, grad_w_out, grad_w_gate_up, grad_w_down, None


def _forward(
    x: Tensor, weights: BlockWeights, layout: SequenceLayout
) -> tuple[Tensor, tuple[Tensor, ...]]:
    """Return the result and the intermediates that the backward pass needs."""
    dtype = weights.qkv.dtype
    a = x.to(dtype)
    attn_out, attended = _attention(torch.mm(a, weights.qkv.t()), layout, x.dtype)
    h, h_inverse = norm_of_sum(x, torch.mm(attn_out, weights.out.t()))
    y = h.to(dtype)
    gate_up = torch.mm(y, weights.gate_up.t())
    act, silu = swiglu(gate_up)
    z, z_inverse = norm_of_sum(h, torch.mm(act, weights.down.t()))
    return z, (
        *(a, attn_out, h, h_inverse, y, gate_up, silu, act, z, z_inverse),
        *attended,
    )


def _attention(
    qkv_RE: Tensor, layout: SequenceLayout, wide: torch.dtype, queries: int | None = None
) -> tuple[Tensor, tuple[Tensor, ...]]:
    """Return softmax(q·k / sqrt(K)) v of every head, [R, D], and what its backward pass needs.

    Attention is not causal. With `queries`, only so many first tokens of a sequence attend.
    """
    heads = _into_heads(qkv_RE, 3, layout, wide)
    apply_rope(heads, layout.rope_table)
    if queries is None and layout.tokens > LONGEST_PLAIN:
        attn_out, log_sums = torch_compat.flash_attention(*heads)
        return _out_of_heads(attn_out[None], qkv_RE.dtype), (heads, attn_out, log_sums)
    q, k, v = heads.flatten(1, 2)
    p = torch.softmax(torch.bmm(q[:, :queries], k.transpose(1, 2)), dim=-1)
    attn_out = torch.bmm(p, v).view(1, *heads.shape[1:3], -1, heads.shape[-1])
    return _out_of_heads(attn_out, qkv_RE.dtype), (heads, p)


def _attention_backward(grad_RD: Tensor, attended: list[Tensor], layout: SequenceLayout) -> Tensor:
    heads, *rest = attended
    grad = _into_heads(grad_RD, 1, layout, heads.dtype)[0]
    if layout.tokens > LONGEST_PLAIN:
        grads = torch.stack(torch_compat.flash_attention_backward(grad, *heads, *rest))
    else:
        grads = _plain_backward(grad.flatten(0, 1), heads, *rest)
    apply_rope_backward(grads, layout.rope_table)
    return _out_of_heads(grads, grad_RD.dtype)


def _plain_backward(grad: Tensor, heads: Tensor, p: Tensor) -> Tensor:
    q, k, v = heads.flatten(1, 2)
    grad_p = torch.bmm(grad, v.transpose(1, 2))
    grad_scores = torch_compat.softmax_backward(grad_p, p)
    grads = torch.empty_like(heads)
    grad_q, grad_k, grad_v = grads.flatten(1, 2)
    torch.bmm(grad_scores, k, out=grad_q)
    torch.bmm(grad_scores.transpose(1, 2), q, out=grad_k)
    torch.bmm(p.transpose(1, 2), grad, out=grad_v)
    return grads


def _into_heads(x: Tensor, parts: int, layout: SequenceLayout, dtype: torch.dtype) -> Tensor:
    """Return [R, parts · D] as contiguous [parts, B, N, T, K], cast."""
    size = x.shape[-1] // (parts * layout.num_heads)
    apart = x.view(-1, layout.tokens, parts, layout.num_heads, size).permute(2, 0, 3, 1, 4)
    return apart.to(dtype, copy=True, memory_format=torch.contiguous_format)


def _out_of_heads(heads: Tensor, dtype: torch.dtype) -> Tensor:
    """Return [parts, B, N, T, K] as contiguous [R, parts · D], cast."""
    parts, rows, num_heads, tokens, size = heads.shape
    joined = torch.empty(rows, tokens, parts, num_heads, size, dtype=dtype)
    joined.copy_(heads.permute(1, 3, 0, 2, 4))
    return joined.view(rows * tokens, parts * num_heads * size)


def apply_rope(heads: Tensor, table: Tensor | None) -> None:
    """Rotate queries and keys of [3, B, N, T, K] by position and scale by K^-1/4, in place."""
    if table is None:
        heads[:2].mul_(heads.shape[-1] ** -0.25)
    else:
        _pairs(heads).mul_(torch.view_as_complex(table))


def apply_rope_backward(grads: Tensor, table: Tensor | None) -> None:
    """Turn the gradients of rotated queries and keys into those before the rotation, in place."""
    if table is None:
        grads[:2].mul_(grads.shape[-1] ** -0.25)
    else:
        _pairs(grads).mul_(torch.view_as_complex(table).conj())


def _pairs(heads: Tensor) -> Tensor:
    """Return a view of queries and keys as complex numbers [2, B, N, T, K / 2]."""
    qk = heads[:2]
    return torch.view_as_complex(qk.view(*qk.shape[:-1], -1, 2))
