"""Model files that a study keeps as it runs: those of all trials, of the best, or none."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from hrm_sweep.engine.progress import TrialProgress
from hrm_sweep.engine.state import StudyState, by_number, final_values
from hrm_sweep.errors import RecordError
from hrm_sweep.runs import models
from hrm_sweep.runs.outcomes import Outcome
from hrm_sweep.runs.run import Run
from hrm_sweep.runs.run_folders import is_run_of


class ModelKeeper:
    """Observer that removes the models of trials that cannot be the best any more.

    A trial that runs, or waits to be run again, keeps its checkpoints. One whose result the best
    has reused keeps its own.

    Args:
        study: folder of the study.
        keep: see `hrm_sweep.runs.models.CHOICES`.
        by: the setting as the user types it, for who misses a model.
    """

    def __init__(self, study: Path, keep: str, by: str) -> None:
        self._study, self._keep, self._by = study, keep, by
        self._best: list[TrialProgress] = []
        """Of the trials that were compared, those that a next one is compared with."""
        self._clean: set[int] = set()
        """Trials that have no model any more."""

    def begin(self, state: StudyState) -> None:
        """Keep the state, and remove what an earlier sweep has left."""
        self._state = state
        self._keep_best_of(state.ended.values())

    def tick(self) -> None:
        """Do nothing."""

    def trial_ended(self, trial: TrialProgress) -> None:
        """Remove the models of the trials that this one betters, or its own."""
        self._clean.discard(trial.number)
        self._keep_best_of([*self._best, trial])

    def end(self) -> None:
        """Compare with the trials of other sweeps, too."""
        self._keep_best_of(self._state.ended.values())

    def _keep_best_of(self, trials: Iterable[TrialProgress]) -> None:
        ended = by_number(trial for trial in trials if not trial.goes_back)
        complete = [trial for trial in ended if trial.outcome is Outcome.COMPLETE]
        objectives = self._state.objectives
        self._best = objectives.front(complete, final_values)
        if not self._best:  # each breaks a constraint
            self._best = objectives.ranked(complete, final_values)[:1]
        kept = self._best if self._keep == models.KEEP_BEST else []
        numbers = {trial.number for trial in kept}
        needed = {run.trained.folder.resolve() for trial in kept for run in self._runs(trial)}
        for trial in ended:
            if trial.number not in numbers | self._clean and self._is_cleaned(trial, needed):
                self._clean.add(trial.number)

    def _is_cleaned(self, trial: TrialProgress, needed: set[Path]) -> bool:
        """Remove the models of a trial; return whether none had to stay."""
        runs = self._runs(trial)
        free = [
            run
            for run in runs
            if run.last.event == "finished" and run.folder.resolve() not in needed
        ]
        for run in free:
            models.remove(run.folder, models.model_files(run), by=self._by)
        return len(free) == len(runs)

    def _runs(self, trial: TrialProgress) -> list[Run]:
        """Return a trial and its repeats; none if it is elsewhere, or its record is damaged."""
        if not is_run_of(self._study, trial.folder):
            return []
        with suppress(RecordError):  # named where the run is shown
            run = Run.open(trial.folder)
            return [run, *run.repeats]
        return []
