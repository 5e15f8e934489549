"""The update of all parameters in one pass over memory, computed by kernels/."""

from __future__ import annotations

import ctypes

import torch
from torch import Tensor

from hrm_sweep.hrm.backends import kernel_library
from hrm_sweep.hrm.backends.backend import AdamStep, AdamVectors
from hrm_sweep.hrm.backends.native_swiglu import described, is_plain


class NativeAdam:
    """An `AdamKernel`.

    Args:
        vectors: On the CPU.
        threads: Number of threads that compute; it changes no bit of the results.

    Raises:
        ValueError: A vector is not what the compiled code reads.
    """

    def __init__(self, vectors: AdamVectors, threads: int) -> None:
        self._library = kernel_library.load()
        self._vectors = vectors  # keeps their memory
        count, copied = len(vectors.parameters), len(vectors.copies)
        for name, vector in vectors._asdict().items():
            is_copy = name == "copies"
            dtype = torch.bfloat16 if is_copy else torch.float32
            _check(vector, name, dtype, min(copied, count) if is_copy else count)
        self._norm = ctypes.c_double()
        self._norm_of = (vectors.gradient.data_ptr(), count, threads, ctypes.byref(self._norm))
        self._updated = (*map(Tensor.data_ptr, vectors), count, copied, threads)

    def norm(self) -> float:
        """Return the L2 norm of the gradient."""
        self._library.vector_norm(*self._norm_of)
        return self._norm.value

    def update(self, step: AdamStep) -> None:
        """Update the parameters, both moments and the copies; the gradient becomes zero."""
        self._library.adam_update(
            *(*self._updated, step.atan2, step.lr, step.scale, step.beta1, step.beta2),
            *(step.bias1, step.bias2, step.weight_decay, step.epsilon),
        )


def _check(vector: Tensor, name: str, dtype: torch.dtype, count: int) -> None:
    if vector.dtype != dtype or vector.shape != (count,) or not is_plain(vector):
        raise ValueError(
            f"the compiled update takes {name} as a contiguous {dtype} vector of {count} on the "
            f"CPU, got {described(vector)}"
        )
