"""`data=puzzles data.path=DIR`: one or several folders in the published format as a task."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hrm_sweep.hrm.data.arc import Answer, ArcEvaluation
from hrm_sweep.hrm.data.configs import PuzzlesConfig
from hrm_sweep.hrm.data.folders import Split, read_folders
from hrm_sweep.hrm.data.groups import GroupedTask
from hrm_sweep.hrm.data.random_stream import RandomStream
from hrm_sweep.hrm.data.task import Answers, Puzzles
from hrm_sweep.hrm.data.tokens import IGNORE


def build_puzzles(config: PuzzlesConfig, *, seed: int) -> GroupedTask:
    """Return the task of all folders, after checking their files.

    Raises:
        DataError: A file is missing or wrong, or folders do not fit together.
    """
    content = read_folders(config.folders)
    sets = [examples.name for split in (content.test, content.train) for examples in split.sets]
    patterns = tuple(dict.fromkeys(sets))
    held_out = _puzzles(content.test, patterns)
    if config.num_eval_puzzles is not None and config.num_eval_puzzles < len(held_out):
        held_out = _some(held_out, config.num_eval_puzzles)
    side = math.isqrt(content.seq_len)
    square = side * side == content.seq_len
    return PublishedTask(
        "+".join(folder.resolve().name for folder in config.folders),
        train=_puzzles(content.train, patterns),
        held_out=held_out,
        puzzle_starts=_joined_starts([each.puzzle_starts for each in content.train.sets]),
        group_starts=_joined_starts([each.group_starts for each in content.train.sets]),
        sampling=config.sampling,
        patterns=patterns,
        vocab_size=content.vocab_size,
        num_identifiers=content.num_identifiers,
        shape=(side, side) if square else (1, content.seq_len),
        seed=seed,
        arc=content.arc,
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


def _puzzles(split: Split, patterns: Sequence[str]) -> Puzzles:
    """Return the sets of a split one after another, memory-mapped if there is only one."""
    sets = split.sets
    return Puzzles(
        inputs=_joined([torch.from_numpy(each.inputs) for each in sets]),
        labels=_joined([torch.from_numpy(each.labels) for each in sets]),
        identifiers=_joined([torch.from_numpy(each.identifiers) for each in sets]),
        patterns=_joined(
            [torch.full((len(each.inputs),), patterns.index(each.name)) for each in sets]
        ),
        ignore=split.ignore,
    )


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
