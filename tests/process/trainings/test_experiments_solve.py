"""The recipes in conf/experiment reach the scores that they promise."""

from __future__ import annotations

import pytest
from composed import composed

from hrm_sweep.hrm import config
from hrm_sweep.hrm.train import make_trainer


def best(built: config.Config) -> dict[str, float]:
    """What the best epoch measured."""
    trainer = make_trainer(built)
    assert list(trainer.epochs())
    return trainer.best.values


def test_small_sudokus_are_solved():
    assert best(composed("experiment=sudoku_4x4"))["eval/exact_match"] >= 0.98


def test_larger_sudokus_are_mostly_solved_after_a_quarter_of_their_training():
    built = composed("experiment=sudoku_6x6", "epochs=6", "data.num_eval_puzzles=250")
    assert best(built)["eval/exact_match"] >= 0.85


@pytest.mark.parametrize("seed", range(5))
def test_copy_and_increment_are_solved(seed):
    values = best(composed("experiment=copy_increment", f"seed={seed}"))
    for pattern in ("copy", "increment"):
        assert values[f"eval/exact_match/{pattern}"] >= 511 / 512


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_the_first_study_tells_its_learning_rates_apart(precision):
    rates = ("1e-4", "5e-4", "1e-3")
    built = (composed(f"lr={rate}", f"trainer.precision={precision}") for rate in rates)
    low, middle, high = (best(config)["eval/exact_match"] for config in built)
    assert low + 0.3 < min(middle, high)
    assert middle != high  # which of them is better depends on the seed, and on the CPU's sums
    assert max(middle, high) < 1
