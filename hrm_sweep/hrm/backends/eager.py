"""A post-norm block of attention and SwiGLU, forward and backward, written for one CPU core.

PyTorch's own operators leave half of a small model's step to passes over memory and to calls. Here
a block is one autograd node; its parts work in place where they may, and each has its backward
beside it. Linear layers compute in the dtype of their weights; norm and attention in that of the
states, fp32 or wider. Where there is a compiler, block.cpp takes this place.

Shapes in names: B rows, T tokens, R = B · T of both, D hidden, N heads, K numbers of a head, E the
3 D of queries, keys and values, M width of the MLP.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional

NORM_EPSILON = torch.tensor(1e-5)  # as published; keeps the norm of a zero state finite
LONGEST_PLAIN = 128
"""Tokens up to which writing all attention weights down beats PyTorch's blockwise kernel; with
backward, 8 rows, 4 heads of 32: 0.6 against 1.0 ms at 37 tokens, 1.7 to 2.8 at 82, 28 to 15 at 197.
"""


class BlockWeights(NamedTuple):
    """The linear layers of a block, [outputs, inputs], all of one dtype."""

    qkv: Tensor
    """[E, D]. The numbers of a head that turn together are neighbours: see `layers.Attention`."""
    out: Tensor
    """[D, D]."""
    gate_up: Tensor
    """[2 M, D]."""
    down: Tensor
    """[D, M]."""


class Frame(NamedTuple):
    """What rows of a flat state [R, D] mean."""

    tokens: int
    num_heads: int
    turns: Tensor | None
    """[T, K / 2, 2], complex numbers by which pairs of numbers of a query or key turn, scaled by
    K^-1/4 (`layers.turns`); None: they do not turn."""


def block(x_RD: Tensor, weights: BlockWeights, frame: Frame) -> Tensor:
    """The states after the block, [R, D]."""
    if torch.is_grad_enabled():
        return _Block.apply(x_RD, *weights, frame)
    return _forward(x_RD, weights, frame)[0]


@torch.no_grad()
def block_first_token(x_RD: Tensor, weights: BlockWeights, frame: Frame) -> Tensor:
    """The states [B, D] of every first token after the block: all see, but only these move."""
    dtype = weights.qkv.dtype
    first_BD = x_RD.view(-1, frame.tokens, x_RD.shape[-1])[:, 0]
    qkv = torch.mm(x_RD.to(dtype), weights.qkv.t())
    seen, _ = _attention(qkv, frame, x_RD.dtype, queries=1)
    middle, _ = _norm_of_sum(first_BD, torch.mm(seen, weights.out.t()))
    hidden, _ = _swiglu(torch.mm(middle.to(dtype), weights.gate_up.t()))
    return _norm_of_sum(middle, torch.mm(hidden, weights.down.t()))[0]


class _Block(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, qkv: Tensor, out: Tensor, gate_up: Tensor, down: Tensor, frame: Frame
    ) -> Tensor:
        weights = BlockWeights(qkv, out, gate_up, down)
        result, kept = _forward(x, weights, frame)
        ctx.save_for_backward(*weights, *kept)
        ctx.frame = frame
        return result

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        w_qkv, w_out, w_gate_up, w_down, *kept = ctx.saved_tensors
        x, seen, middle, middle_inverse, y, gate_up, silu, hidden, z, z_inverse, *attended = kept
        grad = _norm_backward(grad, z, z_inverse)
        down = grad.to(w_down.dtype)  # may be grad itself, which changes below
        grad_w_down = torch.mm(down.t(), hidden)
        grad_gate_up = _swiglu_backward(torch.mm(down, w_down), gate_up, silu)
        grad_w_gate_up = torch.mm(grad_gate_up.t(), y)
        grad.add_(torch.mm(grad_gate_up, w_gate_up))
        grad = _norm_backward(grad, middle, middle_inverse)
        out = grad.to(w_out.dtype)
        grad_w_out = torch.mm(out.t(), seen)
        grad_qkv = _attention_backward(torch.mm(out, w_out), attended, ctx.frame)
        grad_w_qkv = torch.mm(grad_qkv.t(), x)
        grad.add_(torch.mm(grad_qkv, w_qkv))
        return grad, grad_w_qkv, grad_w_out, grad_w_gate_up, grad_w_down, None


def _forward(x: Tensor, weights: BlockWeights, frame: Frame) -> tuple[Tensor, tuple[Tensor, ...]]:
    """The result, and what the backward needs of the way to it."""
    dtype = weights.qkv.dtype
    a = x.to(dtype)
    seen, attended = _attention(torch.mm(a, weights.qkv.t()), frame, x.dtype)
    middle, middle_inverse = _norm_of_sum(x, torch.mm(seen, weights.out.t()))
    y = middle.to(dtype)
    gate_up = torch.mm(y, weights.gate_up.t())
    hidden, silu = _swiglu(gate_up)
    z, z_inverse = _norm_of_sum(middle, torch.mm(hidden, weights.down.t()))
    return z, (
        *(a, seen, middle, middle_inverse, y, gate_up, silu, hidden, z, z_inverse),
        *attended,
    )


def _norm_of_sum(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """(x + y) / rms(x + y), RMSNorm without a weight (arXiv:1910.07467), and 1 / rms."""
    total = x + y
    length = torch.linalg.vector_norm(total, dim=-1, keepdim=True)
    inverse = torch.addcmul(NORM_EPSILON, length, length, value=1 / x.shape[-1]).rsqrt_()
    return total.mul_(inverse), inverse


def _norm_backward(grad: Tensor, out: Tensor, inverse: Tensor) -> Tensor:
    along = (grad * out).sum(dim=-1, keepdim=True)
    return torch.addcmul(grad, out, along, value=-1 / out.shape[-1]).mul_(inverse)


def _swiglu(gate_up: Tensor) -> tuple[Tensor, Tensor]:
    """silu(gate) · up, arXiv:2002.05202, and silu(gate)."""
    gate, up = gate_up.chunk(2, dim=-1)
    silu = functional.silu(gate)
    return silu * up, silu


def _swiglu_backward(grad: Tensor, gate_up: Tensor, silu: Tensor) -> Tensor:
    gate, up = gate_up.chunk(2, dim=-1)
    grads = torch.empty_like(gate_up)
    grad_gate, grad_up = grads.chunk(2, dim=-1)
    torch.mul(grad, silu, out=grad_up)
    torch.ops.aten.silu_backward.grad_input(grad * up, gate, grad_input=grad_gate)
    return grads


def _attention(
    qkv_RE: Tensor, frame: Frame, wide: torch.dtype, queries: int | None = None
) -> tuple[Tensor, tuple[Tensor, ...]]:
    """softmax(q·k / sqrt(K)) v of every head, each token seeing all, [R, D], and what its backward
    needs. With `queries`, only so many first tokens of each row ask."""
    heads = _into_heads(qkv_RE, 3, frame, wide)
    _turn(heads, frame.turns)
    if queries is None and frame.tokens > LONGEST_PLAIN:
        seen, log_sums = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu(
            *heads, scale=1.0
        )
        return _out_of_heads(seen[None], qkv_RE.dtype), (heads, seen, log_sums)
    q, k, v = heads.flatten(1, 2)
    p = torch.softmax(torch.bmm(q[:, :queries], k.transpose(1, 2)), dim=-1)
    seen = torch.bmm(p, v).view(1, *heads.shape[1:3], -1, heads.shape[-1])
    return _out_of_heads(seen, qkv_RE.dtype), (heads, p)


def _attention_backward(grad_RD: Tensor, attended: list[Tensor], frame: Frame) -> Tensor:
    heads, *rest = attended
    grad = _into_heads(grad_RD, 1, frame, heads.dtype)[0]
    if frame.tokens > LONGEST_PLAIN:
        grads = torch.stack(_blockwise_backward(grad, heads, *rest))
    else:
        grads = _plain_backward(grad.flatten(0, 1), heads, *rest)
    _turn(grads, frame.turns, back=True)
    return _out_of_heads(grads, grad_RD.dtype)


def _plain_backward(grad: Tensor, heads: Tensor, p: Tensor) -> Tensor:
    q, k, v = heads.flatten(1, 2)
    grad_p = torch.bmm(grad, v.transpose(1, 2))
    grad_scores = torch.ops.aten._softmax_backward_data(grad_p, p, -1, p.dtype)
    grads = torch.empty_like(heads)
    grad_q, grad_k, grad_v = grads.flatten(1, 2)
    torch.bmm(grad_scores, k, out=grad_q)
    torch.bmm(grad_scores.transpose(1, 2), q, out=grad_k)
    torch.bmm(p.transpose(1, 2), grad, out=grad_v)
    return grads


def _blockwise_backward(
    grad: Tensor, heads: Tensor, seen: Tensor, log_sums: Tensor
) -> tuple[Tensor, ...]:
    return torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward(
        grad, *heads, seen, log_sums, 0.0, False, scale=1.0
    )


def _into_heads(x: Tensor, parts: int, frame: Frame, dtype: torch.dtype) -> Tensor:
    """[R, parts · D] as contiguous [parts, B, N, T, K], cast on the way."""
    size = x.shape[-1] // (parts * frame.num_heads)
    apart = x.view(-1, frame.tokens, parts, frame.num_heads, size).permute(2, 0, 3, 1, 4)
    return apart.to(dtype, copy=True, memory_format=torch.contiguous_format)


def _out_of_heads(heads: Tensor, dtype: torch.dtype) -> Tensor:
    """[parts, B, N, T, K] as contiguous [R, parts · D], cast on the way."""
    parts, rows, num_heads, tokens, size = heads.shape
    joined = torch.empty(rows, tokens, parts, num_heads, size, dtype=dtype)
    joined.copy_(heads.permute(1, 3, 0, 2, 4))
    return joined.view(rows * tokens, parts * num_heads * size)


def _turn(heads: Tensor, turns: Tensor | None, *, back: bool = False) -> None:
    """Turns queries and keys by their place and scales both by K^-1/4, in place."""
    qk = heads[:2]
    if turns is None:
        qk.mul_(heads.shape[-1] ** -0.25)
    else:
        by = torch.view_as_complex(turns)
        torch.view_as_complex(qk.view(*qk.shape[:-1], -1, 2)).mul_(by.conj() if back else by)
