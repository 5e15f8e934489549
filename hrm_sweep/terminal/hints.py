"""What is said around a study: what begins, what to type next, how to continue."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

from hrm_sweep import formatting
from hrm_sweep.engine.plugin_config import TAKE_FROM, SweeperSettings
from hrm_sweep.engine.progress import TrialProgress
from hrm_sweep.engine.scheduler import Scheduler
from hrm_sweep.engine.trial_queue import Others, TrialQueue, num_to_run
from hrm_sweep.runs.outcomes import Outcome
from hrm_sweep.runs.recipe import recipe_overrides
from hrm_sweep.search.objectives import Objectives
from hrm_sweep.search.space import Dimension, Space
from hrm_sweep.storage.leases import LeaseState
from hrm_sweep.system import process
from hrm_sweep.tracking import store


def head(
    name: str, space: Space, objectives: Objectives, plan: TrialQueue, *, by: str, slots: int
) -> list[str]:
    """The first lines of a study; `by` says what proposes its trials, and `slots` how many of them
    run at once."""
    at_once = formatting.pluralize(slots, "worker") if slots else "nothing is left to run"
    how = f"Grid of {plan.num_trials}, every point once"
    if not space.is_finite:
        how = f"Search of {formatting.pluralize(plan.num_trials, 'trial')}, proposed by {by}"
    pairs = zip(objectives.directions, objectives.names, strict=True)
    aims = [f"{direction} {objective}" for direction, objective in pairs]
    told = [
        f"Study {name} · {_sizes(space)} · {', '.join([*aims, *map(str, objectives.constraints)])}",
        f"{how} · {at_once}",
    ]
    if added := plan.num_added():
        told.append(
            f"{formatting.pluralize(added, 'trial')} in Optuna not run by a sweep: left out here"
        )
    return told


def describe_plan(
    space: Space,
    num_trials: int,
    known: Sequence[Any],
    *,
    workers: int,
    aside: Collection[str],
) -> Iterator[str]:
    """What a study would run, a line for each point of a grid; `known` are its trials so far."""
    done = [trial for trial in known if trial.state.is_finished()]
    if space.is_finite:
        points = list(space.points())
        num_trials = len(points)
        yield f"A grid of {formatting.pluralize(num_trials, 'point')}: {_sizes(space)}"
        ended = {tuple(sorted(trial.params.items())): trial for trial in done}
        for number, point in enumerate(points):
            trial = ended.get(tuple(sorted(point.items())))
            mark = (
                f"  ({trial.user_attrs.get('outcome', 'added')} as trial {trial.number})"
                if trial
                else ""
            )
            overrides = recipe_overrides(space.overrides(point), aside)
            yield f"  {number}  {' '.join(overrides)}{mark}"
    else:
        yield f"A search of {formatting.pluralize(num_trials, 'trial')}: {_sizes(space)}"
    yield _how_long(done, num_to_run(space, known, num_trials=num_trials), workers)


def _how_long(done: Sequence[Any], left: int, workers: int) -> str:
    took = [
        trial.user_attrs.get("seconds", 0.0) for trial in done if trial.state.name == "COMPLETE"
    ]
    told = f"{len(done)} done, {left} to run"
    if not took:
        return f"{told}; how long that takes is known after the first trial"
    estimate = sum(took) / len(took) * left / min(workers, max(1, left))
    at_once = formatting.pluralize(workers, "worker")
    return f"{told}, about {formatting.format_duration(estimate)} with {at_once}"


def next_commands(
    settings: SweeperSettings, engine: Scheduler, folder: Path, *, aside: Collection[str]
) -> Iterator[str]:
    """What to type when a study has ended; our commands take the newest study by themselves."""
    report = folder / "report.html"
    if report.exists():
        yield f"  report      {report}"
    if len(engine.front) > 1:
        yield from _how_to_choose(engine.front)
    for best in engine.front if len(engine.front) == 1 else ():
        recipe = recipe_overrides(engine.space.overrides(best.params), aside)
        yield f"  best        {best.folder}"
        yield "  reproduce   python -m hrm_sweep reproduce"
        yield f"  once more   {shlex.join([*process.launch_command(), *recipe])}"
    if engine.outcomes().get(Outcome.COMPLETE) and not engine.front:
        broken = " or ".join(map(str, engine.objectives.constraints))
        yield f"  best        none: each complete trial breaks {broken}"
    if settings.tracking["name"] != "off":
        yield f"  compare     {store.ui_hint(settings.tracking.get('uri'))}"
    yield "  explore     python -m hrm_sweep dashboard"


def _how_to_choose(front: Sequence[TrialProgress]) -> Iterator[str]:
    """Of several best trials, none is shown before the others."""
    numbers = ", ".join(str(row.number) for row in front)
    size = formatting.pluralize(len(front), "trial")
    yield f"  front       {size} that no other beats: {numbers}"
    yield "  choose      python -m hrm_sweep best --pareto"
    yield "  reproduce   python -m hrm_sweep reproduce --trial N"


def reproduce(study: str, row: TrialProgress) -> str:
    """The command that runs a trial again and compares."""
    return shlex.join(["python", "-m", "hrm_sweep", "reproduce", study, "--trial", str(row.number)])


def how_to_continue(name: str, folder: Path, *, is_ours: bool, take_from: str | None = None) -> str:
    """The command by which a stopped study goes on; with the trials of the machine `take_from`."""
    if is_ours:
        from_there = ["--take-from", take_from] if take_from else []
        return shlex.join([*process.launch_command(), "resume", name, *from_there])
    where = [f"hydra.sweeper.study_name={name}", f"hydra.sweep.dir={folder}"]
    from_there = [f"{TAKE_FROM}{take_from}"] if take_from else []
    same = [text for text in sys.argv[1:] if text not in where and not text.startswith(TAKE_FROM)]
    return shlex.join([*process.launch_command(), *same, *where, *from_there])


def of_others(others: Others, *, how_to_continue: Callable[..., str]) -> Iterator[str]:
    """What other sweeps still run when this one has ended, and how to get it back."""
    for (machine, seen), number in others.items():
        trials = f"{number} of its trials, on {machine}"
        if seen is LeaseState.EXPIRED:
            yield f"Another sweep died and left {trials}. Take over with: {how_to_continue()}"
        elif seen is LeaseState.ALIVE:
            yield f"Another sweep still runs {trials}"
        else:
            how = how_to_continue(take_from=machine)
            yield f"Another sweep still runs {trials}. If that machine is gone for good: {how}"


def _sizes(space: Space) -> str:
    return ", ".join(map(_described, space.dimensions)) or "one point"


def values_of(dimension: Dimension) -> str:
    """What a dimension may be: `1e-4, 1e-3`, or `1e-5 to 1e-2 (log)`."""
    if dimension.choices is not None:
        return ", ".join(map(formatting.format_param, dimension.choices))
    distribution: Any = dimension.distribution
    low, high = (
        formatting.format_param(distribution.low),
        formatting.format_param(distribution.high),
    )
    return f"{low} to {high}{' (log)' if distribution.log else ''}"


def _described(dimension: Dimension) -> str:
    count = len(dimension.choices or ())
    return f"{dimension.name} {count or values_of(dimension)}"
