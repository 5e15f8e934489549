"""A block computed by the compiled library, for this CPU and older ones, against the formulas."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from typing import NamedTuple

import pytest
import torch
from formulas import SIZES, SMALL, TARGETS, Sizes, plain_block
from torch import Tensor

from hrm_sweep.errors import InputError
from hrm_sweep.hrm.backends import kernel_library, toolchain
from hrm_sweep.hrm.backends.backend import BlockWeights, SequenceLayout
from hrm_sweep.hrm.backends.native import NativeBlock
from hrm_sweep.hrm.models import layers

DTYPES = [
    pytest.param(torch.float32, 2e-4, id="fp32"),
    pytest.param(torch.bfloat16, 3e-2, id="bf16"),
]


@pytest.fixture(params=TARGETS, scope="module")
def target(request, tmp_path_factory) -> Iterator[str]:
    """Compiles for a kind of CPU, in a cache of its own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        flags = [flag for flag in toolchain.FLAGS if not flag.endswith("=native")]
        if request.param != "native":
            patch.setattr(toolchain, "FLAGS", [*flags, f"-march={request.param}"])
        for cache in (toolchain.path, toolchain.library, kernel_library.load):
            cache.cache_clear()
        yield request.param
    for cache in (toolchain.path, toolchain.library, kernel_library.load):
        cache.cache_clear()


class Made(NamedTuple):
    x: Tensor
    block: NativeBlock
    weights: BlockWeights
    """As rounded for the block, in float64."""
    layout: SequenceLayout


def made(sizes: Sizes, dtype: torch.dtype, *, rotary: bool = True, threads: int = 1) -> Made:
    torch.manual_seed(0)
    rows, hidden = sizes.states
    shapes = [(3 * hidden, hidden), (hidden, hidden), (2 * sizes.width, hidden)]
    parameters = [torch.randn(shape) / 3 for shape in [*shapes, (hidden, sizes.width)]]
    for parameter in parameters:
        parameter.requires_grad_().grad = torch.ones_like(parameter)
    block = NativeBlock(parameters, threads)
    block.prepare(BlockWeights(*(parameter.detach().to(dtype) for parameter in parameters)))
    table = layers.rope_table(sizes.tokens, sizes.head_size) if rotary else None
    weights = BlockWeights(*(p.detach().to(dtype).double().requires_grad_() for p in parameters))
    layout = SequenceLayout(sizes.tokens, sizes.heads, table)
    return Made(torch.randn(rows, hidden), block, weights, layout)


def close(found: Tensor, wanted: Tensor, tolerance: float) -> bool:
    """Whether the error, relative to the norm of `wanted`, is below the tolerance."""
    return bool((found - wanted).norm() < tolerance * wanted.norm())


@pytest.mark.parametrize("rotary", [True, False], ids=["rotary", "no rotation"])
@pytest.mark.parametrize(("dtype", "tolerance"), DTYPES)
@pytest.mark.parametrize("sizes", SIZES.values(), ids=list(SIZES))
def test_results_and_gradients_match_the_formulas(target, sizes, dtype, tolerance, rotary):
    x, block, weights, layout = made(sizes, dtype, rotary=rotary)
    exact = x.double().requires_grad_()
    wanted = plain_block(exact, weights, sizes.tokens, sizes.heads, rotary=rotary)
    with torch.no_grad():
        assert close(block(x, layout), wanted, tolerance)
    x_leaf = x.clone().requires_grad_()
    found = block(x_leaf, layout)
    assert close(found, wanted, tolerance)
    grad = torch.randn(sizes.states)
    found.backward(grad)
    wanted.backward(grad.double())
    assert close(x_leaf.grad, exact.grad, tolerance)
    for parameter, weight in zip(block.parameters, weights, strict=True):
        assert close(parameter.grad - 1, weight.grad, tolerance)  # 1 was there before
    assert torch.equal(x_leaf, x)


@pytest.mark.parametrize(("dtype", "tolerance"), DTYPES)
def test_first_token_returns_the_first_of_all(target, dtype, tolerance):
    x, block, _, layout = made(SMALL, dtype)
    with torch.no_grad():
        torch.testing.assert_close(block.first_token(x, layout), block(x, layout)[:: SMALL.tokens])


