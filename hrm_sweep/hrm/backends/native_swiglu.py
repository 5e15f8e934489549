"""The post-norm SwiGLU computed by kernels/, and what all kernels of that library share.

Shapes as in `backend`, for rows of D numbers.
"""

from __future__ import annotations

import ctypes
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from hrm_sweep.compat.torch import gradient_use
from hrm_sweep.hrm.backends import kernel_library
from hrm_sweep.hrm.backends.backend import refuse_second_derivative


class NativeSwiGLU:
    """A `SwiGLUKernel` with weights packed for the compiled code.

    Its gradients are as those of `native.NativeBlock`.

    Args:
        gate_up: [2 M, D], fp32, on the CPU.
        down: [D, M], likewise.
        threads: Number of threads that compute; it changes no bit of the results.
    """

    def __init__(self, gate_up: Tensor, down: Tensor, threads: int) -> None:
        self.parameters = (gate_up, down)
        self.version = 0
        """Number of times that weights were packed."""
        self._library, self._threads = kernel_library.load(), threads
        self._packed = torch.empty(0, dtype=torch.uint8)
        self._bf16 = False

    def prepare(self, gate_up: Tensor, down: Tensor) -> None:
        """Pack weights shaped like the parameters, all fp32 or all bf16, which it computes in.

        Raises:
            ValueError: They are others, or bf16 and of an odd width M.
        """
        check_weights({"gate_up": gate_up, "down": down}, self.parameters)
        size, width = down.shape
        self._bf16 = gate_up.dtype == torch.bfloat16
        if self._bf16 and width % 2:
            raise ValueError(f"the compiled block takes bf16 numbers in pairs, got width {width}")
        if self._bf16 and size % 2:
            gate_up = functional.pad(gate_up, (0, 1))
        shape = ctypes.byref(self._shape(1))
        needed = self._library.bytes_of_swiglu_weights(shape)
        if len(self._packed) != needed:
            self._packed = torch.empty(needed, dtype=torch.uint8)
        self._library.pack_swiglu(shape, *map(pointer, (gate_up, down, self._packed)))
        self.version += 1

    def __call__(self, x_RD: Tensor) -> Tensor:
        """Return the rows after SwiGLU and norm, [R, D]."""
        if torch.is_grad_enabled():
            return _SwiGLU.apply(x_RD, self, *self.parameters)
        return self.forward(x_RD)

    def forward(self, x_RD: Tensor, saved: Tensor | None = None) -> Tensor:
        """Return the rows after SwiGLU and norm; `saved` is filled with what `backward` needs."""
        self._check_rows(x_RD)
        out = torch.empty_like(x_RD)
        shape = ctypes.byref(self._shape(len(x_RD)))
        self._library.swiglu_forward(shape, *map(pointer, (x_RD, self._packed, out, saved)))
        return out

    def backward(
        self, grad_out: Tensor, out: Tensor, x_RD: Tensor, saved: Tensor, targets: Sequence[Any]
    ) -> Tensor:
        """Return the gradient of the rows; those of the weights are added to `targets`, if any."""
        grad_x = torch.empty_like(out)
        tensors = (grad_out.contiguous(), out, x_RD, self._packed, saved, grad_x, *targets)
        self._library.swiglu_backward(ctypes.byref(self._shape(len(out))), *map(pointer, tensors))
        return grad_x

    def saved_for(self, x_RD: Tensor) -> Tensor:
        """Return memory for what the backward pass needs of these rows."""
        size = self._library.bytes_saved_by_swiglu(ctypes.byref(self._shape(len(x_RD))))
        return torch.empty(size, dtype=torch.uint8)

    def _shape(self, rows: int) -> kernel_library.Shape:
        size, width = self.parameters[1].shape
        return kernel_library.Shape(rows, 1, size, 1, width, 1, self._bf16, self._threads)

    def _check_rows(self, x_RD: Tensor) -> None:
        size = len(self.parameters[1])
        if x_RD.dtype != torch.float32 or not is_plain(x_RD) or x_RD.shape[1:] != (size,):
            raise ValueError(
                f"the compiled SwiGLU takes contiguous fp32 rows [R, {size}] on the CPU, "
                f"got {described(x_RD)}"
            )
        if not self.version:
            raise RuntimeError("the compiled SwiGLU has no weights yet: call prepare first")


class _SwiGLU(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, kernel: NativeSwiGLU, *_: Tensor) -> Tensor:
        saved = kernel.saved_for(x)
        out = kernel.forward(x, saved)
        ctx.save_for_backward(out, x, saved)
        ctx.kernel, ctx.version = kernel, kernel.version
        return out

    @staticmethod
    def backward(ctx: Any, grad_out: Tensor) -> tuple[Tensor | None, ...]:
        refuse_second_derivative()
        kernel = ctx.kernel
        if ctx.version != kernel.version:
            raise RuntimeError(
                "the weights of the compiled SwiGLU changed between its forward and backward pass"
            )
        nodes = [node for node, _ in ctx.next_functions[1:]]  # the first is that of x
        targets = [gradient_target(*pair) for pair in zip(kernel.parameters, nodes, strict=True)]
        grad_x = kernel.backward(grad_out, *ctx.saved_tensors, targets)
        return grad_x, None, *as_returned(targets, kernel.parameters)


def gradient_target(parameter: Tensor, node: Any) -> Tensor | None:
    """Return where a parameter's gradient is added: its own `.grad`, or zeros to be returned.

    None where nothing needs it. `node` is the parameter's in the graph of autograd.
    """
    use = gradient_use(node)
    if use == "unused":
        return None
    own = parameter.grad
    if use == "accumulated" and own is not None and own.is_contiguous():
        return own
    return torch.zeros_like(parameter, memory_format=torch.contiguous_format)


def as_returned(
    targets: Sequence[Tensor | None], parameters: Sequence[Tensor]
) -> list[Tensor | None]:
    """Return the targets for autograd, None for those that are in a parameter's `.grad` already."""
    pairs = zip(targets, parameters, strict=True)
    return [None if target is parameter.grad else target for target, parameter in pairs]


def check_weights(weights: Mapping[str, Tensor], like: Sequence[Tensor]) -> None:
    """Check that weights, by name, are of one dtype and shaped like the parameters.

    Raises:
        ValueError: They are not, or cannot be read by compiled code.
    """
    dtype = next(iter(weights.values())).dtype
    if dtype not in (torch.float32, torch.bfloat16):
        raise ValueError(f"the compiled block computes in fp32 or bf16, got weights of {dtype}")
    for (name, weight), parameter in zip(weights.items(), like, strict=True):
        if weight.shape != parameter.shape or weight.dtype != dtype or not is_plain(weight):
            raise ValueError(
                f"the compiled block takes {name} as a contiguous {dtype} tensor "
                f"{list(parameter.shape)} on the CPU, got {described(weight)}"
            )


def is_plain(tensor: Tensor) -> bool:
    """Return whether compiled code can read a tensor from its pointer."""
    return tensor.is_contiguous() and tensor.is_cpu


def described(tensor: Tensor) -> str:
    """Return what an error says about a tensor."""
    order = "" if tensor.is_contiguous() else "non-contiguous "
    return f"{order}{tensor.dtype} {list(tensor.shape)} on {tensor.device}"


def pointer(tensor: Tensor | None) -> int | None:
    """Return the address of a tensor's first number; None, the null pointer, for None."""
    return None if tensor is None else tensor.data_ptr()
