from __future__ import annotations

import math

import pytest
import torch

from hrm_sweep.hrm.models.act import SegmentOutput
from hrm_sweep.hrm.training.losses import (
    IGNORE,
    Score,
    score_predictions,
    segment_losses,
    stablemax_weights,
    token_losses,
)


def test_stablemax_is_its_definition():
    logits = torch.tensor([-3.0, -0.5, 0.0, 1.0, 4.0], requires_grad=True)
    weights = [1 / 4, 1 / 1.5, 1.0, 2.0, 5.0]
    torch.testing.assert_close(stablemax_weights(logits), torch.tensor(weights))
    losses = token_losses(logits.expand(1, 5, 5), torch.arange(5).view(1, 5), "stablemax")
    expected = [-math.log(weight / sum(weights)) for weight in weights]
    torch.testing.assert_close(losses, torch.tensor([expected]))
    losses.sum().backward()
    assert logits.grad.isfinite().all()


@pytest.mark.parametrize("loss", ["softmax", "stablemax"])
def test_the_gradient_of_a_loss_is_its_slope(loss):
    torch.manual_seed(0)
    logits = (3 * torch.randn(2, 3, 7, dtype=torch.float64)).requires_grad_()
    labels = torch.randint(7, (2, 3))
    assert torch.autograd.gradcheck(lambda x: token_losses(x, labels, loss), logits)


def test_stablemax_survives_what_softmax_would_overflow_at():
    logits = torch.tensor([[[1e30, -1e30, 1.0]]], requires_grad=True)
    loss = token_losses(logits, torch.tensor([[1]]), "stablemax")
    loss.sum().backward()
    assert loss.isfinite().all()
    assert logits.grad.isfinite().all()


def test_softmax_is_cross_entropy():
    torch.manual_seed(0)
    logits, labels = torch.randn(2, 3, 7), torch.randint(7, (2, 3))
    expected = torch.nn.functional.cross_entropy(
        logits.flatten(0, 1), labels.flatten(), reduction="none"
    )
    torch.testing.assert_close(token_losses(logits, labels, "softmax").flatten(), expected)


@pytest.mark.parametrize("loss", ["softmax", "stablemax"])
def test_ignored_tokens_cost_nothing_and_pull_at_nothing(loss):
    logits = torch.randn(1, 2, 4, requires_grad=True)
    losses = token_losses(logits, torch.tensor([[IGNORE, 2]]), loss)
    losses.sum().backward()
    assert losses[0, 0] == 0
    assert not logits.grad[0, 0].any()
    assert logits.grad[0, 1].all()


def test_the_score_counts_what_is_scored():
    labels = torch.tensor([[3, 4, IGNORE], [3, 4, 5], [IGNORE] * 3])
    predictions = torch.tensor([[3, 4, 0], [3, 4, 4], [1, 1, 1]])
    found = score_predictions(predictions, labels)
    assert found.tokens.tolist() == [2, 3, 0]
    assert found.correct.tolist() == [2, 2, 0]
    assert found.exact.tolist() == [True, False, False]
    assert found.has_labels.tolist() == [True, True, False]


def test_a_segment_costs_token_loss_and_half_of_both_halting_losses():
    labels = torch.tensor([[1, IGNORE], [0, 1], [IGNORE, IGNORE]])
    output = SegmentOutput(
        torch.zeros(3, 2, 4),
        q_halt=torch.tensor([0.0, 2.0, 7.0]),
        q_continue=torch.tensor([1.0, 0.0, 7.0]),
        target_q_continue=torch.tensor([0.25, 0.5, 0.5]),
    )
    score = Score(torch.tensor([1, 2, 0]), torch.tensor([1, 1, 0]))
    losses = segment_losses(output, labels, score, loss="softmax")
    halt = [math.log(2), math.log(1 + math.exp(2)), 0]
    go_on = [math.log(1 + math.e) - 0.25, math.log(2), 0]
    torch.testing.assert_close(losses.lm, torch.tensor([math.log(4), math.log(4), 0]))
    torch.testing.assert_close(losses.q_halt, torch.tensor(halt))
    torch.testing.assert_close(losses.q_continue, torch.tensor(go_on))
    torch.testing.assert_close(losses.total, losses.lm + (losses.q_halt + losses.q_continue) / 2)
    taken_for_solved = math.log(1 + math.exp(-7)), math.log(1 + math.exp(7)) - 0.5 * 7
    torch.testing.assert_close(losses.padding, torch.tensor([0, 0, sum(taken_for_solved) / 2]))


def test_a_model_without_halting_pays_for_tokens_alone():
    output = SegmentOutput(torch.zeros(1, 2, 4))
    labels = torch.tensor([[1, 2]])
    losses = segment_losses(output, labels, score_predictions(labels, labels), loss="stablemax")
    torch.testing.assert_close(losses.total, torch.tensor([math.log(4)]))
    assert losses.q_halt.tolist() == [0]