def test_the_number_of_threads_changes_no_bit():
    found = []
    for threads in (1, 2, 3):
        x, block, _, layout = made(Sizes(5, 70, 2, 24, 100), torch.float32, threads=threads)
        x_leaf = x.requires_grad_()
        out = block(x_leaf, layout)
        out.square().sum().backward()
        found.append([out, x_leaf.grad, *(parameter.grad for parameter in block.parameters)])
    for other in found[1:]:
        assert all(torch.equal(a, b) for a, b in zip(found[0], other, strict=True))


@pytest.mark.parametrize("where", ["in the states", "in the gradient"])
def test_nan_propagates(where):
    x, block, _, layout = made(SMALL, torch.float32)
    grad = torch.ones(SMALL.states)
    (x if where == "in the states" else grad)[0, 0] = float("nan")
    x_leaf = x.requires_grad_()
    out = block(x_leaf, layout)
    out.backward(grad)
    assert not block.parameters[0].grad.isfinite().all()
    assert out.isfinite().all() == (where == "in the gradient")


def test_autograd_grad_returns_gradients_and_leaves_those_of_the_parameters_alone():
    x, block, weights, layout = made(SMALL, torch.float32)
    exact = x.double().requires_grad_()
    wanted = plain_block(exact, weights, SMALL.tokens, SMALL.heads, rotary=True).sum()
    parameters = block.parameters
    found = block(x.requires_grad_(), layout).sum()
    expected = torch.autograd.grad(wanted, (exact, *weights))
    slopes = torch.autograd.grad(found, (x, *parameters))
    assert all(close(a, b, 2e-4) for a, b in zip(slopes, expected, strict=True))
    assert x.grad is None
    assert all(torch.equal(p.grad, torch.ones_like(p)) for p in parameters)


def slopes_of(block: NativeBlock) -> list[Tensor]:
    return [parameter.grad.clone() for parameter in block.parameters]


def test_gradients_of_some_inputs_are_those_of_all():
    x, block, _, layout = made(SMALL, torch.float32)
    qkv, out, *_ = block.parameters
    z = block(x.requires_grad_(), layout).sum()
    z.backward(retain_graph=True)
    grad_x, grads = x.grad, slopes_of(block)
    assert torch.equal(torch.autograd.grad(z, x, retain_graph=True)[0], grad_x)
    assert all(torch.equal(a, b) for a, b in zip(slopes_of(block), grads, strict=True))
    (grad_out,) = torch.autograd.grad(z, out, retain_graph=True)
    torch.testing.assert_close(grad_out + 1, grads[1])
    z.backward(inputs=[qkv])
    torch.testing.assert_close(qkv.grad, 2 * grads[0] - 1)
    assert all(torch.equal(a, b) for a, b in zip(slopes_of(block)[1:], grads[1:], strict=True))


def test_parameters_without_a_gradient_get_one_and_frozen_ones_none():
    x, block, weights, layout = made(SMALL, torch.float32)
    wanted = plain_block(x.double(), weights, SMALL.tokens, SMALL.heads, rotary=True)
    wanted.sum().backward()
    for parameter in block.parameters:
        parameter.grad = None
    block.parameters.down.requires_grad_(False)
    block(x, layout).sum().backward()
    assert close(block.parameters.qkv.grad, weights.qkv.grad, 2e-4)
    assert block.parameters.down.grad is None


def test_a_graph_can_be_kept_for_a_second_pass_and_only_then():
    x, block, _, layout = made(SMALL, torch.float32)
    z = block(x.requires_grad_(), layout).sum()
    z.backward(retain_graph=True)
    once, x.grad = x.grad, None
    z.backward()
    assert torch.equal(x.grad, once)
    with pytest.raises(RuntimeError, match="a second time"):
        z.backward()


def test_a_second_derivative_is_refused():
    x, block, _, layout = made(SMALL, torch.float32)
    z = block(x.requires_grad_(), layout).sum()
    with pytest.raises(RuntimeError, match="no second derivative"):
        torch.autograd.grad(z, x, create_graph=True)


def test_weights_must_not_change_between_forward_and_backward():
    x, block, _, layout = made(SMALL, torch.float32)
    z = block(x.requires_grad_(), layout).sum()
    block.prepare(block.parameters)
    with pytest.raises(RuntimeError, match="changed between its forward and backward pass"):
        z.backward()


X = torch.zeros(10, 12)
TABLE = layers.rope_table(5, 4)


