"""What training minimises, row by row, so that rows with nothing to score can be left out."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional

from hrm_sweep.hrm.data.task import IGNORE
from hrm_sweep.hrm.models.act import Thought


class Losses(NamedTuple):
    """Losses of one segment, each [B]; 0 where a row has nothing to score."""

    total: Tensor
    """lm + (q_halt + q_continue) / 2, as published."""
    lm: Tensor
    """Mean over the row's scored tokens."""
    q_halt: Tensor
    """Of "the answer is right", for a model with a halting head."""
    q_continue: Tensor
    """Against the bootstrapped target, where Q-learning gives one."""
    padding: Tensor
    """What the published code adds for a row with nothing to score, which it takes for solved: half
    of both halting losses. 0 where a row has something to score."""


class Score(NamedTuple):
    """How right one segment's answer is, each [B]."""

    tokens: Tensor
    """Scored tokens of the row."""
    right: Tensor
    """Those that are right."""

    @property
    def real(self) -> Tensor:
        """Whether the row has anything to score; the others never count."""
        return self.tokens > 0

    @property
    def exact(self) -> Tensor:
        """Whether a real row is right in all of it."""
        return (self.right == self.tokens) & self.real


def score(predictions_BS: Tensor, labels_BS: Tensor) -> Score:
    """Counts the predicted tokens that are right, where there is a label."""
    scored = labels_BS != IGNORE
    return Score(scored.sum(dim=-1), ((predictions_BS == labels_BS) & scored).sum(dim=-1))


def segment_losses(thought: Thought, labels_BS: Tensor, achieved: Score, *, loss: str) -> Losses:
    """The losses of `thought`; `achieved` tells the halting head what it should have known."""
    tokens = token_losses(thought.logits, labels_BS, loss).sum(dim=-1)
    lm = tokens / achieved.tokens.clamp_min(1)
    real = achieved.real.to(lm.dtype)
    q_halt = q_continue = torch.zeros_like(lm)
    if thought.q_halt is not None:
        solved = achieved.right == achieved.tokens
        q_halt = _bce(thought.q_halt, solved.to(lm.dtype))
    if thought.q_continue is not None and thought.target_q_continue is not None:
        q_continue = _bce(thought.q_continue, thought.target_q_continue)
    halting = 0.5 * (q_halt + q_continue)
    return Losses(lm + real * halting, lm, real * q_halt, real * q_continue, (1 - real) * halting)


def token_losses(logits_BSV: Tensor, labels_BS: Tensor, loss: str) -> Tensor:
    """Minus the log probability of every label, [B, S]; 0 where the label is IGNORE.

    `loss` is `softmax`, or `stablemax` (arXiv:2501.04697, definition 5), in which s(x) takes the
    place of exp(x).
    """
    scored_BS = labels_BS != IGNORE
    places_BS1 = labels_BS.where(scored_BS, 0).unsqueeze(-1)
    if loss == "softmax":
        losses_BS1 = -functional.log_softmax(logits_BSV, dim=-1).gather(-1, places_BS1)
    else:
        losses_BS1 = _Stablemax.apply(logits_BSV, places_BS1)
    return losses_BS1.squeeze(-1).where(scored_BS, 0.0)


def stablemax_weights(x: Tensor) -> Tensor:
    """s(x) = x + 1 from 0 up, 1 / (1 - x) below; no overflow."""
    return x.clamp_min(0).add_(x.clamp_max(0).neg_().add_(1).reciprocal_())


class _Stablemax(torch.autograd.Function):
    """-log(s(x_y) / sum of s(x)) of logits [..., V] and places y, [..., 1], with its slope found on
    the way: left to autograd, it is a tenth of a small model's training step."""

    @staticmethod
    def forward(ctx: Any, logits: Tensor, places: Tensor) -> Tensor:
        weights = stablemax_weights(logits)
        total, chosen = weights.sum(dim=-1, keepdim=True), weights.gather(-1, places)
        slope = weights.clamp_max_(1).square_()  # of s: 1 from 0 up, s² below
        at_place = slope.gather(-1, places).div_(chosen).neg_()
        ctx.save_for_backward(slope.div_(total).scatter_add_(-1, places, at_place))
        return total.log_().sub_(chosen.log_())

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        (slope,) = ctx.saved_tensors
        return slope * grad, None


def _bce(logits: Tensor, targets: Tensor) -> Tensor:
    return functional.binary_cross_entropy_with_logits(logits, targets, reduction="none")
