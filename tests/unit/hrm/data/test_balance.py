"""`data.balance`: patterns are drawn by their measured difficulty."""

import pytest
import torch
from small import small_task
from trainings import build, composed_small

from hrm_sweep.errors import ConfigError
from hrm_sweep.hrm.data.task import Task


def task(balance: float | None, **keys) -> Task:
    return small_task(num_puzzles=40, num_eval_puzzles=4, balance=balance, **keys)


def drawn(balanced: Task, epoch: int = 2) -> list[int]:
    """Return how often an epoch draws each pattern."""
    return balanced.train.patterns[balanced.order(epoch)].bincount(minlength=2).tolist()


def solved(copy: float, increment: float) -> dict[str, float]:
    return {"train/exact_match/copy": copy, "train/exact_match/increment": increment}


@pytest.mark.parametrize(
    ("balance", "metrics", "counts"),
    [
        pytest.param(1.0, {}, [20, 20], id="before the first measurement"),
        pytest.param(1.0, solved(0.9, 0.7), [10, 30], id="a quarter and three quarters unsolved"),
        pytest.param(0.5, solved(0.9, 0.7), [15, 25], id="half way"),
        pytest.param(1.0, solved(1.0, 0.5), [0, 40], id="one pattern is solved"),
        pytest.param(1.0, solved(1.0, 1.0), [20, 20], id="all is solved"),
        pytest.param(0.0, solved(1.0, 0.5), [20, 20], id="no strength"),
        pytest.param(1.0, {"train/exact_match/copy": 0.0}, [20, 20], id="one was not trained"),
    ],
)
def test_unsolved_patterns_are_drawn_more_often(balance, metrics, counts):
    balanced = task(balance)
    balanced.observe(metrics)
    assert drawn(balanced) == counts


def test_no_puzzle_is_left_out_while_another_of_its_pattern_comes_twice():
    balanced = task(1.0)
    balanced.observe(solved(0.9, 0.7))
    times = balanced.order(2).bincount(minlength=40)
    assert times[balanced.train.patterns == 0].max() == 1
    assert set(times[balanced.train.patterns == 1].tolist()) == {1, 2}
    assert not torch.equal(balanced.order(2), balanced.order(3))


def test_without_a_key_the_order_is_as_before():
    plain, also = task(None), task(None)
    plain.observe(solved(1.0, 0.0))
    assert torch.equal(plain.order(2), also.order(2))
    assert plain.state() == {}


def test_a_curriculum_chooses_before_the_balance():
    balanced = task(1.0, curriculum={1: 0.5, 9: 1.0})
    balanced.observe(solved(0.9, 0.7))
    assert drawn(balanced) == [5, 15]


def test_a_training_measures_each_pattern_and_resumes_to_the_bit():
    whole, resumed = build(task=task(0.8), epochs=4), build(task=task(0.8), epochs=4)
    first = build(task=task(0.8), epochs=4)
    histories = [measured.values for measured in whole.epochs()]
    assert {"train/exact_match/copy", "train/exact_match/increment"} <= histories[0].keys()
    for measured in first.epochs():
        if measured.step == 2:
            break
    assert first.state()["task"]["unsolved"].keys() == {"copy", "increment"}
    resumed.load_state(first.state())
    again = [measured.values for measured in resumed.epochs()]
    timed = "time/examples_per_second"
    for ours, theirs in zip(again, histories[2:], strict=True):
        assert {**ours, timed: 0} == {**theirs, timed: 0}


def test_a_checkpoint_from_before_the_key_is_resumed():
    trainer = build(task=task(0.8), epochs=2)
    state = trainer.state()
    del state["task"]
    build(task=task(None), epochs=2).load_state(state)


@pytest.mark.parametrize("wrong", [-0.1, 1.5])
def test_a_strength_that_is_no_share_is_refused(wrong):
    with pytest.raises(ConfigError, match=r"^balance=.*: must be a share from 0 to 1"):
        small_task(balance=wrong)


def test_the_published_loader_is_refused():
    words = r"^data.balance=0.5: cannot be used with trainer.batches=published"
    with pytest.raises(ConfigError, match=words):
        composed_small("data.balance=0.5", "trainer.batches=published")
