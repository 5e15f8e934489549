"""How the cost of a training step grows, against the arithmetic limit of the machine.

    python tests/benchmarks/growth.py [--write FILE.md --draw FILE.png]

One of hidden_dim, tokens and batch_size grows, the others stay; steps are compiled. The limit is
the time that the matrix products of a step, those of attention included, would take at the rate
which a product of 512 x 512 reaches here, in fp32 or bf16, whichever is faster. All sizes and that
product take turns, so that what disturbs the machine disturbs all. Then the puzzles of an epoch
grow.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple
from unittest.mock import patch

import torch
from machine import DTYPES, described, rate
from matplotlib.figure import Figure
from step import in_turns, our_step, our_trainer, timed
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from hrm_sweep.hrm.backends import eager
from hrm_sweep.hrm.backends.native_block import NativeBlock
from hrm_sweep.hrm.backends.native_recursion import NativeRecursion

BASE = {"hidden_dim": 64, "tokens": 36, "batch_size": 4}
GROWTH = {
    "hidden_dim": (32, 64, 128, 256, 512),
    "tokens": (36, 100, 225, 400, 900),
    "batch_size": (1, 2, 4, 8, 16, 32),
}
PUZZLES = (50, 100, 200, 400, 800)
PRODUCT = 512
COMPILED = "trainer.compile=on"
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
    inside_blocks: float
    """Share of the time."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--write", type=Path, help="also write the table to this Markdown file")
    parser.add_argument("--draw", type=Path, help="draw the plot to this PNG file")
    arguments = parser.parse_args()
    costs = measured()
    lines = [*described(), "", *table(costs), "", *epochs()]
    print("\n".join(lines))
    if arguments.write:
        arguments.write.write_text("\n".join(lines) + "\n", encoding="utf-8")
    if arguments.draw:
        plot(costs).savefig(arguments.draw)


def measured() -> list[Cost]:
    sizes = {
        (key, value): tuple({**BASE, key: value}.values())
        for key, values in GROWTH.items()
        for value in values
    }
    steps = {
        (hidden, tokens, batch): our_step(tokens, hidden, batch, (COMPILED,))
        for hidden, tokens, batch in set(sizes.values())
    }
    factor = torch.randn(PRODUCT, PRODUCT, dtype=max(DTYPES.values(), key=rate))
    runs = {size: timed(step) for size, step in steps.items()}
    times = in_turns({**runs, "product": timed(lambda: torch.mm(factor, factor))}, TURNS)
    peak = 2 * PRODUCT**3 / times["product"] / 1e6
    costs = []
    for (key, value), size in sizes.items():
        gigaflops = operations(*size) / 1e9
        limit = gigaflops / peak * 1e3
        costs.append(Cost(key, value, times[size], gigaflops, limit, inside_blocks(steps[size])))
    return costs


def epochs() -> list[str]:
    """An epoch without its evaluation, over its puzzles."""
    hidden, tokens, batch = BASE.values()
    lines = ["| puzzles | first epoch | a puzzle |", "|---|---|---|"]
    for puzzles in PUZZLES:
        trainer = our_trainer(tokens, hidden, batch, f"data.num_puzzles={puzzles}", COMPILED)
        begin = time.perf_counter()
        trainer._train_epoch()
        seconds = time.perf_counter() - begin
        lines.append(f"| {puzzles} | {seconds:.2f} s | {seconds / puzzles * 1e3:.1f} ms |")
    return lines


def operations(hidden: int, tokens: int, batch: int) -> int:
    """Of the matrix products of a step, which PyTorch's own operators let count."""
    step = our_step(tokens, hidden, batch, ())
    longest, eager.LONGEST_PLAIN = eager.LONGEST_PLAIN, tokens + 1  # blockwise are not counted
    with Operations() as counted:
        step()
    eager.LONGEST_PLAIN = longest
    return counted.total


class Operations(TorchDispatchMode):
    """Counts those of matrix products. FlopCounterMode hooks modules too, and raises there."""

    total = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        if count := flop_registry.get(func.overloadpacket):
            self.total += count(*args, **(kwargs or {}), out_val=result)
        return result


def inside_blocks(step: Callable[[], object], steps: int = 20) -> float:
    """The share of a step's time that the compiled blocks take."""
    inside = 0.0

    def clocked(call: Callable[..., Any]) -> Callable[..., Any]:
        def timed_call(*arguments: Any, **named: Any) -> Any:
            nonlocal inside
            begin = time.perf_counter()
            result = call(*arguments, **named)
            inside += time.perf_counter() - begin
            return result

        return timed_call

    with (
        patch.object(NativeBlock, "forward", clocked(NativeBlock.forward)),
        patch.object(NativeBlock, "backward", clocked(NativeBlock.backward)),
        patch.object(NativeRecursion, "__call__", clocked(NativeRecursion.__call__)),
    ):
        whole = timed(step)(steps)
    return inside / whole


def table(costs: list[Cost]) -> list[str]:
    lines = [
        "| | | step | operations | at the machine's rate | of the limit | inside blocks |",
        "|---" * 7 + "|",
    ]
    for cost in costs:
        cells = [
            cost.key,
            str(cost.value),
            f"{cost.milliseconds:.1f} ms",
            f"{cost.gigaflops:.3g} GFLOP",
            f"{cost.limit:.3g} ms",
            f"{cost.limit / cost.milliseconds:.0%}",
            f"{cost.inside_blocks:.0%}",
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
