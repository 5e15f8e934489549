"""Canaries of the private names of PyTorch that compat/torch.py uses."""

from pathlib import Path

import pytest
import torch
from torch.nn import functional

from hrm_sweep.compat import torch as compat


class Probe(torch.autograd.Function):
    """Adds tensors, and appends what becomes of their gradients to a list."""

    @staticmethod
    def forward(ctx, found, *terms):
        ctx.found = found
        return sum(terms)

    @staticmethod
    def backward(ctx, grad):
        ctx.found += [compat.gradient_use(node) for node, _ in ctx.next_functions]
        return None, grad, grad, grad


@pytest.mark.parametrize(
    ("differentiate", "inputs", "expected"),
    [
        pytest.param(torch.autograd.backward, None, "accumulated returned unused", id="backward"),
        pytest.param(
            torch.autograd.backward, [0], "accumulated unused unused", id="backward to a leaf"
        ),
        pytest.param(torch.autograd.grad, [0], "returned unused unused", id="grad of a leaf"),
        pytest.param(torch.autograd.grad, [1], "unused returned unused", id="grad of another"),
    ],
)
def test_gradient_use(differentiate, inputs, expected):
    leaf = torch.randn(3, requires_grad=True)
    terms = [leaf, 2 * torch.randn(3, requires_grad=True), torch.ones(3)]
    found: list[str] = []
    out = Probe.apply(found, *terms).sum()
    differentiate(out, inputs=None if inputs is None else [terms[i] for i in inputs])
    assert found == expected.split()


def test_flash_attention_is_attention():
    q, k, v, grad = torch.randn(4, 2, 3, 150, 8)
    out, log_sums = compat.flash_attention(q, k, v)
    scores = q.requires_grad_() @ k.requires_grad_().transpose(-1, -2)
    expected = scores.softmax(-1) @ v.requires_grad_()
    torch.testing.assert_close(out, expected)
    torch.testing.assert_close(log_sums, scores.logsumexp(-1))
    found = compat.flash_attention_backward(grad, q, k, v, out, log_sums)
    wanted = torch.autograd.grad(expected, (q, k, v), grad)
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-5)


def test_backward_of_softmax_and_silu():
    x, grad = torch.randn(2, 5, 7)
    x.requires_grad_()
    p = x.softmax(-1)
    torch.testing.assert_close(compat.softmax_backward(grad, p), torch.autograd.grad(p, x, grad)[0])
    out = torch.empty_like(x)
    compat.silu_backward(grad, x.detach(), out=out)
    torch.testing.assert_close(out, torch.autograd.grad(functional.silu(x), x, grad)[0])


def test_cpu_has_avx512_bf16():
    cpuinfo = Path("/proc/cpuinfo")
    words = cpuinfo.read_text(encoding="utf-8").split() if cpuinfo.exists() else []
    assert compat.cpu_has_avx512_bf16() is ("avx512_bf16" in words)
