"""Writes a task as a folder in the published format: for `data=puzzles`, for the published code."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import numpy as np

from hrm_sweep.errors import DataError
from hrm_sweep.hrm.data.published import HEADER
from hrm_sweep.hrm.data.task import IGNORE, PAD, Puzzles, Task


def write_dataset(task: Task, folder: Path) -> None:
    """Writes the training and the held-out puzzles of `task`; each is a group of its own.

    Noise, curricula and symmetries stay behind: they belong to the draw. The folder appears whole
    or not at all.

    Raises:
        DataError: there is a file or folder of that name.
    """
    if folder.exists():
        raise DataError(f"{folder}: is there already; choose another name or remove it")
    temporary = folder.with_name(f".{folder.name}.{os.getpid()}")
    try:
        _write_split(task, task.train, temporary / "train")
        _write_split(task, task.eval, temporary / "test")
        names = json.dumps(_identifier_names(task))
        (temporary / "identifiers.json").write_text(names, encoding="utf-8")
        temporary.rename(folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _write_split(task: Task, puzzles: Puzzles, folder: Path) -> None:
    folder.mkdir(parents=True)
    batch = puzzles.all()
    labels = batch.labels.numpy()
    pad_is_free = not (labels == PAD).any()  # as published: PAD doubles as the ignored label
    ignored = PAD if pad_is_free else IGNORE
    narrowest = np.uint8 if task.vocab_size <= 256 else np.int32
    count = len(batch)
    arrays: dict[str, np.ndarray] = {
        "inputs": batch.inputs.numpy().astype(narrowest),
        "labels": np.where(labels == IGNORE, ignored, labels).astype(
            narrowest if pad_is_free else np.int32
        ),
        "puzzle_identifiers": batch.identifiers.numpy().astype(np.int32),
        "puzzle_indices": np.arange(count + 1, dtype=np.int32),
        "group_indices": np.arange(count + 1, dtype=np.int32),
    }
    for kind, array in arrays.items():
        np.save(folder / f"all__{kind}.npy", array)
    header = {
        "pad_id": PAD,
        "ignore_label_id": ignored,
        "blank_identifier_id": 0,
        "vocab_size": task.vocab_size,
        "seq_len": task.seq_len,
        "num_puzzle_identifiers": task.num_identifiers,
        "total_groups": count,
        "mean_puzzle_examples": 1.0,
        "sets": ["all"],
    }
    (folder / HEADER).write_text(json.dumps(header), encoding="utf-8")


def _identifier_names(task: Task) -> list[str]:
    """For each identifier the patterns that bear it, for people to read."""
    names: list[list[str]] = [[] for _ in range(task.num_identifiers)]
    for puzzles in (task.train, task.eval):
        pairs = zip(puzzles.identifiers.tolist(), puzzles.patterns.tolist(), strict=True)
        for identifier, pattern in sorted(set(pairs)):
            if task.patterns[pattern] not in names[identifier]:
                names[identifier].append(task.patterns[pattern])
    return ["+".join(patterns) or "<blank>" for patterns in names]
