"""Adaptive computation time (ACT): segments are run on a puzzle until the model halts.

HRM (arXiv:2506.21734, section 2) learns the values of halting and of continuing by Q-learning; TRM
(arXiv:2510.04871, section 4.6) predicts only whether the answer is correct.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from hrm_sweep.hrm.models.cores import Core, RecursiveCore, States


class Carry(NamedTuple):
    """The state of B rows between two segments, detached from the graph."""

    states: States
    """Flat, each [B · T, D]."""
    steps: Tensor
    """[B], number of segments that the row's puzzle has had."""
    halted: Tensor
    """[B], whether the puzzle is finished; the next segment starts with initial states."""


class Segment(NamedTuple):
    """The answer of one segment for B rows, and the decisions of the halting head, detached."""

    answer: Tensor
    """[B · T, D], the states from which logits and the halting head's values are read."""
    q_halt: Tensor | None = None
    """[B], as in `SegmentOutput`."""
    q_continue: Tensor | None = None
    """[B], as in `SegmentOutput`."""
    target_q_continue: Tensor | None = None
    """[B], as in `SegmentOutput`."""


class SegmentOutput(NamedTuple):
    """The output of one segment for B rows."""

    logits: Tensor
    """[B, S, V]."""
    q_halt: Tensor | None = None
    """[B], logit of "the answer is correct". None without a halting head."""
    q_continue: Tensor | None = None
    """[B], logit of "it will be, if the row continues". None unless it is learned."""
    target_q_continue: Tensor | None = None
    """[B], bootstrapped target of q_continue, 0 to 1. Only in training."""


class ACT(nn.Module):
    """A core with adaptive halting.

    In training a row halts after `max_steps` segments, or when its halting head says so. In
    evaluation it halts after `eval_max_steps` and not before, as published; `is_final` decides
    whether its answer is taken earlier.

    Args:
        core: The model of one segment.
        loss: `model.loss`, kept for those who compute it.
        halting: `q_learning` or `bce`; None for a core without a halting head.
        max_steps: Maximum number of segments in training.
        eval_max_steps: The same in evaluation; None: as in training.
        exploration: Probability, 0 to 1, with which a row draws a minimum number of segments.
        eval_halting: `early` or `never`, see `is_final`.
    """

    def __init__(
        self,
        core: Core,
        *,
        loss: str,
        halting: str | None = None,
        max_steps: int = 1,
        eval_max_steps: int | None = None,
        exploration: float = 0.0,
        eval_halting: str = "never",
    ) -> None:
        super().__init__()
        self.inner = core
        self.loss, self.halting = loss, halting
        self.max_steps, self.exploration = max_steps, exploration
        self.eval_max_steps = max_steps if eval_max_steps is None else eval_max_steps
        self.eval_halting = eval_halting

    @property
    def tokens(self) -> int:
        """Tokens of a row, the puzzle embedding's positions included."""
        return self.inner.layout.tokens

    def select_rows(self, state_RD: Tensor, indices: Tensor) -> Tensor:
        """Return the flat states of the rows at `indices`."""
        return state_RD.unflatten(0, (-1, self.tokens))[indices].flatten(0, 1)

    def initial_carry(self, rows: int) -> Carry:
        """Return a carry in which all rows are halted, so that the first segment resets them."""
        first = self.inner.initial_states()
        return Carry(
            tuple(state.expand(rows * self.tokens, -1) for state in first),
            steps=torch.zeros(rows, dtype=torch.int64),
            halted=torch.ones(rows, dtype=torch.bool),
        )

    def forward(
        self,
        carry: Carry,
        inputs_BS: Tensor,
        identifiers_B: Tensor,
        generator: torch.Generator | None = None,
    ) -> tuple[Carry, SegmentOutput]:
        """Run `segment`, and return its output instead of its states."""
        carry, segment = self.segment(carry, inputs_BS, identifiers_B, generator)
        return carry, self.output(segment)

    def output(self, segment: Segment) -> SegmentOutput:
        """Return logits and the halting head's values of a segment, differentiable."""
        output = SegmentOutput(
            self.inner.logits(segment.answer), target_q_continue=segment.target_q_continue
        )
        if not isinstance(self.inner, RecursiveCore):
            return output
        q_halt, q_continue = self.inner.q_values(segment.answer)
        return output._replace(q_halt=q_halt, q_continue=self._if_learned(q_continue))

    def segment(
        self,
        carry: Carry,
        inputs_BS: Tensor,
        identifiers_B: Tensor,
        generator: torch.Generator | None = None,
    ) -> tuple[Carry, Segment]:
        """Run one segment of every row; `generator` draws the exploration of halting."""
        x_RD = self.inner.embed(inputs_BS, identifiers_B)
        answer_RD, states = self.inner.run_segment(self._restarted(carry), x_RD)
        states = tuple(state.detach() for state in states)
        steps = torch.where(carry.halted, 1, carry.steps + 1)
        halted = steps >= (self.max_steps if self.training else self.eval_max_steps)
        segment = Segment(answer_RD)
        if not isinstance(self.inner, RecursiveCore):
            return Carry(states, steps, halted), segment
        with torch.no_grad():
            q_halt, q_continue = self.inner.q_values(answer_RD)
        segment = segment._replace(q_halt=q_halt, q_continue=self._if_learned(q_continue))
        if self.training and self.max_steps > 1:
            if segment.q_continue is not None:
                following = self.inner.next_q_values(states, x_RD.detach())
                target = _q_target(halted, *following)
                segment = segment._replace(target_q_continue=target)
            halted = halted | (self.would_halt(segment) & self._may_halt(steps, generator))
        return Carry(states, steps, halted), segment

    def would_halt(self, segment: Segment) -> Tensor:
        """Return whether the halting head prefers to halt, bool [B]; one True without a head."""
        if segment.q_halt is None:
            return torch.ones((), dtype=torch.bool)
        threshold = 0.0 if segment.q_continue is None else segment.q_continue
        return segment.q_halt > threshold

    def is_final(self, carry: Carry, segment: Segment) -> Tensor:
        """Return whether evaluation takes a row's answer after this segment, bool [B].

        With `eval_halting=early` that is as soon as the model would halt.
        """
        if self.eval_halting == "early":
            return carry.halted | self.would_halt(segment)
        return carry.halted

    def _if_learned(self, q_continue: Tensor) -> Tensor | None:
        return q_continue if self.halting == "q_learning" else None

    def _restarted(self, carry: Carry) -> States:
        """Return the states with those of halted rows reset."""
        if not carry.halted.any():
            return carry.states
        is_reset = carry.halted.repeat_interleave(self.tokens).unsqueeze(-1)
        first = self.inner.initial_states()
        return tuple(torch.where(is_reset, a, b) for a, b in zip(first, carry.states, strict=True))

    def _may_halt(self, steps: Tensor, generator: torch.Generator | None) -> Tensor:
        """Return whether exploration lets a row halt, drawn anew in each segment, bool [B]."""
        if not self.exploration:
            return torch.ones_like(steps, dtype=torch.bool)
        explores = torch.rand(len(steps), generator=generator) < self.exploration
        minimum = torch.randint(2, self.max_steps + 1, steps.shape, generator=generator)
        return ~explores | (steps >= minimum)


def _q_target(is_last: Tensor, next_q_halt: Tensor, next_q_continue: Tensor) -> Tensor:
    """Return the better of the next segment's Q values (HRM, section 2, Q-learning targets)."""
    best = torch.maximum(next_q_halt, next_q_continue)
    return torch.sigmoid(torch.where(is_last, next_q_halt, best))
