"""`data=sudoku`: Sudoku puzzles, each draw in another symmetric form."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from hrm_sweep.errors import ConfigError
from hrm_sweep.hrm.data.configs import BOXES, SudokuConfig
from hrm_sweep.hrm.data.curriculum import Curriculum
from hrm_sweep.hrm.data.random_stream import RandomStream
from hrm_sweep.hrm.data.sudoku_board import (
    Geometry,
    random_solutions,
    remove_givens,
    symmetry_hashes,
)
from hrm_sweep.hrm.data.task import Batch, Puzzles, Task, narrow

BLANK = 1
"""Token of an empty cell; digit d is token d + 1, as in the published Sudoku data sets."""
BLOCK = 256
"""Boards generated at a time; fixed, so that a larger set begins with a smaller one."""


def build_sudoku(config: SudokuConfig, *, seed: int) -> Sudoku:
    """Generate the puzzles, which are a function of (config, seed) on every platform.

    No puzzle occurs twice, and `config.apart` says how held-out puzzles differ from training
    puzzles: there are so few 4x4 boards that half of all puzzles are a symmetric form of one.

    Raises:
        ConfigError: There are fewer such puzzles than asked for.
    """
    geometry = Geometry(*BOXES[config.box])
    held_out = draw_puzzles(config.num_eval_puzzles, "held out", config, seed=seed, excluded=None)
    train = draw_puzzles(config.num_puzzles, "train", config, seed=seed, excluded=held_out[0])
    return Sudoku(config, geometry, train=_puzzles(*train), held_out=_puzzles(*held_out), seed=seed)


class Sudoku(Task):
    """A task with random symmetries and the additional metric `eval/validity`."""

    def __init__(
        self,
        config: SudokuConfig,
        geometry: Geometry,
        *,
        train: Puzzles,
        held_out: Puzzles,
        seed: int,
    ) -> None:
        super().__init__(
            config.name,
            train=train,
            held_out=held_out,
            patterns=("sudoku",),
            vocab_size=2 + geometry.side,
            num_identifiers=2,
            shape=(geometry.side, geometry.side),
            seed=seed,
        )
        self.geometry = geometry
        self._augment = config.augment
        empty = (train.inputs == BLANK).sum(dim=1).numpy()
        self._curriculum = Curriculum(config.curriculum, empty, train.patterns)
        self._keys_of_epoch: tuple[int, np.ndarray] | None = None

    def order(self, epoch: int) -> Tensor:
        """Return all puzzles, or the curriculum's share of those with most givens, shuffled."""
        return self._curriculum.allowed(super().order(epoch), epoch)

    def draw(self, indices: Tensor, epoch: int) -> Batch:
        """Return the puzzles, each in a symmetric form drawn anew in every epoch."""
        batch = super().draw(indices, epoch)
        if not self._augment:
            return batch
        cells, tokens = symmetries(self._keys(epoch)[indices.numpy()], self.geometry)
        source, relabelled = torch.from_numpy(cells), torch.from_numpy(tokens)
        return Batch(
            inputs=relabelled.gather(1, batch.inputs.gather(1, source)),
            labels=relabelled.gather(1, batch.labels.gather(1, source)),
            identifiers=batch.identifiers,
            patterns=batch.patterns,
        )

    def extra_metrics(self, inputs: Tensor, predictions: Tensor) -> dict[str, Tensor]:  # noqa: ARG002
        """Return `validity`: 1 where all rows, columns and boxes of a prediction are complete."""
        in_units = predictions[:, torch.from_numpy(self.geometry.units)]  # [B, U, S]
        every_digit = BLANK + 1 + torch.arange(self.geometry.side)
        valid = (in_units.sort(dim=2).values == every_digit).flatten(1).all(dim=1)
        return {"validity": valid.float()}

    def picture(self, tokens: Tensor) -> np.ndarray:
        """Return one puzzle's tokens as in every task, but with digits from 1."""
        cells = super().picture(tokens)
        return np.where(cells >= 0, cells + 1, cells)

    def _keys(self, epoch: int) -> np.ndarray:
        if self._keys_of_epoch is None or self._keys_of_epoch[0] != epoch:
            size = num_keys(self.geometry)
            keys = RandomStream(self.seed, epoch, "symmetry").uniform(len(self.train), size)
            self._keys_of_epoch = epoch, keys
        return self._keys_of_epoch[1]


