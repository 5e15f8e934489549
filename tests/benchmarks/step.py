"""A training step of ours against plain ones, side by side on one thread.

    python tests/benchmarks/step.py [--write FILE] [--without SIDE …]

Sides: `plain fp32` and `plain bf16` are plain_hrm.py, eager; bf16 casts where the published code
does. `fp32` and `bf16` are ours at equal hyper-parameters and equal mathematics (q_learning, MLP
width rounded to 256), with PyTorch's operators and compiled (trainer.compile=on). `recipe` is what
the tool recommends: trainer.precision=auto, bce halting, width rounded to 32. Each is a process of
its own, and they take turns, a few steps each, so that what disturbs the machine disturbs all; a
ratio is that of the medians. PyTorch multiplies in bf16 at 1 GFLOP/s on a CPU without AVX-512:
there, `--without 'plain bf16' bf16` saves hours.
"""

from __future__ import annotations

import argparse
import itertools
import math
import multiprocessing
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TypeVar

import hydra
import torch
from machine import described
from plain_hrm import PlainHRM, PlainTraining

from hrm_sweep.compat.hydra import VERSION_BASE
from hrm_sweep.hrm import config
from hrm_sweep.hrm.train import make_trainer
from hrm_sweep.hrm.training.metrics import MeanMetrics
from hrm_sweep.hrm.training.trainer import Trainer

T = TypeVar("T")
Run = Callable[[int], float]
"""Does so many steps, and says how many seconds they took."""
SIZES = ((64, 4), (128, 4), (128, 8), (256, 8))
"""(hidden_dim, batch_size) of the summary."""
CANVASES = {
    36: (*SIZES, (512, 8)),
    81: ((128, 8), (128, 32), (384, 8), (384, 32), (512, 8), (512, 32)),
    900: ((64, 2),),
}
"""Tokens of a puzzle -> sizes; 900 is the canvas of the original experiment."""
EQUAL = ("model.halting=q_learning", "model.mlp_multiple_of=256")
RECIPE = ("model.halting=bce", "model.mlp_multiple_of=32", "trainer.precision=auto")
SIDES = {
    "fp32": (*EQUAL, "trainer.precision=fp32"),
    "fp32, compiled": (*EQUAL, "trainer.precision=fp32", "trainer.compile=on"),
    "bf16": (*EQUAL, "trainer.precision=bf16"),
    "bf16, compiled": (*EQUAL, "trainer.precision=bf16", "trainer.compile=on"),
    "recipe": RECIPE,
    "recipe, compiled": (*RECIPE, "trainer.compile=on"),
}
PLAIN = {"plain fp32": "float32", "plain bf16": "bfloat16"}
OPTIONAL = [side for side in (*PLAIN, *SIDES) if side != "plain fp32"]
ROUNDS, SECONDS_OF_A_TURN = 15, 0.15


def main() -> None:
    parser = argparse.ArgumentParser(description="A training step of ours against the plain one.")
    parser.add_argument("--write", type=Path, help="also write the table to this Markdown file")
    parser.add_argument("--without", nargs="+", default=[], metavar="SIDE", choices=OPTIONAL)
    arguments = parser.parse_args()
    sides = [side for side in (*PLAIN, *SIDES) if side not in arguments.without]
    lines = []
    for line in itertools.chain(described(), [""], table(sides)):
        print(line, flush=True)
        lines.append(line)
    if arguments.write:
        arguments.write.write_text("\n".join(lines) + "\n", encoding="utf-8")


def table(sides: Sequence[str]) -> Iterator[str]:
    """A line for each size: milliseconds a step, and how many times faster than each plain side."""
    plain = [side for side in sides if side in PLAIN]
    yield "| tokens | hidden, batch | " + " | ".join(sides) + " |"
    yield "|---" * (len(sides) + 2) + "|"
    of_summary: list[dict[str, float]] = []
    for tokens, sizes in CANVASES.items():
        for size in sizes:
            times = measured(sides, tokens, *size)
            cells = [
                f"{times[side]:.1f} ms" + (f", {_ratios([times], side, plain)}" * (side in SIDES))
                for side in sides
            ]
            yield f"| {tokens} | {size[0]}, {size[1]} | " + " | ".join(cells) + " |"
            if tokens == 36 and size in SIZES:
                of_summary.append(times)
    means = [f"**{_ratios(of_summary, side, plain)}**" if side in SIDES else "" for side in sides]
    yield "| 36 | geometric mean of four | " + " | ".join(means) + " |"


