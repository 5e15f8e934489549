"""Batches of the seed protocol, and both ways of counting their metrics by hand."""

from __future__ import annotations

import pytest
import torch
from small import hrm_config, small_task

from hrm_sweep.hrm.models.build import build_model
from hrm_sweep.hrm.training.batching import PaddedBatching
from hrm_sweep.hrm.training.losses import score_predictions, segment_losses
from hrm_sweep.hrm.training.metrics import MeanMetrics


def test_a_row_keeps_its_puzzle_from_batch_to_batch_until_it_halts():
    task = small_task(num_puzzles=5)
    rows = PaddedBatching(task, rows=2)
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
    rows = PaddedBatching(task, rows=3)
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
