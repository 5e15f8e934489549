"""`data=copy_increment`: grids of colours, and the same grids transformed by a rule."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hrm_sweep.hrm.data.balance import PatternBalance
from hrm_sweep.hrm.data.configs import NUM_COLOURS, CopyIncrementConfig
from hrm_sweep.hrm.data.curriculum import Curriculum
from hrm_sweep.hrm.data.random_stream import RandomStream
from hrm_sweep.hrm.data.task import Batch, Puzzles, Task, narrow
from hrm_sweep.hrm.data.tokens import FIRST_COLOUR, IGNORE, PAD

EOS = 1
VOCAB_SIZE = FIRST_COLOUR + NUM_COLOURS


def build_copy_increment(config: CopyIncrementConfig, *, seed: int) -> CopyIncrement:
    """Generate the puzzles, which are a function of (config, seed) on every platform."""
    train, held_out = [], []
    counts = zip(config.active_patterns, config.train_counts, config.eval_counts, strict=True)
    for number, (pattern, num_train, num_eval) in enumerate(counts):
        unseen = draw_grids(
            num_eval, RandomStream(seed, "held out", pattern), config, excluded=None
        )
        seen = draw_grids(num_train, RandomStream(seed, "train", pattern), config, excluded=unseen)
        held_out.append(_puzzles(unseen, number, config))
        train.append(_puzzles(seen, number, config))
    return CopyIncrement(config, train=_joined(train), held_out=_joined(held_out), seed=seed)


class CopyIncrement(Task):
    """A task with noise and a curriculum."""

    def __init__(
        self, config: CopyIncrementConfig, *, train: Puzzles, held_out: Puzzles, seed: int
    ) -> None:
        num_rules = len(config.active_patterns) if config.identifiers == "per_pattern" else 1
        super().__init__(
            config.name,
            train=train,
            held_out=held_out,
            patterns=config.active_patterns,
            vocab_size=VOCAB_SIZE,
            num_identifiers=1 + num_rules,
            shape=(config.canvas, config.canvas),
            seed=seed,
        )
        self._noise = config.noise
        self._curriculum = Curriculum(config.curriculum, difficulty_of(train), train.patterns)
        self._noise_of_epoch: tuple[int, Tensor] | None = None
        self._balance: PatternBalance | None = None
        if config.balance:
            self._balance = PatternBalance(
                config.balance, train.patterns, config.active_patterns, seed=seed
            )

    @property
    def is_balanced(self) -> bool:
        """Whether patterns are drawn by their measured difficulty."""
        return self._balance is not None

    def order(self, epoch: int) -> Tensor:
        """Return all puzzles, or the curriculum's share of each pattern's easiest, shuffled.

        A balanced task draws as many, of each pattern by its measured difficulty.
        """
        order = self._curriculum.allowed(super().order(epoch), epoch)
        return order if self._balance is None else self._balance.order(order, epoch)

    def observe(self, metrics: Mapping[str, float]) -> None:
        """Take over how many puzzles of each pattern were solved, if the task is balanced."""
        if self._balance is not None:
            self._balance.observe(metrics)

    def state(self) -> dict[str, Any]:
        """Return the measured difficulty, if the task is balanced."""
        return {} if self._balance is None else self._balance.state()

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Restore what `state` returned."""
        if self._balance is not None:
            self._balance.load_state(state)

    def draw(self, indices: Tensor, epoch: int) -> Batch:
        """Return the puzzles with noise in their inputs, but not in their labels."""
        batch = super().draw(indices, epoch)
        if self._noise == 0:
            return batch
        shift = self._shifts(epoch)[indices]
        colours = batch.inputs - FIRST_COLOUR
        noisy = torch.where(colours >= 0, (colours + shift) % NUM_COLOURS, colours)
        return replace(batch, inputs=noisy + FIRST_COLOUR)

    def _shifts(self, epoch: int) -> Tensor:
        """Return by how much each cell's colour is shifted in this epoch, int8 [N, T]; mostly 0."""
        if self._noise_of_epoch is None or self._noise_of_epoch[0] != epoch:
            uniform = RandomStream(self.seed, epoch, "noise").uniform(len(self.train), self.seq_len)
            # numbers below the threshold are uniform there, so they can select the colour too
            other = 1 + (uniform / self._noise * (NUM_COLOURS - 1))
            self._noise_of_epoch = epoch, narrow(np.where(uniform < self._noise, other, 0))
        return self._noise_of_epoch[1]


