"""The keys of `data=…`: one class for each task. Their values are in `conf/data/`.

PyTorch is not imported, as the configs are read at every start. A class checks itself when it is
made and raises `ConfigError` with the key as it is called here; `hrm.config` adds its group.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from hrm_sweep import formatting
from hrm_sweep.errors import ConfigError
from hrm_sweep.hrm.checks import (
    MISSING,
    at_least,
    below_one,
    check_choices,
    choice,
    not_negative,
    share,
)
from hrm_sweep.hrm.data.checks import check_curriculum, check_memory
from hrm_sweep.hrm.data.published import TASKS, read_header

NUM_COLOURS = 10
PATTERNS = ("copy", "increment", "decrement", "mirror", "transpose", "recolour")
SAMPLINGS = ("all", "one_per_group")
BOXES = {"2x2": (2, 2), "2x3": (2, 3), "3x3": (3, 3)}


@dataclass(kw_only=True, slots=True)
class CopyIncrementConfig:
    """Grids of random colours in the corner of a canvas, transformed by the rule of a pattern."""

    name: str = MISSING
    """The chosen option of the group."""
    batch_size: int = MISSING
    """Rows of a batch."""
    num_puzzles: int = MISSING
    """Number of training puzzles; with the same seed, a larger set contains a smaller one."""
    num_eval_puzzles: int = MISSING
    """Number of held-out puzzles, evenly of each pattern; they do not depend on num_puzzles."""
    canvas: int = MISSING
    """Side of the square of tokens that holds a grid."""
    grid: int = MISSING
    """Side of the largest grid, which a row and a column of EOS follow."""
    smallest_grid: int = MISSING
    """Side of the smallest grid; sides are drawn uniformly from here to `grid`."""
    patterns: dict[str, float] = MISSING
    """Pattern -> its weight among the training puzzles; 0 leaves it out."""
    balance: float | None = MISSING
    """From 0 to 1: how far each pattern's share of an epoch follows its share of the training
    puzzles that were unsolved in the epoch before; null: not at all."""
    identifiers: str = choice("per_pattern", "shared")
    """`per_pattern`: the identifier names the rule; `shared`: all puzzles have the same one."""
    noise: float = MISSING
    """Share of a training input's cells that get another colour, drawn anew in each epoch."""
    curriculum: dict[int, float] | None = MISSING
    """Epoch -> share of the easiest puzzles that is drawn from then on; null: always all."""
    recolour: list[int] = MISSING
    """Table of the pattern `recolour`: the new colours of 0 to 9."""

    def __post_init__(self) -> None:
        at_least("batch_size", self.batch_size, 1)
        at_least("num_puzzles", self.num_puzzles, 1)
        self._check_patterns()
        self._check_sizes()
        self._check_numbers()
        check_choices(self)
        below_one("noise", self.noise)
        if self.balance is not None:
            share("balance", self.balance)
        check_curriculum(self.curriculum)
        if len(self.recolour) != NUM_COLOURS or not set(self.recolour) <= set(range(NUM_COLOURS)):
            raise ConfigError(
                "recolour", self.recolour, f"must give each of the {NUM_COLOURS} colours one of 0-9"
            )

    @property
    def active_patterns(self) -> tuple[str, ...]:
        """The patterns with a weight above 0, in the order of their identifiers."""
        return tuple(name for name in PATTERNS if self.patterns.get(name, 0) > 0)

    @property
    def train_counts(self) -> list[int]:
        """Number of training puzzles of each active pattern, by weight."""
        return apportion(self.num_puzzles, [self.patterns[name] for name in self.active_patterns])

    @property
    def eval_counts(self) -> list[int]:
        """Number of held-out puzzles of each active pattern."""
        return apportion(self.num_eval_puzzles, [1.0] * len(self.active_patterns))

    def puzzles_per_epoch(self) -> int:
        """Return the number of training examples that an epoch draws."""
        return self.num_puzzles

    def metric_names(self) -> list[str]:
        """Return the names of the evaluation metrics that only this task has."""
        return _pattern_metrics(self.active_patterns)

    def _check_patterns(self) -> None:
        for name, weight in self.patterns.items():
            key = f"patterns.{name}"
            if name not in PATTERNS:
                way_out = formatting.did_you_mean(name, PATTERNS)
                way_out = way_out or f"choose from {', '.join(PATTERNS)}"
                raise ConfigError(key, weight, "no pattern of that name", way_out)
            not_negative(key, weight)
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
        for name, train, test in zip(active, self.train_counts, self.eval_counts, strict=True):
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
    """Sudoku puzzles with a unique solution."""

    name: str = MISSING
    """The chosen option of the group."""
    batch_size: int = MISSING
    """Rows of a batch."""
    box: str = choice(*BOXES)
    """Rows x columns of a box: 2x2 for boards of 4x4, 2x3 for 6x6, 3x3 for 9x9."""
    num_puzzles: int = MISSING
    """Number of training puzzles; with the same seed, a larger set contains a smaller one."""
    num_eval_puzzles: int = MISSING
    """Number of held-out puzzles; they do not depend on num_puzzles."""
    givens: list[int] | None = MISSING
    """Smallest and largest number of given digits; null: the default range of the box."""
    curriculum: dict[int, float] | None = MISSING
    """Epoch -> share of the puzzles with most givens that is drawn from then on; null: all."""
    augment: bool = MISSING
    """Whether each draw of a training puzzle is another of its symmetric forms."""
    apart: str = choice("puzzle", "symmetry")
    """`puzzle`: no held-out puzzle is also a training puzzle; `symmetry`: none is a symmetric form
    of a training puzzle."""

    def __post_init__(self) -> None:
        at_least("batch_size", self.batch_size, 1)
        at_least("num_puzzles", self.num_puzzles, 1)
        at_least("num_eval_puzzles", self.num_eval_puzzles, 1)
        check_choices(self)
        check_curriculum(self.curriculum)
        self._check_givens()
        check_memory(self.num_puzzles, self.num_eval_puzzles, self.side**2)

    @property
    def side(self) -> int:
        """Side of a board, which is also the number of digits."""
        rows, columns = BOXES[self.box]
        return rows * columns

    @property
    def givens_range(self) -> tuple[int, int]:
        """Smallest and largest number of givens."""
        if self.givens is None:
            return self.default_givens
        return self.givens[0], self.givens[1]

    @property
    def default_givens(self) -> tuple[int, int]:
        """The range of the number of givens if `givens` is null."""
        return {"2x2": (5, 8), "2x3": (10, 16), "3x3": (24, 34)}[self.box]

    def puzzles_per_epoch(self) -> int:
        """Return the number of training examples that an epoch draws."""
        return self.num_puzzles

    def metric_names(self) -> list[str]:
        """Return the names of the evaluation metrics that only this task has."""
        return ["eval/validity", *_pattern_metrics(["sudoku"])]

    def _check_givens(self) -> None:
        # the smallest number known to allow a unique solution (9x9: McGuire et al.,
        # arXiv:1201.0749), and the smallest that random removal reaches in more than 5 % of cases
        fewest, reached = {"2x2": (4, 4), "2x3": (8, 8), "3x3": (17, 23)}[self.box]
        most = self.side**2 - 1
        way_out = f"try givens=[{self.default_givens[0]}, {self.default_givens[1]}]"
        if self.givens is None:
            return
        if len(self.givens) != 2 or not fewest <= self.givens[0] <= self.givens[1] <= most:
            raise ConfigError(
                "givens",
                self.givens,
                f"must be [smallest, largest], from {fewest} to {most} for box={self.box}",
                way_out,
            )
        if self.givens[1] < reached:
            raise ConfigError(
                "givens",
                self.givens,
                f"hardly any puzzle of box={self.box} has fewer than {reached}",
                way_out,
            )


