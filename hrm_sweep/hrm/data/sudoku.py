"""`data=sudoku`: boards to fill in, shown in another symmetric form at every draw."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from hrm_sweep.errors import ConfigError
from hrm_sweep.hrm.data.chance import Chance
from hrm_sweep.hrm.data.configs import BOXES, SudokuConfig
from hrm_sweep.hrm.data.sudoku_board import Geometry, dig, forms, random_solutions
from hrm_sweep.hrm.data.task import Batch, Puzzles, Task, narrow

BLANK = 1
"""Token of an empty cell; digit d is token d + 1, as in the published Sudoku sets."""
BLOCK = 256
"""Boards made at a time. It is fixed, so that fewer puzzles are the first of more."""


def build_sudoku(config: SudokuConfig, *, seed: int) -> Sudoku:
    """Generates the puzzles: the same for equal (config, seed), on every platform.

    No puzzle comes twice. What held-out and training puzzles may still share is `config.apart`: of
    4x4 boards there are so few that half of all puzzles are a training puzzle in another form.
    """
    geometry = Geometry(*BOXES[config.box])
    held_out = draw_puzzles(config.num_eval_puzzles, "held out", config, seed=seed, apart_from=None)
    train = draw_puzzles(config.num_puzzles, "train", config, seed=seed, apart_from=held_out[0])
    return Sudoku(config, geometry, train=_puzzles(*train), held_out=_puzzles(*held_out), seed=seed)


class Sudoku(Task):
    """The task with its symmetries, and valid boards as a metric of their own."""

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
        self._keys_of_epoch: tuple[int, np.ndarray] | None = None

    def draw(self, indices: Tensor, epoch: int) -> Batch:
        """The puzzles, each in a symmetric form that chance picks anew in every epoch."""
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
        """`validity`: 1 where every row, column and box of the prediction holds every digit."""
        in_units = predictions[:, torch.from_numpy(self.geometry.units)]  # [B, U, S]
        every_digit = BLANK + 1 + torch.arange(self.geometry.side)
        valid = (in_units.sort(dim=2).values == every_digit).flatten(1).all(dim=1)
        return {"validity": valid.float()}

    def picture(self, tokens: Tensor) -> np.ndarray:
        """As in every task, but digits count from 1."""
        cells = super().picture(tokens)
        return np.where(cells >= 0, cells + 1, cells)

    def _keys(self, epoch: int) -> np.ndarray:
        if self._keys_of_epoch is None or self._keys_of_epoch[0] != epoch:
            size = num_keys(self.geometry)
            keys = Chance(self.seed, epoch, "symmetry").uniform(len(self.train), size)
            self._keys_of_epoch = epoch, keys
        return self._keys_of_epoch[1]


def num_keys(geometry: Geometry) -> int:
    """Random numbers that name one symmetry: digits, rows, bands, columns, stacks, transpose."""
    return 3 * geometry.side + geometry.columns + geometry.rows + 1


def symmetries(keys: np.ndarray, geometry: Geometry) -> tuple[np.ndarray, np.ndarray]:
    """One symmetry for each row of uniform numbers [B, num_keys].

    Returns cells, int64 [B, C]: which cell comes here; and tokens, int64 [B, vocabulary]: what a
    token turns into. Square boxes are transposed in half of the cases; others cannot be.
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
    count: int, part: str, config: SudokuConfig, *, seed: int, apart_from: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray]:
    """Puzzles and their solutions, int64 [count, C] with digits from 1 and 0 for empty cells.

    Raises:
        ConfigError: there are not so many.
    """
    geometry = Geometry(*BOXES[config.box])
    fewest, most = config.givens_range
    taken = set() if apart_from is None else set(_names(apart_from, config, geometry))
    seen: set[bytes] = set()
    found: list[tuple[np.ndarray, np.ndarray]] = []
    block = last_success = 0
    while len(found) < count:
        chance = Chance(seed, "sudoku", part, block)
        solutions = random_solutions(BLOCK, chance, geometry)
        targets = fewest + chance.integers(most - fewest + 1, BLOCK)
        puzzles = dig(solutions, targets, chance, geometry)
        fits = (puzzles > 0).sum(axis=1) <= most
        names = _names(puzzles, config, geometry)
        for row in np.flatnonzero(fits):
            itself = puzzles[row].tobytes()
            if itself not in seen and names[row] not in taken:
                seen.add(itself)
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


def _names(puzzles: np.ndarray, config: SudokuConfig, geometry: Geometry) -> list[object]:
    """What two puzzles share if they are not apart."""
    if config.apart == "symmetry":
        return list(forms(puzzles, geometry))
    return [puzzle.tobytes() for puzzle in puzzles]


def _line_order(lines: np.ndarray, blocks: np.ndarray) -> np.ndarray:
    """int64 [B, S]: blocks of lines in random order, and the lines of each in random order."""
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
