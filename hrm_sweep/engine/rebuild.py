"""Rebuilding of a study in Optuna from its folder, which is the truth.

Optuna lacks trials that the folder has if its database was lost or replaced by an older one, or if
the folder was taken to another project.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from optuna.trial import FrozenTrial, TrialState, create_trial

from hrm_sweep.compat.optuna import enqueued_attrs
from hrm_sweep.engine.attributes import ATTEMPT, FOLDER, OWNER
from hrm_sweep.engine.progress import RecordTail, TrialProgress
from hrm_sweep.runs import layout
from hrm_sweep.runs.outcomes import Outcome
from hrm_sweep.runs.record import Entry
from hrm_sweep.runs.run import Run
from hrm_sweep.runs.run_folders import runs_below
from hrm_sweep.runs.study import Study
from hrm_sweep.search.objectives import Objectives
from hrm_sweep.search.space import Space
from hrm_sweep.search.values import Value


def lacking_trials(
    known: Sequence[FrozenTrial],
    recorded: Study | None,
    space: Space,
    objectives: Objectives,
    *,
    max_attempts: int,
) -> list[FrozenTrial]:
    """Return the trials of a study's folder that Optuna lacks, as it keeps them.

    Trials that were cut off wait. So do those in between that have no record: on a grid with the
    points that no other trial has, in a search without parameters.

    Args:
        known: what Optuna has, from number 0 on.
        recorded: the study as its folder has it, if there is one.

    Raises:
        SpaceError: a trial is not in the space.
        RecordError: a record was edited.
    """
    if recorded is None or not _has_more(recorded, len(known)):
        return []
    runs = {run.number or 0: run for run in recorded.trials}
    runs = {number: run for number, run in runs.items() if number >= len(known)}
    points = {number: space.params_of(run.overrides) for number, run in runs.items()}
    used = [*(trial.params for trial in known), *points.values()]
    unused = _unused_points(space, used)
    found = []
    for number in range(len(known), max(runs, default=-1) + 1):
        if number in runs:
            run, params = runs[number], points[number]
            trial = _trial(run, params, space, objectives, max_attempts=max_attempts)
        else:
            trial = _create(space, next(unused, {}), TrialState.WAITING)
        if str(number) in recorded.enqueued:
            trial.system_attrs |= enqueued_attrs(recorded.enqueued[str(number)])
        trial.number = number
        found.append(trial)
    return found


def _has_more(recorded: Study, num_known: int) -> bool:
    """Return whether a folder may have trials from a number on, without reading their records."""
    names = runs_below(recorded.folder)
    return any(not name.isdecimal() or int(name) >= num_known for name in names)


def _trial(
    run: Run,
    params: Mapping[str, Value],
    space: Space,
    objectives: Objectives,
    *,
    max_attempts: int,
) -> FrozenTrial:
    entries = run.entries
    progress = TrialProgress(run.number or 0, params, run.folder, run.counted_attempts)
    curve = RecordTail(progress).earlier
    if progress.outcome is None:
        progress.outcome = Outcome.INTERRUPTED
    state = progress.optuna_state(max_attempts=max_attempts)
    attrs = {FOLDER: str(run.folder), ATTEMPT: progress.attempt}
    if run.unknown_writer:  # left to it, like the trials of a sweep on another machine
        state = TrialState.RUNNING
        attrs[OWNER] = {**run.unknown_writer, "lock": str((run.folder / layout.RECORD).absolute())}
    trial = _create(
        space,
        params,
        state,
        values=_values(state, progress, objectives, curve),
        user_attrs=attrs | progress.to_user_attrs(run.mlflow_run_id),
        intermediate_values=_objective_curve(objectives, curve),
    )
    if state is TrialState.COMPLETE:
        for constraint in objectives.constraints:
            trial.set_constraint(constraint.name, constraint.excess(progress.values))
    if state.is_finished():
        trial.datetime_start, trial.datetime_complete = map(_time, (entries[0], entries[-1]))
    return trial


def _create(
    space: Space, params: Mapping[str, Value], state: TrialState, **fields: Any
) -> FrozenTrial:
    known = space.distributions_of(params) if params else {}
    return create_trial(state=state, params=dict(params), distributions=known, **fields)


def _values(
    state: TrialState,
    progress: TrialProgress,
    objectives: Objectives,
    curve: Mapping[int, Mapping[str, float]],
) -> list[float] | None:
    """Return the values of a trial as `Study.tell` keeps them; of a pruned one its last step's."""
    if state is TrialState.COMPLETE:
        return objectives.values_of(progress.values)
    steps = _objective_curve(objectives, curve)
    return [steps[max(steps)]] if state is TrialState.PRUNED and steps else None


def _objective_curve(
    objectives: Objectives, curve: Mapping[int, Mapping[str, float]]
) -> dict[int, float]:
    if objectives.is_multi_objective:
        return {}
    (name,) = objectives.names
    return {step: values[name] for step, values in curve.items() if name in values}


def _unused_points(space: Space, used: Iterable[Mapping[str, Value]]) -> Iterator[dict[str, Value]]:
    if not space.is_finite:
        return iter(())
    keys = {frozenset(point.items()) for point in used}
    return (point for point in space.points() if frozenset(point.items()) not in keys)


def _time(entry: Entry) -> datetime.datetime:
    return datetime.datetime.fromtimestamp(entry.time_ms / 1000)
