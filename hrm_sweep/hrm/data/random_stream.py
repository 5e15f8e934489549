"""Random numbers that are the same on every platform and for every version of NumPy.

NumPy guarantees the raw stream of a bit generator and of `SeedSequence` (NEP 19), but not the
distributions of `Generator`; so the few that data sets need are implemented here.
"""

from __future__ import annotations

import zlib

import numpy as np


class RandomStream:
    """A random stream that is a function of its key: integers >= 0 and words."""

    def __init__(self, *key: int | str) -> None:
        words = [zlib.crc32(part.encode()) if isinstance(part, str) else part for part in key]
        self._bits = np.random.PCG64(np.random.SeedSequence(words))

    def uniform(self, *shape: int) -> np.ndarray:
        """Return float64 in [0, 1) with 53 random bits each.

        The array is filled row by row: row i does not depend on the number of rows.
        """
        raw = self._bits.random_raw(int(np.prod(shape)))
        return (raw >> np.uint64(11)).reshape(shape) * 2.0**-53

    def integers(self, high: int, *shape: int) -> np.ndarray:
        """Return int64 from 0 to high - 1, uniform up to a relative bias of high / 2**53."""
        return (self.uniform(*shape) * high).astype(np.int64)

    def permutation(self, length: int) -> np.ndarray:
        """Return 0 to length - 1 in random order, int64 [length]."""
        return self.permutations(1, length)[0]

    def permutations(self, rows: int, length: int) -> np.ndarray:
        """Return a random order of 0 to length - 1 in each row, int64 [rows, length]."""
        return np.argsort(self.uniform(rows, length), axis=1, kind="stable")
