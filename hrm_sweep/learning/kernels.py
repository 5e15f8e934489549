"""The three steps between a block's linear layers, lean on a CPU: fewer passes over memory than
autograd's own, each with its backward written by hand. Norm and attention compute in fp32 or wider,
whatever dtype comes from and goes into the linear layers.

Shapes, here and in `layers`: B rows, T tokens, D hidden, N heads, K numbers of a head, M width of
the MLP. `qkv_BTE` has E = 3 D: queries, keys and values of all heads, one after the other.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional

NORM_EPSILON = 1e-5
"""As published; keeps the norm of a zero state finite."""
LONGEST_PLAIN = 160
"""Tokens up to which writing all attention weights down beats PyTorch's blockwise kernel."""


class Rope(NamedTuple):
    """Tables of rotary positions (`layers.RotaryPositions` makes them): the pair (x, y) of numbers
    k and k + K/2 becomes (x cos - y sin, y cos + x sin). Scaled by K^-1/4, so that the product of a
    query and a key is scaled by 1 / sqrt(K)."""

    cos: Tensor
    """[T, K]; both halves are equal."""
    sin: Tensor
    """[T, K/2]."""


def rms_norm_of_sum(x_BTD: Tensor, y_BTD: Tensor) -> Tensor:
    """(x + y) / sqrt(mean((x + y)²) + epsilon), arXiv:1910.07467 without a weight; in x's dtype."""
    if not torch.is_grad_enabled():
        return _norm_forward(x_BTD, y_BTD)[0]
    return _RMSNormOfSum.apply(x_BTD, y_BTD)


def attention(qkv_BTE: Tensor, num_heads: int, rope: Rope | None) -> Tensor:
    """softmax(q·k / sqrt(K)) v of every head, each token seeing all; [B, T, D] in qkv's dtype."""
    if qkv_BTE.shape[1] > LONGEST_PLAIN:
        return _blockwise_attention(qkv_BTE, num_heads, rope)
    if not torch.is_grad_enabled():
        return _attention_forward(qkv_BTE, num_heads, rope)[0]
    return _Attention.apply(qkv_BTE, num_heads, rope)


def swiglu(gate_up_BTM: Tensor) -> Tensor:
    """silu(gate) · up of [gate, up], arXiv:2002.05202; [B, T, M] from [B, T, 2 M]."""
    if not torch.is_grad_enabled():
        gate, up = gate_up_BTM.chunk(2, dim=-1)
        return functional.silu(gate).mul_(up)
    return _SwiGLU.apply(gate_up_BTM)


class _RMSNormOfSum(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, y: Tensor) -> Tensor:
        out, inverse = _norm_forward(x, y)
        ctx.save_for_backward(out, inverse)
        ctx.y_dtype = y.dtype
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor]:
        out, inverse = ctx.saved_tensors
        along = (grad * out).mean(dim=-1, keepdim=True)
        grad_sum = torch.addcmul(grad, out, along, value=-1).mul_(inverse)
        return grad_sum, grad_sum.to(ctx.y_dtype)


