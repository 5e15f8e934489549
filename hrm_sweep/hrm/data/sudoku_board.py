"""Sudoku boards of any box, many at a time: logic, search, and grids and puzzles drawn by chance.

A board is uint16 [cells]: each cell holds its candidates as bits, bit d for digit d + 1. Sizes: N
boards, C cells, S digits, U = 3 S units (rows, columns, boxes).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from hrm_sweep.hrm.data.chance import Chance

POPCOUNT = np.array([bin(bits).count("1") for bits in range(1 << 9)], dtype=np.uint8)
DIGIT = np.array([bits.bit_length() for bits in range(1 << 9)])
"""The digit of a single candidate's bit."""


@dataclass(frozen=True)
class Geometry:
    """Boxes of `rows` x `columns` cells; there are rows * columns digits."""

    rows: int
    columns: int

    @property
    def side(self) -> int:
        return self.rows * self.columns

    @property
    def every_digit(self) -> np.uint16:
        return np.uint16((1 << self.side) - 1)

    @cached_property
    def units_of(self) -> np.ndarray:
        """int64 [3, C]: the row, the column and the box of each cell, numbered among U units."""
        row, column = np.divmod(np.arange(self.side**2), self.side)
        box = row // self.rows * self.rows + column // self.columns
        return np.stack([row, self.side + column, 2 * self.side + box])

    @cached_property
    def units(self) -> np.ndarray:
        """int64 [U, S]: the cells of each unit."""
        members = [np.flatnonzero((self.units_of == unit).any(0)) for unit in range(3 * self.side)]
        return np.stack(members)

    def empty(self, count: int) -> np.ndarray:
        """`count` boards on which every digit may stand everywhere."""
        return np.full((count, self.side**2), self.every_digit)


def deduce(boards: np.ndarray, geometry: Geometry) -> tuple[np.ndarray, np.ndarray]:
    """Fills in all that naked and hidden singles tell, again and again.

    Returns the boards, and bool [N]: which of them contradict themselves.
    """
    boards = boards.copy()
    wrong = np.zeros(len(boards), dtype=bool)
    active = np.arange(len(boards))
    while len(active):
        before = boards[active]
        after, broken = _deduce_once(before, geometry)
        boards[active] = after
        wrong[active] = broken
        active = active[~broken & (after != before).any(axis=1)]
    return boards, wrong


def solvable(boards: np.ndarray, geometry: Geometry) -> np.ndarray:
    """bool [N]: which boards have at least one solution."""
    found = np.zeros(len(boards), dtype=bool)
    owner, frontier = np.arange(len(boards)), boards
    while len(frontier):
        frontier, wrong = deduce(frontier, geometry)
        owner, frontier = owner[~wrong], frontier[~wrong]
        found[owner[(POPCOUNT[frontier] == 1).all(axis=1)]] = True
        owner, frontier = owner[~found[owner]], frontier[~found[owner]]
        owner, frontier = _branch(owner, frontier)
    return found


def random_solutions(count: int, chance: Chance, geometry: Geometry) -> np.ndarray:
    """int64 [count, C], digits from 1: full grids, made by chance guesses between deductions.

    A grid that contradicts itself starts again. All grids can come; not all equally often.
    """
    boards = geometry.empty(count)
    active = np.arange(count)
    while len(active):
        choices = POPCOUNT[boards[active]]
        rank = np.where(choices == 1, np.inf, choices + chance.uniform(*choices.shape))
        cells = rank.argmin(axis=1)
        bits = _random_bit(boards[active, cells], chance, geometry)
        boards[active, cells] = bits
        boards[active], wrong = deduce(boards[active], geometry)
        boards[active[wrong]] = geometry.every_digit
        active = active[(POPCOUNT[boards[active]] > 1).any(axis=1)]
    return DIGIT[boards]


def dig(
    solutions: np.ndarray, targets: np.ndarray, chance: Chance, geometry: Geometry
) -> np.ndarray:
    """int64 [N, C]: the solutions with cells emptied (0) in random order, each still the only one.

    Stops at `targets` [N] givens, or above where no cell can go without a second solution.
    """
    puzzles = solutions.copy()
    bits = np.uint16(1) << (solutions - 1).astype(np.uint16)
    for cells in chance.permutations(*solutions.shape).T:
        trying = np.flatnonzero((puzzles > 0).sum(axis=1) > targets)
        if not len(trying):
            break
        boards = np.where(puzzles[trying] > 0, bits[trying], geometry.every_digit)
        here = np.arange(len(trying)), cells[trying]
        boards[here] = geometry.every_digit & ~bits[trying, cells[trying]]
        only = ~solvable(boards, geometry)
        puzzles[trying[only], cells[trying[only]]] = 0
    return puzzles