def apply_rule(pattern: str, grids: np.ndarray, recolour: list[int]) -> np.ndarray:
    """Return `grids` [N, side, side], colours from 0, transformed by the rule of `pattern`."""
    rules = {
        "copy": lambda: grids,
        "increment": lambda: (grids + 1) % NUM_COLOURS,
        "decrement": lambda: (grids - 1) % NUM_COLOURS,
        "mirror": lambda: grids[:, :, ::-1],
        "transpose": lambda: grids.swapaxes(1, 2),
        "recolour": lambda: np.array(recolour)[grids],
    }
    return rules[pattern]()


def on_canvas(grids: np.ndarray, canvas: int) -> np.ndarray:
    """Return the tokens [N, canvas * canvas] of grids [N, side, side].

    EOS ends each row and column; the rest of the canvas is PAD.
    """
    count, side, _ = grids.shape
    tokens = np.full((count, canvas, canvas), PAD, dtype=np.int8)
    tokens[:, :side, :side] = grids + FIRST_COLOUR
    tokens[:, :side, side] = EOS
    tokens[:, side, :side] = EOS
    return tokens.reshape(count, canvas * canvas)


def draw_grids(
    count: int, stream: RandomStream, config: CopyIncrementConfig, *, excluded: np.ndarray | None
) -> np.ndarray:
    """Draw `count` different grids that are not among `excluded`.

    They are drawn row by row, so that a smaller count gives the first rows of a larger one.

    Returns:
        int8 [count, 1 + grid * grid]: the side of each grid and its colours, filled up with -1.
    """
    cells = config.grid * config.grid
    known = np.empty((0, 1 + cells), np.int8) if excluded is None else excluded
    others, at_once = len(known), 64
    while (missing := others + count - len(known)) > 0:
        # a growing number at a time, as it takes ever longer to hit the last of all possible grids
        at_once = max(missing, min(2 * at_once, 1 << 16))
        drawn = stream.uniform(at_once, 1 + cells)
        sides = config.smallest_grid + drawn[:, 0] * (config.grid - config.smallest_grid + 1)
        rows = np.concatenate([sides[:, None], drawn[:, 1:] * NUM_COLOURS], axis=1).astype(np.int8)
        rows[:, 1:][np.arange(cells) >= rows[:, :1].astype(np.int64) ** 2] = -1
        known = _without_repeats(np.concatenate([known, rows]))
    return known[others : others + count]


def difficulty_of(puzzles: Puzzles) -> np.ndarray:
    """Return numbers that are larger for harder puzzles, int64 [N].

    Smaller grids are easier, and of equal size those with fewer colours.
    """
    colours = puzzles.inputs.numpy()
    cells = (colours >= FIRST_COLOUR).sum(axis=1)
    variety = sum((colours == FIRST_COLOUR + c).any(axis=1) for c in range(NUM_COLOURS))
    return cells * (NUM_COLOURS + 1) + variety


def _puzzles(rows: np.ndarray, number: int, config: CopyIncrementConfig) -> Puzzles:
    """Return the puzzles of pattern `number` for rows of `draw_grids`."""
    pattern = config.active_patterns[number]
    inputs = np.empty((len(rows), config.canvas**2), np.int8)
    outputs = np.empty_like(inputs)
    for side in range(config.smallest_grid, config.grid + 1):
        here = rows[:, 0] == side
        grids = rows[here, 1 : 1 + side * side].reshape(-1, side, side)
        inputs[here] = on_canvas(grids, config.canvas)
        outputs[here] = on_canvas(apply_rule(pattern, grids, config.recolour), config.canvas)
    identifier = 1 + number if config.identifiers == "per_pattern" else 1
    return Puzzles(
        inputs=narrow(inputs),
        labels=narrow(np.where(outputs == PAD, IGNORE, outputs)),
        identifiers=torch.full((len(rows),), identifier),
        patterns=torch.full((len(rows),), number),
    )


def _joined(parts: list[Puzzles]) -> Puzzles:
    return Puzzles(
        inputs=torch.cat([part.inputs for part in parts]),
        labels=torch.cat([part.labels for part in parts]),
        identifiers=torch.cat([part.identifiers for part in parts]),
        patterns=torch.cat([part.patterns for part in parts]),
    )


def _without_repeats(rows: np.ndarray) -> np.ndarray:
    """Return the first of each group of equal rows, in their order."""
    _, first = np.unique(rows, axis=0, return_index=True)
    return rows[np.sort(first)]
