"""The post-norm SwiGLU, norm(x + W_down (silu(gate) · up)), computed by PyTorch's operators.

Rows x may be the states of tokens or, in a block that mixes over tokens, the numbers of a feature.
Shapes as in `backend`, for rows of D numbers.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from hrm_sweep.compat import torch as torch_compat
from hrm_sweep.hrm.backends.backend import refuse_second_derivative

NORM_EPSILON = torch.tensor(1e-5)  # as published; keeps the norm of a zero state finite


class EagerSwiGLU:
    """A `SwiGLUKernel`, differentiable with respect to the rows and to the prepared weights.

    Args:
        gate_up: [2 M, D], fp32, fp64 or bf16.
        down: [D, M], of the same dtype.
    """

    def __init__(self, gate_up: Tensor, down: Tensor) -> None:
        self._gate_up, self._down = gate_up, down

    def prepare(self, gate_up: Tensor, down: Tensor) -> None:
        """Compute with these weights from now on; later changes of their values count, too."""
        self._gate_up, self._down = gate_up, down

    def __call__(self, x_RD: Tensor) -> Tensor:
        """Return the rows after SwiGLU and norm, [R, D]."""
        if torch.is_grad_enabled():
            return _SwiGLU.apply(x_RD, self._gate_up, self._down)
        return _forward(x_RD, self._gate_up, self._down)[0]


class _SwiGLU(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, gate_up: Tensor, down: Tensor) -> Tensor:
        result, saved = _forward(x, gate_up, down)
        ctx.save_for_backward(gate_up, down, *saved)
        return result

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, ...]:
        refuse_second_derivative()
        w_gate_up, w_down, y, gate_up, silu, act, z, inverse = ctx.saved_tensors
        grad = norm_backward(grad, z, inverse)
        down = grad.to(w_down.dtype)  # may be grad itself, which changes below
        grad_w_down = torch.mm(down.t(), act)
        grad_gate_up = swiglu_backward(torch.mm(down, w_down), gate_up, silu)
        grad_w_gate_up = torch.mm(grad_gate_up.t(), y)
        return grad.add_(torch.mm(grad_gate_up, w_gate_up)), grad_w_gate_up, grad_w_down


def _forward(x: Tensor, w_gate_up: Tensor, w_down: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
    """Return the result and the intermediates that the backward pass needs."""
    y = x.to(w_gate_up.dtype)
    gate_up = torch.mm(y, w_gate_up.t())
    act, silu = swiglu(gate_up)
    z, inverse = norm_of_sum(x, torch.mm(act, w_down.t()))
    return z, (y, gate_up, silu, act, z, inverse)


def norm_of_sum(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Return RMSNorm without a weight (arXiv:1910.07467) of x + y, and 1 / rms."""
    total = x + y
    length = torch.linalg.vector_norm(total, dim=-1, keepdim=True)
    inverse = torch.addcmul(NORM_EPSILON, length, length, value=1 / x.shape[-1]).rsqrt_()
    return total.mul_(inverse), inverse


def norm_backward(grad: Tensor, out: Tensor, inverse: Tensor) -> Tensor:
    """Return the gradient before RMSNorm, from its result and 1 / rms."""
    along = (grad * out).sum(dim=-1, keepdim=True)
    return torch.addcmul(grad, out, along, value=-1 / out.shape[-1]).mul_(inverse)


def swiglu(gate_up: Tensor) -> tuple[Tensor, Tensor]:
    """Return SwiGLU (arXiv:2002.05202), silu(gate) · up, and silu(gate)."""
    gate, up = gate_up.chunk(2, dim=-1)
    silu = functional.silu(gate)
    return silu * up, silu


def swiglu_backward(grad: Tensor, gate_up: Tensor, silu: Tensor) -> Tensor:
    """Return the gradient of (gate, up), from them and silu(gate)."""
    gate, up = gate_up.chunk(2, dim=-1)
    grads = torch.empty_like(gate_up)
    grad_gate, grad_up = grads.chunk(2, dim=-1)
    torch.mul(grad, silu, out=grad_up)
    torch_compat.silu_backward(grad * up, gate, out=grad_gate)
    return grads
