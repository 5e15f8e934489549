"""Private names of PyTorch, read in 2.10 to 2.13.

tests/unit/compat/test_torch_canary.py holds each function to what is read here.
"""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor

GradientUse = Literal["accumulated", "returned", "unused"]


def gradient_use(node: Any) -> GradientUse:
    """Return what the running backward pass does with the gradient that it hands to a graph node.

    Args:
        node: One of `Node.next_functions`, read within a backward pass. None: no gradient needed.

    Returns:
        "accumulated" if the pass adds it to a leaf's `.grad`; "returned" if it goes to another node
        or to the caller of `torch.autograd.grad`; "unused" if nothing needs it in this pass.
    """
    if node is None:
        return "unused"
    try:
        runs = torch._C._will_engine_execute_node(node)
    except RuntimeError:  # raised for a leaf whose gradient torch.autograd.grad captures
        return "returned"
    if not runs:
        return "unused"
    return "accumulated" if node.name() == "torch::autograd::AccumulateGrad" else "returned"


def flash_attention(q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
    """Return softmax(q·k) v, [B, N, T, K], and the logarithms of the softmax's sums, [B, N, T]."""
    return torch.ops.aten._scaled_dot_product_flash_attention_for_cpu(q, k, v, scale=1.0)


def flash_attention_backward(
    grad: Tensor, q: Tensor, k: Tensor, v: Tensor, out: Tensor, log_sums: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the gradients of q, k and v of `flash_attention`."""
    return torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward(
        grad, q, k, v, out, log_sums, 0.0, False, scale=1.0
    )


def softmax_backward(grad: Tensor, out: Tensor) -> Tensor:
    """Return the gradient of the input of a softmax over the last dimension, given its output."""
    return torch.ops.aten._softmax_backward_data(grad, out, -1, out.dtype)


def silu_backward(grad: Tensor, x: Tensor, *, out: Tensor) -> None:
    """Write the gradient of the input of SiLU to `out`."""
    torch.ops.aten.silu_backward.grad_input(grad, x, grad_input=out)


def cpu_has_avx512_bf16() -> bool:
    """Return whether this CPU has instructions for products of vectors in bf16."""
    return torch.cpu._is_avx512_bf16_supported()
