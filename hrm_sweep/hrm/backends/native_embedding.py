"""The input states of a model, computed by kernels/."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from hrm_sweep.hrm.backends import kernel_library
from hrm_sweep.hrm.backends.backend import EmbeddingWeights, refuse_second_derivative
from hrm_sweep.hrm.backends.native_swiglu import (
    as_returned,
    described,
    gradient_target,
    is_plain,
    pointer,
)


class NativeEmbedding:
    """An `EmbeddingKernel`. Its gradients are as those of `native.NativeBlock`."""

    def __init__(self, weights: EmbeddingWeights, tokens: int, scale: float, threads: int) -> None:
        self.weights, self._library = weights, kernel_library.load()
        self._tokens, self._scale, self._threads = tokens, scale, threads

    def __call__(self, inputs_BS: Tensor, puzzles_BP: Tensor | None) -> Tensor:
        """Return the input states, [R, D].

        Raises:
            ValueError: Inputs or vectors are not what the compiled code reads.
            RuntimeError: An input is not in the vocabulary.
        """
        return _Embedding.apply(inputs_BS, puzzles_BP, self, *self.weights)

    def forward(self, inputs_BS: Tensor, puzzles_BP: Tensor | None) -> Tensor:
        """Return the input states, [R, D]."""
        self._check(inputs_BS, puzzles_BP)
        out = torch.empty(len(inputs_BS) * self._tokens, self.weights.tokens.shape[1])
        tensors = (inputs_BS, self.weights.tokens, puzzles_BP, self.weights.positions, out)
        sizes = self._sizes(inputs_BS, puzzles_BP)
        self._library.embedding_forward(*map(pointer, tensors), *sizes, self._scale)
        return out

    def backward(
        self,
        grad_out: Tensor,
        inputs_BS: Tensor,
        puzzles_BP: Tensor | None,
        targets: Sequence[Tensor | None],
    ) -> Tensor | None:
        """Return the gradient of the puzzles' vectors, if there are any.

        Those of tokens and positions are added to `targets`, if any.
        """
        grad = None if puzzles_BP is None else torch.empty_like(puzzles_BP)
        table, positions = targets
        tensors = (inputs_BS, grad_out.contiguous(), table, grad, positions)
        sizes = self._sizes(inputs_BS, puzzles_BP)
        has_positions = self.weights.positions is not None
        self._library.embedding_backward(*map(pointer, tensors), *sizes, has_positions, self._scale)
        return grad

    def _check(self, inputs_BS: Tensor, puzzles_BP: Tensor | None) -> None:
        tokens, hidden = self._tokens, self.weights.tokens.shape[1]
        is_read = inputs_BS.dtype == torch.int64 and is_plain(inputs_BS)
        if not is_read or inputs_BS.shape[1] > tokens:
            raise ValueError(
                f"the compiled embedding takes contiguous inputs [B, {tokens} or less] of "
                f"torch.int64 on the CPU, got {described(inputs_BS)}"
            )
        room = (tokens - inputs_BS.shape[1]) * hidden
        if puzzles_BP is None:
            return
        is_read = puzzles_BP.dtype == torch.float32 and is_plain(puzzles_BP)
        if not is_read or len(puzzles_BP) != len(inputs_BS) or puzzles_BP.shape[1] > room:
            raise ValueError(
                f"the compiled embedding takes contiguous fp32 vectors [{len(inputs_BS)}, {room} "
                f"or less] of puzzles on the CPU, got {described(puzzles_BP)}"
            )

    def _sizes(self, inputs_BS: Tensor, puzzles_BP: Tensor | None) -> tuple[int, ...]:
        batch, scored = inputs_BS.shape
        vocabulary, hidden = self.weights.tokens.shape
        puzzle = 0 if puzzles_BP is None else puzzles_BP.shape[1]
        prefix = self._tokens - scored
        return batch, self._tokens, prefix, hidden, vocabulary, puzzle, self._threads


class _Embedding(torch.autograd.Function):
    @staticmethod
    def forward(  # the weights are inputs so that autograd knows them
        ctx: Any,
        inputs: Tensor,
        puzzles: Tensor | None,
        kernel: NativeEmbedding,
        *_: Tensor | None,
    ) -> Tensor:
        ctx.save_for_backward(inputs, puzzles)
        ctx.kernel = kernel
        return kernel.forward(inputs, puzzles)

    @staticmethod
    def backward(ctx: Any, grad_out: Tensor) -> tuple[Tensor | None, ...]:
        refuse_second_derivative()
        weights = [weight for weight in ctx.kernel.weights if weight is not None]
        nodes = [node for node, _ in ctx.next_functions[-len(weights) :]]
        targets = [gradient_target(*pair) for pair in zip(weights, nodes, strict=True)]
        absent = [None] * (len(ctx.kernel.weights) - len(weights))
        grad = ctx.kernel.backward(grad_out, *ctx.saved_tensors, [*targets, *absent])
        return None, grad, None, *as_returned(targets, weights), *absent
