"""A whole study against the usual stack's, from Enter to the last line: a grid of twelve.

    python tests/benchmarks/grid.py [--rounds N] [--peer FOLDER]

hidden_dim 64, 128 x batch_size 4, 8 x three learning rates, 20 epochs of 64 puzzles of 36 tokens,
a segment a batch, 16 held-out puzzles at the end, two processes of one thread. The usual stack is
Hydra 1.4's release candidate with its Optuna sweeper and joblib launcher, MLflow on SQLite and the
plain HRM (peer_grid.py), in an environment of its own. The studies take turns. Of ours, two shares
of the workers' time from the first trial's begin to the last one's end are told: what lies inside
trials, and what their processes computed there.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
from pathlib import Path

from machine import described
from study_cost import HERE, PEER, peer_python, seconds

from hrm_sweep.runs import record

SPACE = ("hidden_dim=64,128", "batch_size=4,8", "lr=1e-4,5e-4,1e-3")
OURS = [
    *(sys.executable, "-m", "hrm_sweep", "-m", *SPACE, "study.name=study", "study.workers=2"),
    *("epochs=20", "data.num_puzzles=64", "data.num_eval_puzzles=16", "trainer.eval_every=20"),
    "trainer.batches=padded",
]
EQUAL = ["model.halting=q_learning", "model.mlp_multiple_of=256"]
RECIPE = ["model.halting=bce", "model.mlp_multiple_of=32"]


def main() -> None:
    parser = argparse.ArgumentParser(description="A whole study against the usual stack's.")
    parser.add_argument("--rounds", type=int, default=3, help="studies of each kind")
    parser.add_argument("--peer", type=Path, help="environment of the usual stack, kept")
    arguments = parser.parse_args()
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # modules are compiled once, as elsewhere
    print("\n".join(described()), flush=True)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        python = peer_python(arguments.peer or folder / "environment", "torch>=2.10,<2.14")
        grid = [f"+{dimension}" for dimension in SPACE]
        commands = {
            "the usual stack": [python, str(HERE / "peer_grid.py"), *PEER, *trials(12), *grid],
            "hrm_sweep, equal mathematics": [*OURS, *EQUAL],
            "hrm_sweep, its recipe": [*OURS, *RECIPE],
        }
        took: dict[str, list[float]] = {kind: [] for kind in commands}
        shares = dict.fromkeys(commands, " | ")
        for number in range(arguments.rounds):
            for kind, command in commands.items():
                place = folder / f"{number} {kind}"
                took[kind].append(seconds(command, place))
                if (study := place / "multirun" / "study").exists():
                    shares[kind] = " | ".join(f"{share:.0%}" for share in efficiency(study, 2))
    usual = statistics.median(took["the usual stack"])
    print("\n| the grid of twelve, two processes | seconds | | in trials | computing |")
    print("|---|---|---|---|---|")
    for kind, values in took.items():
        middle = statistics.median(values)
        print(f"| {kind} | {middle:.1f} | {usual / middle:.2f}x | {shares[kind]} |")


def efficiency(study: Path, workers: int) -> tuple[float, float]:
    """Shares of the workers' time, from the first trial's begin to the last one's end: inside
    trials, and CPU seconds of the trials."""
    ends = [record.ends(path) for path in study.glob("[0-9]*")]
    whole = max(last.time_ms for _, last in ends) - min(first.time_ms for first, _ in ends)
    inside = sum(last.time_ms - first.time_ms for first, last in ends)
    computing = 1000 * sum(last.fields["system"]["cpu_seconds"] for _, last in ends)
    return inside / workers / whole, computing / workers / whole


def trials(number: int) -> list[str]:
    return [f"hydra.sweeper.n_trials={number}"]


if __name__ == "__main__":
    main()
