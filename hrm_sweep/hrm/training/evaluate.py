"""Evaluation on held-out puzzles: every row runs segments until its answer is final, once."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor

from hrm_sweep.hrm.data.task import Answers, Batch, Task
from hrm_sweep.hrm.data.tokens import IGNORE
from hrm_sweep.hrm.models.act import ACT, Carry
from hrm_sweep.hrm.training.losses import score_predictions, segment_losses
from hrm_sweep.hrm.training.metrics import MeanMetrics
from hrm_sweep.hrm.training.phases import phase_of

TOKENS_AT_ONCE = 4096
"""Tokens of a chunk: large enough for full speed, small enough for the cache."""


class Solutions(NamedTuple):
    """The answers to N puzzles, from the segments after which they were final."""

    predictions: Tensor
    """[N, S], the most likely token at each position."""
    losses: Tensor
    """[N], the total loss of that segment; 0 where a puzzle has no labels."""
    segments: Tensor
    """[N], number of segments after which the model would halt; the maximum if it never would."""
    confidence: Tensor
    """[N], probability, 0 to 1, that the halting head gives the answer; 0.5 without such a head."""


def evaluate(model: ACT, task: Task) -> dict[str, float]:
    """Return the metrics of the held-out puzzles, overall and for each of their patterns.

    `eval/mode_share` is the share of the single most common prediction among all labels: 1 for a
    model that predicts the same token everywhere. `eval/token_accuracy` is a mean over labels,
    `eval/token_accuracy_per_puzzle`, as published, one over puzzles. `eval/segments` is the mean
    number of segments after which the model would halt, whether or not it was stopped there.
    `eval/phase` is that of `phases`.
    """
    batch = task.eval.all()
    solutions = solve(model, batch)
    score = score_predictions(solutions.predictions, batch.labels)
    metrics, rows = MeanMetrics(), score.has_labels
    per_row = {
        "loss": solutions.losses,
        "segments": solutions.segments,
        "token_accuracy_per_puzzle": score.accuracy,
    }
    for name, values in {
        **per_row,
        **task.extra_metrics(batch.inputs, solutions.predictions),
    }.items():
        metrics.add({f"eval/{name}": values[rows].sum().item()}, int(rows.sum()))
    groups = {"": rows}
    for number, pattern in enumerate(task.patterns):
        groups[f"/{pattern}"] = rows & (batch.patterns == number)
    for suffix, members in groups.items():
        correct, tokens = score.correct[members].sum().item(), score.tokens[members].sum().item()
        metrics.add({f"eval/token_accuracy{suffix}": correct}, tokens)
        exact = score.exact[members].sum().item()
        metrics.add({f"eval/exact_match{suffix}": exact}, int(members.sum()))
    labelled = solutions.predictions[batch.labels != IGNORE]
    metrics.add({"eval/mode_share": labelled.bincount().max().item()}, len(labelled))
    votes = task.votes(Answers(batch, solutions.predictions, solutions.confidence))
    means = metrics.means()
    means["eval/phase"] = float(phase_of(means))
    return means | {f"eval/{name}": value for name, value in votes.items()}


def other_halting(model: ACT, task: Task) -> dict[str, float]:
    """Return the held-out exact match under the value of `eval_halting` that was not chosen.

    Its name is `eval/exact_match_early` or `eval/exact_match_never`. Nothing is returned if there
    is no difference: without a halting head, or with a single segment.
    """
    if model.halting is None or model.eval_max_steps == 1:
        return {}
    chosen = model.eval_halting
    model.eval_halting = other = "never" if chosen == "early" else "early"
    try:
        batch = task.eval.all()
        score = score_predictions(solve(model, batch).predictions, batch.labels)
    finally:
        model.eval_halting = chosen
    share = score.exact.sum().item() / int(score.has_labels.sum())
    return {f"eval/exact_match_{other}": share}


def submission(model: ACT, task: Task) -> dict[str, Any] | None:
    """Return the content of the task's submission file; None: it has none."""
    if not task.has_submission:
        return None
    batch = task.eval.all()
    solutions = solve(model, batch)
    return task.submission(Answers(batch, solutions.predictions, solutions.confidence))


def solve(model: ACT, batch: Batch) -> Solutions:
    """Run segments on every row until its answer is final (`ACT.is_final`)."""
    rows = max(1, TOKENS_AT_ONCE // model.tokens)
    chunks = torch.arange(len(batch)).split(rows)
    with eval_mode(model):
        parts = [_solve_chunk(model, batch.take(chunk)) for chunk in chunks]
    return Solutions(*(torch.cat(tensors) for tensors in zip(*parts, strict=True)))


@contextmanager
def eval_mode(model: ACT) -> Iterator[None]:
    """Switch to evaluation mode without gradients inside the context."""
    training = model.training
    model.eval()
    try:
        with torch.inference_mode():
            yield
    finally:
        model.train(training)


def _solve_chunk(model: ACT, batch: Batch) -> Solutions:
    found = Solutions(
        torch.zeros_like(batch.labels),
        torch.zeros(len(batch)),
        torch.zeros(len(batch), dtype=torch.int64),
        torch.full((len(batch),), 0.5),
    )
    rows = torch.arange(len(batch))  # of `found`, for each row of the batch, which shrinks
    carry = model.initial_carry(len(batch))
    while len(rows):
        carry, segment = model.segment(carry, batch.inputs, batch.identifiers)
        output = model.output(segment)
        predictions = output.logits.argmax(dim=-1)
        score = score_predictions(predictions, batch.labels)
        losses = segment_losses(output, batch.labels, score, loss=model.loss)
        first_halt = (carry.halted | model.would_halt(segment)) & (found.segments[rows] == 0)
        found.segments[rows[first_halt]] = carry.steps[first_halt]
        final = model.is_final(carry, segment)
        found.predictions[rows[final]] = predictions[final]
        if output.q_halt is not None:
            found.confidence[rows[final]] = output.q_halt[final].sigmoid()
        found.losses[rows[final]] = losses.total[final]
        remaining = (~final).nonzero().squeeze(-1)
        rows, batch = rows[remaining], batch.take(remaining)
        carry = Carry(
            tuple(model.select_rows(state, remaining) for state in carry.states),
            carry.steps[remaining],
            carry.halted[remaining],
        )
    return found


def examples(model: ACT, task: Task, *, per_pattern: int) -> list[dict[str, Any]]:
    """Return the first held-out puzzles of each pattern as JSON values, for the picture.

    Each has `pattern`, and `input`, `truth`, `prediction` and `scored` as rows of numbers (see
    `Task.picture`); positions without a label have no prediction.
    """
    chosen = [
        (task.eval.patterns == number).nonzero().squeeze(-1)[:per_pattern]
        for number in range(len(task.patterns))
    ]
    batch = task.eval.take(torch.cat(chosen))
    labelled = batch.labels != IGNORE
    predictions = solve(model, batch).predictions.where(labelled, IGNORE)
    return [
        {
            "pattern": task.patterns[int(batch.patterns[row])],
            "input": task.picture(batch.inputs[row]).tolist(),
            "truth": task.picture(batch.labels[row]).tolist(),
            "prediction": task.picture(predictions[row]).tolist(),
            "scored": labelled[row].long().reshape(task.shape).tolist(),
        }
        for row in range(len(batch))
    ]
