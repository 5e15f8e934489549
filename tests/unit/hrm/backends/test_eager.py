"""A block computed by PyTorch's operators, against the formulas."""

from __future__ import annotations

import pytest
import torch
from formulas import plain_block
from torch import Tensor

from hrm_sweep.hrm.backends import eager
from hrm_sweep.hrm.backends.backend import BlockWeights, SequenceLayout
from hrm_sweep.hrm.backends.eager import EagerBackend, EagerBlock
from hrm_sweep.hrm.models import layers

B, T, N, K, M = 2, 5, 3, 4, 7
D = N * K


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


def layout_of(*, rotary: bool) -> SequenceLayout:
    return SequenceLayout(T, N, layers.rope_table(T, K).double() if rotary else None)


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
def test_results_match_the_formulas(monkeypatch, rotary, longest_plain, grad):
    monkeypatch.setattr(eager, "LONGEST_PLAIN", longest_plain)
    x, weights = draw()
    before = x.clone()
    with torch.set_grad_enabled(grad):
        out = EagerBlock(weights)(x, layout_of(rotary=rotary))
    expected = plain_block(before, weights, T, N, rotary=rotary)
    torch.testing.assert_close(out, expected, rtol=1e-6, atol=1e-6)
    assert torch.equal(x, before)


@pytest.mark.parametrize(("rotary", "longest_plain"), WAYS)
def test_gradients_match_the_formulas(monkeypatch, rotary, longest_plain):
    monkeypatch.setattr(eager, "LONGEST_PLAIN", longest_plain)
    x, weights = draw(requires_grad=True)
    grad_out = torch.randn(B * T, D, dtype=torch.float64)
    out = EagerBlock(weights)(x, layout_of(rotary=rotary))
    expected = plain_block(x, weights, T, N, rotary=rotary)
    wanted = torch.autograd.grad(expected, (x, *weights), grad_out)
    found = torch.autograd.grad(out, (x, *weights), grad_out)
    for name, a, b in zip(("x", *BlockWeights._fields), found, wanted, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-6, msg=lambda text, n=name: n + text)


@pytest.mark.parametrize(("rotary", "longest_plain"), WAYS)
def test_first_token_returns_the_first_of_all(monkeypatch, rotary, longest_plain):
    monkeypatch.setattr(eager, "LONGEST_PLAIN", longest_plain)
    x, weights = draw()
    all_of_them = EagerBlock(weights)(x, layout_of(rotary=rotary))
    first = EagerBlock(weights).first_token(x, layout_of(rotary=rotary))
    torch.testing.assert_close(first, all_of_them[::T])


def test_bf16_results_are_close_and_in_fp32():
    x, weights = (draw()[0].float(), BlockWeights(*(w.float() for w in draw()[1])))
    layout = SequenceLayout(T, N, layers.rope_table(T, K))
    exact = EagerBlock(weights)(x, layout)
    rough = EagerBlock(BlockWeights(*(w.bfloat16() for w in weights)))(x, layout)
    assert rough.dtype == torch.float32
    torch.testing.assert_close(rough, exact, rtol=0.05, atol=0.05)
    assert not torch.equal(rough, exact)


def test_a_zero_state_stays_zero():
    _, weights = draw()
    nothing = torch.zeros(B * T, D, dtype=torch.float64)
    assert not EagerBlock(weights)(nothing, layout_of(rotary=True)).any()


def test_prepared_weights_replace_the_parameters():
    x, parameters = draw()
    weights = draw()[1]
    block = EagerBackend().block(parameters, threads=1)
    block.prepare(weights)
    expected = plain_block(x, weights, T, N, rotary=True)
    torch.testing.assert_close(block(x, layout_of(rotary=True)), expected, rtol=1e-6, atol=1e-6)


def test_gradients_of_some_inputs_are_those_of_all():
    x, weights = draw(requires_grad=True)
    out = EagerBlock(weights)(x, layout_of(rotary=True)).sum()
    found = torch.autograd.grad(out, (x, *weights), retain_graph=True)
    assert torch.equal(torch.autograd.grad(out, x, retain_graph=True)[0], found[0])
    assert torch.equal(torch.autograd.grad(out, weights.gate_up)[0], found[3])
    with pytest.raises(RuntimeError, match="a second time"):
        torch.autograd.grad(out, x)


def test_a_second_derivative_is_refused():
    x, weights = draw(requires_grad=True)
    out = EagerBlock(weights)(x, layout_of(rotary=True)).sum()
    with pytest.raises(RuntimeError, match="no second derivative"):
        torch.autograd.grad(out, x, create_graph=True)
