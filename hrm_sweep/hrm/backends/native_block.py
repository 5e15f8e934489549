"""A block with attention computed by kernels/.

Shapes as in `backend`.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from hrm_sweep.hrm.backends import kernel_library
from hrm_sweep.hrm.backends.backend import BlockWeights, SequenceLayout, refuse_second_derivative
from hrm_sweep.hrm.backends.native_swiglu import (
    as_returned,
    check_weights,
    described,
    gradient_target,
    is_plain,
    pointer,
)


class NativeBlock:
    """A `BlockKernel` with weights packed for the compiled code.

    It is differentiable with respect to the states and to the fp32 parameters, whatever the dtype
    of the weights packed last. `backward` adds to a parameter's `.grad` directly where there is
    one, without calling hooks of the parameter; `torch.autograd.grad` gets tensors of its own.

    Args:
        parameters: fp32, on the CPU.
        threads: Number of threads that compute; it changes no bit of the results.
    """

    def __init__(self, parameters: Sequence[Tensor], threads: int) -> None:
        self.parameters = BlockWeights(*parameters)
        self.version = 0
        """Number of times that weights were packed."""
        self._library, self._threads = kernel_library.load(), threads
        self.packed = torch.empty(0, dtype=torch.uint8)
        """The weights as the compiled code reads them."""
        self._bf16 = False
        self._layout = SequenceLayout(1, 1, None)
        self._shapes: dict[tuple[torch.Size, int | None, bool], kernel_library.Shape] = {}
        """Sizes of calls with `_layout`, kept because each step repeats them."""

    def prepare(self, weights: BlockWeights) -> None:
        """Pack weights shaped like the parameters, all fp32 or all bf16, which it computes in.

        Raises:
            ValueError: Another shape, dtype or memory layout, or bf16 with an odd D or M.
        """
        _check_weights(weights, self.parameters)
        self._bf16 = weights.qkv.dtype == torch.bfloat16
        shape = ctypes.byref(self._new_shape(1, 1))
        if len(self.packed) != (size := self._library.bytes_of_weights(shape)):
            self.packed = torch.empty(size, dtype=torch.uint8)
        self._library.pack_weights(shape, *map(Tensor.data_ptr, weights), self.packed.data_ptr())
        self.version += 1

    def __call__(self, x_RD: Tensor, layout: SequenceLayout) -> Tensor:
        """Return the states after the block, [R, D].

        Raises:
            ValueError: The states or the layout are not what the compiled code reads.
            RuntimeError: There are no weights yet.
        """
        if not torch.is_grad_enabled():
            return self.forward(x_RD, layout)
        return _Block.apply(x_RD, self, layout, *self.parameters)

    @torch.no_grad()
    def first_token(self, x_RD: Tensor, layout: SequenceLayout) -> Tensor:
        """Return the states [B, D] of the first tokens, which attend to all."""
        return self.forward(x_RD, layout, queries=1)

    def forward(
        self,
        x_RD: Tensor,
        layout: SequenceLayout,
        saved: Tensor | None = None,
        queries: int | None = None,
    ) -> Tensor:
        """Return the states after the block, of all tokens or the first `queries` of a sequence.

        `saved`, allocated by `saved_for`, is filled with what `backward` needs.
        """
        shape = self.shape(x_RD, layout, queries)
        out = torch.empty(shape.batch * shape.queries, shape.hidden)
        self._library.block_forward(
            ctypes.byref(shape),
            x_RD.data_ptr(),
            self.packed.data_ptr(),
            pointer(layout.rope_table),
            out.data_ptr(),
            pointer(saved),
        )
        return out

    def backward(
        self,
        grad_out: Tensor,
        out: Tensor,
        saved: Tensor,
        layout: SequenceLayout,
        weight_grads: Sequence[Tensor | None],
    ) -> Tensor:
        """Return the gradient of the states before the block.

        Those of the weights are added to `weight_grads`, tensors like the parameters, or None where
        nothing needs them.
        """
        grad_x = torch.empty_like(out)
        grad_out = grad_out.contiguous()
        self._library.block_backward(
            ctypes.byref(self.shape(out, layout)),
            grad_out.data_ptr(),
            out.data_ptr(),
            self.packed.data_ptr(),
            pointer(layout.rope_table),
            saved.data_ptr(),
            grad_x.data_ptr(),
            *map(pointer, weight_grads),
        )
        return grad_x

    def saved_for(self, x_RD: Tensor, layout: SequenceLayout) -> Tensor:
        """Return memory for what the backward pass needs of these states."""
        size = self._library.bytes_saved(ctypes.byref(self.shape(x_RD, layout)))
        return torch.empty(size, dtype=torch.uint8)

    def shape(
        self, x_RD: Tensor, layout: SequenceLayout, queries: int | None = None
    ) -> kernel_library.Shape:
        """Return the sizes of a call, after checking what it reads."""
        if layout is not self._layout:
            _check_layout(layout, len(self.parameters.out))
            self._layout, self._shapes = layout, {}
        if x_RD.dtype != torch.float32 or not is_plain(x_RD):
            raise self._wrong_states(x_RD)
        key = x_RD.shape, queries, self._bf16
        if key not in self._shapes:
            tokens, hidden = layout.tokens, len(self.parameters.out)
            if x_RD.ndim != 2 or x_RD.shape[1] != hidden or len(x_RD) % tokens:
                raise self._wrong_states(x_RD)
            if not self.version:
                raise RuntimeError("the compiled block has no weights yet: call prepare first")
            self._shapes[key] = self._new_shape(len(x_RD) // tokens, queries or tokens)
        return self._shapes[key]

    def _new_shape(self, batch: int, queries: int) -> kernel_library.Shape:
        hidden, width = self.parameters.down.shape
        tokens, heads, _ = self._layout
        return kernel_library.Shape(
            batch, tokens, hidden, heads, width, queries, self._bf16, self._threads
        )

    def _wrong_states(self, x_RD: Tensor) -> ValueError:
        tokens, hidden = self._layout.tokens, len(self.parameters.out)
        return ValueError(
            f"the compiled block takes contiguous fp32 states [B * {tokens}, {hidden}] on the CPU, "
            f"got {described(x_RD)}"
        )


class _Block(torch.autograd.Function):
    @staticmethod
    def forward(  # the parameters are inputs so that autograd knows them
        ctx: Any, x: Tensor, block: NativeBlock, layout: SequenceLayout, *_: Tensor
    ) -> Tensor:
        saved = block.saved_for(x, layout)
        out = block.forward(x, layout, saved)
        ctx.save_for_backward(out, saved)
        ctx.block, ctx.layout, ctx.version = block, layout, block.version
        return out

    @staticmethod
    def backward(ctx: Any, grad_out: Tensor) -> tuple[Tensor | None, ...]:
        refuse_second_derivative()
        block = ctx.block
        out, saved = ctx.saved_tensors
        if ctx.version != block.version:
            raise RuntimeError(
                "the weights of the compiled block changed between its forward and backward pass"
            )
        nodes = [node for node, _ in ctx.next_functions[1:]]  # the first is that of x
        targets = [gradient_target(*pair) for pair in zip(block.parameters, nodes, strict=True)]
        grad_x = block.backward(grad_out, out, saved, ctx.layout, targets)
        return grad_x, None, None, *as_returned(targets, block.parameters)


def _check_weights(weights: BlockWeights, like: BlockWeights) -> None:
    check_weights(weights._asdict(), like)
    hidden, width = weights.down.shape
    if weights.down.dtype == torch.bfloat16 and (hidden % 2 or width % 2):
        raise ValueError(
            f"the compiled block takes bf16 numbers in pairs, got hidden {hidden}, width {width}"
        )


def _check_layout(layout: SequenceLayout, hidden: int) -> None:
    tokens, heads, table = layout
    if tokens < 1 or heads < 1 or hidden % heads:
        raise ValueError(
            f"the compiled block takes at least one token and heads that divide {hidden}, "
            f"got {tokens} tokens and {heads} heads"
        )
    if table is None:
        return
    expected = (tokens, hidden // heads / 2, 2)
    if table.shape != expected or table.dtype != torch.float32 or not is_plain(table):
        raise ValueError(
            f"the compiled block takes a contiguous fp32 rope table [{tokens}, "
            f"{hidden // heads} / 2, 2] on the CPU, got {described(table)}"
        )
