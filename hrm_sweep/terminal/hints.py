"""Lines around a study: what it is, what it would run, which commands come next."""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

from hrm_sweep import formatting
from hrm_sweep.engine.description import format_values
from hrm_sweep.engine.other_sweeps import Others
from hrm_sweep.engine.plugin_config import (
    ASKED_ONCE,
    PATIENCE,
    SweeperConfig,
    names_code,
    once_overrides,
    resume_overrides,
)
from hrm_sweep.engine.progress import TrialProgress
from hrm_sweep.engine.state import StudyState
from hrm_sweep.engine.trial_queue import num_to_run
from hrm_sweep.runs import layout
from hrm_sweep.runs.app import App
from hrm_sweep.runs.outcomes import Outcome
from hrm_sweep.runs.recipe import recipe_overrides
from hrm_sweep.runs.study import reference
from hrm_sweep.search.budget import Budget
from hrm_sweep.search.enqueued import KEY
from hrm_sweep.search.space import Dimension, Space
from hrm_sweep.system import process
from hrm_sweep.system.writers import LeaseState
from hrm_sweep.tracking import store


def in_batches(size: int, launcher: str) -> str:
    """Return how a stock launcher gets the trials of a study.

    Args:
        size: trials of a batch.
        launcher: option of `hydra/launcher`.
    """
    how = f"in batches of {size}" if size > 1 else "one at a time"
    return f"{how}: hydra/launcher={launcher}"


def workers(number: int, *, threads: int) -> str:
    """Return how many trials run at once here, and on how many cores if that are fewer."""
    text, cores = formatting.pluralize(number, "worker"), process.usable_cores()
    if number * threads <= cores:
        return text
    of_threads = f" of {formatting.pluralize(threads, 'thread')}" if threads > 1 else ""
    return f"{text}{of_threads} on {formatting.pluralize(cores, 'core')}"


def head(state: StudyState, budget: Budget, *, sampler: str, at_once: str) -> list[str]:
    """Return the first lines of a study.

    Args:
        sampler: what proposes the trials of a search; on a grid, one that was asked for in vain.
        at_once: how many trials run at once; "": none is left to run.
    """
    objectives = state.objectives
    pairs = zip(objectives.directions, objectives.names, strict=True)
    aims = [f"{direction} {objective}" for direction, objective in pairs]
    aims += map(str, objectives.constraints)
    how = f"Grid of {state.num_trials}, every point once"
    if not budget.is_grid:
        how = f"Search of {_share(budget, state.num_trials)}, proposed by {sampler}"
    lines = [
        f"Study {state.name} · {_sizes(budget.space)} · {', '.join(aims)}",
        f"{how} · {at_once or 'nothing is left to run'}",
        *_about_the_budget(budget),
    ]
    if budget.is_grid and sampler:
        lines.append(
            f"{sampler} is not asked: every point is run; n_trials below {budget.space.size} makes "
            "a search of it"
        )
    if state.num_added:
        trials = formatting.pluralize(state.num_added, "trial")
        lines.append(f"{trials} in Optuna not run by a sweep: left out here")
    away = sorted(trial.number for trial in state.ended.values() if not trial.folder.exists())
    if away:
        lines.append(f"Not in this folder, known from Optuna: trials {formatting.ranges(away)}")
    return lines


def describe_plan(
    budget: Budget,
    known: Sequence[Any],
    *,
    workers: int,
    ignored_keys: Collection[str],
) -> Iterator[str]:
    """Yield what a study would run, with a line for each point of a grid.

    Args:
        known: all trials of the study so far, from Optuna.
        ignored_keys: top-level config keys that cannot change a result.
    """
    done = [trial for trial in known if trial.state.is_finished()]
    space = budget.space
    yield from _about_the_budget(budget)
    if budget.is_grid:
        points = list(budget.points())
        yield f"A grid of {formatting.pluralize(len(points), 'point')}: {_sizes(space)}"
        by_point = {tuple(sorted(trial.params.items())): trial for trial in done}
        for number, point in enumerate(points):
            trial = by_point.get(tuple(sorted(point.items())))
            recipe = formatting.format_recipe(
                recipe_overrides(space.overrides(point), ignored_keys)
            )
            yield f"  {number}  {recipe}{_past_outcome(trial) if trial else ''}"
    else:
        yield f"A search of {_share(budget, budget.num_trials)}: {_sizes(space)}"
        for point in budget.enqueued:
            yield f"  first  {formatting.format_point(point)}"
    yield _estimate(done, num_to_run(budget, known), workers)


def _share(budget: Budget, num_trials: int) -> str:
    """Return `20 trials`, or `20 of 66 points` of a finite space."""
    if budget.space.is_finite:
        return f"{num_trials} of {formatting.pluralize(budget.space.size, 'point')}"
    return formatting.pluralize(num_trials, "trial")


def _about_the_budget(budget: Budget) -> Iterator[str]:
    if budget.is_too_large:
        yield f"n_trials={budget.n_trials} is more than there are points: each is run once"
    if budget.enqueued:
        yield f"First come the points of {KEY}: {len(budget.enqueued)}"


def _past_outcome(trial: Any) -> str:
    return f"  ({trial.user_attrs.get('outcome', 'added')} as trial {trial.number})"


