"""A block's formulas in plain loops: the truth that its implementations are compared with."""

from __future__ import annotations

import math
import platform
from typing import NamedTuple

import torch
from torch import Tensor

from hrm_sweep.hrm.backends.backend import BlockWeights, MixerWeights


class Sizes(NamedTuple):
    """Of a batch and a block."""

    batch: int
    tokens: int
    heads: int
    head_size: int
    width: int

    @property
    def states(self) -> tuple[int, int]:
        return self.batch * self.tokens, self.heads * self.head_size


SMALL = Sizes(2, 5, 3, 4, 8)
SIZES = {
    "smaller than a vector": SMALL,
    "whole vectors": Sizes(3, 9, 2, 16, 32),
    "row blocks and panels, none of them full": Sizes(2, 70, 2, 24, 100),
}
TARGETS = ["native"]
"""Values of -march for which kernels/ takes different ways."""
if platform.machine() == "x86_64":
    TARGETS += ["x86-64-v3", "x86-64"]


def plain_block(
    x_RD: Tensor, weights: BlockWeights, tokens: int, heads: int, *, rotary: bool
) -> Tensor:
    """Return the states after a block, computed one head and one token at a time."""
    rows = []
    for x in x_RD.split(tokens):
        attn_out = plain_attention(x @ weights.qkv.T, heads, rotary)
        x = normed(x + attn_out @ weights.out.T)
        rows.append(plain_swiglu(x, weights.gate_up, weights.down))
    return torch.cat(rows)


def plain_mixer(x_RD: Tensor, weights: MixerWeights, tokens: int) -> Tensor:
    """Return the states after a block that mixes over tokens, one sequence at a time."""
    rows = []
    for x in x_RD.split(tokens):
        h = plain_swiglu(x.T, weights.token_gate_up, weights.token_down).T
        rows.append(plain_swiglu(h, weights.gate_up, weights.down))
    return torch.cat(rows)


def plain_swiglu(x: Tensor, gate_up: Tensor, down: Tensor) -> Tensor:
    gate, up = (x @ gate_up.T).chunk(2, dim=-1)
    return normed(x + (gate / (1 + (-gate).exp()) * up) @ down.T)


def normed(x: Tensor) -> Tensor:
    return x / (x.square().mean(dim=-1, keepdim=True) + 1e-5).sqrt()


def plain_attention(qkv_TE: Tensor, heads: int, rotary: bool) -> Tensor:
    tokens, size = len(qkv_TE), qkv_TE.shape[1] // (3 * heads)
    joined = []
    for n in range(heads):
        q, k, v = (part[:, n * size : (n + 1) * size] for part in qkv_TE.chunk(3, dim=-1))
        if rotary:
            q, k = (torch.stack([rotated(x[t], t) for t in range(tokens)]) for x in (q, k))
        attn_out = []
        for t in range(tokens):
            scores = torch.stack([q[t] @ k[s] for s in range(tokens)]) / math.sqrt(size)
            attn_out.append(scores.softmax(dim=0) @ v)
        joined.append(torch.stack(attn_out))
    return torch.cat(joined, dim=-1)


def rotated(x_K: Tensor, place: int) -> Tensor:
    """Rotate pairs of neighbours, as complex numbers, by place / 10000^(2i/K)."""
    size = len(x_K)
    angles = torch.tensor([place * 10_000 ** (-2 * i / size) for i in range(size // 2)])
    pairs = torch.view_as_complex(x_K.view(-1, 2)) * torch.exp(1j * angles.double())
    return torch.view_as_real(pairs).flatten()
