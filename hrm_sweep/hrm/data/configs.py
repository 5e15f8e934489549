"""The keys of `data=…`: one class for each task. Imported at every start, so torch stays out."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from hrm_sweep.errors import ConfigError
from hrm_sweep.hrm.data.checks import (
    MISSING,
    apportion,
    at_least,
    check_curriculum,
    check_memory,
    one_of,
    per_pattern_metrics,
)
from hrm_sweep.hrm.data.published import read_header

NUM_COLOURS = 10
PATTERNS = ("copy", "increment", "decrement", "mirror", "transpose", "recolour")
SAMPLINGS = ("all", "one_per_group")
BOXES = {"2x2": (2, 2), "2x3": (2, 3), "3x3": (3, 3)}


@dataclass(kw_only=True, slots=True)
class CopyIncrementConfig:
    """Grids of random colours in the corner of a canvas, changed by the rule of their pattern."""

    name: str = MISSING
    batch_size: int = MISSING
    """Puzzles of one optimiser step."""
    num_puzzles: int = MISSING
    """Training puzzles. More of them, same seed: the fewer are among them."""
    num_eval_puzzles: int = MISSING
    """Held-out puzzles, shared out evenly among the patterns; the same for any training set."""
    canvas: int = MISSING
    """Side of the square that is flattened into tokens."""
    grid: int = MISSING
    """Side of the largest grid; one row and one column of EOS follow it."""
    smallest_grid: int = MISSING
    """Side of the smallest grid; sides are drawn evenly from here to `grid`."""
    patterns: dict[str, float] = MISSING
    """Pattern -> its weight among the training puzzles; 0 leaves it out."""
    identifiers: str = MISSING
    """`per_pattern` tells the model which rule applies, `shared` makes it guess."""
    noise: float = MISSING
    """Share of the training input's cells that another colour replaces, anew each epoch."""
    curriculum: dict[int, float] | None = MISSING
    """From which epoch on which easiest share of the puzzles is seen; null: always all."""
    recolour: list[int] = MISSING
    """The table of the pattern `recolour`: what colours 0 to 9 turn into."""

    def __post_init__(self) -> None:
        at_least("batch_size", self.batch_size, 1)
        at_least("num_puzzles", self.num_puzzles, 1)
        self._check_patterns()
        self._check_sizes()
        self._check_numbers()
        one_of("identifiers", self.identifiers, ("per_pattern", "shared"))
        if not 0 <= self.noise < 1:
            raise ConfigError("noise", self.noise, "must be a share from 0 up to, not with, 1")
        check_curriculum(self.curriculum)
        if len(self.recolour) != NUM_COLOURS or not set(self.recolour) <= set(range(NUM_COLOURS)):
            raise ConfigError(
                "recolour", self.recolour, f"must give each of the {NUM_COLOURS} colours one of 0-9"
            )

    @property
    def active_patterns(self) -> tuple[str, ...]:
        """The patterns with a weight, in the order of their identifiers."""
        return tuple(name for name in PATTERNS if self.patterns.get(name, 0) > 0)

    def metric_names(self) -> list[str]:
        """What this task adds to the evaluation's metrics."""
        return per_pattern_metrics(self.active_patterns)

    def _check_patterns(self) -> None:
        for name, weight in self.patterns.items():
            one_of(f"patterns.{name}", name, PATTERNS, shown=weight)
            if not (weight >= 0 and math.isfinite(weight)):
                raise ConfigError(
                    f"patterns.{name}",
                    weight,
                    "a weight must be a number from 0 up",
                    "0 leaves it out",
                )
        if not self.active_patterns:
            raise ConfigError(
                "patterns", dict(self.patterns), "no pattern has a weight", "try patterns.copy=1"
            )

    def _check_sizes(self) -> None:
        at_least("grid", self.grid, 1)
        if not 1 <= self.smallest_grid <= self.grid:
            raise ConfigError(
                "smallest_grid", self.smallest_grid, f"must be from 1 to grid={self.grid}"
            )
        if self.canvas <= self.grid:
            raise ConfigError(
                "canvas",
                self.canvas,
                f"too small for grid={self.grid} and the end marks after it",
                f"try canvas={self.grid + 1} or grid={self.canvas - 1}",
            )

    def _check_numbers(self) -> None:
        active = self.active_patterns
        if self.num_eval_puzzles < len(active):
            raise ConfigError(
                "num_eval_puzzles",
                self.num_eval_puzzles,
                f"must hold out at least one puzzle of each of the {len(active)} patterns",
            )
        existing = sum(
            NUM_COLOURS ** (side * side) for side in range(self.smallest_grid, self.grid + 1)
        )
        held_out = apportion(self.num_eval_puzzles, [1.0] * len(active))
        wanted = apportion(self.num_puzzles, [self.patterns[name] for name in active])
        for name, train, test in zip(active, wanted, held_out, strict=True):
            if train + test > existing:
                raise ConfigError(
                    "num_puzzles",
                    self.num_puzzles,
                    f"with num_eval_puzzles={self.num_eval_puzzles} asks for {train + test} "
                    f"puzzles of the pattern {name}, but only {existing} exist",
                    "use fewer puzzles or a larger grid",
                )
        check_memory(self.num_puzzles, self.num_eval_puzzles, self.canvas**2)


