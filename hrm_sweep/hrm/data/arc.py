"""The published evaluation on ARC: augmented examples vote, and pass@k is counted over tasks.

A folder of the published ARC builder has `identifiers.json`, the name of each puzzle identifier,
beside `test_puzzles.json`, the original tasks. A name is that of a task, or `task|||t3|||0192…`:
its copy after symmetry 3 of the square and with colours permuted. Every prediction is taken back to
the original task, where equal answers to an equal input are counted.
(https://github.com/SamsungSAILMontreal/TinyRecursiveModels, evaluators/arc.py; the symmetries:
https://github.com/sapientinc/HRM, dataset/common.py.)
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from hrm_sweep.errors import DataError
from hrm_sweep.hrm.data.published import HEADER, TASKS, Header
from hrm_sweep.hrm.data.tokens import FIRST_COLOUR

IDENTIFIERS = "identifiers.json"
SIDE, NUM_COLOURS = 30, 10
SEPARATOR = "|||"
ATTEMPTS = 2
"""Answers to each test input in a submission."""

Grid: TypeAlias = tuple[tuple[int, ...], ...]
"""Rows of colours, 0 to 9."""
Votes: TypeAlias = dict[str, dict[Grid, list[Grid]]]
"""By task and input, the different answers, the most voted for first."""
Submission: TypeAlias = dict[str, list[dict[str, list[list[int]]]]]


class Answer(NamedTuple):
    """A model's prediction for one example."""

    identifier: int
    inputs: np.ndarray
    """[900], tokens."""
    prediction: np.ndarray
    """[900], tokens."""
    confidence: float
    """Probability, 0 to 1, that the halting head gives the answer; it decides between answers with
    equally many votes."""


class ArcEvaluation:
    """The original tasks of a folder in the published format.

    Args:
        names: The name of each identifier; None: it is of no task of ARC, and does not vote.
        tasks: By name, each with `test`: pairs of `input` and `output`, rows of colours.
    """

    def __init__(self, names: Sequence[str | None], tasks: Mapping[str, Any]) -> None:
        self.names, self.tasks = names, tasks

    def votes(self, answers: Iterable[Answer]) -> Votes:
        """Return, by task and input, the different answers, the most voted for first.

        Of answers with equally many votes, the one with the higher mean confidence is first.
        """
        found: defaultdict[str, defaultdict[Grid, defaultdict[Grid, list[float]]]]
        found = defaultdict(lambda: defaultdict(lambda: defaultdict(list)))
        for identifier, inputs, prediction, confidence in answers:
            name = self.names[identifier]
            if name is None:
                continue
            task, transform, colours = parse_name(name)
            question, answer = (
                restored(crop(tokens), transform, colours) for tokens in (inputs, prediction)
            )
            found[task][question][answer].append(confidence)
        return {
            task: {question: _ranked(votes) for question, votes in questions.items()}
            for task, questions in found.items()
        }

    def pass_at(self, votes: Votes, k: int) -> float:
        """Return the mean over tasks of the share of test inputs solved by the first k answers."""
        shares = []
        for name, task in self.tasks.items():
            solved = [
                _grid(pair["output"]) in votes.get(name, {}).get(_grid(pair["input"]), [])[:k]
                for pair in task["test"]
            ]
            shares.append(sum(solved) / len(solved))
        return sum(shares) / len(shares)

    def submission(self, votes: Votes) -> Submission:
        """Return the answers in Kaggle's form: two attempts for each test input of each task.

        A missing second answer repeats the first; an input without any has a single 0.
        """
        made: Submission = {}
        for name, task in self.tasks.items():
            made[name] = []
            for pair in task["test"]:
                found = votes.get(name, {}).get(_grid(pair["input"]), [])[:ATTEMPTS] or [((0,),)]
                filled = [*found, *[found[0]] * (ATTEMPTS - len(found))]
                made[name].append(
                    {f"attempt_{n}": [*map(list, grid)] for n, grid in enumerate(filled, 1)}
                )
        return made