def boards_of(puzzles: np.ndarray, geometry: Geometry) -> np.ndarray:
    """The boards of puzzles int [N, C], digits from 1, 0 where empty."""
    bits = np.uint16(1) << (np.maximum(puzzles, 1) - 1).astype(np.uint16)
    return np.where(puzzles > 0, bits, geometry.every_digit)


def forms(puzzles: np.ndarray, geometry: Geometry) -> np.ndarray:
    """uint64 [N], equal for puzzles that a symmetry turns into each other: relabelled digits, lines
    and blocks of lines in another order, transposed. (Others can be equal too, but hardly are.)

    Colour refinement (Weisfeiler and Leman 1968) on the cells, joined by lines, boxes and digits.
    """
    row, column, box = geometry.units_of
    numbers = np.arange(geometry.side + 1)
    same_digit = (puzzles[:, None, :] == numbers[:, None]) & (numbers[:, None] > 0)  # [N, 1 + S, C]
    colours = _mixed((puzzles > 0).astype(np.uint64))
    for _ in range(6):
        units = _mixed(colours)[:, geometry.units].sum(axis=2)
        lines = _mixed(units[:, row]) + _mixed(units[:, column])
        digits = np.einsum("ndc,nc->nd", same_digit.astype(np.uint64), _mixed(colours))
        digits = np.take_along_axis(digits, puzzles, axis=1)
        colours = _mixed(_mixed(_mixed(colours + lines) + units[:, box]) + digits)
    return _mixed(colours).sum(axis=1)


def _mixed(numbers: np.ndarray) -> np.ndarray:
    """uint64 to well spread uint64: the finaliser of SplitMix64 (Steele, Lea, Flood 2014)."""
    numbers = numbers + np.uint64(0x9E3779B97F4A7C15)
    numbers = (numbers ^ (numbers >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    numbers = (numbers ^ (numbers >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return numbers ^ (numbers >> np.uint64(31))


def _deduce_once(boards: np.ndarray, geometry: Geometry) -> tuple[np.ndarray, np.ndarray]:
    row, column, box = geometry.units_of
    single = POPCOUNT[boards] == 1
    placed = np.where(single, boards, np.uint16(0))[:, geometry.units]  # [N, U, S]
    used = np.bitwise_or.reduce(placed, axis=2)
    # a digit placed twice in a unit leaves fewer digits used than cells filled
    wrong = (POPCOUNT[used] != (placed > 0).sum(axis=2)).any(axis=1)
    seen = used[:, row] | used[:, column] | used[:, box]
    boards = np.where(single, boards, boards & ~seen)
    once = np.zeros_like(used)
    twice = np.zeros_like(used)
    for cells in geometry.units.T:
        twice |= once & boards[:, cells]
        once |= boards[:, cells]
    wrong |= (once != geometry.every_digit).any(axis=1)  # a digit has no place in a unit
    hidden = once & ~twice
    only_here = boards & (hidden[:, row] | hidden[:, column] | hidden[:, box])
    wrong |= (POPCOUNT[only_here] > 1).any(axis=1)
    return np.where(only_here > 0, only_here, boards), wrong


def _branch(owner: np.ndarray, boards: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Each board split into one for every candidate of its most constrained open cell."""
    if not len(boards):
        return owner, boards
    choices = POPCOUNT[boards]
    cells = np.where(choices == 1, 99, choices).argmin(axis=1)
    open_bits = boards[np.arange(len(boards)), cells]
    parents, digits = np.nonzero(open_bits[:, None] >> np.arange(9, dtype=np.uint16) & 1)
    children = boards[parents]
    children[np.arange(len(parents)), cells[parents]] = np.uint16(1) << digits.astype(np.uint16)
    return owner[parents], children


def _random_bit(bits: np.ndarray, chance: Chance, geometry: Geometry) -> np.ndarray:
    """One of the set bits of each number, all equally likely."""
    is_set = bits[:, None] >> np.arange(geometry.side, dtype=np.uint16) & 1
    keys = np.where(is_set, chance.uniform(*is_set.shape), -1.0)
    return np.uint16(1) << keys.argmax(axis=1).astype(np.uint16)