@dataclass(kw_only=True, slots=True)
class SudokuConfig:
    """Sudokus with exactly one solution."""

    name: str = MISSING
    batch_size: int = MISSING
    """Puzzles of one optimiser step."""
    box: str = MISSING
    """Rows x columns of a box: 2x2 for boards of 4x4, 2x3 for 6x6, 3x3 for 9x9."""
    num_puzzles: int = MISSING
    """Training puzzles. More of them, same seed: the fewer are among them."""
    num_eval_puzzles: int = MISSING
    """Held-out puzzles; the same for any number of training puzzles."""
    givens: list[int] | None = MISSING
    """Fewest and most given digits; null: a range for each box."""
    augment: bool = MISSING
    """Whether a training puzzle is shown as another of its symmetric forms at every draw."""
    apart: str = MISSING
    """What no held-out puzzle shares with a training puzzle: `puzzle`, the puzzle itself, or
    `symmetry`, all of its symmetric forms."""

    def __post_init__(self) -> None:
        at_least("batch_size", self.batch_size, 1)
        at_least("num_puzzles", self.num_puzzles, 1)
        at_least("num_eval_puzzles", self.num_eval_puzzles, 1)
        one_of("box", self.box, tuple(BOXES))
        one_of("apart", self.apart, ("puzzle", "symmetry"))
        self._check_givens()
        check_memory(self.num_puzzles, self.num_eval_puzzles, self.side**2)

    @property
    def side(self) -> int:
        rows, columns = BOXES[self.box]
        return rows * columns

    @property
    def givens_range(self) -> tuple[int, int]:
        """Fewest and most givens of a puzzle."""
        if self.givens is None:
            return self.default_givens
        return self.givens[0], self.givens[1]

    @property
    def default_givens(self) -> tuple[int, int]:
        return {"2x2": (5, 8), "2x3": (10, 16), "3x3": (24, 34)}[self.box]

    def metric_names(self) -> list[str]:
        """What this task adds to the evaluation's metrics."""
        return ["eval/validity", *per_pattern_metrics(["sudoku"])]

    def _check_givens(self) -> None:
        # the fewest known to leave one solution (9x9: McGuire et al., arXiv:1201.0749), and the
        # fewest that a board emptied by chance reaches in more than one case of twenty
        fewest, reached = {"2x2": (4, 4), "2x3": (8, 8), "3x3": (17, 23)}[self.box]
        most = self.side**2 - 1
        way_out = f"try givens=[{self.default_givens[0]}, {self.default_givens[1]}]"
        if self.givens is None:
            return
        if len(self.givens) != 2 or not fewest <= self.givens[0] <= self.givens[1] <= most:
            raise ConfigError(
                "givens",
                self.givens,
                f"must be the fewest and the most, from {fewest} to {most} for box={self.box}",
                way_out,
            )
        if self.givens[1] < reached:
            raise ConfigError(
                "givens",
                self.givens,
                f"hardly any puzzle of box={self.box} has less than {reached}",
                way_out,
            )


@dataclass(kw_only=True, slots=True)
class PuzzlesConfig:
    """A folder in the format of the published HRM and TRM data set builders."""

    name: str = MISSING
    batch_size: int = MISSING
    """Puzzles of one optimiser step."""
    path: str = MISSING
    """The folder that holds train/ and test/."""
    sampling: str = MISSING
    """What an epoch is: `all` examples once, or, as published, `one_per_group`: one puzzle drawn
    from each group (a puzzle and its augmented copies)."""
    num_eval_puzzles: int | None = MISSING
    """Held-out examples to evaluate, drawn by chance; null: all of them."""

    def __post_init__(self) -> None:
        at_least("batch_size", self.batch_size, 1)
        one_of("sampling", self.sampling, SAMPLINGS)
        if self.num_eval_puzzles is not None:
            at_least("num_eval_puzzles", self.num_eval_puzzles, 1)
        if not self.path.strip():
            raise ConfigError("path", self.path, "must name a folder", "try path=data/my-puzzles")

    @property
    def folder(self) -> Path:
        return Path(self.path).expanduser()

    def metric_names(self) -> list[str]:
        """What this task adds to the evaluation's metrics: those of each held-out set.

        Raises:
            DataError: the folder has no readable header.
        """
        return per_pattern_metrics(read_header(self.folder / "test").sets)


@dataclass(kw_only=True, slots=True)
class SeedConfig:
    """The ten puzzles of the experiment that this project grew from: 5 copy and 3 increment to
    train on, 2 increment held out, 5x5 colours on a 30x30 canvas, one identifier for all."""

    name: str = MISSING
    batch_size: int = MISSING
    """Rows of one optimiser step."""
    sampling: str = MISSING
    """What an epoch is: one of the 8 puzzles (`one_per_group`: they are one group), or `all`."""
    puzzle_seed: int = MISSING
    """Draws the ten puzzles and the order of the epochs, which are the same for every `seed`."""

    def __post_init__(self) -> None:
        at_least("batch_size", self.batch_size, 1)
        at_least("puzzle_seed", self.puzzle_seed, 0)
        one_of("sampling", self.sampling, SAMPLINGS)

    def metric_names(self) -> list[str]:
        """What this task adds to the evaluation's metrics; no copy puzzle is held out."""
        return per_pattern_metrics(["increment"])


DataConfig: TypeAlias = CopyIncrementConfig | SudokuConfig | PuzzlesConfig | SeedConfig

DATA: dict[str, type[DataConfig]] = {
    "copy_increment": CopyIncrementConfig,
    "sudoku": SudokuConfig,
    "puzzles": PuzzlesConfig,
    "seed": SeedConfig,
}
"""The class for each `name` in the YAML files."""
