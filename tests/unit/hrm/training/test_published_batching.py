"""The published loader: whole batches, across the epochs between two evaluations."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from small import small_task

from hrm_sweep.hrm.data.groups import GroupedTask
from hrm_sweep.hrm.training.batching import PublishedBatching


def inputs_of(rows: PublishedBatching, epoch: int) -> list[list[list[int]]]:
    """The inputs of an epoch's batches, in every row a new puzzle."""
    rows.start(epoch)
    rows.free.fill_(True)
    found = []
    while rows.fill():
        found.append(rows.batch.inputs.tolist())
    return found


@pytest.mark.parametrize(
    ("interval", "batches"),
    [
        pytest.param(1, [1, 1, 1, 1], id="the rest of each epoch is dropped"),
        pytest.param(2, [1, 2, 1, 2], id="the rest is dropped after two epochs"),
        pytest.param(4, [1, 2, 2, 1], id="the rest is carried on"),
    ],
)
def test_batches_are_whole_and_run_across_epochs_up_to_an_evaluation(interval, batches):
    task = small_task(num_puzzles=5)
    rows = PublishedBatching(task, 3, interval=interval)
    assert [len(inputs_of(rows, epoch)) for epoch in (1, 2, 3, 4)] == batches
    for first in range(1, 5, interval):
        drawn = [task.draw(task.order(e), e).inputs for e in range(first, first + interval)]
        stream = torch.cat(drawn).tolist()
        found = [
            row for e in range(first, first + interval) for b in inputs_of(rows, e) for row in b
        ]
        assert found == stream[: len(stream) // 3 * 3]


def test_no_row_is_padding():
    rows = PublishedBatching(small_task(num_puzzles=5), 3, interval=4)
    for epoch in range(1, 9):
        inputs_of(rows, epoch)
        assert (rows.batch.labels != -100).any(dim=1).all()
        assert (rows.batch.identifiers > 0).all()


def test_examples_that_no_longer_fit_into_a_batch_are_dropped():
    whole = small_task(num_puzzles=9)
    task = GroupedTask(
        "grouped",
        train=whole.train,
        held_out=whole.eval,
        puzzle_starts=np.array([0, 3, 6, 9]),
        group_starts=np.array([0, 1, 2, 3]),
        sampling="one_per_group",
        patterns=whole.patterns,
        vocab_size=whole.vocab_size,
        num_identifiers=whole.num_identifiers,
        shape=whole.shape,
        seed=0,
    )
    puzzles = list(task.puzzles(1))
    assert [len(puzzle) for puzzle in puzzles] == [3, 3, 3]
    (batch,) = inputs_of(PublishedBatching(task, 5, interval=1), 1)
    kept = torch.cat([puzzles[0], puzzles[1][:2]])  # its third does not start the next batch
    assert batch == task.train.take(kept).inputs.tolist()
    assert torch.cat(puzzles).tolist() == task.order(1).tolist()
