"""Random numbers that are the same on every platform and for every version of NumPy.

NumPy promises the raw stream of a bit generator and the spreading of seeds (NEP 19), not what
`Generator` makes of them; so the few distributions that data needs are made here.
"""

from __future__ import annotations

import zlib

import numpy as np


class Chance:
    """A stream named by its key, whole numbers >= 0 and words: equal keys, equal numbers."""

    def __init__(self, *key: int | str) -> None:
        words = [zlib.crc32(part.encode()) if isinstance(part, str) else part for part in key]
        self._bits = np.random.PCG64(np.random.SeedSequence(words))

    def uniform(self, *shape: int) -> np.ndarray:
        """float64 in [0, 1), 53 random bits each, filled row by row: row i is the same for any
        number of rows."""
        raw = self._bits.random_raw(int(np.prod(shape)))
        return (raw >> np.uint64(11)).reshape(shape) * 2.0**-53

    def integers(self, high: int, *shape: int) -> np.ndarray:
        """int64 from 0 to high - 1; their unevenness, high / 2**53, is far below notice."""
        return (self.uniform(*shape) * high).astype(np.int64)

    def permutation(self, length: int) -> np.ndarray:
        """int64 [length], 0 to length - 1 in random order."""
        return self.permutations(1, length)[0]

    def permutations(self, rows: int, length: int) -> np.ndarray:
        """int64 [rows, length]; each row is an order of its own."""
        return np.argsort(self.uniform(rows, length), axis=1, kind="stable")
