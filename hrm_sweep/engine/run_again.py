"""Trials that are run again on request: failed ones, or those of given numbers."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from optuna.trial import FrozenTrial, TrialState

from hrm_sweep import formatting
from hrm_sweep.engine.attributes import ATTEMPT, FOLDER
from hrm_sweep.errors import StudyError
from hrm_sweep.storage.optuna_storage import SharedStorage

FAILED = "failed"
RULE = "must be failed, or a list of numbers of trials"


def trials_to_run_again(known: Sequence[FrozenTrial], asked: Any) -> list[FrozenTrial]:
    """Return the finished trials that are asked for.

    Args:
        known: the study's trials in Optuna.
        asked: None, "failed" for all that failed for good, or numbers of trials.

    Raises:
        StudyError: a number is that of no trial, or of one that is complete or waits.
    """
    if asked is None:
        return []
    if asked == FAILED:
        ended = (trial for trial in known if trial.state is TrialState.FAIL)
        return [trial for trial in ended if FOLDER in trial.user_attrs]
    numbers = [asked] if isinstance(asked, int) else asked
    if isinstance(numbers, str) or not all(isinstance(number, int) for number in numbers):
        raise StudyError(f"hydra.sweeper.run_again={asked}: {RULE}")
    return [_asked_for(known, number) for number in dict.fromkeys(numbers)]


def run_again(storage: SharedStorage, trials: Collection[FrozenTrial]) -> None:
    """Let finished trials wait, with all their attempts before them; their records stay.

    Called inside `SharedStorage.exclusive_transaction`.
    """
    for trial in trials:
        storage.reopen(trial, TrialState.WAITING)
        storage.set_user_attrs(trial, {ATTEMPT: 0})


def _asked_for(known: Sequence[FrozenTrial], number: int) -> FrozenTrial:
    trials = {trial.number: trial for trial in known}
    if number not in trials:
        there = f"it has {formatting.ranges(sorted(trials))}" if trials else "it has none yet"
        raise StudyError(f"run_again={number}: the study has no trial of that number; {there}")
    trial = trials[number]
    if trial.state is TrialState.COMPLETE:
        why = "is complete, and its result stays; `reproduce` runs it once more and compares"
        raise StudyError(f"run_again={number}: that trial {why}")
    if not trial.state.is_finished():
        raise StudyError(f"run_again={number}: that trial has not ended; `resume` alone runs it")
    return trial
