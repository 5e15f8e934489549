from __future__ import annotations

import pytest
import torch
from small import hrm_config

from hrm_sweep.hrm.backends.backend import SequenceLayout
from hrm_sweep.hrm.models import layers

B, T, N, K = 2, 5, 3, 4
D = N * K


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


def test_a_level_knows_its_first_tokens_too():
    level = layers.Level(hrm_config(num_heads=2, hidden_dim=16), num_layers=2, tokens=5)
    layout = SequenceLayout(T, 2, layers.rope_table(T, 8))
    state, injection = torch.randn(2, B * T, 16)
    expected = level(state, injection, layout)[::T]
    torch.testing.assert_close(level.first_token(state, injection, layout), expected)


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
