"""What is said around a study: what begins, what to type next, how to continue."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hrm_sweep import runtime
from hrm_sweep.recipe import is_of_the_recipe
from hrm_sweep.settings import SweeperSettings
from hrm_sweep.study import words
from hrm_sweep.study.engine import Engine
from hrm_sweep.study.plan import Plan
from hrm_sweep.study.space import Dimension, Space
from hrm_sweep.tracking import mlflow_store


def head(
    name: str, settings: SweeperSettings, space: Space, plan: Plan, num_slots: int
) -> list[str]:
    """The first lines of a study."""
    how = f"Grid of {plan.num_trials}, every point once"
    if not space.is_finite:
        sampler = settings.sampler["_target_"].rpartition(".")[2]
        how = f"Search of {words.count(plan.num_trials, 'trial')}, proposed by {sampler}"
    return [
        f"Study {name} · {_sizes(space)} · {settings.direction} {settings.objective}",
        f"{how} · {words.count(num_slots, 'worker')}",
    ]


def plan_in_words(space: Space, num_trials: int) -> Iterator[str]:
    """What a study would run, a line for each point of a grid."""
    if not space.is_finite:
        yield f"A search of {words.count(num_trials, 'trial')}: {_sizes(space)}"
        return
    points = list(space.points())
    yield f"A grid of {words.count(len(points), 'point')}: {_sizes(space)}"
    for number, point in enumerate(points):
        yield f"  {number}  {' '.join(space.overrides(point))}"


def next_commands(settings: SweeperSettings, engine: Engine, folder: Path) -> Iterator[str]:
    """What to type when a study has ended; our commands take the newest study by themselves."""
    report = folder / "report.html"
    if report.exists():
        yield f"  report      {report}"
    for best in engine.best()[:1]:
        overrides = filter(is_of_the_recipe, engine.space.overrides(best.params))
        yield f"  best        {best.folder}"
        yield "  reproduce   python -m hrm_sweep reproduce"
        yield f"  once more   {shlex.join([*runtime.command(), *overrides])}"
    if settings.tracking["name"] != "off":
        yield f"  compare     {mlflow_store.ui_hint(settings.tracking.get('uri'))}"
    yield "  explore     python -m hrm_sweep dashboard"


def how_to_continue(name: str, folder: Path, *, is_ours: bool) -> str:
    """The command by which a stopped study goes on."""
    if is_ours:
        return shlex.join([*runtime.command(), "resume", name])
    same = [*sys.argv[1:], f"hydra.sweeper.study_name={name}", f"hydra.sweep.dir={folder}"]
    return shlex.join([*runtime.command(), *same])


def _sizes(space: Space) -> str:
    return ", ".join(map(_described, space.dimensions)) or "one point"


def values_of(dimension: Dimension) -> str:
    """What a dimension may be: `1e-4, 1e-3`, or `1e-5 to 1e-2, log`."""
    if dimension.choices is not None:
        return ", ".join(map(words.setting, dimension.choices))
    distribution: Any = dimension.distribution
    low, high = words.setting(distribution.low), words.setting(distribution.high)
    return f"{low} to {high}{', log' if distribution.log else ''}"


def _described(dimension: Dimension) -> str:
    count = len(dimension.choices or ())
    return f"{dimension.name} {count or values_of(dimension)}"
