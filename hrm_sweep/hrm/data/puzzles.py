"""`data=puzzles data.path=DIR`: a folder in the published format, checked and memory-mapped."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from hrm_sweep.errors import DataError
from hrm_sweep.hrm.data import arc as arc_grids
from hrm_sweep.hrm.data.arc import Answer, ArcEvaluation, read_arc
from hrm_sweep.hrm.data.configs import PuzzlesConfig
from hrm_sweep.hrm.data.groups import GroupedTask
from hrm_sweep.hrm.data.published import HEADER, TASKS, Header, read_header
from hrm_sweep.hrm.data.random_stream import RandomStream
from hrm_sweep.hrm.data.task import IGNORE, Answers, Puzzles

TOKENS_AT_ONCE = 1 << 24
"""Tokens checked at a time, so that a large file is never in memory as a whole."""


class Split(NamedTuple):
    """The training or the test puzzles: the sets of a split one after another."""

    puzzles: Puzzles
    puzzle_starts: np.ndarray
    """int64 [puzzles + 1]: the first example of each puzzle, and the number of examples."""
    group_starts: np.ndarray
    """int64 [groups + 1]: the first puzzle of each group, and the number of puzzles."""


def build_puzzles(config: PuzzlesConfig, *, seed: int) -> GroupedTask:
    """Return the task of a folder, after checking all of its files.

    Raises:
        DataError: A file is missing or wrong.
    """
    folder = config.folder
    train_header, test_header = read_header(folder / "train"), read_header(folder / "test")
    for key in ("vocab_size", "seq_len", "num_puzzle_identifiers"):
        ours, theirs = getattr(train_header, key), getattr(test_header, key)
        if ours != theirs:
            raise DataError(
                f"{folder / 'test' / HEADER}: {key}={theirs}, but train has {key}={ours}; "
                "build both in one go"
            )
    patterns = tuple(dict.fromkeys((*test_header.sets, *train_header.sets)))
    train = read_split(folder / "train", train_header, patterns)
    held_out = read_split(folder / "test", test_header, patterns).puzzles
    if config.num_eval_puzzles is not None and config.num_eval_puzzles < len(held_out):
        held_out = _some(held_out, config.num_eval_puzzles)
    side = math.isqrt(train_header.seq_len)
    square = side * side == train_header.seq_len
    return PublishedTask(
        folder.resolve().name,
        train=train.puzzles,
        held_out=held_out,
        puzzle_starts=train.puzzle_starts,
        group_starts=train.group_starts,
        sampling=config.sampling,
        patterns=patterns,
        vocab_size=train_header.vocab_size,
        num_identifiers=train_header.num_puzzle_identifiers,
        shape=(side, side) if square else (1, train_header.seq_len),
        seed=seed,
        arc=_arc(folder, train_header),
    )


class PublishedTask(GroupedTask):
    """The task of a folder; with the original tasks of ARC beside it, its answers vote."""

    def __init__(self, name: str, *, arc: ArcEvaluation | None, **rest: Any) -> None:
        super().__init__(name, **rest)
        self._arc = arc

    def votes(self, answers: Answers) -> dict[str, float]:
        """Return pass@1 and pass@2 over the original tasks."""
        if self._arc is None:
            return {}
        votes = self._arc.votes(_each(answers))
        return {f"pass_at_{k}": self._arc.pass_at(votes, k) for k in (1, 2)}

    @property
    def has_submission(self) -> bool:
        """Whether the folder has the original tasks of ARC."""
        return self._arc is not None

    def submission(self, answers: Answers) -> dict[str, Any]:
        """Return two attempts for each test input of the original tasks, in Kaggle's form."""
        assert self._arc is not None
        return self._arc.submission(self._arc.votes(_each(answers)))


def _each(answers: Answers) -> Iterator[Answer]:
    batch, predictions, confidence = answers
    columns = batch.identifiers, batch.inputs, predictions, confidence.double()
    for number, inputs, answer, share in zip(*(c.numpy() for c in columns), strict=True):
        yield Answer(int(number), inputs, answer, float(share))


