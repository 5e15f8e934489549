"""The ten puzzles of the original experiment."""

import pytest
import torch
from omegaconf import OmegaConf
from paths import ROOT

from hrm_sweep.errors import ConfigError
from hrm_sweep.hrm.data import build_task
from hrm_sweep.hrm.data.configs import SeedConfig

YAML = ROOT / "conf" / "data" / "seed.yaml"


def config(**changes):
    tree = OmegaConf.merge(
        {"batch_size": 2, "data": OmegaConf.structured(SeedConfig)},
        {"data": OmegaConf.load(YAML)},
        {"data": changes},
    )
    OmegaConf.resolve(tree)
    return OmegaConf.to_object(tree.data)


def task_of(**changes):
    return build_task(config(**changes), seed=0)


def test_there_are_ten_puzzles_of_one_identifier():
    task = task_of()
    assert task.patterns == ("copy", "increment")
    assert task.train.patterns.tolist() == [0] * 5 + [1] * 3
    assert task.eval.patterns.tolist() == [1] * 2
    assert set(task.train.identifiers.tolist() + task.eval.identifiers.tolist()) == {1}
    assert (task.vocab_size, task.seq_len, task.num_identifiers) == (12, 900, 2)


@pytest.mark.parametrize("seed", range(20))
def test_the_puzzles_are_those_of_the_report(seed):
    task = task_of(puzzle_seed=seed)
    rows = [
        (pattern, inputs, labels)
        for puzzles in (task.train, task.eval)
        for pattern, inputs, labels in zip(
            puzzles.patterns.tolist(), puzzles.inputs.tolist(), puzzles.labels.tolist(), strict=True
        )
    ]
    for pattern, inputs, labels in rows:
        for place, (token, label) in enumerate(zip(inputs, labels, strict=True)):
            row, column = divmod(place, 30)
            if row < 5 and column < 5:
                assert 2 <= token <= (11 if pattern == 0 else 10)
                assert label == token + pattern
            elif (row < 5 and column == 5) or (row == 5 and column < 5):
                assert (token, label) == (1, 1)
            else:
                assert (token, label) == (0, -100)
        assert sum(label != -100 for label in labels) == 35


def test_copies_show_the_last_colour_in_nine_of_ten_cases_and_increments_never():
    tasks = [task_of(puzzle_seed=seed) for seed in range(100)]
    copies = [(task.train.inputs[:5] == 11).any(dim=1) for task in tasks]
    assert torch.cat(copies).float().mean() == pytest.approx(0.93, abs=0.05)


def test_an_epoch_is_one_puzzle_drawn_by_chance():
    task = task_of()
    orders = [task.order(epoch).tolist() for epoch in range(1, 401)]
    assert all(len(order) == 1 for order in orders)
    counts = torch.tensor(orders).flatten().bincount()
    assert counts.tolist() == pytest.approx([50] * 8, abs=33)  # five standard deviations
    again = task_of()
    assert orders == [again.order(epoch).tolist() for epoch in range(1, 401)]


def test_an_epoch_may_be_all_eight():
    assert sorted(task_of(sampling="all").order(1).tolist()) == list(range(8))


def test_a_batch_is_a_puzzle_and_a_padding_row():
    task = task_of()
    (batch,) = task.batches(epoch=3, rows=2)
    expected = task.train.take(task.order(3))
    assert torch.equal(batch.inputs[:1], expected.inputs)
    assert torch.equal(batch.labels[:1], expected.labels)
    assert (batch.inputs[1] == 0).all()
    assert (batch.labels[1] == -100).all()
    assert batch.identifiers.tolist() == [1, 0]


def test_all_eight_fill_four_batches_of_two():
    batches = list(task_of(sampling="all").batches(epoch=1, rows=2))
    assert [batch.identifiers.tolist() for batch in batches] == [[1, 1]] * 4
    batches = list(task_of(sampling="all").batches(epoch=1, rows=3))
    assert [batch.identifiers.tolist() for batch in batches] == [[1] * 3, [1] * 3, [1, 1, 0]]


def test_the_puzzles_and_their_order_are_the_same_for_every_seed():
    one, other = (build_task(config(), seed=seed) for seed in (0, 1))
    assert one.describe() == other.describe()
    assert [one.order(epoch).item() for epoch in range(1, 21)] == [
        other.order(epoch).item() for epoch in range(1, 21)
    ]


def test_equal_seeds_give_equal_puzzles_everywhere():
    assert task_of(puzzle_seed=1).describe()["digest"] != task_of().describe()["digest"]
    assert task_of().describe()["digest"] == "270d95d9bf4224fa"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        pytest.param({"batch_size": 0}, "batch_size=0: must be at least 1", id="batch size"),
        pytest.param({"puzzle_seed": -1}, "puzzle_seed=-1: must be at least 0", id="seed"),
        pytest.param(
            {"sampling": "one_per_grop"},
            "sampling=one_per_grop: must be one of all, one_per_group; did you mean one_per_group?",
            id="sampling",
        ),
    ],
)
def test_a_rule_names_key_value_and_way_out(changes, message):
    with pytest.raises(ConfigError) as caught:
        config(**changes)
    assert message in str(caught.value)
