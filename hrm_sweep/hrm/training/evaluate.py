"""How well a model solves held-out puzzles: every row thinks until its answer is final, once."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor

from hrm_sweep.hrm.data.task import IGNORE, Batch, Task
from hrm_sweep.hrm.models.act import ACT, Carry
from hrm_sweep.hrm.training.losses import score, segment_losses
from hrm_sweep.hrm.training.metrics import Sums

TOKENS_AT_ONCE = 4096
"""Tokens of a chunk: large enough for full speed, small enough for the cache."""


class Solutions(NamedTuple):
    """What a model made of N puzzles in the segment whose answer was taken."""

    predictions: Tensor
    """[N, S], the likeliest token at each place."""
    losses: Tensor
    """[N], the total loss of that segment; 0 where nothing is scored."""
    segments: Tensor
    """[N], after how many it would halt of its own will; all of them if it never would."""


def evaluate(model: ACT, task: Task) -> dict[str, float]:
    """Metrics of the held-out puzzles, overall and of each pattern that has any.

    `eval/mode_share` is the share of scored tokens that get the single most common prediction: 1
    for a model that says the same everywhere. `eval/segments` is the mean number of segments after
    which the model would halt, whether or not it was let go on.
    """
    batch = task.eval.all()
    solutions = solve(model, batch)
    achieved = score(solutions.predictions, batch.labels)
    sums = Sums()
    real = achieved.real
    sums.add({"eval/loss": solutions.losses[real].sum().item()}, int(real.sum()))
    sums.add({"eval/segments": solutions.segments[real].sum().item()}, int(real.sum()))
    for name, figure in task.extra_metrics(batch.inputs, solutions.predictions).items():
        sums.add({f"eval/{name}": figure[real].sum().item()}, int(real.sum()))
    groups = {"": real}
    for number, pattern in enumerate(task.patterns):
        groups[f"/{pattern}"] = real & (batch.patterns == number)
    for suffix, rows in groups.items():
        right, tokens = achieved.right[rows].sum().item(), achieved.tokens[rows].sum().item()
        sums.add({f"eval/token_accuracy{suffix}": right}, tokens)
        exact = achieved.exact[rows].sum().item()
        sums.add({f"eval/exact_match{suffix}": exact}, int(rows.sum()))
    said = solutions.predictions[batch.labels != IGNORE]
    sums.add({"eval/mode_share": said.bincount().max().item()}, len(said))
    return sums.means()


def solve(model: ACT, batch: Batch) -> Solutions:
    """Lets every row think until its answer is final (`ACT.is_final`)."""
    rows = max(1, TOKENS_AT_ONCE // model.tokens)
    chunks = torch.arange(len(batch)).split(rows)
    with evaluating(model):
        parts = [_solve_chunk(model, _rows(batch, chunk)) for chunk in chunks]
    return Solutions(*(torch.cat(tensors) for tensors in zip(*parts, strict=True)))


@contextmanager
def evaluating(model: ACT) -> Iterator[None]:
    """Evaluation mode without gradients, and afterwards what was before."""
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
    )
    thinking = torch.arange(len(batch))
    carry = model.initial_carry(len(batch))
    while len(thinking):
        carry, thought = model(carry, batch.inputs, batch.identifiers)
        predictions = thought.logits.argmax(dim=-1)
        achieved = score(predictions, batch.labels)
        losses = segment_losses(thought, batch.labels, achieved, loss=model.loss)
        first_wish = (carry.halted | model.would_halt(thought)) & (found.segments[thinking] == 0)
        found.segments[thinking[first_wish]] = carry.steps[first_wish]
        done = model.is_final(carry, thought)
        places = thinking[done]
        found.predictions[places] = predictions[done]
        found.losses[places] = losses.total[done]
        going_on = (~done).nonzero().squeeze(-1)
        thinking, batch = thinking[going_on], _rows(batch, going_on)
        carry = Carry(
            tuple(model.rows(state, going_on) for state in carry.states),
            carry.steps[going_on],
            carry.halted[going_on],
        )
    return found


def _rows(batch: Batch, indices: Tensor) -> Batch:
    return Batch(
        inputs=batch.inputs[indices],
        labels=batch.labels[indices],
        identifiers=batch.identifiers[indices],
        patterns=batch.patterns[indices],
    )


def examples(model: ACT, task: Task, *, per_pattern: int) -> list[dict[str, Any]]:
    """The first held-out puzzles of each pattern, for the picture: JSON values.

    Each has `pattern`, and `input`, `truth`, `prediction` and `scored` as rows of numbers (see
    `Task.picture`); nothing is predicted where nothing is scored.
    """
    chosen = [
        (task.eval.patterns == number).nonzero().squeeze(-1)[:per_pattern]
        for number in range(len(task.patterns))
    ]
    batch = task.eval.take(torch.cat(chosen))
    scored = batch.labels != IGNORE
    predictions = solve(model, batch).predictions.where(scored, IGNORE)
    return [
        {
            "pattern": task.patterns[int(batch.patterns[row])],
            "input": task.picture(batch.inputs[row]).tolist(),
            "truth": task.picture(batch.labels[row]).tolist(),
            "prediction": task.picture(predictions[row]).tolist(),
            "scored": scored[row].long().reshape(task.shape).tolist(),
        }
        for row in range(len(batch))
    ]