def _estimate(done: Sequence[Any], left: int, workers: int) -> str:
    complete = [trial for trial in done if trial.state.name == "COMPLETE"]
    counts = f"{len(done)} done, {left} to run"
    if not complete:
        return f"{counts}; how long that takes is known after the first trial"
    mean = sum(trial.user_attrs.get("seconds", 0.0) for trial in complete) / len(complete)
    duration = formatting.format_duration(mean * left / min(workers, max(1, left)))
    return f"{counts}, about {duration} with {formatting.pluralize(workers, 'worker')}"


def after_end(*, is_tracked: bool) -> str:
    """Return what a sweep does after its last trial, in the seconds before its last lines."""
    to_mlflow = ", sending to MLflow" if is_tracked else ""
    return f"Writing the report{to_mlflow} …"


def about_patience(state: StudyState, folder: Path, app: App) -> str:
    """Return why a study has ended before its last trial, and the command that continues it."""
    num, left = state.num_since_best, formatting.pluralize(state.num_left, "trial")
    further = how_to_repeat(state.name, folder, app, f"{PATIENCE}null")
    trials = f"{formatting.pluralize(num, 'trial')} in a row"
    return f"  patience    {trials} without a new best, {left} left; to run them: {further}"


def next_commands(
    state: StudyState,
    space: Space,
    config: SweeperConfig,
    folder: Path,
    *,
    app: App,
) -> Iterator[str]:
    """Yield what to type when a study has ended; our commands take the newest study by default."""
    named = [] if reference(state.name, folder) == state.name else [str(folder)]
    report = folder / layout.REPORT
    if report.exists():
        yield f"  report      {report}"
    if state.best is not None:
        recipe = recipe_overrides(space.overrides(state.best.params), app.ignored_keys)
        yield f"  best        {state.best.folder}"
        yield f"  reproduce   {process.hrm_sweep_command('reproduce', *named)}"
        once_more = app.from_here(app.shell_command(*recipe, *app.once))
        if len(once_more) <= formatting.LONGEST_COMMAND:
            yield f"  once more   {once_more}"
    elif state.front:
        yield from _how_to_choose(state.front, named)
    elif state.outcomes().get(Outcome.COMPLETE):
        broken = " or ".join(map(str, state.objectives.constraints))
        yield f"  best        none: each complete trial breaks {broken}"
    if config.is_tracked:
        yield f"  compare     {store.ui_hint(config.tracking_uri)}"
    yield f"  explore     {process.hrm_sweep_command('dashboard', *named)}"


def _how_to_choose(front: Sequence[TrialProgress], named: list[str]) -> Iterator[str]:
    """Yield the lines for several best trials, none of which is shown before the others."""
    numbers = ", ".join(str(trial.number) for trial in front)
    size = formatting.pluralize(len(front), "trial")
    yield f"  front       {size} that no other beats: {numbers}"
    yield f"  choose      {process.hrm_sweep_command('best', *named, '--pareto')}"
    one = str(front[0].number)
    yield f"  reproduce   {process.hrm_sweep_command('reproduce', *named, '--trial', one)}"


def reproduce(name: str, folder: Path, trial: TrialProgress) -> str:
    """Return the command that runs a trial again and compares the results."""
    named = reference(name, folder)
    return process.hrm_sweep_command("reproduce", named, "--trial", str(trial.number))


def how_to_continue(
    name: str, folder: Path, app: App, *, take_from: str | None = None, run_again: str = ""
) -> str:
    """Return the command that resumes a study.

    Args:
        take_from: a machine whose running trials are to be taken over.
        run_again: "failed": its failed trials too.
    """
    runs_code = any(names_code(typed, app.code_keys) for typed in sys.argv[1:])  # refused there
    if app.has_commands and not app.flags and not runs_code:
        flags = ["--take-from", take_from] if take_from else []
        flags += [f"--{run_again}"] if run_again else []
        return process.shell_command("resume", reference(name, folder), *flags)
    once = once_overrides(take_from=take_from, run_again=run_again)
    return how_to_repeat(name, folder, app, *once)


def how_to_repeat(name: str, folder: Path, app: App, *changes: str) -> str:
    """Return the command that was typed, for the same study, with other overrides behind it."""
    own = [app.in_own_keys(text) for text in (*resume_overrides(name, folder), *changes)]
    said = {text.partition("=")[0] for text in own}
    same = [text for text in sys.argv[1:] if text.partition("=")[0] not in said]
    once = (*ASKED_ONCE, *map(app.in_own_keys, ASKED_ONCE))
    kept = [text for text in same if not text.startswith(once)]
    return app.from_here(process.shell_command(*kept, *own))


def describe_others(others: Others, *, how_to_continue: Callable[..., str]) -> Iterator[str]:
    """Yield what other sweeps still run when this one has ended, and how to take it over."""
    for (machine, lease), number in others.items():
        trials = f"{number} of its trials, on {machine}"
        if lease is LeaseState.EXPIRED:
            yield f"Another sweep died and left {trials}. Take over with: {how_to_continue()}"
        elif lease is LeaseState.ALIVE:
            yield f"Another sweep still runs {trials}"
        else:
            how = how_to_continue(take_from=machine)
            yield f"Another sweep still runs {trials}. If that machine is gone for good: {how}"


def _sizes(space: Space) -> str:
    sizes = [*map(_size, space.dimensions)]
    if space.custom is not None:
        sizes.append(f"more by {space.custom.path}")
    return ", ".join(sizes) or "one point"


def _size(dimension: Dimension) -> str:
    return f"{dimension.name} {len(dimension.choices or ()) or format_values(dimension)}"