def _ratios(times: list[dict[str, float]], side: str, plain: list[str]) -> str:
    """How many times faster than each plain side: geometric means."""
    means = (
        math.exp(statistics.fmean(math.log(row[slow] / row[side]) for row in times))
        for slow in plain
    )
    return ", ".join(f"{mean:.2f}x" for mean in means)


def measured(sides: Sequence[str], tokens: int, hidden: int, batch: int) -> dict[str, float]:
    """Median milliseconds of a step, by side."""
    with ExitStack() as stack:
        runs = {
            side: stack.enter_context(process_of(side, tokens, hidden, batch)) for side in sides
        }
        return in_turns(runs, ROUNDS)


def in_turns(runs: Mapping[T, Run], rounds: int) -> dict[T, float]:
    """Median milliseconds of a step of each."""
    for run in runs.values():
        run(1)  # warms up
    turns = {name: max(1, round(SECONDS_OF_A_TURN / run(1))) for name, run in runs.items()}
    times: dict[T, list[float]] = {name: [] for name in runs}
    for _ in range(rounds):
        for name, run in runs.items():
            times[name].append(run(turns[name]) / turns[name] * 1e3)
    return {name: statistics.median(values) for name, values in times.items()}


def timed(step: Callable[[], object]) -> Run:
    def run(count: int) -> float:
        begin = time.perf_counter()
        for _ in range(count):
            step()
        return time.perf_counter() - begin

    return run


@contextmanager
def process_of(side: str, *sizes: int) -> Iterator[Run]:
    """A side in a process of its own, as trainings are: heap and caches are its alone."""
    here, there = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(
        target=_answer, args=(there, side, *sizes), daemon=True
    )
    process.start()

    def run(count: int) -> float:
        here.send(count)
        return here.recv()

    yield run
    process.kill()


def _answer(pipe: Connection, side: str, *sizes: int) -> None:
    torch.set_num_threads(1)
    is_plain = side in PLAIN
    step = plain_step(*sizes, PLAIN[side]) if is_plain else our_step(*sizes, SIDES[side])
    run = timed(step)
    while True:
        pipe.send(run(pipe.recv()))


def our_trainer(tokens: int, hidden: int, batch: int, *keys: str) -> Trainer:
    sizes = (f"data.canvas={math.isqrt(tokens)}", f"hidden_dim={hidden}", f"batch_size={batch}")
    return trainer_of(*sizes, "data.num_puzzles=1000", "trainer.compile=off", *keys)


def trainer_of(*keys: str) -> Trainer:
    endless = ("data.num_eval_puzzles=2", "trainer.epochs=1000000")
    config.register_resolvers()
    with hydra.initialize_config_dir(str(config.CONF), **VERSION_BASE):
        built = config.build(hydra.compose("config", [*endless, *keys]))
    return make_trainer(built)


def our_step(tokens: int, hidden: int, batch: int, keys: tuple[str, ...]) -> Callable[[], object]:
    return step_of(our_trainer(tokens, hidden, batch, *keys))


def step_of(trainer: Trainer) -> Callable[[], object]:
    metrics, rows = MeanMetrics(), trainer._slots
    trainer.model.train()
    rows.start(1)

    def step() -> None:
        if not rows.fill():
            rows.start(1)
            rows.fill()
        trainer._train_segment(metrics)

    return step


def plain_step(tokens: int, hidden: int, batch: int, dtype: str) -> Callable[[], object]:
    published = {
        "forward_dtype": dtype,
        "pos_encodings": "rope",
        "batch_size": batch,
        "seq_len": tokens,
        "vocab_size": 12,
        "hidden_size": hidden,
        "num_heads": 4,
        "expansion": 4,
        "puzzle_emb_ndim": hidden,
        "num_puzzle_identifiers": 3,
        "H_layers": 1,
        "L_layers": 1,
        "H_cycles": 2,
        "L_cycles": 2,
        "halt_max_steps": 4,
        "halt_exploration_prob": 0.1,
    }
    training = PlainTraining(PlainHRM(published, loss="stablemax"), lr=1e-3)
    inputs = torch.randint(2, 12, (batch, tokens))
    ids = torch.randint(1, 3, (batch,))
    return lambda: training.step(inputs, ids, inputs)


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