@pytest.mark.parametrize(
    ("x", "layout", "message"),
    [
        pytest.param(X.double(), (5, 3, TABLE), r"fp32 states \[B \* 5, 12\].*float64", id="dtype"),
        pytest.param(X.t().contiguous().t(), (5, 3, TABLE), "got non-contiguous", id="order"),
        pytest.param(torch.zeros(10, 13), (5, 3, TABLE), r"got .*\[10, 13\]", id="width"),
        pytest.param(torch.zeros(2, 5, 12), (5, 3, TABLE), r"got .*\[2, 5, 12\]", id="not flat"),
        pytest.param(X, (4, 3, None), r"\[B \* 4, 12\].*got .*\[10, 12\]", id="tokens"),
        pytest.param(X, (0, 3, None), "at least one token", id="no tokens"),
        pytest.param(X, (5, 5, None), "heads that divide 12", id="heads"),
        pytest.param(X, (5, 3, TABLE[:4]), r"rope table \[5, 4 / 2, 2\]", id="a short table"),
        pytest.param(X, (5, 3, TABLE.double()), "fp32 rope table", id="dtype of the table"),
        pytest.param(X, (5, 4, TABLE), r"rope table \[5, 3 / 2, 2\]", id="a head of odd size"),
    ],
)
def test_what_the_library_cannot_read_is_refused(x, layout, message):
    block = made(SMALL, torch.float32).block
    for call in (block, block.first_token):
        with pytest.raises(ValueError, match=message):
            call(x, SequenceLayout(*layout))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        pytest.param({"qkv": torch.zeros(36, 12).half()}, r"fp32 or bf16.*float16", id="dtype"),
        pytest.param({"out": torch.zeros(12, 12).half()}, r"out as .*float32.*float16", id="two"),
        pytest.param({"out": torch.zeros(12, 6)}, r"out as .*\[12, 12\].*\[12, 6\]", id="shape"),
        pytest.param({"down": torch.zeros(8, 12).t()}, "got non-contiguous", id="order"),
    ],
)
def test_weights_that_cannot_be_packed_are_refused(change, message):
    block = made(SMALL, torch.float32).block
    with pytest.raises(ValueError, match=message):
        block.prepare(block.parameters._replace(**change))


def test_bf16_takes_even_sizes():
    with pytest.raises(ValueError, match="in pairs, got hidden 12, width 7"):
        made(SMALL._replace(width=7), torch.bfloat16)


def test_a_block_without_weights_refuses_to_compute():
    parameters = made(SMALL, torch.float32).block.parameters
    with pytest.raises(RuntimeError, match="no weights yet"):
        NativeBlock(parameters, 1)(X, SequenceLayout(5, 3, TABLE))


def test_an_empty_batch_is_none():
    x, block, _, layout = made(SMALL, torch.float32)
    z = block(x[:0].requires_grad_(), layout)
    assert z.shape == (0, 12)
    z.sum().backward()
    assert all(torch.equal(p.grad, torch.ones_like(p)) for p in block.parameters)


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("bf16", [0, 1], ids=["fp32", "bf16"])
@pytest.mark.parametrize("queries", [1, 2**44], ids=["within threads", "before them"])
def test_memory_that_is_not_there_is_an_error(target, queries, bf16, threads):
    sizes = kernel_library.Shape(2, 2**44, 16, 1, 16, queries, bf16, threads)
    library, nothing = kernel_library.load(), None
    with pytest.raises(MemoryError, match="block_forward: not enough memory"):
        library.block_forward(ctypes.addressof(sizes), *[nothing] * 5)
    with pytest.raises(MemoryError, match="block_backward: not enough memory"):
        library.block_backward(ctypes.addressof(sizes), *[nothing] * 10)


def test_a_library_that_takes_other_sizes_is_refused(monkeypatch):
    fields = [*kernel_library.Shape._fields_, ("scale", ctypes.c_double)]
    other = type("Shape", (kernel_library.Shape,), {"_fields_": fields[-1:]})
    monkeypatch.setattr(kernel_library, "Shape", other)
    with pytest.raises(InputError, match=r"takes sizes as \[batch 0 8, .*64\] instead of \[.*72\]"):
        kernel_library.load.__wrapped__()


def test_a_library_without_our_functions_is_refused(monkeypatch):
    monkeypatch.setattr(kernel_library, "CALLS", {"block_sideways": []})
    with pytest.raises(InputError, match=r"has no such function: .*block_sideways.*; delete it"):
        kernel_library.load.__wrapped__()
