"""A tiny folder in the form of the published ARC builder, and its augmentation in plain lists.

The symmetries are written by the places of cells, as a truth that shares nothing with the product.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TypeAlias

import numpy as np

Grid: TypeAlias = list[list[int]]

QUESTION, TRUTH, WRONG = [[1, 2, 3], [4, 5, 6]], [[9, 8], [7, 6], [5, 4]], [[0]]
OTHER_QUESTION, OTHER_TRUTH = [[7]], [[8]]
SIDE = 30
TURNED = "one|||t1|||1234567890"  # turned by 90 degrees, every colour one up
FLIPPED = "one|||t4|||0123456789"
NAMES = ["<blank>", "one", TURNED, FLIPPED, "two"]


def old_place(number: int, i: int, j: int, r: int, c: int) -> tuple[int, int]:
    """The cell of a grid of r rows and c columns that symmetry `number` moves to (i, j)."""
    up, left = r - 1, c - 1
    return (
        *((i, j), (j, left - i), (up - i, left - j), (up - j, i)),  # quarter turns, to the left
        *((i, left - j), (up - i, j), (j, i), (up - j, left - i)),  # mirrors
    )[number]


SWAPS_SIDES = (1, 3, 6, 7)


def augmented(grid: Grid, name: str) -> Grid:
    """The grid as the builder augments it for a name: new colours, then turned."""
    _, *rest = name.split("|||")
    if not rest:
        return grid
    number, colours = int(rest[0][1:]), [int(digit) for digit in rest[1]]
    r, c = len(grid), len(grid[0])
    rows, columns = (c, r) if number in SWAPS_SIDES else (r, c)
    cells = [[old_place(number, i, j, r, c) for j in range(columns)] for i in range(rows)]
    return [[colours[grid[a][b]] for a, b in row] for row in cells]


def taken_back(grid: Grid, name: str) -> Grid:
    """The grid whose `augmented` form this is, found by placing each cell and colour."""
    _, *rest = name.split("|||")
    if not rest:
        return grid
    number, colours = int(rest[0][1:]), [int(digit) for digit in rest[1]]
    rows, columns = len(grid), len(grid[0]) if grid else 0
    r, c = (columns, rows) if number in SWAPS_SIDES else (rows, columns)
    found = [[-1] * c for _ in range(r)]
    for i, row in enumerate(grid):
        for j, colour in enumerate(row):
            a, b = old_place(number, i, j, r, c)
            found[a][b] = colours.index(colour)
    return found


def tokens(grid: list[list[int]]) -> np.ndarray:
    canvas = np.zeros((30, 30), dtype=np.uint8)
    canvas[: len(grid), : len(grid[0])] = np.array(grid) + 2
    canvas[len(grid), : len(grid[0])] = canvas[: len(grid), len(grid[0])] = 1
    return canvas.flatten()


def write_folder(folder: Path) -> Path:
    """Both splits of two tasks, one with two augmented copies, and the files beside them."""
    for split in ("train", "test"):
        _write_split(folder / split)
    (folder / "identifiers.json").write_text(json.dumps(NAMES))
    tasks = {
        "one": {"train": [], "test": [{"input": QUESTION, "output": TRUTH}]},
        "two": {"train": [], "test": [{"input": OTHER_QUESTION, "output": OTHER_TRUTH}]},
    }
    (folder / "test_puzzles.json").write_text(json.dumps(tasks))
    return folder


def _write_split(folder: Path) -> None:
    folder.mkdir(parents=True)
    questions = [augmented(QUESTION, name) for name in NAMES[1:4]] + [OTHER_QUESTION]
    answers = [augmented(TRUTH, name) for name in NAMES[1:4]] + [OTHER_TRUTH]
    arrays = {
        "inputs": np.stack([tokens(grid) for grid in questions]),
        "labels": np.stack([tokens(grid) for grid in answers]),
        "puzzle_identifiers": np.arange(1, 5, dtype=np.int32),
        "puzzle_indices": np.arange(5, dtype=np.int32),
        "group_indices": np.array([0, 3, 4], dtype=np.int32),
    }
    for kind, array in arrays.items():
        np.save(folder / f"all__{kind}.npy", array)
    sizes = {"vocab_size": 12, "seq_len": 900, "num_puzzle_identifiers": 5, "total_groups": 2}
    ids = {"pad_id": 0, "ignore_label_id": 0, "blank_identifier_id": 0}
    header = {**ids, **sizes, "mean_puzzle_examples": 2.0, "sets": ["all"]}
    (folder / "dataset.json").write_text(json.dumps(header))
