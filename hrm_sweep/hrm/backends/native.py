"""The backend of a machine with a C++ compiler: kernels/, compiled for the CPU at hand.

The mathematics is that of `eager`, with less waiting. Shapes as in `backend`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hrm_sweep.hrm.backends import kernel_library, toolchain
from hrm_sweep.hrm.backends.backend import (
    AdamVectors,
    BlockKernel,
    BlockWeights,
    EmbeddingWeights,
    MixerWeights,
    PointwiseWeights,
    ReadoutWeights,
)
from hrm_sweep.hrm.backends.mixer import Mixer, Pointwise
from hrm_sweep.hrm.backends.native_adam import NativeAdam
from hrm_sweep.hrm.backends.native_block import NativeBlock
from hrm_sweep.hrm.backends.native_embedding import NativeEmbedding
from hrm_sweep.hrm.backends.native_readout import NativeReadout
from hrm_sweep.hrm.backends.native_recursion import NativeRecursion
from hrm_sweep.hrm.backends.native_swiglu import NativeSwiGLU


class NativeBackend:
    """The `Backend` of a machine with a C++ compiler."""

    @property
    def name(self) -> str:
        """Name of the library: it changes with source, compiler, flags and CPU."""
        return toolchain.path(toolchain.KERNELS).stem

    def missing(self) -> str | None:
        """Return the compiler that is not here, or None."""
        return toolchain.missing()

    def load(self) -> None:
        """Compile the library, once on a machine, and load it.

        Raises:
            InputError: it cannot be compiled or loaded.
        """
        kernel_library.load()

    def block(self, parameters: BlockWeights, threads: int) -> NativeBlock:
        """Return a kernel that adds the gradients of these parameters to their `.grad`."""
        return NativeBlock(parameters, threads)

    def mixer(self, parameters: MixerWeights, threads: int) -> Mixer:
        """Return a kernel for a block that mixes over tokens, as `block` does."""
        halves = parameters[:2], parameters[2:]
        return Mixer(*(NativeSwiGLU(*weights, threads) for weights in halves))

    def pointwise(self, parameters: PointwiseWeights, threads: int) -> Pointwise:
        """Return a kernel for a block without mixing over tokens."""
        return Pointwise(NativeSwiGLU(*parameters, threads))

    def recursion(
        self, low: Sequence[BlockKernel[Any]], high: Sequence[BlockKernel[Any]]
    ) -> NativeRecursion | None:
        """Return a kernel for the updates without a gradient, of blocks with attention."""
        blocks = [*low, *high]
        if not all(isinstance(block, NativeBlock) for block in blocks):
            return None
        return NativeRecursion(low, high)

    def embedding(
        self, weights: EmbeddingWeights, tokens: int, scale: float, threads: int
    ) -> NativeEmbedding:
        """Return a kernel for the input states of a model."""
        return NativeEmbedding(weights, tokens, scale, threads)

    def readout(
        self, weights: ReadoutWeights, tokens: int, loss: str, threads: int
    ) -> NativeReadout:
        """Return a kernel for the losses of a training."""
        return NativeReadout(weights, tokens, loss, threads)

    def adam(self, vectors: AdamVectors, threads: int) -> NativeAdam:
        """Return a kernel for the update of all parameters."""
        return NativeAdam(vectors, threads)