def _arc(folder: Path, header: Header) -> ArcEvaluation | None:
    """Return the evaluation of a folder that has the original tasks of ARC."""
    arc = read_arc(folder)
    if arc is not None and header.seq_len != arc_grids.SIDE**2:
        raise DataError(
            f"{folder / TASKS}: is for grids on a canvas of {arc_grids.SIDE} x {arc_grids.SIDE}, "
            f"but seq_len={header.seq_len}; remove it, or build the set again"
        )
    if arc is not None and len(arc.names) != header.num_puzzle_identifiers:
        raise DataError(
            f"{folder / arc_grids.IDENTIFIERS}: {len(arc.names)} names, must be "
            f"{header.num_puzzle_identifiers} (num_puzzle_identifiers of {HEADER}); build it again"
        )
    return arc


def read_split(folder: Path, header: Header, patterns: Sequence[str]) -> Split:
    """Return the sets of a split, memory-mapped if there is only one.

    Raises:
        DataError: A file is missing or wrong.
    """
    parts = [_read_set(folder, name, header, patterns.index(name)) for name in header.sets]
    num_groups = sum(len(part.group_starts) - 1 for part in parts)
    if num_groups != header.total_groups:
        raise DataError(
            f"{folder / HEADER}: total_groups={header.total_groups}, but the sets have "
            f"{num_groups}; build the split again"
        )
    puzzles = Puzzles(
        inputs=_joined([part.puzzles.inputs for part in parts]),
        labels=_joined([part.puzzles.labels for part in parts]),
        identifiers=_joined([part.puzzles.identifiers for part in parts]),
        patterns=_joined([part.puzzles.patterns for part in parts]),
        ignore=header.ignore_label_id,
    )
    return Split(
        puzzles,
        _joined_starts([part.puzzle_starts for part in parts]),
        _joined_starts([part.group_starts for part in parts]),
    )


def _read_set(folder: Path, name: str, header: Header, pattern: int) -> Split:
    files = {
        kind: folder / f"{name}__{kind}.npy"
        for kind in ("inputs", "labels", "puzzle_identifiers", "puzzle_indices", "group_indices")
    }
    inputs, labels = (_load(files[kind], dimensions=2) for kind in ("inputs", "labels"))
    for kind, array in (("inputs", inputs), ("labels", labels)):
        _expect(files[kind], array.shape[1], header.seq_len, "tokens a row", "seq_len")
    _expect(files["labels"], len(labels), len(inputs), "rows", "the rows of the inputs")
    puzzle_starts = _starts(files["puzzle_indices"], len(inputs), "rows of the inputs")
    group_starts = _starts(files["group_indices"], len(puzzle_starts) - 1, "puzzles")
    identifiers = _load(files["puzzle_identifiers"], dimensions=1)
    _expect(
        files["puzzle_identifiers"], len(identifiers), len(puzzle_starts) - 1, "entries", "puzzles"
    )
    end = header.num_puzzle_identifiers
    _check_range(files["puzzle_identifiers"], identifiers, end, None, "num_puzzle_identifiers")
    _check_range(files["inputs"], inputs, header.vocab_size, None, "vocab_size")
    _check_range(files["labels"], labels, header.vocab_size, header, "vocab_size")
    sizes = np.diff(puzzle_starts)
    puzzles = Puzzles(
        inputs=torch.from_numpy(inputs),
        labels=torch.from_numpy(labels),
        identifiers=torch.from_numpy(np.repeat(identifiers.astype(np.int64), sizes)),
        patterns=torch.full((len(inputs),), pattern),
    )
    return Split(puzzles, puzzle_starts, group_starts)