def _norm_forward(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    total = x + y.to(x.dtype)
    inverse = torch.linalg.vector_norm(total, dim=-1, keepdim=True)
    inverse.square_().div_(x.shape[-1]).add_(NORM_EPSILON).rsqrt_()
    return total.mul_(inverse), inverse


class _Attention(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, qkv: Tensor, num_heads: int, rope: Rope | None) -> Tensor:
        out, heads, weights = _attention_forward(qkv, num_heads, rope)
        ctx.save_for_backward(heads, weights)
        ctx.rope, ctx.dtype = rope, qkv.dtype
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        heads, weights = ctx.saved_tensors
        _, B, N, T, K = heads.shape
        q, k, v = heads.view(3, B * N, T, K)
        grad_out = _into_heads(grad, 1, N, heads.dtype)[0].view(B * N, T, K)
        grad_weights = torch.bmm(grad_out, v.transpose(1, 2)).mul_(weights)
        # softmax: p (g - sum(p g)); p g is what grad_weights holds by now
        grad_scores = grad_weights.addcmul_(
            weights, grad_weights.sum(dim=-1, keepdim=True), value=-1
        )
        grads = torch.empty_like(heads)
        grad_q, grad_k, grad_v = grads.view(3, B * N, T, K)
        torch.bmm(weights.transpose(1, 2), grad_out, out=grad_v)
        torch.bmm(grad_scores, k, out=grad_q)
        torch.bmm(grad_scores.transpose(1, 2), q, out=grad_k)
        _turn(grads, ctx.rope, direction=-1)
        return _out_of_heads(grads, ctx.dtype), None, None


def _attention_forward(
    qkv: Tensor, num_heads: int, rope: Rope | None
) -> tuple[Tensor, Tensor, Tensor]:
    heads = _into_heads(qkv, 3, num_heads, torch.promote_types(qkv.dtype, torch.float32))
    _turn(heads, rope)
    _, B, N, T, K = heads.shape
    q, k, v = heads.view(3, B * N, T, K)
    weights = torch.softmax(torch.bmm(q, k.transpose(1, 2)), dim=-1)
    out = torch.bmm(weights, v)
    return _out_of_heads(out.view(1, B, N, T, K), qkv.dtype), heads, weights


def _blockwise_attention(qkv: Tensor, num_heads: int, rope: Rope | None) -> Tensor:
    dtype = torch.promote_types(qkv.dtype, torch.float32)
    q, k, v = qkv.to(dtype).unflatten(-1, (3, num_heads, -1)).permute(2, 0, 3, 1, 4)
    if rope is None:
        out = functional.scaled_dot_product_attention(q, k, v)
    else:
        q, k = (_turned(heads, rope) for heads in (q, k))
        out = functional.scaled_dot_product_attention(q, k, v, scale=1.0)
    return out.transpose(1, 2).flatten(2).to(qkv.dtype)


def _turned(heads_BNTK: Tensor, rope: Rope) -> Tensor:
    x, y = heads_BNTK.chunk(2, dim=-1)
    aside = torch.cat((-y * rope.sin, x * rope.sin), dim=-1)
    return torch.addcmul(aside, heads_BNTK, rope.cos)


def _into_heads(x_BTE: Tensor, parts: int, num_heads: int, dtype: torch.dtype) -> Tensor:
    """[B, T, parts · D] as contiguous [parts, B, N, T, K], cast on the way."""
    parts_PBNTK = x_BTE.unflatten(-1, (parts, num_heads, -1)).permute(2, 0, 3, 1, 4)
    return parts_PBNTK.to(dtype, copy=True, memory_format=torch.contiguous_format)


def _out_of_heads(heads_PBNTK: Tensor, dtype: torch.dtype) -> Tensor:
    """[parts, B, N, T, K] as contiguous [B, T, parts · D], cast on the way."""
    x_BTPNK = heads_PBNTK.permute(1, 3, 0, 2, 4)
    return x_BTPNK.to(dtype, memory_format=torch.contiguous_format).contiguous().flatten(2)


def _turn(heads_PBNTK: Tensor, rope: Rope | None, *, direction: int = 1) -> None:
    """Rotates queries and keys in place and scales both by K^-1/4."""
    qk = heads_PBNTK[:2]
    size = qk.shape[-1]
    if rope is None:
        qk.mul_(size**-0.25)
        return
    half = size // 2
    before = qk.clone()
    qk.mul_(rope.cos)
    qk[..., :half].addcmul_(before[..., half:], rope.sin, value=-direction)
    qk[..., half:].addcmul_(before[..., :half], rope.sin, value=direction)


class _SwiGLU(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, gate_up: Tensor) -> Tensor:
        gate, up = gate_up.chunk(2, dim=-1)
        silu = functional.silu(gate)
        ctx.save_for_backward(gate_up, silu)
        return silu * up

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        gate_up, silu = ctx.saved_tensors
        gate, up = gate_up.chunk(2, dim=-1)
        grads = torch.empty_like(gate_up)
        grad_gate, grad_up = grads.chunk(2, dim=-1)
        torch.mul(grad, silu, out=grad_up)
        torch.ops.aten.silu_backward.grad_input(grad * up, gate, grad_input=grad_gate)
        return grads
