from __future__ import annotations

import pytest
from small import trainer_config

from hrm_sweep.errors import ConfigError
from hrm_sweep.hrm.training.best import BestEpoch
from hrm_sweep.hrm.training.configs import EarlyStoppingConfig
from hrm_sweep.hrm.training.metrics import MeanMetrics, lower_is_better


def test_means_are_sums_divided_once():
    metrics = MeanMetrics()
    metrics.add({"loss": 6.0, "right": 1}, count=4)
    metrics.add({"loss": 1.0, "right": 1}, count=1)
    assert metrics.means() == {"loss": 7 / 5, "right": 2 / 5}


def test_a_mean_over_nothing_is_left_out():
    metrics = MeanMetrics()
    metrics.add({"exact_match": 0.0}, count=0)
    metrics.add({"loss": 0.0}, count=2)
    assert metrics.means() == {"loss": 0.0}


@pytest.mark.parametrize(
    ("metric", "lower"),
    [
        pytest.param("eval/loss", True, id="loss"),
        pytest.param("eval/segments", True, id="segments"),
        pytest.param("eval/exact_match", False, id="exact match"),
        pytest.param("eval/exact_match/copy", False, id="of a pattern"),
        pytest.param("eval/validity", False, id="of a task"),
    ],
)
def test_which_way_a_metric_is_better(metric, lower):
    assert lower_is_better(metric) is lower


def best_of(values: list[tuple[float, float]], **changes) -> BestEpoch:
    best = BestEpoch(trainer_config(**changes))
    for epoch, (exact, loss) in enumerate(values, start=1):
        best.update(epoch, {"eval/exact_match": exact, "eval/loss": loss})
    return best


@pytest.mark.parametrize(
    ("values", "monitor", "epoch"),
    [
        pytest.param([(0.1, 1), (0.3, 2), (0.2, 0)], "eval/exact_match", 2, id="highest"),
        pytest.param([(0.3, 1), (0.3, 0.5), (0.3, 0.7)], "eval/exact_match", 2, id="tie: loss"),
        pytest.param([(0.3, 1), (0.3, 1)], "eval/exact_match", 1, id="tie: the earlier"),
        pytest.param([(0.3, 1), (0.2, 0.5), (0.9, 2)], "eval/loss", 2, id="lowest loss"),
    ],
)
def test_the_best_epoch(values, monitor, epoch):
    best = best_of(values, monitor=monitor)
    assert best.epoch == epoch
    assert best.values["eval/loss"] == values[epoch - 1][1]


@pytest.mark.parametrize(
    ("exact", "patience", "min_improvement", "over"),
    [
        pytest.param([0.1, 0.1, 0.1], None, 0.0, False, id="no patience asked for"),
        pytest.param([0.1, 0.1, 0.1], 2, 0.0, True, id="two epochs without"),
        pytest.param([0.1, 0.1, 0.2], 2, 0.0, False, id="just in time"),
        pytest.param([0.1, 0.2, 0.3], 2, 0.5, True, id="improvements too small"),
        pytest.param([0.1, 0.3, 0.5], 2, 0.15, False, id="large enough"),
        pytest.param([0.5, 0.4, 0.6, 0.6], 2, 0.0, False, id="waiting starts anew"),
    ],
)
def test_patience(exact, patience, min_improvement, over):
    stopping = EarlyStoppingConfig(patience=patience, min_improvement=min_improvement)
    best = best_of([(value, 1.0) for value in exact], early_stopping=stopping)
    assert best.should_stop is over


def test_a_metric_that_is_not_measured_is_said():
    with pytest.raises(ConfigError) as error:
        best_of([(0.1, 1.0)], monitor="eval/exact_mach")
    assert str(error.value) == (
        "monitor=eval/exact_mach: is not measured; choose from eval/exact_match, eval/loss"
    )
