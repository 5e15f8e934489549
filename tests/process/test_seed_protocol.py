"""`experiment=seed_protocol`: the original experiment, counted as its report did, and truly."""

from __future__ import annotations

from functools import cache

import hydra
import pytest
import torch
from small import hrm_config, small_task

from hrm_sweep.hrm import config
from hrm_sweep.hrm.models.build import build_model
from hrm_sweep.hrm.train import make_trainer
from hrm_sweep.hrm.training.batching import EpochBatching
from hrm_sweep.hrm.training.losses import score_predictions, segment_losses
from hrm_sweep.hrm.training.metrics import MeanMetrics

SEEDS = [pytest.param(seed, marks=[pytest.mark.slow] * (seed > 0)) for seed in range(10)]


@cache
def history(seed: int) -> list[dict[str, float]]:
    config.register_resolvers()
    with hydra.initialize_config_dir(str(config.CONF), version_base="1.3"):
        built = config.build(hydra.compose("config", ["experiment=seed_protocol", f"seed={seed}"]))
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


@pytest.mark.slow
def test_on_average_the_curves_start_and_end_where_those_of_the_report_did():
    first = [history(seed)[0]["reported/loss"] for seed in range(10)]
    assert 5.2 < sum(first) / 10 < 5.9
    best = [max(values["reported/token_accuracy"] for values in history(s)) for s in range(10)]
    assert 0.7 < sum(best) / 10 < 0.9


def test_a_row_keeps_its_puzzle_from_batch_to_batch_until_it_halts():
    task = small_task(num_puzzles=5)
    rows = EpochBatching(task, rows=2)
    rows.start(1)
    first, second, last = task.batches(1, 2)
    assert rows.fill()
    assert torch.equal(rows.batch.inputs, first.inputs)
    rows.release(torch.tensor([False, True]), score_predictions(first.labels, first.labels))
    assert rows.fill()
    assert torch.equal(rows.batch.inputs, torch.stack([first.inputs[0], second.inputs[1]]))
    rows.release(torch.tensor([False, False]), score_predictions(first.labels, first.labels))
    assert rows.fill()
    assert torch.equal(rows.batch.inputs, torch.stack([first.inputs[0], second.inputs[1]]))
    assert (rows.num_drawn, rows.share_drawn) == (5, 1)
    assert not rows.fill()
    rows.start(2)
    rows.release(torch.tensor([True, True]), score_predictions(last.labels, last.labels))
    assert rows.fill()
    assert torch.equal(rows.batch.inputs, next(task.batches(2, 2)).inputs)


def test_both_ways_of_counting_by_hand():
    task = small_task(num_puzzles=1)
    torch.manual_seed(0)
    model = build_model(hrm_config(loss="softmax"), task).train()
    rows = EpochBatching(task, rows=3)
    rows.start(1)
    rows.fill()
    labels = rows.batch.labels
    _, output = model(model.initial_carry(3), rows.batch.inputs, rows.batch.identifiers)
    score = score_predictions(output.logits.argmax(dim=-1), labels)
    losses = segment_losses(output, labels, score, loss="softmax")
    metrics = MeanMetrics()
    rows.release(torch.tensor([False, False, False]), score)
    rows.add_metrics(metrics, losses, score)
    means = metrics.means()
    target = output.target_q_continue
    bce = torch.nn.functional.binary_cross_entropy_with_logits
    halting = [
        0.5 * bce(output.q_halt[row], torch.tensor(float(row > 0)))
        + 0.5 * bce(output.q_continue[row], target[row])
        for row in range(3)
    ]
    lm = torch.nn.functional.cross_entropy(output.logits[0], labels[0])  # IGNORE is its default
    true, padding = (lm + halting[0]).item(), (halting[1] + halting[2]).item()
    assert means["train/loss"] == pytest.approx(true, rel=1e-5)
    assert means["reported/loss"] == pytest.approx(true + padding, rel=1e-5)
    assert means["reported/padding_share_of_loss"] == pytest.approx(padding / (true + padding))
    assert (means["train/exact_match"], means["reported/exact_match"]) == (0, pytest.approx(2 / 3))
    assert means["train/token_accuracy"] == means["reported/token_accuracy"]
    torch.testing.assert_close(rows.training_loss(losses).sum().item(), true + padding)
