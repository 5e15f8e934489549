"""The compiled kernels of a block, for this CPU and for lesser ones, against the formulas."""

from __future__ import annotations

import platform
from collections.abc import Iterator
from typing import NamedTuple

import pytest
import torch
from formulas import plain_block
from torch import Tensor

from hrm_sweep.hrm.backends import native, toolchain
from hrm_sweep.hrm.backends.eager import BlockWeights, Frame
from hrm_sweep.hrm.backends.native import NativeBlock
from hrm_sweep.hrm.models import layers


class Sizes(NamedTuple):
    rows: int
    tokens: int
    heads: int
    head_size: int
    width: int

    @property
    def states(self) -> tuple[int, int]:
        return self.rows * self.tokens, self.heads * self.head_size


SMALL = Sizes(2, 5, 3, 4, 8)
SIZES = [
    pytest.param(SMALL, id="smaller than a vector"),
    pytest.param(Sizes(3, 9, 2, 16, 32), id="whole vectors"),
    pytest.param(Sizes(2, 70, 2, 24, 100), id="more than one chunk and panel, none of them full"),
]
TARGETS = ["native"]
if platform.machine() == "x86_64":
    TARGETS += ["x86-64-v3", "x86-64"]
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
        for cache in (toolchain.library, native.functions):
            cache.cache_clear()
        yield request.param
    for cache in (toolchain.library, native.functions):
        cache.cache_clear()


class Made(NamedTuple):
    x: Tensor
    block: NativeBlock
    weights: BlockWeights
    """As it computes with them, in float64."""
    frame: Frame


def made(sizes: Sizes, dtype: torch.dtype, *, rotary: bool = True, threads: int = 1) -> Made:
    torch.manual_seed(0)
    rows, hidden = sizes.states
    shapes = [(3 * hidden, hidden), (hidden, hidden), (2 * sizes.width, hidden)]
    parameters = [torch.randn(shape) / 3 for shape in [*shapes, (hidden, sizes.width)]]
    for parameter in parameters:
        parameter.grad = torch.ones_like(parameter)
    block = NativeBlock(parameters, threads)
    block.pack([parameter.to(dtype) for parameter in parameters])
    turns = layers.turns(sizes.tokens, sizes.head_size) if rotary else None
    weights = BlockWeights(*(p.to(dtype).double().requires_grad_() for p in parameters))
    return Made(torch.randn(rows, hidden), block, weights, Frame(sizes.tokens, sizes.heads, turns))


def close(found: Tensor, wanted: Tensor, tolerance: float) -> bool:
    """Relative to the length of what is wanted."""
    return bool((found - wanted).norm() < tolerance * wanted.norm())


@pytest.mark.parametrize("rotary", [True, False], ids=["rotary", "no rotation"])
@pytest.mark.parametrize(("dtype", "tolerance"), DTYPES)
@pytest.mark.parametrize("sizes", SIZES)
def test_a_block_and_its_slope_are_what_the_formulas_say(target, sizes, dtype, tolerance, rotary):
    x, block, weights, frame = made(sizes, dtype, rotary=rotary)
    exact = x.double().requires_grad_()
    wanted = plain_block(exact, weights, sizes.tokens, sizes.heads, rotary=rotary)
    with torch.no_grad():
        assert close(block(x, frame), wanted, tolerance)
    asked = x.clone().requires_grad_()
    found = block(asked, frame)
    assert close(found, wanted, tolerance)
    pull = torch.randn(sizes.states)
    found.backward(pull)
    wanted.backward(pull.double())
    assert close(asked.grad, exact.grad, tolerance)
    for parameter, weight in zip(block.parameters, weights, strict=True):
        assert close(parameter.grad - 1, weight.grad, tolerance)  # 1 was there before
    assert torch.equal(asked, x)


@pytest.mark.parametrize(("dtype", "tolerance"), DTYPES)
def test_the_first_tokens_alone_are_the_first_of_all(target, dtype, tolerance):
    x, block, _, frame = made(SMALL, dtype)
    with torch.no_grad():
        torch.testing.assert_close(block.first_token(x, frame), block(x, frame)[:: SMALL.tokens])


def test_as_many_threads_as_you_like_give_the_same_bits():
    found = []
    for threads in (1, 2, 3):
        x, block, _, frame = made(Sizes(5, 70, 2, 24, 100), torch.float32, threads=threads)
        asked = x.requires_grad_()
        out = block(asked, frame)
        out.square().sum().backward()
        found.append([out, asked.grad, *(parameter.grad for parameter in block.parameters)])
    for other in found[1:]:
        assert all(torch.equal(a, b) for a, b in zip(found[0], other, strict=True))


@pytest.mark.parametrize("where", ["in what comes in", "in what comes back"])
def test_a_number_that_is_none_is_not_lost(where):
    x, block, _, frame = made(SMALL, torch.float32)
    pull = torch.ones(SMALL.states)
    (x if where == "in what comes in" else pull)[0, 0] = float("nan")
    asked = x.requires_grad_()
    out = block(asked, frame)
    out.backward(pull)
    assert not block.parameters[0].grad.isfinite().all()
    assert out.isfinite().all() == (where == "in what comes back")
