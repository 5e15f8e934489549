"""How the cost of a training step grows, against the arithmetic limit of the machine.

    python tests/benchmarks/growth.py [--write FILE.md --draw FILE.png]

One of hidden_dim, tokens and batch_size grows, the others stay. The limit is the time that the
matrix products of a step would take at the rate which a product of 512 x 512 reaches here, in the
precision they are computed in. All sizes take turns, so that what disturbs the machine disturbs
all. Then the puzzles of an epoch grow.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import torch
from machine import described, rate
from matplotlib.figure import Figure
from step import in_turns, our_step, our_trainer, timed
from torch.profiler import ProfilerActivity, profile
from torch.utils.flop_counter import FlopCounterMode

BASE = {"hidden_dim": 64, "tokens": 36, "batch_size": 4}
GROWTH = {
    "hidden_dim": (32, 64, 128, 256, 512),
    "tokens": (36, 100, 225, 400, 900),
    "batch_size": (1, 2, 4, 8, 16, 32),
}
PUZZLES = (50, 100, 200, 400, 800)
KINDS = {"linear layers": ("aten::mm", "aten::linear"), "attention products": ("aten::bmm",)}
TURNS = 7


class Cost(NamedTuple):
    """Of one training step at one size."""

    key: str
    value: int
    milliseconds: float
    gigaflops: float
    """Of its matrix products, in 1e9 operations."""
    limit: float
    """Milliseconds that those take at the machine's rate."""
    shares: dict[str, float]
    """Of the time inside PyTorch's operators, by kind."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--write", type=Path, help="also write the table to this Markdown file")
    parser.add_argument("--draw", type=Path, help="draw the plot to this PNG file")
    arguments = parser.parse_args()
    peak = rate(torch.bfloat16)
    costs = measured(peak)
    lines = [*described(), "", *table(costs), "", *epochs()]
    print("\n".join(lines))
    if arguments.write:
        arguments.write.write_text("\n".join(lines) + "\n", encoding="utf-8")
    if arguments.draw:
        plot(costs).savefig(arguments.draw)


def measured(peak: float) -> list[Cost]:
    sizes = {
        (key, value): tuple({**BASE, key: value}.values())
        for key, values in GROWTH.items()
        for value in values
    }
    steps = {
        (hidden, tokens, batch): our_step(tokens, hidden, batch, ())
        for hidden, tokens, batch in set(sizes.values())
    }
    times = in_turns({size: timed(step) for size, step in steps.items()}, TURNS)
    costs = []
    for (key, value), size in sizes.items():
        gigaflops = operations(steps[size]) / 1e9
        limit = gigaflops / peak * 1e3
        costs.append(Cost(key, value, times[size], gigaflops, limit, shares(steps[size])))
    return costs


def epochs() -> list[str]:
    """An epoch without its evaluation, over its puzzles."""
    hidden, tokens, batch = BASE.values()
    lines = ["| puzzles | first epoch | a puzzle |", "|---|---|---|"]
    for puzzles in PUZZLES:
        trainer = our_trainer(tokens, hidden, batch, f"data.num_puzzles={puzzles}")
        begin = time.perf_counter()
        trainer._train_epoch()
        seconds = time.perf_counter() - begin
        lines.append(f"| {puzzles} | {seconds:.2f} s | {seconds / puzzles * 1e3:.1f} ms |")
    return lines


def operations(step: Callable[[], object]) -> int:
    with FlopCounterMode(display=False) as counter:
        step()
    return counter.get_total_flops()


def shares(step: Callable[[], object]) -> dict[str, float]:
    with profile(activities=[ProfilerActivity.CPU]) as profiled:
        for _ in range(5):
            step()
    times = {event.key: event.self_cpu_time_total for event in profiled.key_averages()}
    total = sum(times.values())
    found = {
        kind: sum(times.get(name, 0) for name in names) / total for kind, names in KINDS.items()
    }
    return {**found, "the rest": 1 - sum(found.values())}


def table(costs: list[Cost]) -> list[str]:
    kinds = list(costs[0].shares)
    lines = [
        "| | | step | operations | at the machine's rate | of the limit | "
        + " | ".join(kinds)
        + " |",
        "|---" * (6 + len(kinds)) + "|",
    ]
    for cost in costs:
        cells = [
            cost.key,
            str(cost.value),
            f"{cost.milliseconds:.1f} ms",
            f"{cost.gigaflops:.3g} GFLOP",
            f"{cost.limit:.2g} ms",
            f"{cost.limit / cost.milliseconds:.0%}",
            *(f"{cost.shares[kind]:.0%}" for kind in kinds),
        ]
        lines.append("| " + " | ".join(cells) + " |")
    return lines


def plot(costs: list[Cost]) -> Figure:
    figure = Figure(figsize=(11, 3.6), dpi=120, layout="constrained")
    for axes, key in zip(figure.subplots(1, len(GROWTH), sharey=True), GROWTH, strict=True):
        mine = [cost for cost in costs if cost.key == key]
        values = [cost.value for cost in mine]
        axes.loglog(values, [cost.milliseconds for cost in mine], "o-", label="a training step")
        axes.loglog(
            values, [cost.limit for cost in mine], "--", label="its matrix products at full rate"
        )
        axes.set_xlabel(key)
        axes.set_xticks(values, [str(value) for value in values])
        axes.minorticks_off()
        axes.grid(alpha=0.3)
    figure.axes[0].set_ylabel("milliseconds")
    figure.axes[0].legend(frameon=False)
    others = ", ".join(f"{key} {value}" for key, value in BASE.items())
    figure.suptitle(f"What a training step costs on one core (else {others})")
    return figure


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