@dataclass(kw_only=True, slots=True)
class PuzzlesConfig:
    """A folder in the format of the published HRM and TRM data set builders."""

    name: str = MISSING
    """The chosen option of the group."""
    batch_size: int = MISSING
    """Rows of a batch."""
    path: Any = MISSING
    """Folder with train/ and test/, or a list of such folders, which are trained on together."""
    sampling: str = choice(*SAMPLINGS)
    """Examples of an epoch: `all`, or, as published, `one_per_group`: one puzzle drawn from each
    group (a puzzle and its augmented copies)."""
    num_eval_puzzles: int | None = MISSING
    """Number of held-out examples, drawn at random, that are evaluated; null: all."""

    def __post_init__(self) -> None:
        at_least("batch_size", self.batch_size, 1)
        check_choices(self)
        if self.num_eval_puzzles is not None:
            at_least("num_eval_puzzles", self.num_eval_puzzles, 1)
        names = self.path if isinstance(self.path, list) else [self.path]
        if not names or not all(isinstance(name, str) and name.strip() for name in names):
            rule = "must name a folder, or a list of folders"
            raise ConfigError("path", self.path, rule, "try path=data/my-puzzles")
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice is not None:
            raise ConfigError("path", self.path, f"names {twice} twice", "leave one out")

    @property
    def folders(self) -> tuple[Path, ...]:
        """The folders of `path` with `~` expanded."""
        names = self.path if isinstance(self.path, list) else [self.path]
        return tuple(Path(name).expanduser() for name in names)

    def puzzles_per_epoch(self) -> int:
        """Return the number of examples that an epoch draws, as the headers give it: a mean.

        Raises:
            DataError: A folder has no readable header.
        """
        headers = [read_header(folder / "train") for folder in self.folders]
        drawn = sum(header.total_groups * header.mean_puzzle_examples for header in headers)
        return max(1, round(drawn))

    def metric_names(self) -> list[str]:
        """Return the names of the evaluation metrics that only this task has, from the headers.

        Raises:
            DataError: A folder has no readable header.
        """
        is_arc = any((folder / TASKS).is_file() for folder in self.folders)
        votes = ["eval/pass_at_1", "eval/pass_at_2"] if is_arc else []
        headers = (read_header(folder / "test") for folder in self.folders)
        return [*votes, *_pattern_metrics(dict.fromkeys(n for h in headers for n in h.sets))]