def _load(path: Path, *, dimensions: int) -> np.ndarray:
    """Return a memory-mapped array of integers; nothing is unpickled."""
    if not path.is_file():
        raise DataError(f"{path}: no such file, but {HEADER} names its set; build the split again")
    try:
        # copy on write, as torch needs writable memory; the file is not changed
        array = np.load(path, mmap_mode="c", allow_pickle=False)
    except (ValueError, EOFError, OSError) as error:
        reason = str(error).splitlines()[0]
        raise DataError(f"{path}: not a whole NumPy file ({reason}); build it again") from None
    if array.dtype.kind not in "iu":
        raise DataError(f"{path}: dtype {array.dtype}, must be whole numbers; try uint8 or int32")
    if array.ndim != dimensions or not array.size:
        raise DataError(
            f"{path}: shape {array.shape}, must have {dimensions} dimension"
            f"{'s' * (dimensions > 1)} and something in it"
        )
    widened = {2: np.int32, 4: np.int64, 8: np.int64}  # torch cannot index wide unsigned tensors
    if array.dtype.kind == "u" and array.itemsize > 1:
        return array.astype(widened[array.itemsize])
    return array if array.dtype.isnative else array.astype(array.dtype.newbyteorder("="))


def _starts(path: Path, end: int, of: str) -> np.ndarray:
    """Return the start of each part and the end of the last, strictly rising from 0 to `end`."""
    starts = _load(path, dimensions=1).astype(np.int64)
    if starts[0] != 0 or starts[-1] != end or not (np.diff(starts) > 0).all():
        raise DataError(
            f"{path}: must rise from 0 to {end}, the number of {of}, without a repeat; "
            f"it goes from {starts[0]} to {starts[-1]}"
        )
    return starts


def _expect(path: Path, came: int, wanted: int, what: str, source: str) -> None:
    if came != wanted:
        raise DataError(f"{path}: {came} {what}, must be {wanted} ({source}); build it again")


def _check_range(path: Path, array: np.ndarray, end: int, labels: Header | None, key: str) -> None:
    """Raise DataError unless values are from 0 to end - 1.

    With the header of `labels`, they may also be the ignored label, but not all of them.
    """
    scored = 0
    rows = max(1, TOKENS_AT_ONCE // max(1, array[0].size))
    for first in range(0, len(array), rows):
        part = array[first : first + rows]
        wrong = (part < 0) | (part >= end)
        if labels is not None:
            ignored = part == IGNORE
            if labels.ignore_label_id is not None:
                ignored |= part == labels.ignore_label_id
            wrong &= ~ignored
            scored += int((~ignored).sum())
        if wrong.any():
            place = np.argwhere(wrong)[0]
            raise DataError(
                f"{path}: {part[tuple(place)]} in row {first + place[0]}, must be from 0 to "
                f"{end - 1} ({key} of {HEADER})"
            )
    if labels is not None and not scored:
        raise DataError(f"{path}: every label is ignored, so there is nothing to learn")


def _joined(tensors: list[Tensor]) -> Tensor:
    return tensors[0] if len(tensors) == 1 else torch.cat(tensors)


def _joined_starts(parts: list[np.ndarray]) -> np.ndarray:
    ends = np.cumsum([0] + [part[-1] for part in parts])
    pieces = [part[:-1] + end for part, end in zip(parts, ends[:-1], strict=True)]
    return np.concatenate([*pieces, ends[-1:]])


def _some(puzzles: Puzzles, count: int) -> Puzzles:
    """Return `count` random examples that have labels.

    They are the same for every seed, so that the metrics of different runs are comparable.
    """
    order = torch.from_numpy(RandomStream("held out").permutation(len(puzzles)))
    scored = (row for row in order if (puzzles.take(row[None]).labels != IGNORE).any())
    chosen = torch.stack(list(islice(scored, count))).sort().values
    return Puzzles(
        inputs=puzzles.inputs[chosen],
        labels=puzzles.labels[chosen],
        identifiers=puzzles.identifiers[chosen],
        patterns=puzzles.patterns[chosen],
        ignore=puzzles.ignore,
    )
