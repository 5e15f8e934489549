"""Batches, padding rows, pictures and the chance behind all data."""

import numpy as np
import pytest
import torch

from hrm_sweep.hrm.data.random_stream import RandomStream
from hrm_sweep.hrm.data.task import Puzzles, Task
from hrm_sweep.hrm.data.tokens import IGNORE


def small_task(**changes):
    puzzles = Puzzles(
        inputs=torch.tensor([[2, 1, 0, 3], [4, 1, 0, 5]], dtype=torch.int8),
        labels=torch.tensor([[3, 1, 0, 4], [5, 1, 0, 6]], dtype=torch.int8),
        identifiers=torch.tensor([1, 2]),
        patterns=torch.tensor([0, 1]),
        **changes,
    )
    return Task(
        "small",
        train=puzzles,
        held_out=puzzles,
        patterns=("copy", "increment"),
        vocab_size=12,
        num_identifiers=3,
        shape=(2, 2),
        seed=0,
    )


def test_a_batch_holds_the_asked_puzzles_in_the_asked_order_as_int64():
    batch = small_task().draw(torch.tensor([1, 0, 1]), epoch=1)
    assert len(batch) == 3
    assert batch.inputs.tolist() == [[4, 1, 0, 5], [2, 1, 0, 3], [4, 1, 0, 5]]
    assert batch.identifiers.tolist() == [2, 1, 2]
    assert batch.patterns.tolist() == [1, 0, 1]
    for tensor in (batch.inputs, batch.labels, batch.identifiers, batch.patterns):
        assert tensor.dtype == torch.int64


@pytest.mark.parametrize(
    ("stored", "expected"),
    [
        pytest.param(IGNORE, [3, 1, 0, 4], id="ours: only -100 is left out"),
        pytest.param(0, [3, 1, IGNORE, 4], id="published ARC: PAD is left out"),
        pytest.param(None, [3, 1, 0, 4], id="every label counts"),
    ],
)
def test_the_ignored_label_of_a_set_becomes_ours(stored, expected):
    assert small_task(ignore=stored).train.all().labels[0].tolist() == expected


def test_padding_rows_have_nothing_to_score():
    task = small_task()
    batch = task.train.take(torch.tensor([1])).padded(3)
    assert batch.inputs.tolist() == [[4, 1, 0, 5], [0] * 4, [0] * 4]
    assert batch.labels.tolist() == [[5, 1, 0, 6], [IGNORE] * 4, [IGNORE] * 4]
    assert batch.identifiers.tolist() == [2, 0, 0]
    assert batch.patterns.tolist() == [1, 0, 0]
    assert batch.padded(2) is batch


def test_a_picture_counts_colours_from_0_and_marks_ends_and_outside():
    task = small_task()
    assert task.picture(torch.tensor([2, 1, 0, 11])).tolist() == [[0, -1], [-2, 9]]
    assert task.picture(torch.tensor([IGNORE, 1, 3, IGNORE])).tolist() == [[-2, -1], [1, -2]]


def test_an_order_names_every_puzzle_once_and_depends_on_the_epoch_alone():
    task = small_task()
    orders = [tuple(task.order(epoch).tolist()) for epoch in range(1, 20)]
    assert set(orders) == {(0, 1), (1, 0)}
    assert orders == [tuple(task.order(epoch).tolist()) for epoch in range(1, 20)]


def test_the_digest_sees_a_single_changed_token():
    task, changed = small_task(), small_task()
    assert task.describe() == changed.describe()
    changed.eval.labels[1, 3] += 1
    assert task.describe()["digest"] != changed.describe()["digest"]
    assert task.describe() | {"digest": ""} == {
        "name": "small",
        "train_size": 2,
        "eval_size": 2,
        "digest": "",
    }


def test_chance_is_the_promised_stream_of_pcg64():
    # first outputs of PCG64 seeded by SeedSequence([7]), as uniform numbers
    expected = np.random.PCG64(np.random.SeedSequence([7])).random_raw(2)
    assert RandomStream(7).uniform(2).tolist() == [int(raw) / 2**64 for raw in expected >> 11 << 11]
    assert RandomStream(7).uniform(2) == pytest.approx([0.62509547, 0.8972138])


def test_chance_differs_by_every_part_of_its_key():
    keys = [(0, 1, "order"), (1, 1, "order"), (0, 2, "order"), (0, 1, "noise")]
    assert len({RandomStream(*key).uniform(1)[0] for key in keys}) == len(keys)


def test_chance_fills_row_by_row():
    assert np.array_equal(RandomStream(3).uniform(5, 4)[:2], RandomStream(3).uniform(2, 4))
    assert np.array_equal(
        RandomStream(3).permutations(5, 4)[:2], RandomStream(3).permutations(2, 4)
    )


def test_integers_and_permutations_are_even():
    counts = np.bincount(RandomStream(0).integers(7, 70_000), minlength=7)
    assert np.all(np.abs(counts - 10_000) < 500)  # five standard deviations
    firsts = np.bincount(RandomStream(0).permutations(6000, 3)[:, 0], minlength=3)
    assert np.all(np.abs(firsts - 2000) < 200)
