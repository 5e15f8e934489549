"""`data=seed`: the ten puzzles of the experiment that this project began with.

A copy puzzle uses all ten colours, an increment puzzle the first nine, so that it never wraps
around. All have the same identifier, so that only a colour 9 shows which rule applies. The eight
training puzzles are one group, of which the published sampler draws one puzzle in each epoch.
"""

from __future__ import annotations

import numpy as np
import torch

from hrm_sweep.hrm.data.configs import NUM_COLOURS, SeedConfig
from hrm_sweep.hrm.data.copy_increment import VOCAB_SIZE, on_canvas
from hrm_sweep.hrm.data.groups import GroupedTask
from hrm_sweep.hrm.data.random_stream import RandomStream
from hrm_sweep.hrm.data.task import Puzzles, narrow
from hrm_sweep.hrm.data.tokens import IGNORE, PAD

SIDE, CANVAS = 5, 30
COPIES, INCREMENTS, HELD_OUT = 5, 3, 2
PATTERNS = ("copy", "increment")


def build_seed(config: SeedConfig) -> GroupedTask:
    """Return the task of ten random puzzles, as those of the original are not known.

    They do not depend on the training's seed: with so few puzzles, results depend on which are
    drawn how often.
    """
    seed = config.puzzle_seed
    copies = RandomStream(seed, "copy").integers(NUM_COLOURS, COPIES, SIDE, SIDE)
    increments = RandomStream(seed, "increment").integers(
        NUM_COLOURS - 1, INCREMENTS + HELD_OUT, SIDE, SIDE
    )
    train = np.concatenate([copies, increments[:INCREMENTS]])
    return GroupedTask(
        config.name,
        train=_puzzles(train, np.repeat([0, 1], [COPIES, INCREMENTS])),
        held_out=_puzzles(increments[INCREMENTS:], np.repeat([1], HELD_OUT)),
        puzzle_starts=np.arange(len(train) + 1),
        group_starts=np.array([0, len(train)]),
        sampling=config.sampling,
        patterns=PATTERNS,
        vocab_size=VOCAB_SIZE,
        num_identifiers=2,
        shape=(CANVAS, CANVAS),
        seed=seed,
    )


def _puzzles(grids: np.ndarray, patterns: np.ndarray) -> Puzzles:
    """Return the puzzles of grids [N, S, S]; pattern 1 adds one to every colour."""
    answers = on_canvas(grids + patterns[:, None, None], CANVAS)
    return Puzzles(
        inputs=narrow(on_canvas(grids, CANVAS)),
        labels=narrow(np.where(answers == PAD, IGNORE, answers)),
        identifiers=torch.ones(len(grids), dtype=torch.int64),
        patterns=torch.from_numpy(patterns),
    )
