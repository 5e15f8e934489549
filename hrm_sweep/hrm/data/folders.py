"""Folders in the published format, read and checked with NumPy, before anything is created.

Tokens are memory-mapped. PyTorch is not imported, so that a mistake in a file is found at the
prompt.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np

from hrm_sweep.errors import DataError
from hrm_sweep.hrm.data.arc import ArcEvaluation, merged, read_arc
from hrm_sweep.hrm.data.published import HEADER, Header, read_header
from hrm_sweep.hrm.data.tokens import IGNORE

TOKENS_AT_ONCE = 1 << 24
"""Tokens checked at a time, so that a large file is never in memory as a whole."""
SPLITS = ("train", "test")
SHARED = ("vocab_size", "seq_len", "pad_id", "ignore_label_id", "blank_identifier_id")
"""What the headers of several folders must agree on, as in the published loader."""


class Examples(NamedTuple):
    """One set of a split; its puzzles and groups as in the files."""

    name: str
    inputs: np.ndarray
    """[examples, seq_len], tokens."""
    labels: np.ndarray
    """[examples, seq_len], tokens, or the ignored label."""
    identifiers: np.ndarray
    """int64 [examples]: of the example's puzzle, apart from those of other folders."""
    puzzle_starts: np.ndarray
    """int64 [puzzles + 1]: the first example of each puzzle, and the number of examples."""
    group_starts: np.ndarray
    """int64 [groups + 1]: the first puzzle of each group, and the number of puzzles."""


class Split(NamedTuple):
    """The training or the test sets of all folders."""

    sets: list[Examples]
    ignore: int | None
    """The stored label that is not scored; None: all labels are scored."""


class Folders(NamedTuple):
    """The content of one or several folders."""

    train: Split
    test: Split
    vocab_size: int
    seq_len: int
    num_identifiers: int
    arc: ArcEvaluation | None
    """The evaluation on the original tasks of ARC, of the folders that have them."""


def read_folders(folders: Sequence[Path]) -> Folders:
    """Return the content of all files, after checking them.

    The identifiers of a folder follow those of the folders before it.

    Raises:
        DataError: A file is missing or wrong, or folders do not fit together.
    """
    headers = [_headers(folder) for folder in folders]
    for number in (0, 1):  # train, test
        for folder, pair in zip(folders, headers, strict=True):
            _check_shared(folder / SPLITS[number], pair[number], folders[0], headers[0][number])
    counts = [train.num_puzzle_identifiers for train, _ in headers]
    train, test = (
        Split(
            [
                examples
                for place, (folder, pair) in enumerate(zip(folders, headers, strict=True))
                for examples in _read_split(folder / split, pair[number], sum(counts[:place]))
            ],
            headers[0][number].ignore_label_id,
        )
        for number, split in enumerate(SPLITS)
    )
    arcs = [read_arc(f, train) for f, (train, _) in zip(folders, headers, strict=True)]
    first = headers[0][0]
    return Folders(train, test, first.vocab_size, first.seq_len, sum(counts), merged(arcs, counts))


@lru_cache(maxsize=16)
def check_folders(folders: tuple[Path, ...]) -> None:
    """Raise what `read_folders` raises; a process reads folders that are whole once for it."""
    read_folders(folders)


def _headers(folder: Path) -> tuple[Header, Header]:
    train, test = (read_header(folder / split) for split in SPLITS)
    for key in ("vocab_size", "seq_len", "num_puzzle_identifiers"):
        ours, theirs = getattr(train, key), getattr(test, key)
        if ours != theirs:
            raise DataError(
                f"{folder / 'test' / HEADER}: {key}={theirs}, but train has {key}={ours}; "
                "build both in one go"
            )
    return train, test


def _check_shared(split: Path, header: Header, first: Path, wanted: Header) -> None:
    """Raise DataError unless a header agrees with that of the first folder."""
    for key in SHARED:
        came, needed = getattr(header, key), getattr(wanted, key)
        if came != needed:
            raise DataError(
                f"{split / HEADER}: {key}={came}, but {first / split.name} has {key}={needed}; "
                "build folders that are trained together alike, or leave one out of data.path"
            )


def _read_split(folder: Path, header: Header, first_identifier: int) -> list[Examples]:
    sets = [_read_set(folder, name, header, first_identifier) for name in header.sets]
    num_groups = sum(len(examples.group_starts) - 1 for examples in sets)
    if num_groups != header.total_groups:
        raise DataError(
            f"{folder / HEADER}: total_groups={header.total_groups}, but the sets have "
            f"{num_groups}; build the split again"
        )
    return sets


def _read_set(folder: Path, name: str, header: Header, first_identifier: int) -> Examples:
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
    each = np.repeat(identifiers.astype(np.int64), np.diff(puzzle_starts)) + first_identifier
    return Examples(name, inputs, labels, each, puzzle_starts, group_starts)


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