@dataclass(kw_only=True, slots=True)
class SeedConfig:
    """The ten puzzles of the experiment that this project began with.

    There are 5 copy and 3 increment puzzles for training and 2 held-out increment puzzles, with
    5x5 colours on a 30x30 canvas and one identifier.
    """

    name: str = MISSING
    """The chosen option of the group."""
    batch_size: int = MISSING
    """Rows of a batch."""
    sampling: str = choice(*SAMPLINGS)
    """Puzzles of an epoch: one of the 8 (`one_per_group`: they are one group), or `all`."""
    puzzle_seed: int = MISSING
    """Seed of the ten puzzles and of their order, which do not depend on `seed`."""

    def __post_init__(self) -> None:
        at_least("batch_size", self.batch_size, 1)
        at_least("puzzle_seed", self.puzzle_seed, 0)
        check_choices(self)

    def puzzles_per_epoch(self) -> int:
        """Return the number of training examples that an epoch draws."""
        return 1 if self.sampling == "one_per_group" else 8

    def metric_names(self) -> list[str]:
        """Return the names of the evaluation metrics that only this task has."""
        return _pattern_metrics(["increment"])


DataConfig: TypeAlias = CopyIncrementConfig | SudokuConfig | PuzzlesConfig | SeedConfig

DATA: dict[str, type[DataConfig]] = {
    "copy_increment": CopyIncrementConfig,
    "sudoku": SudokuConfig,
    "puzzles": PuzzlesConfig,
    "seed": SeedConfig,
}
"""The class for each `name` in the YAML files."""


def apportion(total: int, weights: list[float]) -> list[int]:
    """Return whole shares of `total` by weight (largest remainder method, earlier ones first)."""
    exact = [total * weight / sum(weights) for weight in weights]
    shares = [int(share) for share in exact]
    by_remainder = sorted(range(len(exact)), key=lambda i: (shares[i] - exact[i], i))
    for i in by_remainder[: total - sum(shares)]:
        shares[i] += 1
    return shares


def _pattern_metrics(patterns: Iterable[str]) -> list[str]:
    kinds = ("exact_match", "token_accuracy")
    return [f"eval/{kind}/{name}" for kind in kinds for name in patterns]
