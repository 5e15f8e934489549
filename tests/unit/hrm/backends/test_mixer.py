"""A block that mixes over tokens, by PyTorch's operators and compiled, against the formulas."""

from __future__ import annotations

from typing import NamedTuple

import pytest
import torch
from formulas import plain_mixer
from torch import Tensor

from hrm_sweep.hrm.backends.backend import Backend, MixerWeights, PointwiseWeights, SequenceLayout
from hrm_sweep.hrm.backends.eager import EagerBackend
from hrm_sweep.hrm.backends.mixer import Mixer
from hrm_sweep.hrm.backends.native import NativeBackend, NativeSwiGLU

BACKENDS = [pytest.param(EagerBackend(), id="eager"), pytest.param(NativeBackend(), id="native")]
DTYPES = [
    pytest.param(torch.float32, 2e-4, id="fp32"),
    pytest.param(torch.bfloat16, 3e-2, id="bf16"),
]


class Sizes(NamedTuple):
    batch: int
    tokens: int
    hidden: int
    token_width: int
    width: int

    @property
    def states(self) -> tuple[int, int]:
        return self.batch * self.tokens, self.hidden


SIZES = [
    pytest.param(Sizes(2, 6, 4, 8, 8), id="smaller than a vector"),
    pytest.param(Sizes(1, 5, 12, 10, 8), id="one sequence, tokens not in pairs"),
    pytest.param(Sizes(3, 97, 48, 100, 64), id="row blocks and panels, none of them full"),
]


class Made(NamedTuple):
    kernel: Mixer
    parameters: MixerWeights
    weights: MixerWeights
    """As rounded for the kernel, in float64."""
    layout: SequenceLayout


def made(backend: Backend, sizes: Sizes, dtype: torch.dtype, *, threads: int = 1) -> Made:
    torch.manual_seed(0)
    _, tokens, hidden, token_width, width = sizes
    shapes = [(2 * token_width, tokens), (tokens, token_width), (2 * width, hidden)]
    drawn = [torch.randn(shape) / 3 for shape in [*shapes, (hidden, width)]]
    parameters = MixerWeights(*(part.requires_grad_() for part in drawn))
    rounded = [parameter.detach().to(dtype) for parameter in parameters]
    kernel = backend.mixer(parameters, threads)
    if isinstance(backend, EagerBackend):  # its gradients are those of the prepared weights
        rounded = [part.requires_grad_() for part in rounded]
        parameters = MixerWeights(*rounded)
    kernel.prepare(MixerWeights(*rounded))
    weights = MixerWeights(*(part.detach().double().requires_grad_() for part in rounded))
    return Made(kernel, parameters, weights, SequenceLayout(tokens, 1, None))


def close(found: Tensor, wanted: Tensor, tolerance: float) -> bool:
    """Whether the error, relative to the norm of `wanted`, is below the tolerance."""
    return bool((found - wanted).norm() < tolerance * wanted.norm())


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(("dtype", "tolerance"), DTYPES)
@pytest.mark.parametrize("sizes", SIZES)
def test_results_and_gradients_match_the_formulas(backend, sizes, dtype, tolerance):
    kernel, parameters, weights, layout = made(backend, sizes, dtype)
    x = torch.randn(sizes.states)
    exact = x.double().requires_grad_()
    wanted = plain_mixer(exact, weights, sizes.tokens)
    with torch.no_grad():
        assert close(kernel(x, layout), wanted, tolerance)
        assert close(kernel.first_token(x, layout), wanted[:: sizes.tokens], tolerance)
    leaf = x.clone().requires_grad_()
    found = kernel(leaf, layout)
    assert close(found, wanted, tolerance)
    grad = torch.randn(sizes.states)
    grads = torch.autograd.grad(found, (leaf, *parameters), grad)
    expected = torch.autograd.grad(wanted, (exact, *weights), grad.double())
    for name, ours, theirs in zip(("x", *MixerWeights._fields), grads, expected, strict=True):
        assert close(ours, theirs, tolerance), name
    assert torch.equal(leaf, x)


def test_gradients_are_added_to_those_that_are_there():
    sizes = Sizes(2, 5, 8, 6, 4)
    kernel, parameters, weights, layout = made(NativeBackend(), sizes, torch.bfloat16)
    for parameter in parameters:
        parameter.grad = torch.ones_like(parameter)
    x = torch.randn(sizes.states)
    kernel(x, layout).sum().backward()
    plain_mixer(x.double(), weights, sizes.tokens).sum().backward()
    for parameter, weight in zip(parameters, weights, strict=True):
        assert close(parameter.grad - 1, weight.grad, 3e-2)


