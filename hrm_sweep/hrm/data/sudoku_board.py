"""Sudoku boards in batches: constraint propagation, search, random solutions and puzzles.

A board is uint16 [C]: the candidates of each cell as bits, bit d for digit d + 1. Sizes: N boards,
C cells, S digits, U = 3 S units (rows, columns, boxes).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from hrm_sweep.hrm.data.random_stream import RandomStream

POPCOUNT = np.array([bin(bits).count("1") for bits in range(1 << 9)], dtype=np.uint8)
DIGIT = np.array([bits.bit_length() for bits in range(1 << 9)])
"""The digit of the bit of a cell with a single candidate."""


@dataclass(frozen=True)
class Geometry:
    """A board with boxes of `rows` x `columns` cells, and rows * columns digits."""

    rows: int
    columns: int

    @property
    def side(self) -> int:
        """Side of the board, which is also the number of digits."""
        return self.rows * self.columns

    @property
    def every_digit(self) -> np.uint16:
        """The bits of all digits."""
        return np.uint16((1 << self.side) - 1)

    @cached_property
    def units_of(self) -> np.ndarray:
        """The row, column and box of each cell as indices into `units`, int64 [3, C]."""
        row, column = np.divmod(np.arange(self.side**2), self.side)
        box = row // self.rows * self.rows + column // self.columns
        return np.stack([row, self.side + column, 2 * self.side + box])

    @cached_property
    def units(self) -> np.ndarray:
        """The cells of each unit, int64 [U, S]."""
        members = [np.flatnonzero((self.units_of == unit).any(0)) for unit in range(3 * self.side)]
        return np.stack(members)

    def empty(self, count: int) -> np.ndarray:
        """Return `count` boards with all candidates in every cell."""
        return np.full((count, self.side**2), self.every_digit)


def propagate(boards: np.ndarray, geometry: Geometry) -> tuple[np.ndarray, np.ndarray]:
    """Propagate constraints by naked and hidden singles until nothing changes.

    Returns:
        The boards, and which of them are contradictory, bool [N].
    """
    boards = boards.copy()
    contradictory = np.zeros(len(boards), dtype=bool)
    active = np.arange(len(boards))
    while len(active):
        before = boards[active]
        after, broken = _propagate_once(before, geometry)
        boards[active] = after
        contradictory[active] = broken
        active = active[~broken & (after != before).any(axis=1)]
    return boards, contradictory


def solvable(boards: np.ndarray, geometry: Geometry) -> np.ndarray:
    """Return which boards have at least one solution, bool [N]."""
    found = np.zeros(len(boards), dtype=bool)
    owner, frontier = np.arange(len(boards)), boards
    while len(frontier):
        frontier, contradictory = propagate(frontier, geometry)
        owner, frontier = owner[~contradictory], frontier[~contradictory]
        found[owner[(POPCOUNT[frontier] == 1).all(axis=1)]] = True
        owner, frontier = owner[~found[owner]], frontier[~found[owner]]
        owner, frontier = _branch(owner, frontier)
    return found


def random_solutions(count: int, stream: RandomStream, geometry: Geometry) -> np.ndarray:
    """Return full boards, int64 [count, C], digits from 1.

    They are made by random guesses and constraint propagation in turn; a contradictory board starts
    again. Every board is possible, but not all are equally likely.
    """
    boards = geometry.empty(count)
    active = np.arange(count)
    while len(active):
        choices = POPCOUNT[boards[active]]
        rank = np.where(choices == 1, np.inf, choices + stream.uniform(*choices.shape))
        cells = rank.argmin(axis=1)
        bits = _random_bit(boards[active, cells], stream, geometry)
        boards[active, cells] = bits
        boards[active], contradictory = propagate(boards[active], geometry)
        boards[active[contradictory]] = geometry.every_digit
        active = active[(POPCOUNT[boards[active]] > 1).any(axis=1)]
    return DIGIT[boards]


def remove_givens(
    solutions: np.ndarray, targets: np.ndarray, stream: RandomStream, geometry: Geometry
) -> np.ndarray:
    """Return puzzles made by emptying cells (0) in random order, int64 [N, C].

    The solution stays unique. A puzzle is done at `targets` [N] givens, or above that if no further
    cell can be emptied.
    """
    puzzles = solutions.copy()
    bits = np.uint16(1) << (solutions - 1).astype(np.uint16)
    for cells in stream.permutations(*solutions.shape).T:
        trying = np.flatnonzero((puzzles > 0).sum(axis=1) > targets)
        if not len(trying):
            break
        boards = np.where(puzzles[trying] > 0, bits[trying], geometry.every_digit)
        here = np.arange(len(trying)), cells[trying]
        boards[here] = geometry.every_digit & ~bits[trying, cells[trying]]
        only = ~solvable(boards, geometry)
        puzzles[trying[only], cells[trying[only]]] = 0
    return puzzles


def symmetry_hashes(puzzles: np.ndarray, geometry: Geometry) -> np.ndarray:
    """Return hashes that are equal for the symmetric forms of a puzzle, uint64 [N].

    The symmetries relabel digits, permute lines and blocks of lines, and transpose. Other puzzles
    may have equal hashes, but hardly ever do. The algorithm is colour refinement (Weisfeiler and
    Leman 1968) of the cells, connected by lines, boxes and digits.
    """
    row, column, box = geometry.units_of
    numbers = np.arange(geometry.side + 1)
    same_digit = (puzzles[:, None, :] == numbers[:, None]) & (numbers[:, None] > 0)  # [N, 1 + S, C]
    colours = _hashed((puzzles > 0).astype(np.uint64))
    for _ in range(6):
        units = _hashed(colours)[:, geometry.units].sum(axis=2)
        lines = _hashed(units[:, row]) + _hashed(units[:, column])
        digits = np.einsum("ndc,nc->nd", same_digit.astype(np.uint64), _hashed(colours))
        digits = np.take_along_axis(digits, puzzles, axis=1)
        colours = _hashed(_hashed(_hashed(colours + lines) + units[:, box]) + digits)
    return _hashed(colours).sum(axis=1)


def _hashed(numbers: np.ndarray) -> np.ndarray:
    """Return the hash of each uint64: the finalizer of SplitMix64 (Steele, Lea, Flood 2014)."""
    numbers = numbers + np.uint64(0x9E3779B97F4A7C15)
    numbers = (numbers ^ (numbers >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    numbers = (numbers ^ (numbers >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return numbers ^ (numbers >> np.uint64(31))


def _propagate_once(boards: np.ndarray, geometry: Geometry) -> tuple[np.ndarray, np.ndarray]:
    row, column, box = geometry.units_of
    single = POPCOUNT[boards] == 1
    placed = np.where(single, boards, np.uint16(0))[:, geometry.units]  # [N, U, S]
    used = np.bitwise_or.reduce(placed, axis=2)
    # a digit placed twice in a unit leaves fewer digits used than cells filled
    contradictory = (POPCOUNT[used] != (placed > 0).sum(axis=2)).any(axis=1)
    seen = used[:, row] | used[:, column] | used[:, box]
    boards = np.where(single, boards, boards & ~seen)
    once = np.zeros_like(used)
    twice = np.zeros_like(used)
    for cells in geometry.units.T:
        twice |= once & boards[:, cells]
        once |= boards[:, cells]
    contradictory |= (once != geometry.every_digit).any(axis=1)  # a digit has no place in a unit
    hidden = once & ~twice
    only_here = boards & (hidden[:, row] | hidden[:, column] | hidden[:, box])
    contradictory |= (POPCOUNT[only_here] > 1).any(axis=1)
    return np.where(only_here > 0, only_here, boards), contradictory


def _branch(owner: np.ndarray, boards: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Split each board into one for each candidate of its most constrained open cell."""
    if not len(boards):
        return owner, boards
    choices = POPCOUNT[boards]
    cells = np.where(choices == 1, 99, choices).argmin(axis=1)
    open_bits = boards[np.arange(len(boards)), cells]
    parents, digits = np.nonzero(open_bits[:, None] >> np.arange(9, dtype=np.uint16) & 1)
    children = boards[parents]
    children[np.arange(len(parents)), cells[parents]] = np.uint16(1) << digits.astype(np.uint16)
    return owner[parents], children


def _random_bit(bits: np.ndarray, stream: RandomStream, geometry: Geometry) -> np.ndarray:
    """Return one of the set bits of each number, chosen uniformly."""
    is_set = bits[:, None] >> np.arange(geometry.side, dtype=np.uint16) & 1
    keys = np.where(is_set, stream.uniform(*is_set.shape), -1.0)
    return np.uint16(1) << keys.argmax(axis=1).astype(np.uint16)
