"""Adam's update by PyTorch's operators and by compiled code, held to the formulas in float64."""

import math
import shutil
from collections.abc import Callable
from functools import partial

import pytest
import torch

from hrm_sweep.hrm.backends import toolchain
from hrm_sweep.hrm.backends.backend import AdamKernel, AdamStep, AdamVectors
from hrm_sweep.hrm.backends.eager_adam import EagerAdam
from hrm_sweep.hrm.backends.native_adam import NativeAdam

needs_compiler = pytest.mark.skipif(
    shutil.which(toolchain.compiler()) is None, reason="no C++ compiler"
)
SIZES = [
    pytest.param(1, 1, id="one number"),
    pytest.param(17, 5, id="not a whole vector"),
    pytest.param(8192, 8192, id="a whole piece"),
    pytest.param(20_003, 9_001, id="pieces, and copies of a part"),
    pytest.param(100, 0, id="no copies"),
]
NOT_OURS = [
    pytest.param({"mean": torch.zeros(4, dtype=torch.float64)}, "mean", id="another dtype"),
    pytest.param({"gradient": torch.zeros(8)[::2]}, "gradient", id="not contiguous"),
    pytest.param({"copies": torch.zeros(4)}, "copies", id="fp32 copies"),
    pytest.param({"square": torch.zeros(3)}, "square", id="another length"),
    pytest.param(
        {"copies": torch.zeros(5, dtype=torch.bfloat16)}, "copies", id="more copies than parameters"
    ),
]


Kernel = Callable[[AdamVectors], AdamKernel]


@pytest.fixture(params=["eager", pytest.param("native", marks=needs_compiler)])
def kernel(request) -> Kernel:
    return EagerAdam if request.param == "eager" else partial(NativeAdam, threads=1)


def vectors(size: int, copied: int) -> AdamVectors:
    torch.manual_seed(size)
    drawn = torch.randn(4, size)
    copies = torch.zeros(copied, dtype=torch.bfloat16)
    return AdamVectors(drawn[0], drawn[1], drawn[2] * 0.1, drawn[3].square() * 0.01, copies)


def updated(before: AdamVectors, step: AdamStep) -> tuple[torch.Tensor, ...]:
    """Return parameters, mean and square, as adam-atan2 0.0.3 and AdamW define them, in float64."""
    gradient = before.gradient.double() * step.scale
    mean = step.beta1 * before.mean.double() + (1 - step.beta1) * gradient
    square = step.beta2 * before.square.double() + (1 - step.beta2) * gradient**2
    root = (square / (1 - step.beta2**step.number)).sqrt()
    bias1 = 1 - step.beta1**step.number
    update = torch.atan2(mean, root) / bias1 if step.atan2 else mean / bias1 / (root + 1e-8)
    kept = 1 - step.lr * step.weight_decay
    return before.parameters.double() * kept - step.lr * update, mean, square


@pytest.mark.parametrize("atan2", [False, True])
@pytest.mark.parametrize(("size", "copied"), SIZES)
def test_an_update_is_that_of_the_formulas(kernel, size, copied, atan2):
    before, after = vectors(size, copied), vectors(size, copied)
    step = AdamStep(3, 0.01, 0.7, 0.9, 0.95, 0.1, atan2)
    kernel(after).update(step)
    found = [vector.double() for vector in (after.parameters, after.mean, after.square)]
    torch.testing.assert_close(found, [*updated(before, step)], rtol=2e-6, atol=1e-7)
    assert not after.gradient.any()
    assert torch.equal(after.copies, after.parameters[:copied].bfloat16())


def test_the_angles_of_atan2_in_all_directions(kernel):
    steep = [0.0, 1e-30, 1e-6, 0.1, 0.41421356, 0.4142136, 0.5, 1.0, 2.0, 2.5, 1e6, 1e30]
    means = torch.tensor([sign * tangent for tangent in steep for sign in (1, -1)] + [3.0, 0.0])
    square = torch.ones_like(means)
    square[-2:] = 0  # straight up, and the origin
    zeros, nothing = torch.zeros_like(means), torch.zeros(0, dtype=torch.bfloat16)
    parameters = zeros.clone()
    ours = AdamVectors(parameters, zeros, 2 * means, 2 * square, nothing)  # halved by the update
    kernel(ours).update(AdamStep(10**6, -1.0, 1.0, 0.5, 0.5, 0.0, True))
    wanted = torch.atan2(means.double(), square.double().sqrt())
    torch.testing.assert_close(parameters.double(), wanted, rtol=1e-6, atol=0)


@pytest.mark.parametrize(("size", "copied"), SIZES)
def test_a_norm_is_exact_to_fp32(kernel, size, copied):
    ours = vectors(size, copied)
    assert kernel(ours).norm() == pytest.approx(ours.gradient.double().norm().item(), rel=1e-6)


@pytest.mark.parametrize("bad", [float("inf"), float("nan")])
def test_the_norm_of_a_gradient_that_is_not_finite(kernel, bad):
    ours = vectors(9_000, 0)
    ours.gradient[8_500] = bad
    assert not math.isfinite(kernel(ours).norm())


@needs_compiler
@pytest.mark.parametrize("atan2", [False, True])
def test_threads_change_no_bit_of_an_update(atan2):
    one, three = vectors(50_001, 40_001), vectors(50_001, 40_001)
    kernels = NativeAdam(one, 1), NativeAdam(three, 3)
    assert kernels[0].norm() == kernels[1].norm()
    for kernel in kernels:
        kernel.update(AdamStep(2, 0.01, 1.0, 0.9, 0.95, 0.1, atan2))
    assert all(map(torch.equal, one, three))


@needs_compiler
@pytest.mark.parametrize(("changes", "name"), NOT_OURS)
def test_vectors_that_compiled_code_cannot_read_are_refused(changes, name):
    ours = vectors(4, 2)._replace(**changes)
    with pytest.raises(ValueError, match=f"^the compiled update takes {name} as a contiguous"):
        NativeAdam(ours, 1)
