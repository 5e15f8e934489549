"""Adaptive computation time: a puzzle is thought about in segments until the model halts.

HRM (arXiv:2506.21734, section 2) learns the value of halting and of going on by Q-learning; TRM
(arXiv:2510.04871, section 4.6) asks only whether the answer is right.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from hrm_sweep.hrm.models.cores import Core, RecursiveCore


class Carry(NamedTuple):
    """What B rows bring from one segment to the next; it carries no gradient."""

    states: tuple[Tensor, ...]
    """Each [B · T, D]."""
    steps: Tensor
    """[B], segments that the row's puzzle has had."""
    halted: Tensor
    """[B], the puzzle is finished: the row starts anew with whatever stands there next."""


class Thought(NamedTuple):
    """What one segment says."""

    logits: Tensor
    """[B, S, V]."""
    q_halt: Tensor | None = None
    """[B], logits: the answer is right. None without a halting head."""
    q_continue: Tensor | None = None
    """[B], logits: it will be right if the row goes on. None unless it is learnt."""
    target_q_continue: Tensor | None = None
    """[B], what q_continue shall become, 0 to 1. Only in training."""


class ACT(nn.Module):
    """A core and its halting. In evaluation a row is halted after `eval_max_steps` segments and
    not before, as published; whether its answer may be taken earlier is what `is_final` says."""

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
        """Of a row, the prefix included."""
        return self.inner.layout.tokens

    def rows(self, state_RD: Tensor, indices: Tensor) -> Tensor:
        """The states of some rows of the batch."""
        return state_RD.unflatten(0, (-1, self.tokens))[indices].flatten(0, 1)

    def initial_carry(self, rows: int) -> Carry:
        """All rows halted: each starts anew in the first segment."""
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
    ) -> tuple[Carry, Thought]:
        """One segment of every row; `generator` gives the randomness of exploration."""
        x_RD = self.inner.embed(inputs_BS, identifiers_B)
        (states, steps, halted), thought = self._segment(carry, x_RD)
        if self.training and self.max_steps > 1 and thought.q_halt is not None:
            halted = halted | (self.would_halt(thought) & self._explored(steps, generator))
        return Carry(states, steps, halted), thought

    def _segment(self, carry: Carry, x_RD: Tensor) -> tuple[Carry, Thought]:
        """All of it that is the same for every draw: rows halt at the last of their segments."""
        answer_RD, states = self.inner.think(self._restarted(carry), x_RD)
        states = tuple(state.detach() for state in states)
        steps = torch.where(carry.halted, 1, carry.steps + 1)
        last = steps >= (self.max_steps if self.training else self.eval_max_steps)
        thought = Thought(self.inner.logits(answer_RD))
        if isinstance(self.inner, RecursiveCore):
            q_halt, q_continue = self.inner.q_values(answer_RD)
            thought = thought._replace(q_halt=q_halt)
            if self.halting == "q_learning":
                thought = thought._replace(q_continue=q_continue)
                if self.training and self.max_steps > 1:
                    following = self.inner.next_q_values(states, x_RD.detach())
                    thought = thought._replace(target_q_continue=_target(last, *following))
        return Carry(states, steps, last), thought

    def would_halt(self, thought: Thought) -> Tensor:
        """[B], whether a row halts of its own will."""
        if thought.q_halt is None:
            return torch.ones(len(thought.logits), dtype=torch.bool)
        rival = 0.0 if thought.q_continue is None else thought.q_continue
        return thought.q_halt.detach() > rival

    def is_final(self, carry: Carry, thought: Thought) -> Tensor:
        """[B], whether evaluation takes a row's answer after this segment; the others go on."""
        if self.eval_halting == "early":
            return carry.halted | self.would_halt(thought)
        return carry.halted

    def _restarted(self, carry: Carry) -> tuple[Tensor, ...]:
        if not carry.halted.any():
            return carry.states
        anew = carry.halted.repeat_interleave(self.tokens).unsqueeze(-1)
        first = self.inner.initial_states()
        return tuple(torch.where(anew, a, b) for a, b in zip(first, carry.states, strict=True))

    def _explored(self, steps: Tensor, generator: torch.Generator | None) -> Tensor:
        """Whether a row may halt: some draw a least number of segments, anew in each segment."""
        if not self.exploration:
            return torch.ones_like(steps, dtype=torch.bool)
        chosen = torch.rand(len(steps), generator=generator) < self.exploration
        least = torch.randint(2, self.max_steps + 1, steps.shape, generator=generator)
        return ~chosen | (steps >= least)


def _target(last: Tensor, next_q_halt: Tensor, next_q_continue: Tensor) -> Tensor:
    """The better of both values one segment on (HRM, equation of the Q targets)."""
    best = torch.maximum(next_q_halt, next_q_continue)
    return torch.sigmoid(torch.where(last, next_q_halt, best))
