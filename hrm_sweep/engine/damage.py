"""Records that are damaged, cut off or gone: their trials run again, and no other is touched.

The record of a trial is the truth. What Optuna says beyond it, or against it, is taken back.
"""

from __future__ import annotations

import copy
import glob
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path, PurePath

from optuna.trial import FrozenTrial, TrialState

from hrm_sweep.engine.attributes import FOLDER, OWNER
from hrm_sweep.engine.elsewhere import is_damaged, is_folder_of
from hrm_sweep.errors import RecordError
from hrm_sweep.runs import layout, record
from hrm_sweep.runs.outcomes import Outcome
from hrm_sweep.runs.run import Run
from hrm_sweep.runs.study import Study
from hrm_sweep.search.objectives import Objectives
from hrm_sweep.storage.leases import expired_lease
from hrm_sweep.storage.optuna_storage import SharedStorage


def undone_trials(
    known: Sequence[FrozenTrial], recorded: Study | None, objectives: Objectives
) -> list[FrozenTrial]:
    """Return the trials whose record, here, does not say of their end what Optuna does.

    Trials that run are left out: recovery reads the records of those whose sweep has died.
    """
    if recorded is None:
        return []
    runs = {run.number: run for run in recorded.trials}
    ended = [trial for trial in known if trial.state.is_finished() and FOLDER in trial.user_attrs]
    undone = [trial for trial in ended if _is_undone(trial, runs, recorded, objectives)]
    waiting = (trial for trial in known if trial.state is TrialState.WAITING)
    return [*undone, *(each for each in waiting if _is_done(runs.get(each.number)))]


def as_waiting(known: Sequence[FrozenTrial], undone: Collection[FrozenTrial]) -> list[FrozenTrial]:
    """Return what Optuna will know once the undone trials are reopened."""
    numbers = {trial.number for trial in undone}
    found = []
    for trial in known:
        if trial.number in numbers:
            trial = copy.copy(trial)
            trial.state = TrialState.WAITING
        found.append(trial)
    return found


def reopen(storage: SharedStorage, recorded: Study, undone: Collection[FrozenTrial]) -> None:
    """Give trials back to the sweep that takes over those of dead ones, which reads their records.

    Called inside `SharedStorage.exclusive_transaction`.
    """
    for trial in undone:
        storage.reopen(trial, TrialState.RUNNING)
        storage.set_user_attrs(trial, {OWNER: expired_lease(recorded.folder)})


def set_aside(known: Sequence[FrozenTrial], recorded: Study) -> Iterator[str]:
    """Set the damaged folders of unfinished trials aside; yield a line on each damaged one.

    That of a finished trial stays: it is for the user to give up what is left of a result.
    """
    for name, error in recorded.damaged.items():
        if _is_unfinished(known, PurePath(name)) and not record.is_held(recorded.folder / name):
            old, new = record.set_aside(recorded.folder / name)
            Path(old).rename(new)
            yield f"{_reason(error)}; it is now {new}, and the trial runs from its beginning"
        else:
            yield f"left out: {error}"


def _is_undone(
    trial: FrozenTrial, runs: dict[int | None, Run], recorded: Study, objectives: Objectives
) -> bool:
    run = runs.get(trial.number)
    if run is None:
        return not is_damaged(recorded, trial) and _was_here(trial, recorded)
    if run.last.event != "finished":
        return run.outcome is not None  # it is certain that no process writes it
    is_complete = run.outcome is Outcome.COMPLETE
    if is_complete != (trial.state is TrialState.COMPLETE):
        return True
    return is_complete and bool(run.values) and trial.values != objectives.values_of(run.values)


def _is_done(run: Run | None) -> bool:
    """Return whether a trial that waits, by a database from a backup, has its result."""
    return run is not None and not run.where and run.outcome in (Outcome.COMPLETE, Outcome.PRUNED)


def _was_here(trial: FrozenTrial, recorded: Study) -> bool:
    """Return whether a trial has lost its record here: its folder is left, or was set aside.

    One that was removed as a whole was given up, and may be on another machine.
    """
    name = PurePath(trial.user_attrs[FOLDER]).name
    is_set_aside = any(recorded.folder.glob(f"{glob.escape(name)}*{layout.SET_ASIDE}"))
    return is_set_aside or (recorded.folder / name).is_dir()


def _is_unfinished(known: Sequence[FrozenTrial], name: PurePath) -> bool:
    mine = [trial for trial in known if is_folder_of(trial, name)]
    return all(not trial.state.is_finished() for trial in mine)


def _reason(error: RecordError) -> str:
    return str(error).partition("; set it aside with: ")[0]
