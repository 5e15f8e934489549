"""`experiment=seed_protocol`: the original experiment, counted as its report did, and truly."""

from __future__ import annotations

from functools import cache

import pytest
from composed import composed

from hrm_sweep.hrm.train import make_trainer

SEEDS = range(10)


@cache
def history(seed: int) -> list[dict[str, float]]:
    built = composed("experiment=seed_protocol", f"seed={seed}")
    return [measurement.values for measurement in make_trainer(built).epochs()]


@pytest.mark.parametrize("seed", SEEDS)
def test_the_report_saw_half_solved_where_nothing_was(seed):
    epochs = history(seed)
    assert len(epochs) == 20
    assert [values["reported/exact_match"] for values in epochs] == [0.5] * 20
    for name in ("train/exact_match", "eval/exact_match", "eval/exact_match/increment"):
        assert [values[name] for values in epochs] == [0] * 20, name


@pytest.mark.parametrize("seed", SEEDS)
def test_the_curves_are_those_of_the_report(seed):
    losses = [values["reported/loss"] for values in history(seed)]
    # untrained: log(12) and half the variance of the logits, 2.5 for the padding row, and chance
    assert 4.9 < losses[0] < 6.1
    assert min(losses) <= 0.65 * losses[0]
    assert max(values["reported/token_accuracy"] for values in history(seed)) >= 0.6


@pytest.mark.parametrize("seed", SEEDS)
def test_most_of_the_lowest_loss_is_the_padding_row(seed):
    lowest = min(history(seed), key=lambda values: values["reported/loss"])
    padding = lowest["reported/loss"] - lowest["train/loss"]
    share = lowest["reported/padding_share_of_loss"]
    assert share == pytest.approx(padding / lowest["reported/loss"], rel=1e-5)
    assert 0.6 < share < 0.85


def test_on_average_the_curves_start_and_end_where_those_of_the_report_did():
    first = [history(seed)[0]["reported/loss"] for seed in range(10)]
    assert 5.2 < sum(first) / 10 < 5.9
    best = [max(values["reported/token_accuracy"] for values in history(s)) for s in range(10)]
    assert 0.7 < sum(best) / 10 < 0.9
