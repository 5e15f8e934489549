"""What a training reads from the states of an answer, computed by kernels/."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from hrm_sweep.hrm.backends import kernel_library
from hrm_sweep.hrm.backends.backend import Readout, ReadoutWeights, refuse_second_derivative
from hrm_sweep.hrm.backends.native_swiglu import (
    as_returned,
    described,
    gradient_target,
    is_plain,
    pointer,
)


class NativeReadout:
    """A `ReadoutKernel`. Its gradients are as those of `native.NativeBlock`."""

    def __init__(self, weights: ReadoutWeights, tokens: int, loss: str, threads: int) -> None:
        self.weights, self._library = weights, kernel_library.load()
        self._tokens, self._is_stablemax, self._threads = tokens, loss == "stablemax", threads

    def __call__(self, answer_RD: Tensor, labels_BS: Tensor, target_B: Tensor | None) -> Readout:
        """Return what is read of an answer.

        Raises:
            ValueError: The states or the labels are not what the compiled code reads.
        """
        total, padding, others = _Readout.apply(answer_RD, self, labels_BS, target_B, *self.weights)
        return Readout(total, padding, *others.unbind())

    def forward(
        self, answer_RD: Tensor, labels_BS: Tensor, target_B: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """Return the fields of `Readout`, [7, B], and what `backward` needs."""
        shape = ctypes.byref(self._shape(answer_RD, labels_BS))
        size = self._library.bytes_saved_by_readout(shape)
        saved = torch.empty(size, dtype=torch.uint8)
        rows = torch.empty(len(Readout._fields), len(labels_BS))
        tensors = (answer_RD, *self.weights, labels_BS, target_B, saved, rows)
        self._library.readout_forward(shape, *map(pointer, tensors))
        return rows, saved

    def backward(
        self,
        grads: Sequence[Tensor | None],
        answer_RD: Tensor,
        labels_BS: Tensor,
        saved: Tensor,
        rows: Tensor,
        targets: Sequence[Tensor | None],
    ) -> Tensor:
        """Return the gradient of the states, from those of `total` and `padding`, if any.

        Those of the weights are added to `targets`, if any.
        """
        grad_answer = torch.empty_like(answer_RD)
        grads = [None if grad is None else grad.contiguous() for grad in grads]
        tensors = (answer_RD, *self.weights, *grads, saved, rows, grad_answer, *targets)
        shape = ctypes.byref(self._shape(answer_RD, labels_BS))
        self._library.readout_backward(shape, *map(pointer, tensors))
        return grad_answer

    def _shape(self, answer_RD: Tensor, labels_BS: Tensor) -> kernel_library.ReadoutShape:
        vocabulary, hidden = self.weights.head.shape
        batch, scored = labels_BS.shape
        is_read = answer_RD.dtype == torch.float32 and is_plain(answer_RD)
        if not is_read or answer_RD.shape != (batch * self._tokens, hidden):
            raise ValueError(
                f"the compiled readout takes contiguous fp32 states [{batch * self._tokens}, "
                f"{hidden}] on the CPU, got {described(answer_RD)}"
            )
        if labels_BS.dtype != torch.int64 or not is_plain(labels_BS) or scored > self._tokens:
            raise ValueError(
                f"the compiled readout takes contiguous labels [B, {self._tokens} or less] of "
                f"torch.int64 on the CPU, got {described(labels_BS)}"
            )
        prefix = self._tokens - scored
        return kernel_library.ReadoutShape(
            batch, self._tokens, prefix, hidden, vocabulary, self._is_stablemax, self._threads
        )


class _Readout(torch.autograd.Function):
    @staticmethod
    def forward(  # the weights are inputs so that autograd knows them
        ctx: Any,
        answer: Tensor,
        kernel: NativeReadout,
        labels: Tensor,
        target: Tensor | None,
        *_: Tensor | None,
    ) -> tuple[Tensor, Tensor, Tensor]:
        rows, saved = kernel.forward(answer, labels, target)
        total, padding, others = rows[0], rows[1], rows[2:]
        ctx.mark_non_differentiable(others)
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(answer, labels, saved, rows)
        ctx.kernel = kernel
        return total, padding, others

    @staticmethod
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[Tensor | None, ...]:
        refuse_second_derivative()
        weights = [weight for weight in ctx.kernel.weights if weight is not None]
        nodes = [node for node, _ in ctx.next_functions[-len(weights) :]]
        targets = [gradient_target(*pair) for pair in zip(weights, nodes, strict=True)]
        absent = [None] * (len(ctx.kernel.weights) - len(weights))
        grad_answer = ctx.kernel.backward(grads[:2], *ctx.saved_tensors, [*targets, *absent])
        return grad_answer, None, None, None, *as_returned(targets, weights), *absent