def read_arc(folder: Path, header: Header) -> ArcEvaluation | None:
    """Return the evaluation of a folder; None if it has no `test_puzzles.json`.

    Raises:
        DataError: A file cannot be read, is not of the published form, or does not fit the header.
    """
    if not (folder / TASKS).is_file():
        return None
    names, tasks = (_read(folder / name) for name in (IDENTIFIERS, TASKS))
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise DataError(f"{folder / IDENTIFIERS}: must be a list of names; build the set again")
    for name in names[1:]:
        try:
            parse_name(name)
        except ValueError as error:
            raise DataError(f"{folder / IDENTIFIERS}: {error}; build the set again") from None
    if not isinstance(tasks, dict) or not tasks:
        raise DataError(f"{folder / TASKS}: must be an object with tasks; build the set again")
    for name, task in tasks.items():
        _check_task(folder / TASKS, name, task)
    if header.seq_len != SIDE**2:
        raise DataError(
            f"{folder / TASKS}: is for grids on a canvas of {SIDE} x {SIDE}, "
            f"but seq_len={header.seq_len}; remove it, or build the set again"
        )
    if len(names) != header.num_puzzle_identifiers:
        raise DataError(
            f"{folder / IDENTIFIERS}: {len(names)} names, must be "
            f"{header.num_puzzle_identifiers} (num_puzzle_identifiers of {HEADER}); build it again"
        )
    return ArcEvaluation(names, tasks)


def merged(arcs: Sequence[ArcEvaluation | None], counts: Sequence[int]) -> ArcEvaluation | None:
    """Return one evaluation of several folders with so many identifiers; None if none has any.

    Raises:
        DataError: Two folders have a task of one name and different test pairs.
    """
    names: list[str | None] = []
    tasks: dict[str, Any] = {}
    for arc, count in zip(arcs, counts, strict=True):
        names += [None] * count if arc is None else arc.names
        for name, task in ({} if arc is None else arc.tasks).items():
            if tasks.setdefault(name, task)["test"] != task["test"]:
                raise DataError(
                    f"data.path: two folders have a task {name} with different test pairs in "
                    f"{TASKS}; leave one of them out"
                )
    return ArcEvaluation(names, tasks) if tasks else None


def parse_name(name: str) -> tuple[str, int, list[int]]:
    """Return a name's task, its symmetry 0 to 7 and the new colour of each colour.

    Raises:
        ValueError: It is not of the published form.
    """
    task, *rest = name.split(SEPARATOR)
    if not rest:
        return task, 0, list(range(NUM_COLOURS))
    symmetry, digits = rest[-2] if len(rest) > 1 else "", rest[-1]
    colours = [int(digit) for digit in digits if digit.isdigit()]
    if symmetry not in [f"t{n}" for n in range(8)] or sorted(colours) != list(range(NUM_COLOURS)):
        raise ValueError(f"{name!r} must be task, or task|||t0 to t7|||the ten colours' digits")
    return task, int(symmetry[1:]), colours


def restored(grid: np.ndarray, transform: int, colours: list[int]) -> Grid:
    """Return a grid before the symmetry and the permutation of colours."""
    return _grid(np.argsort(colours)[_INVERSES[transform](grid)])


_INVERSES = (
    lambda grid: grid,
    lambda grid: np.rot90(grid, k=3),
    lambda grid: np.rot90(grid, k=2),
    lambda grid: np.rot90(grid, k=1),
    np.fliplr,
    np.flipud,
    np.transpose,
    lambda grid: np.fliplr(np.rot90(grid, k=1)),
)
"""Inverses of the eight symmetries of the published `dihedral_transform`: identity, rotations, two
flips, transposition and anti-transposition."""


def crop(tokens: np.ndarray) -> np.ndarray:
    """Return the largest rectangle of colours in the corner of a canvas, [rows, columns]."""
    colours = tokens.reshape(SIDE, SIDE) - FIRST_COLOUR
    is_inside = (colours >= 0) & (colours < NUM_COLOURS)
    widths = np.minimum.accumulate(np.logical_and.accumulate(is_inside, axis=1).sum(axis=1))
    rows = int((widths * np.arange(1, SIDE + 1)).argmax())
    return colours[: rows + 1 if widths[rows] else 0, : widths[rows]]


def _grid(rows: Any) -> Grid:
    return tuple(tuple(int(colour) for colour in row) for row in rows)


def _ranked(votes: Mapping[Grid, list[float]]) -> list[Grid]:
    def rank(grid: Grid) -> tuple[int, float]:
        return len(votes[grid]), sum(votes[grid]) / len(votes[grid])

    return sorted(votes, key=rank, reverse=True)


def _read(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: cannot be read as JSON ({error}); build the set again") from None


def _check_task(path: Path, name: str, task: Any) -> None:
    pairs = task.get("test") if isinstance(task, dict) else None
    if not pairs or not all(isinstance(p, dict) and {"input", "output"} <= {*p} for p in pairs):
        raise DataError(f"{path}: the task {name} must have test pairs of input and output")
