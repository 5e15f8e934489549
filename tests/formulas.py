"""A block as its formulas say, in plain loops: what the kernels are held to."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from hrm_sweep.hrm.backends.eager import BlockWeights


def plain_block(
    x_RD: Tensor, weights: BlockWeights, tokens: int, heads: int, *, rotary: bool
) -> Tensor:
    """One head, one token at a time, as the formulas say."""
    rows = []
    for x in x_RD.split(tokens):
        seen = plain_attention(x @ weights.qkv.T, heads, rotary)
        x = normed(x + seen @ weights.out.T)
        gate, up = (x @ weights.gate_up.T).chunk(2, dim=-1)
        rows.append(normed(x + (gate / (1 + (-gate).exp()) * up) @ weights.down.T))
    return torch.cat(rows)


def normed(x: Tensor) -> Tensor:
    return x / (x.square().mean(dim=-1, keepdim=True) + 1e-5).sqrt()


def plain_attention(qkv_TE: Tensor, heads: int, rotary: bool) -> Tensor:
    tokens, size = len(qkv_TE), qkv_TE.shape[1] // (3 * heads)
    joined = []
    for n in range(heads):
        q, k, v = (part[:, n * size : (n + 1) * size] for part in qkv_TE.chunk(3, dim=-1))
        if rotary:
            q, k = (torch.stack([turned(x[t], t) for t in range(tokens)]) for x in (q, k))
        seen = []
        for t in range(tokens):
            scores = torch.stack([q[t] @ k[s] for s in range(tokens)]) / math.sqrt(size)
            seen.append(scores.softmax(dim=0) @ v)
        joined.append(torch.stack(seen))
    return torch.cat(joined, dim=-1)


def turned(x_K: Tensor, place: int) -> Tensor:
    """Each pair of neighbours as a complex number, turned by place / 10000^(2i/K)."""
    size = len(x_K)
    angles = torch.tensor([place * 10_000 ** (-2 * i / size) for i in range(size // 2)])
    pairs = torch.view_as_complex(x_K.view(-1, 2)) * torch.exp(1j * angles.double())
    return torch.view_as_real(pairs).flatten()
