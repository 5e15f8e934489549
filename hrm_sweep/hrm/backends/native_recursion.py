"""The updates of two states without a gradient, computed by kernels/ in one call."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import Any

from torch import Tensor

from hrm_sweep.hrm.backends import kernel_library
from hrm_sweep.hrm.backends.backend import SequenceLayout, Updates
from hrm_sweep.hrm.backends.native_block import NativeBlock
from hrm_sweep.hrm.backends.native_swiglu import pointer


class NativeRecursion:
    """A `RecursionKernel` of blocks with attention, `NativeBlock`."""

    def __init__(self, low: Sequence[Any], high: Sequence[Any]) -> None:
        self._low, self._high, self._library = low, high, kernel_library.load()

    def __call__(
        self, z_high: Tensor, z_low: Tensor, x_RD: Tensor, layout: SequenceLayout, updates: Updates
    ) -> tuple[Tensor, Tensor]:
        """Return the states after the updates, [R, D].

        Raises:
            ValueError: The states or the layout are not what the compiled code reads.
            RuntimeError: There are no weights yet.
        """
        z_high, z_low = z_high.detach().clone(), z_low.detach().clone()
        for block in (*self._low, *self._high):
            for states in (z_high, z_low, x_RD):
                shape = block.shape(states, layout)
        self._library.recursion_forward(
            *(ctypes.byref(shape), pointer(layout.rope_table)),
            *(_packed(self._low), len(self._low), _packed(self._high), len(self._high)),
            *(*updates, x_RD.data_ptr(), z_high.data_ptr(), z_low.data_ptr()),
        )
        return z_high, z_low


def _packed(blocks: Sequence[NativeBlock]) -> ctypes.Array[ctypes.c_void_p]:
    return (ctypes.c_void_p * len(blocks))(*[block.packed.data_ptr() for block in blocks])
