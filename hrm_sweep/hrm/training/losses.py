"""Losses and accuracy of a segment, row by row, so that rows without labels can be left out."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional

from hrm_sweep.hrm.backends.backend import Backend, ReadoutWeights
from hrm_sweep.hrm.data.tokens import IGNORE
from hrm_sweep.hrm.models.act import ACT, Segment, SegmentOutput
from hrm_sweep.hrm.models.cores import RecursiveCore


class Losses(NamedTuple):
    """Losses of one segment, each [B]; 0 where a row has no labels."""

    total: Tensor
    """lm + (q_halt + q_continue) / 2, as published."""
    padding: Tensor
    """Loss that the published code adds for a row without labels, which it counts as solved: half
    of both halting losses. 0 where a row has labels."""
    lm: Tensor
    """Mean token loss over the row's labels."""
    q_halt: Tensor
    """Binary cross entropy of q_halt with "the answer is correct"; 0 without a halting head."""
    q_continue: Tensor
    """Binary cross entropy of q_continue with its bootstrapped target; 0 without Q-learning."""


class Score(NamedTuple):
    """Number of labels and of correct predictions of one segment's answer, each [B]."""

    tokens: Tensor
    """Tokens of the row that have a label."""
    correct: Tensor
    """Those of them that are predicted correctly."""

    @property
    def has_labels(self) -> Tensor:
        """[B], whether the row has any label; rows without one count in no metric."""
        return self.tokens > 0

    @property
    def accuracy(self) -> Tensor:
        """[B], share of the row's labels that are predicted correctly; 0 without any."""
        return self.correct / self.tokens.clamp_min(1)

    @property
    def exact(self) -> Tensor:
        """[B], whether a row has labels and all are predicted correctly."""
        return (self.correct == self.tokens) & self.has_labels


class TrainingLosses:
    """Losses and score of the segments of a training, by a kernel of the backend if it has one."""

    def __init__(self, model: ACT, backend: Backend, threads: int) -> None:
        self._model, core = model, model.inner
        weights = ReadoutWeights(core.lm_head.weight)
        if isinstance(core, RecursiveCore):
            weights = weights._replace(q=core.q_head.weight, q_bias=core.q_head.bias)
        self._kernel = backend.readout(weights, model.tokens, model.loss, threads)

    def __call__(self, segment: Segment, labels_BS: Tensor) -> tuple[Losses, Score]:
        """Return both, each [B]; the losses `total` and `padding` are differentiable."""
        if self._kernel is None:
            output = self._model.output(segment)
            score = score_predictions(output.logits.argmax(dim=-1), labels_BS)
            return segment_losses(output, labels_BS, score, loss=self._model.loss), score
        *losses, tokens, correct = self._kernel(
            segment.answer, labels_BS, segment.target_q_continue
        )
        return Losses(*losses), Score(tokens, correct)


def score_predictions(predictions_BS: Tensor, labels_BS: Tensor) -> Score:
    """Count the labels of each row and the predictions that match them."""
    labelled = labels_BS != IGNORE
    return Score(labelled.sum(dim=-1), ((predictions_BS == labels_BS) & labelled).sum(dim=-1))


def segment_losses(output: SegmentOutput, labels_BS: Tensor, score: Score, *, loss: str) -> Losses:
    """Return the losses of a segment.

    Args:
        output: from `ACT`, in training or in evaluation.
        labels_BS: tokens, or IGNORE.
        score: of the predictions of this segment: the target of the halting head.
        loss: `model.loss`, see `token_losses`.
    """
    tokens = token_losses(output.logits, labels_BS, loss).sum(dim=-1)
    lm = tokens / score.tokens.clamp_min(1)
    has_labels = score.has_labels.to(lm.dtype)
    q_halt = q_continue = torch.zeros_like(lm)
    if output.q_halt is not None:
        solved = score.correct == score.tokens
        q_halt = _bce(output.q_halt, solved.to(lm.dtype))
    if output.q_continue is not None and output.target_q_continue is not None:
        q_continue = _bce(output.q_continue, output.target_q_continue)
    halting = 0.5 * (q_halt + q_continue)
    return Losses(
        total=lm + has_labels * halting,
        lm=lm,
        q_halt=has_labels * q_halt,
        q_continue=has_labels * q_continue,
        padding=(1 - has_labels) * halting,
    )


def token_losses(logits_BSV: Tensor, labels_BS: Tensor, loss: str) -> Tensor:
    """Return the negative log probability of every label, [B, S]; 0 where the label is IGNORE.

    `loss` is `softmax`, or `stablemax` (arXiv:2501.04697, definition 5), in which s(x) replaces
    exp(x).
    """
    labelled_BS = labels_BS != IGNORE
    targets_BS1 = labels_BS.where(labelled_BS, 0).unsqueeze(-1)
    if loss == "softmax":
        losses_BS1 = -functional.log_softmax(logits_BSV, dim=-1).gather(-1, targets_BS1)
    else:
        losses_BS1 = _Stablemax.apply(logits_BSV, targets_BS1)
    return losses_BS1.squeeze(-1).where(labelled_BS, 0.0)


def stablemax_weights(x: Tensor) -> Tensor:
    """Return s(x) = x + 1 for x >= 0 and 1 / (1 - x) for x < 0, which cannot overflow."""
    return x.clamp_min(0).add_(x.clamp_max(0).neg_().add_(1).reciprocal_())


class _Stablemax(torch.autograd.Function):
    """-log(s(x_y) / sum of s(x)) of logits [..., V] and targets y [..., 1].

    The forward pass computes the gradient too: autograd's own took a tenth of a small model's
    training step.
    """

    @staticmethod
    def forward(ctx: Any, logits: Tensor, targets: Tensor) -> Tensor:
        weights = stablemax_weights(logits)
        total, chosen = weights.sum(dim=-1, keepdim=True), weights.gather(-1, targets)
        slope = weights.clamp_max_(1).square_()  # ds/dx: 1 for x >= 0, s² below
        at_target = slope.gather(-1, targets).div_(chosen).neg_()
        ctx.save_for_backward(slope.div_(total).scatter_add_(-1, targets, at_target))
        return total.log_().sub_(chosen.log_())

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_out: Tensor) -> tuple[Tensor, None]:
        (grad,) = ctx.saved_tensors
        return grad * grad_out, None


def _bce(logits: Tensor, targets: Tensor) -> Tensor:
    return functional.binary_cross_entropy_with_logits(logits, targets, reduction="none")
