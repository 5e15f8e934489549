"""What a figure was measured on, in the words that stand above it."""

from __future__ import annotations

import datetime
import os
import platform
import time

import numpy as np
import torch

from hrm_sweep.system import environment


def described() -> list[str]:
    """Two lines: the machine with the rate of its matrix products, and the versions."""
    rates = ", ".join(f"{name} {rate(dtype):.0f}" for name, dtype in DTYPES.items())
    facts, load = environment.environment(), os.getloadavg()[0]
    return [
        f"{facts['cpu']}, {facts['cores']} cores, load {load:.1f}, {datetime.date.today()}.",
        f"Matrix products of 512 on one thread, GFLOP/s: {rates}. "
        f"Python {platform.python_version()}, torch {torch.__version__}, numpy {np.__version__}.",
    ]


DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}


def rate(dtype: torch.dtype, size: int = 512) -> float:
    """GFLOP/s of square matrix products on one thread, the best of a few."""
    torch.set_num_threads(1)
    a = torch.randn(size, size, dtype=dtype)
    best = float("inf")
    for _ in range(30):
        begin = time.perf_counter()
        torch.mm(a, a)
        best = min(best, time.perf_counter() - begin)
    return 2 * size**3 / best / 1e9
