"""What the published Sudoku trainings would take here, extrapolated from measured segments.

    python tests/benchmarks/published_sudoku.py

Each recipe is that of its paper's code for Sudoku-Extreme with 1,000 puzzles, but for the batch:
a segment of a row takes as long in a batch of 32 as in larger ones. One thread; no evaluations.
"""

from __future__ import annotations

import statistics

import torch
from machine import described
from step import step_of, timed, trainer_of

BATCH, ROUNDS = 32, 7
PUZZLES = 1000
SHARED = (
    "data=sudoku",
    "data.box=3x3",
    f"data.num_puzzles={2 * BATCH}",
    "hidden_dim=512",
    f"batch_size={BATCH}",
    "model.num_heads=8",
    "model.halt_max_steps=16",
    "model.mlp_multiple_of=256",
    "optimizer=adam_atan2",
    "trainer.compile=on",
)
RECIPES = {
    "HRM, 20,000 epochs": (20_000, "model=hrm", "model.H_layers=4", "model.L_layers=4"),
    "TRM with mlp_t, 50,000 epochs": (
        50_000,
        "model=trm",
        "model.mlp_t=true",
        "model.pos_encodings=none",
        "model.puzzle_emb_len=16",
        "trainer.ema=0.999",
    ),
}


def main() -> None:
    torch.set_num_threads(1)
    print(*described(), "", sep="\n")
    print("| | seconds a segment of one row | core-hours |")
    print("|---|---|---|")
    for name, (epochs, *keys) in RECIPES.items():
        run = timed(step_of(trainer_of(*SHARED, *keys)))
        run(1)  # compiles and warms up
        seconds = statistics.median(run(1) for _ in range(ROUNDS)) / BATCH
        print(f"| {name} | {seconds:.3f} | {seconds * epochs * PUZZLES / 3600:,.0f} |", flush=True)


if __name__ == "__main__":
    main()
