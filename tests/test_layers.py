from __future__ import annotations

import math

import pytest
import torch
from small import hrm_config
from torch import Tensor

from hrm_sweep.learning import kernels, layers
from hrm_sweep.learning.kernels import Rope, attention, rms_norm_of_sum, swiglu

B, T, N, K = 2, 5, 3, 4
D = N * K


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


def rope_tables(tokens: int = T, size: int = K) -> Rope:
    cos, sin = layers.RotaryPositions(tokens, size)()
    return Rope(cos.double(), sin.double())


def turned(x: Tensor, place: int) -> Tensor:
    """Each pair (x[i], x[i + K/2]) as a complex number, turned by place / 10000^(2i/K)."""
    half = len(x) // 2
    angles = torch.tensor([place * 10_000 ** (-2 * i / len(x)) for i in range(half)])
    pairs = torch.complex(x[:half], x[half:]) * torch.polar(torch.ones(half), angles).to(
        torch.complex128
    )
    return torch.cat((pairs.real, pairs.imag))


def plain_attention(qkv: Tensor, num_heads: int, rotary: bool) -> Tensor:
    """One head, one token at a time, as the formula says."""
    rows, tokens, _ = qkv.shape
    size = qkv.shape[-1] // 3 // num_heads
    out = torch.zeros(rows, tokens, num_heads * size, dtype=qkv.dtype)
    for b in range(rows):
        for n in range(num_heads):
            part = slice(n * size, (n + 1) * size)
            q, k, v = (x[b, :, part] for x in qkv.chunk(3, dim=-1))
            if rotary:
                q = torch.stack([turned(q[t], t) for t in range(tokens)])
                k = torch.stack([turned(k[t], t) for t in range(tokens)])
            for t in range(tokens):
                scores = torch.stack([q[t] @ k[s] for s in range(tokens)]) / math.sqrt(size)
                out[b, t, part] = scores.softmax(dim=0) @ v
    return out


ATTENTION_CASES = [
    pytest.param(True, kernels.LONGEST_PLAIN, id="rotary"),
    pytest.param(False, kernels.LONGEST_PLAIN, id="no rotation"),
    pytest.param(True, 0, id="rotary, blockwise"),
    pytest.param(False, 0, id="no rotation, blockwise"),
]


@pytest.mark.parametrize(("rotary", "longest_plain"), ATTENTION_CASES)
@pytest.mark.parametrize("grad", [True, False], ids=["with gradient", "without"])
def test_attention_is_what_its_formula_says(monkeypatch, rotary, longest_plain, grad):
    monkeypatch.setattr(kernels, "LONGEST_PLAIN", longest_plain)
    qkv = torch.randn(B, T, 3 * D, dtype=torch.float64)
    before = qkv.clone()
    with torch.set_grad_enabled(grad):
        out = attention(qkv, N, rope_tables() if rotary else None)
    torch.testing.assert_close(out, plain_attention(before, N, rotary), rtol=1e-6, atol=1e-6)
    assert torch.equal(qkv, before)


@pytest.mark.parametrize(("rotary", "longest_plain"), ATTENTION_CASES)
def test_the_gradient_of_attention_is_its_slope(monkeypatch, rotary, longest_plain):
    monkeypatch.setattr(kernels, "LONGEST_PLAIN", longest_plain)
    rope = rope_tables() if rotary else None
    qkv = torch.randn(B, T, 3 * D, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: attention(x, N, rope), qkv)


def test_swiglu_and_its_gradient():
    gate, up = torch.randn(2, B, T, 7, dtype=torch.float64)
    joined = torch.cat((gate, up), dim=-1).requires_grad_()
    expected = gate / (1 + (-gate).exp()) * up
    torch.testing.assert_close(swiglu(joined), expected)
    with torch.no_grad():
        torch.testing.assert_close(swiglu(joined), expected)
    assert torch.autograd.gradcheck(swiglu, joined)


def test_the_norm_of_a_sum_and_its_gradient():
    x, y = torch.randn(2, B, T, D, dtype=torch.float64, requires_grad=True).unbind()
    total = x + y
    expected = total / (total.square().mean(dim=-1, keepdim=True) + 1e-5).sqrt()
    torch.testing.assert_close(rms_norm_of_sum(x, y), expected)
    with torch.no_grad():
        torch.testing.assert_close(rms_norm_of_sum(x, y), expected)
    assert torch.autograd.gradcheck(rms_norm_of_sum, (x, y))


def test_the_norm_of_nothing_is_nothing():
    assert torch.equal(
        rms_norm_of_sum(torch.zeros(1, 1, 4), torch.zeros(1, 1, 4)).sum(), torch.tensor(0.0)
    )


@pytest.mark.parametrize(
    ("hidden_dim", "expansion", "multiple_of", "width"),
    [
        pytest.param(512, 4, 256, 1536, id="published size"),
        pytest.param(64, 4, 256, 256, id="256 hides hidden_dim"),
        pytest.param(96, 4, 256, 256, id="256 hides hidden_dim, again"),
        pytest.param(64, 4, 32, 192, id="multiple of 32"),
        pytest.param(96, 4, 32, 256, id="exact multiple"),
        pytest.param(8, 0.1, 32, 32, id="never nothing"),
    ],
)
def test_the_mlp_is_two_thirds_as_wide_as_a_plain_one(hidden_dim, expansion, multiple_of, width):
    assert layers.mlp_width(hidden_dim, expansion, multiple_of) == width
    mlp = layers.SwiGLU(hidden_dim, expansion, multiple_of)
    assert mlp.gate_up_proj.weight.shape == (2 * width, hidden_dim)
    assert mlp.down_proj.weight.shape == (hidden_dim, width)


def test_weights_are_drawn_with_the_deviation_asked_for():
    drawn = layers.truncated_normal(400, 400, std=0.3)
    assert drawn.std().item() == pytest.approx(0.3, rel=0.01)
    assert drawn.abs().max() <= 2 * 0.3 / 0.87962566
    assert not layers.truncated_normal(3, 3, std=0.0).any()


def test_the_first_token_alone_is_the_first_of_all():
    level = layers.Level(hrm_config(num_heads=2, hidden_dim=16), num_layers=2)
    rope = layers.RotaryPositions(T, 8)()
    state, injection = torch.randn(2, B, T, 16)
    torch.testing.assert_close(
        level.first_token(state, injection, rope), level(state, injection, rope)[:, :1]
    )


def test_a_linear_layer_computes_in_its_working_copy():
    linear = layers.Linear(6, 4)
    x = torch.randn(3, 6)
    exact = linear(x)
    linear.working = linear.weight.detach().bfloat16()
    assert linear(x).dtype == torch.bfloat16
    torch.testing.assert_close(linear(x).float(), exact, rtol=0.03, atol=0.03)


def test_a_puzzle_embedding_hands_out_rows_that_collect_their_gradient():
    embedding = layers.PuzzleEmbedding(4, 3)
    embedding.weights.copy_(torch.arange(12.0).view(4, 3))
    rows = embedding(torch.tensor([2, 0, 2]))
    rows.sum().backward()
    assert torch.equal(rows.detach(), embedding.weights[[2, 0, 2]])
    assert torch.equal(embedding.rows.grad, torch.ones(3, 3))
    assert not embedding.eval()(torch.tensor([1])).requires_grad
