from __future__ import annotations

import pytest
import torch
from formulas import plain_block
from small import hrm_config
from torch import Tensor

from hrm_sweep.hrm.backends import eager
from hrm_sweep.hrm.backends.eager import BlockWeights, Frame, block
from hrm_sweep.hrm.models import layers

B, T, N, K, M = 2, 5, 3, 4, 7
D = N * K


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


def frame(*, rotary: bool) -> Frame:
    return Frame(T, N, layers.turns(T, K).double() if rotary else None)


def draw(*, requires_grad: bool = False) -> tuple[Tensor, BlockWeights]:
    """States [B T, D] and weights of a block, in float64."""
    shapes = [(B * T, D), (3 * D, D), (D, D), (2 * M, D), (D, M)]
    x, *weights = (
        torch.randn(shape, dtype=torch.float64).div_(1.5).requires_grad_(requires_grad)
        for shape in shapes
    )
    return x, BlockWeights(*weights)


WAYS = [
    pytest.param(True, eager.LONGEST_PLAIN, id="rotary"),
    pytest.param(False, eager.LONGEST_PLAIN, id="no rotation"),
    pytest.param(True, 0, id="rotary, blockwise"),
    pytest.param(False, 0, id="no rotation, blockwise"),
]


@pytest.mark.parametrize(("rotary", "longest_plain"), WAYS)
@pytest.mark.parametrize("grad", [True, False], ids=["with gradient", "without"])
def test_a_block_is_what_its_formulas_say(monkeypatch, rotary, longest_plain, grad):
    monkeypatch.setattr(eager, "LONGEST_PLAIN", longest_plain)
    x, weights = draw()
    before = x.clone()
    with torch.set_grad_enabled(grad):
        out = eager.block(x, weights, frame(rotary=rotary))
    expected = plain_block(before, weights, T, N, rotary=rotary)
    torch.testing.assert_close(out, expected, rtol=1e-6, atol=1e-6)
    assert torch.equal(x, before)


@pytest.mark.parametrize(("rotary", "longest_plain"), WAYS)
def test_the_gradient_of_a_block_is_its_slope(monkeypatch, rotary, longest_plain):
    monkeypatch.setattr(eager, "LONGEST_PLAIN", longest_plain)
    x, weights = draw(requires_grad=True)
    pull = torch.randn(B * T, D, dtype=torch.float64)
    out = eager.block(x, weights, frame(rotary=rotary))
    expected = plain_block(x, weights, T, N, rotary=rotary)
    wanted = torch.autograd.grad(expected, (x, *weights), pull)
    found = torch.autograd.grad(out, (x, *weights), pull)
    for name, a, b in zip(("x", *BlockWeights._fields), found, wanted, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-6, msg=lambda text, n=name: n + text)


@pytest.mark.parametrize(("rotary", "longest_plain"), WAYS)
def test_the_first_tokens_alone_are_the_first_of_all(monkeypatch, rotary, longest_plain):
    monkeypatch.setattr(eager, "LONGEST_PLAIN", longest_plain)
    x, weights = draw()
    all_of_them = eager.block(x, weights, frame(rotary=rotary))
    first = eager.block_first_token(x, weights, frame(rotary=rotary))
    torch.testing.assert_close(first, all_of_them[::T])


def test_a_level_knows_its_first_tokens_too():
    level = layers.Level(hrm_config(num_heads=2, hidden_dim=16), num_layers=2)
    around = Frame(T, 2, layers.turns(T, 8))
    state, injection = torch.randn(2, B * T, 16)
    expected = level(state, injection, around)[::T]
    torch.testing.assert_close(level.first_token(state, injection, around), expected)


def test_a_block_in_bf16_is_close_and_keeps_its_states_in_fp32():
    x, weights = (draw()[0].float(), BlockWeights(*(w.float() for w in draw()[1])))
    around = Frame(T, N, layers.turns(T, K))
    exact = block(x, weights, around)
    rough = block(x, BlockWeights(*(w.bfloat16() for w in weights)), around)
    assert rough.dtype == torch.float32
    torch.testing.assert_close(rough, exact, rtol=0.05, atol=0.05)
    assert not torch.equal(rough, exact)


def test_a_state_of_nothing_stays_finite():
    _, weights = draw()
    assert not block(torch.zeros(B * T, D, dtype=torch.float64), weights, frame(rotary=True)).any()


def test_a_checkpoint_has_queries_and_keys_in_the_published_order():
    attention = layers.Attention(D, N)
    stored = attention.state_dict()["qkv_proj.weight"].view(3, N, K, D)
    here = attention.qkv_proj.weight.view(3, N, K, D)
    assert torch.equal(stored[:2, :, [0, 2, 1, 3]], here[:2])  # K/2 = 2: k and k + 2 are a pair
    assert torch.equal(stored[2], here[2])
    twin = layers.Attention(D, N)
    twin.load_state_dict(attention.state_dict())
    assert torch.equal(twin.qkv_proj.weight, attention.qkv_proj.weight)


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


def test_a_puzzle_embedding_hands_out_rows_that_collect_their_gradient():
    embedding = layers.PuzzleEmbedding(4, 3)
    embedding.weights.copy_(torch.arange(12.0).view(4, 3))
    rows = embedding(torch.tensor([2, 0, 2]))
    rows.sum().backward()
    assert torch.equal(rows.detach(), embedding.weights[[2, 0, 2]])
    assert torch.equal(embedding.rows.grad, torch.ones(3, 3))
    assert not embedding.eval()(torch.tensor([1])).requires_grad
