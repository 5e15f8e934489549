"""Blocks without attention: `mlp_t` of the published TRM, and one that does not mix at all.

Shapes as in `backend`.
"""

from __future__ import annotations

from typing import Protocol

from torch import Tensor

from hrm_sweep.hrm.backends.backend import MixerWeights, PointwiseWeights, SequenceLayout


class SwiGLUKernel(Protocol):
    """Forward and backward pass of norm(x + W_down (silu(gate) · up)), (gate, up) = W_gate_up x.

    It works on rows of any size, and has a gradient as a `BlockKernel` has.
    """

    def prepare(self, gate_up: Tensor, down: Tensor) -> None:
        """Take over the weights to compute with; to be repeated whenever they change."""

    def __call__(self, x_RD: Tensor) -> Tensor:
        """Return the result for contiguous rows, [R, D]."""


class Mixer:
    """A `BlockKernel` of two post-norm SwiGLUs: over each feature's tokens, then over features."""

    def __init__(self, over_tokens: SwiGLUKernel, over_features: SwiGLUKernel) -> None:
        self._over_tokens, self._over_features = over_tokens, over_features

    def prepare(self, weights: MixerWeights) -> None:
        """Take over the weights to compute with."""
        self._over_tokens.prepare(weights.token_gate_up, weights.token_down)
        self._over_features.prepare(weights.gate_up, weights.down)

    def __call__(self, x_RD: Tensor, layout: SequenceLayout) -> Tensor:
        """Return the states after the block, [R, D]."""
        mixed_BDT = self._mixed(x_RD, layout)
        return self._over_features(mixed_BDT.transpose(1, 2).contiguous().flatten(0, 1))

    def first_token(self, x_RD: Tensor, layout: SequenceLayout) -> Tensor:
        """Return the state of each sequence's first token after the block, [B, D]."""
        return self._over_features(self._mixed(x_RD, layout)[:, :, 0].contiguous())

    def _mixed(self, x_RD: Tensor, layout: SequenceLayout) -> Tensor:
        """Return the states after the SwiGLU over tokens, [B, D, T]."""
        x_BDT = x_RD.unflatten(0, (-1, layout.tokens)).transpose(1, 2).contiguous()
        return self._over_tokens(x_BDT.flatten(0, 1)).unflatten(0, x_BDT.shape[:2])


class Pointwise:
    """A `BlockKernel` of a post-norm SwiGLU over features alone."""

    def __init__(self, over_features: SwiGLUKernel) -> None:
        self._over_features = over_features

    def prepare(self, weights: PointwiseWeights) -> None:
        """Take over the weights to compute with."""
        self._over_features.prepare(*weights)

    def __call__(self, x_RD: Tensor, layout: SequenceLayout) -> Tensor:  # noqa: ARG002
        """Return the states after the block, [R, D]."""
        return self._over_features(x_RD.contiguous())

    def first_token(self, x_RD: Tensor, layout: SequenceLayout) -> Tensor:
        """Return the state of each sequence's first token after the block, [B, D]."""
        return self._over_features(x_RD[:: layout.tokens].contiguous())