def num_keys(geometry: Geometry) -> int:
    """Return the number of random numbers that select a symmetry.

    They are for digits, rows, bands, columns, stacks and transposition.
    """
    return 3 * geometry.side + geometry.columns + geometry.rows + 1


def symmetries(keys: np.ndarray, geometry: Geometry) -> tuple[np.ndarray, np.ndarray]:
    """Return a symmetry for each row of uniform numbers [B, num_keys].

    Boards of square boxes are transposed in half of the cases; others cannot be.

    Returns:
        cells, int64 [B, C]: the source of each cell; and tokens, int64 [B, V]: the new tokens.
    """
    side, bands, stacks = geometry.side, geometry.columns, geometry.rows
    digits, rows, band, columns, stack, flip = np.split(
        keys, np.cumsum([side, side, bands, side, stacks]), axis=1
    )
    row_order = _line_order(rows, band)
    column_order = _line_order(columns, stack)
    cells = (row_order[:, :, None] * side + column_order[:, None, :]).reshape(len(keys), -1)
    if bands == stacks:
        row, column = np.divmod(cells, side)
        cells = np.where(flip < 0.5, column * side + row, cells)
    tokens = np.tile(np.arange(side + 2), (len(keys), 1))
    tokens[:, 2:] = 2 + np.argsort(digits, axis=1, kind="stable")
    return cells, tokens


def draw_puzzles(
    count: int, part: str, config: SudokuConfig, *, seed: int, excluded: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray]:
    """Draw puzzles that are not among `excluded`, and their solutions.

    Both are int64 [count, C], digits from 1, with 0 for empty cells.

    Raises:
        ConfigError: There are fewer such puzzles.
    """
    geometry = Geometry(*BOXES[config.box])
    fewest, most = config.givens_range
    taken = set() if excluded is None else set(_fingerprints(excluded, config, geometry))
    seen: set[bytes] = set()
    found: list[tuple[np.ndarray, np.ndarray]] = []
    block = last_success = 0
    while len(found) < count:
        stream = RandomStream(seed, "sudoku", part, block)
        solutions = random_solutions(BLOCK, stream, geometry)
        targets = fewest + stream.integers(most - fewest + 1, BLOCK)
        puzzles = remove_givens(solutions, targets, stream, geometry)
        fits = (puzzles > 0).sum(axis=1) <= most
        fingerprints = _fingerprints(puzzles, config, geometry)
        for row in np.flatnonzero(fits):
            encoded = puzzles[row].tobytes()
            if encoded not in seen and fingerprints[row] not in taken:
                seen.add(encoded)
                found.append((puzzles[row], solutions[row]))
                last_success = block
        if block - last_success >= 20:
            raise ConfigError(
                "num_puzzles" if part == "train" else "num_eval_puzzles",
                count,
                f"found only {len(found)} such puzzles of box={config.box} with "
                f"{fewest} to {most} givens",
                "use fewer, another range of givens, or apart=puzzle",
            )
        block += 1
    puzzles, solutions = (np.stack(boards[:count]) for boards in zip(*found, strict=True))
    return puzzles, solutions


def _fingerprints(puzzles: np.ndarray, config: SudokuConfig, geometry: Geometry) -> list[object]:
    """Return values that are equal for two puzzles which must not be in both sets."""
    if config.apart == "symmetry":
        return list(symmetry_hashes(puzzles, geometry))
    return [puzzle.tobytes() for puzzle in puzzles]


def _line_order(lines: np.ndarray, blocks: np.ndarray) -> np.ndarray:
    """Return a random order of the blocks of lines and of the lines in each, int64 [B, S]."""
    count, num_blocks = blocks.shape
    within = np.argsort(lines.reshape(count, num_blocks, -1), axis=2, kind="stable")
    size = within.shape[2]
    order = np.argsort(blocks, axis=1, kind="stable")
    chosen = np.take_along_axis(within, order[:, :, None], axis=1)
    return (order[:, :, None] * size + chosen).reshape(count, -1)


def _puzzles(puzzles: np.ndarray, solutions: np.ndarray) -> Puzzles:
    return Puzzles(
        inputs=narrow(puzzles + BLANK),
        labels=narrow(solutions + BLANK),
        identifiers=torch.ones(len(puzzles), dtype=torch.int64),
        patterns=torch.zeros(len(puzzles), dtype=torch.int64),
    )
