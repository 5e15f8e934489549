"""The block of `kernels` compiled from block.cpp for this CPU: the same mathematics, less waiting.

Shapes in names as in `kernels`.
"""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from hrm_sweep.hrm.backends import toolchain
from hrm_sweep.hrm.backends.eager import Frame


class Shape(ctypes.Structure):
    """As in block.cpp."""

    _fields_ = [
        (name, ctypes.c_int64)
        for name in ("rows", "tokens", "hidden", "heads", "width", "queries", "bf16", "threads")
    ]


@functools.cache
def functions() -> ctypes.CDLL:
    """Those of block.cpp.

    Raises:
        InputError: it cannot be compiled.
    """
    library = toolchain.library(toolchain.BLOCK)
    signatures = {
        "bytes_of_weights": (1, ctypes.c_int64),
        "bytes_kept": (1, ctypes.c_int64),
        "pack_weights": (6, None),
        "block_forward": (6, None),
        "block_backward": (11, None),
    }
    for name, (pointers, result) in signatures.items():
        function = getattr(library, name)
        function.argtypes, function.restype = [ctypes.c_void_p] * pointers, result
    return library


def name() -> str:
    """Of the library, which is another one wherever its numbers may differ in a bit."""
    return Path(functions()._name).stem


class NativeBlock:
    """Calls the compiled block with weights as it wants them, which `pack` brings up to date.

    Args:
        parameters: fp32 weights as in `kernels.BlockWeights`. The backward pass adds to their
            `.grad`, which must be there: `optim.Weights` keeps one for each.
        threads: that compute; how many changes no bit.
    """

    def __init__(self, parameters: Sequence[Tensor], threads: int) -> None:
        self.parameters, self._threads = list(parameters), threads
        self._packed = torch.empty(0, dtype=torch.uint8)
        self._bf16 = False
        self._shapes: dict[tuple[int, int, int, int | None, bool], Shape] = {}

    def pack(self, weights: Sequence[Tensor]) -> None:
        """Takes over weights like the parameters, all fp32 or all bf16, in which it computes."""
        self._bf16 = weights[0].dtype == torch.bfloat16
        shape = self._shape(1, Frame(1, 1, None))
        if not len(self._packed):
            self._packed = torch.empty(functions().bytes_of_weights(shape), dtype=torch.uint8)
        functions().pack_weights(shape, *map(Tensor.data_ptr, weights), self._packed.data_ptr())

    def __call__(self, x_RD: Tensor, frame: Frame) -> Tensor:
        """The states after the block, [R, D]."""
        if not torch.is_grad_enabled():
            return self.forward(x_RD, frame)
        return _Call.apply(x_RD, self, frame, *self.parameters)

    @torch.no_grad()
    def first_token(self, x_RD: Tensor, frame: Frame) -> Tensor:
        """The states [B, D] of every first token after the block."""
        return self.forward(x_RD, frame, queries=1)

    def forward(
        self, x_RD: Tensor, frame: Frame, kept: Tensor | None = None, queries: int | None = None
    ) -> Tensor:
        """States after the block, of all tokens or the first `queries` of each row; `kept` is
        filled with what `backward` needs."""
        assert x_RD.is_contiguous()
        assert x_RD.dtype == torch.float32
        moved = len(x_RD) // frame.tokens * (queries or frame.tokens)
        out = torch.empty(moved, x_RD.shape[1])
        functions().block_forward(
            self._shape(len(x_RD), frame, queries),
            x_RD.data_ptr(),
            self._packed.data_ptr(),
            _pointer(frame.turns),
            out.data_ptr(),
            _pointer(kept),
        )
        return out

    def backward(self, grad: Tensor, out: Tensor, kept: Tensor, frame: Frame) -> Tensor:
        """The gradient of the states before the block; adds those of the weights to theirs."""
        grad_x = torch.empty_like(out)
        functions().block_backward(
            self._shape(len(out), frame),
            grad.contiguous().data_ptr(),
            out.data_ptr(),
            self._packed.data_ptr(),
            _pointer(frame.turns),
            kept.data_ptr(),
            grad_x.data_ptr(),
            *(weight.grad.data_ptr() for weight in self.parameters),  # type: ignore[union-attr]
        )
        return grad_x

    def room(self, rows: int, frame: Frame) -> Tensor:
        """For what `backward` needs of R rows."""
        return torch.empty(functions().bytes_kept(self._shape(rows, frame)), dtype=torch.uint8)

    def _shape(self, rows: int, frame: Frame, queries: int | None = None) -> int:
        """Its address; asked for in each step, so a shape is made once."""
        key = rows, frame.tokens, frame.num_heads, queries, self._bf16
        if key not in self._shapes:
            hidden, width = self.parameters[-1].shape
            self._shapes[key] = Shape(
                *(rows // frame.tokens, frame.tokens, hidden, frame.num_heads, width),
                *(queries or frame.tokens, self._bf16, self._threads),
            )
        return ctypes.addressof(self._shapes[key])


class _Call(torch.autograd.Function):
    @staticmethod
    def forward(  # the parameters come along so that autograd knows of them
        ctx: Any, x: Tensor, block: NativeBlock, frame: Frame, *_: Tensor
    ) -> Tensor:
        kept = block.room(len(x), frame)
        result = block.forward(x, frame, kept)
        ctx.save_for_backward(result, kept)
        ctx.block, ctx.frame = block, frame
        return result

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        grad_x = ctx.block.backward(grad, *ctx.saved_tensors, ctx.frame)
        return grad_x, *[None] * (len(ctx.needs_input_grad) - 1)


def _pointer(tensor: Tensor | None) -> int | None:
    return None if tensor is None else tensor.data_ptr()
