"""The header of a data set in the published format, `dataset.json`. PyTorch is not imported.

A folder holds `train/` and `test/`, each with `dataset.json` and, for each set that it names,
`{set}__inputs.npy`, `{set}__labels.npy`, `{set}__puzzle_identifiers.npy`,
`{set}__puzzle_indices.npy` and `{set}__group_indices.npy`; `identifiers.json` beside them has their
names. (https://github.com/sapientinc/HRM, dataset/common.py and builders.)
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hrm_sweep.errors import DataError

HEADER = "dataset.json"
TASKS = "test_puzzles.json"
"""The original tasks of a folder of the ARC builder, beside train/ and test/."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """The header of a split, the same for all of its sets."""

    pad_id: int
    ignore_label_id: int | None
    blank_identifier_id: int
    vocab_size: int
    seq_len: int
    num_puzzle_identifiers: int
    total_groups: int
    mean_puzzle_examples: float
    sets: tuple[str, ...]


def read_header(folder: Path) -> Header:
    """Return the header of the split in `folder`.

    Raises:
        DataError: The file is missing, or a key in it is missing or wrong.
    """
    path = folder / HEADER
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        raise DataError(
            f"{path}: no such file; data.path must name a folder with train/ and test/ "
            "as the HRM builders write them"
        ) from None
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: cannot be read as JSON ({error}); build the set again") from None
    if not isinstance(content, dict):
        raise DataError(f"{path}: must be a JSON object, not {type(content).__name__}")
    numbers = {
        key: _integer(path, content, key, lowest)
        for key, lowest in (
            ("pad_id", 0),
            ("blank_identifier_id", 0),
            ("vocab_size", 2),
            ("seq_len", 1),
            ("num_puzzle_identifiers", 1),
            ("total_groups", 1),
        )
    }
    for key, end in (("pad_id", "vocab_size"), ("blank_identifier_id", "num_puzzle_identifiers")):
        if numbers[key] >= numbers[end]:
            raise DataError(f"{path}: {key}={numbers[key]} must be below {end}={numbers[end]}")
    ignored = content.get("ignore_label_id")
    if ignored is not None:
        ignored = _integer(path, content, "ignore_label_id", -(1 << 31))
    mean = content.get("mean_puzzle_examples")
    if isinstance(mean, bool) or not isinstance(mean, int | float):
        raise DataError(f"{path}: mean_puzzle_examples={mean} must be a number")
    sets = _sets(path, content)
    return Header(**numbers, ignore_label_id=ignored, mean_puzzle_examples=mean, sets=sets)


def _integer(path: Path, content: dict[str, Any], key: str, lowest: int) -> int:
    if key not in content:
        raise DataError(f"{path}: the key {key} is missing; build the set again")
    value = content[key]
    if isinstance(value, bool) or not isinstance(value, int) or value < lowest:
        raise DataError(f"{path}: {key}={value} must be a whole number of at least {lowest}")
    return value


def _sets(path: Path, content: dict[str, Any]) -> tuple[str, ...]:
    sets = content.get("sets")
    names = isinstance(sets, list) and all(isinstance(name, str) and name for name in sets)
    if not names or not sets or len(set(sets)) != len(sets) or any("/" in name for name in sets):
        raise DataError(f"{path}: sets={sets} must be a list of different names of files")
    return tuple(sets)