def test_the_number_of_threads_changes_no_bit():
    found = []
    for threads in (1, 2, 3):
        sizes = Sizes(5, 37, 24, 50, 100)
        kernel, parameters, _, layout = made(NativeBackend(), sizes, torch.float32, threads=threads)
        x = torch.randn(sizes.states, requires_grad=True)
        out = kernel(x, layout)
        found.append([out, *torch.autograd.grad(out.square().sum(), (x, *parameters))])
    for other in found[1:]:
        assert all(torch.equal(a, b) for a, b in zip(found[0], other, strict=True))


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_second_derivative_is_refused(backend):
    kernel, _, _, layout = made(backend, Sizes(2, 6, 4, 8, 8), torch.float32)
    x = torch.randn(12, 4, requires_grad=True)
    with pytest.raises(RuntimeError, match="no second derivative"):
        torch.autograd.grad(kernel(x, layout).sum(), x, create_graph=True)


def compiled() -> NativeSwiGLU:
    """Return a compiled SwiGLU of rows of 3 numbers, without weights yet."""
    return NativeSwiGLU(torch.zeros(8, 3), torch.zeros(3, 4), threads=1)


def test_weights_of_another_shape_are_refused():
    words = r"takes down as a .* \[3, 4\] on the CPU, got .*\[4, 3\]"
    with pytest.raises(ValueError, match=words):
        compiled().prepare(torch.zeros(8, 3), torch.zeros(4, 3))


def test_an_odd_width_is_refused_in_bf16():
    kernel = NativeSwiGLU(torch.zeros(6, 4), torch.zeros(4, 3), threads=1)
    with pytest.raises(ValueError, match="bf16 numbers in pairs, got width 3"):
        kernel.prepare(torch.zeros(6, 4).bfloat16(), torch.zeros(4, 3).bfloat16())


def test_rows_before_weights_are_refused():
    with pytest.raises(RuntimeError, match="call prepare first"):
        compiled()(torch.zeros(2, 3))


@pytest.mark.parametrize(
    "rows",
    [torch.zeros(2, 4), torch.zeros(2, 3).double(), torch.zeros(3, 2).T],
    ids=["another size", "double", "not contiguous"],
)
def test_rows_that_do_not_fit_are_refused(rows):
    kernel = compiled()
    kernel.prepare(*kernel.parameters)
    with pytest.raises(ValueError, match=r"takes contiguous fp32 rows \[R, 3\]"):
        kernel(rows)


def test_weights_that_change_before_the_backward_pass_are_refused():
    kernel = compiled()
    kernel.prepare(*kernel.parameters)
    out = kernel(torch.zeros(2, 3, requires_grad=True))
    kernel.prepare(*kernel.parameters)
    with pytest.raises(RuntimeError, match="changed between its forward and backward pass"):
        out.sum().backward()


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(("dtype", "tolerance"), DTYPES)
def test_a_block_without_mixing_is_its_formula_and_has_its_gradient(backend, dtype, tolerance):
    torch.manual_seed(0)
    backend.load()
    shapes = [(2 * 24, 12), (12, 24)]
    parameters = PointwiseWeights(*(torch.randn(s).div(3).requires_grad_() for s in shapes))
    rounded = [p.detach().to(dtype).requires_grad_() for p in parameters]
    kernel = backend.pointwise(parameters, 1)
    kernel.prepare(PointwiseWeights(*rounded))
    layout, x = SequenceLayout(5, 1, None), torch.randn(15, 12, requires_grad=True)
    exact = x.detach().double().requires_grad_()
    gate_up, down = (p.detach().double().requires_grad_() for p in rounded)
    gate, up = (exact @ gate_up.T).chunk(2, dim=-1)
    y = exact + (gate * gate.sigmoid() * up) @ down.T
    wanted = y / (y.square().mean(dim=-1, keepdim=True) + 1e-5).sqrt()
    found = kernel(x, layout)
    torch.testing.assert_close(found.double(), wanted, rtol=tolerance, atol=tolerance)
    with torch.no_grad():
        first = kernel.first_token(x, layout)
    torch.testing.assert_close(first.double(), wanted[::5], rtol=tolerance, atol=tolerance)
    (found * torch.arange(12.0)).sum().backward()
    (wanted * torch.arange(12.0)).sum().backward()
    scale = exact.grad.abs().max()
    torch.testing.assert_close(
        x.grad.double() / scale, exact.grad / scale, rtol=2 * tolerance, atol=2 * tolerance
    )
