"""Text about one trial: its line in a pipe, its cells in a table."""

from __future__ import annotations

from collections.abc import Sequence

from hrm_sweep import formatting
from hrm_sweep.engine.progress import TrialProgress
from hrm_sweep.runs.outcomes import Outcome
from hrm_sweep.search.objectives import Objectives

MOST_NAMED = 4
"""Running trials that are named by number."""


def line(trial: TrialProgress, values: str, ending: str) -> str:
    """Return a trial in one line: `trial 3  lr=0.001  step 7/20  loss 0.5  done in 4 s`."""
    parts = [
        f"trial {trial.number}",
        formatting.format_point(trial.params),
        steps(trial, unit="step "),
        values,
        ending,
    ]
    return "  ".join(part for part in parts if part)


def stopping(running: Sequence[TrialProgress]) -> str:
    """Return what happens to the running trials of a study that is being stopped."""
    if not running:
        return "Stopping"
    numbers = [str(trial.number) for trial in running]
    if len(numbers) == 1:
        what = f"trial {numbers[0]} ends at its next report"
    elif len(numbers) <= MOST_NAMED:
        what = f"trials {', '.join(numbers[:-1])} and {numbers[-1]} end at their next report"
    else:
        what = f"{len(numbers)} trials end at their next report"
    return f"Stopping: {what} (Ctrl-C again: at once)"


def is_done(trial: TrialProgress) -> bool:
    """Return whether a trial has ended for good; one that was interrupted has not."""
    return trial.outcome is not None and trial.outcome.optuna_state != "WAITING"


def steps(trial: TrialProgress, *, unit: str = "") -> str:
    """Return `7/20`, or `repeat 2/3  7/20`, with the unit before the number of a step."""
    if trial.current_repeat is not None:
        return f"{trial.status}  {steps(trial.current_repeat, unit=unit)}".rstrip()
    number = f"{trial.step}/{trial.num_steps}" if trial.num_steps else str(trial.step or "")
    return number and unit + number


def status(trial: TrialProgress) -> str:
    """Return what a trial, or its current repeat, does before its next step."""
    return trial.status if trial.current_repeat is None else trial.current_repeat.status


def remaining(trial: TrialProgress) -> str:
    """Return the estimate of a running trial's remaining time, or else its status."""
    seconds = trial.seconds_left
    return status(trial) if seconds is None else f"{formatting.format_duration(seconds)} left"


def short_ending(trial: TrialProgress) -> str:
    """Return how a trial ended, or what is left of it, for a cell."""
    if trial.outcome is None:
        return remaining(trial) if trial.has_begun else "waits again"
    if trial.outcome is Outcome.COMPLETE:
        return f"done {formatting.format_duration(trial.seconds)}"
    return trial.outcome.spoken


def ending(trial: TrialProgress, objectives: Objectives) -> str:
    """Return how a trial ended, with what is remarkable about it."""
    assert trial.outcome is not None
    attempt = f"attempt {trial.attempt}" if trial.attempt > 1 else ""
    if trial.outcome is Outcome.COMPLETE:
        done = f"done in {formatting.format_duration(trial.seconds)}"
        broken = (f"breaks {constraint}" for constraint in objectives.broken(trial.values))
        notes = [done, attempt, trial.reason, *broken]
    else:
        notes = [f"{trial.outcome.spoken}: {' '.join(trial.reason.split())}", attempt]
    return ", ".join(note for note in notes if note)


def is_remarkable(trial: TrialProgress, objectives: Objectives) -> bool:
    """Return whether the user should read how a trial ended.

    That is a failure, a cached result or a broken constraint; a pruned trial is none of these.
    """
    if trial.outcome is not Outcome.COMPLETE:
        return trial.outcome not in (None, Outcome.PRUNED)
    return bool(trial.reason or trial.attempt > 1 or objectives.broken(trial.values))
