"""The block of `kernels` in PyTorch's own operators, for `torch.compile`: it fuses them and finds
the backward itself, where hand-written kernels would be in its way. Names and shapes as there."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from hrm_sweep.learning import kernels
from hrm_sweep.learning.kernels import BlockWeights, Frame


def block(x_RD: Tensor, weights: BlockWeights, frame: Frame) -> Tensor:
    """The states after the block, [R, D]."""
    return _block(x_RD, weights, frame, moved=frame.tokens)


def block_first_token(x_RD: Tensor, weights: BlockWeights, frame: Frame) -> Tensor:
    """The states [B, D] of every first token after the block: all see, but only these move."""
    return _block(x_RD, weights, frame, moved=1)


def _block(x_RD: Tensor, weights: BlockWeights, frame: Frame, *, moved: int) -> Tensor:
    """The states of the first `moved` tokens of each row."""
    dtype, wide = weights.qkv.dtype, x_RD.dtype
    qkv = torch.mm(x_RD.to(dtype), weights.qkv.t()).to(wide)
    seen = _attention(qkv, frame, moved).to(dtype)
    x_RD = x_RD.unflatten(0, (-1, frame.tokens))[:, :moved].flatten(0, 1)
    middle = _normed(x_RD + torch.mm(seen, weights.out.t()).to(wide))
    gate, up = torch.mm(middle.to(dtype), weights.gate_up.t()).to(wide).chunk(2, dim=-1)
    hidden = (functional.silu(gate) * up).to(dtype)
    return _normed(middle + torch.mm(hidden, weights.down.t()).to(wide))


def _normed(x: Tensor) -> Tensor:
    return x * (x.square().mean(dim=-1, keepdim=True) + 1e-5).rsqrt()


def _attention(qkv_RE: Tensor, frame: Frame, moved: int) -> Tensor:
    size = qkv_RE.shape[-1] // (3 * frame.num_heads)
    heads = qkv_RE.view(-1, frame.tokens, 3, frame.num_heads, size).permute(2, 0, 3, 1, 4)
    q, k, v = heads.unbind(0)
    q, k = _turned(q[:, :, :moved], frame), _turned(k, frame)
    if frame.tokens > kernels.LONGEST_PLAIN:
        seen = functional.scaled_dot_product_attention(q, k, v, scale=1.0)
    else:  # divided last, or the compiler would take PyTorch's blockwise kernel here, too
        scores = q @ k.transpose(-1, -2)
        shares = (scores - scores.detach().amax(dim=-1, keepdim=True)).exp()
        seen = (shares @ v) / shares.sum(dim=-1, keepdim=True)
    return seen.transpose(1, 2).flatten(2).flatten(0, 1)


def _turned(x: Tensor, frame: Frame) -> Tensor:
    """Queries or keys, turned by their place and scaled by K^-1/4; the numbers of a head come out
    in another order, the same for both."""
    if frame.turns is None:
        return x * x.shape[-1] ** -0.25
    cosine, sine = frame.turns[: x.shape[2]].unbind(-1)
    a, b = x.unflatten(-1, (-1, 2)).unbind(-1)
    return torch.cat((a * cosine - b * sine, a * sine + b * cosine), dim=-1)
