"""A study that another process runs, as the records in its folder show it."""

from __future__ import annotations

import time
from contextlib import suppress

from hrm_sweep.engine.progress import RecordTail, TrialProgress
from hrm_sweep.engine.state import StudyState
from hrm_sweep.errors import RecordError
from hrm_sweep.runs.find import study_in
from hrm_sweep.runs.outcomes import Outcome
from hrm_sweep.runs.record import RecordReader
from hrm_sweep.runs.run import Run
from hrm_sweep.runs.run_folders import trials_below
from hrm_sweep.runs.study import Study
from hrm_sweep.runs.writers import seen_writer
from hrm_sweep.system.writers import LeaseState


class WatchedStudy:
    """Reader that keeps a `StudyState` up to date; it writes nothing and asks no database.

    Attributes:
        study: as it was last started.
        state: trials, those of the study that the folder lacks among them.
        outcome: how its last sweep ended; None while that has not written it.
    """

    def __init__(self, study: Study) -> None:
        self.study = study
        self.outcome: Outcome | None = None
        self.state = StudyState(name=study.name, objectives=study.objectives, num_trials=0)
        self._reader = RecordReader(study.folder)
        self._elsewhere = study.elsewhere
        self._tails: dict[str, RecordTail] = {}
        self._began_ms = self._last_ms = 0
        self._known: set[str] = set()
        """Names of folders that need no look: those of trials, and of what is none."""
        self.refresh()

    @property
    def lease(self) -> LeaseState:
        """Whether a sweep works on it, as far as that is seen from here.

        Of several sweeps one has the study's record; trials show that another one lives.
        """
        trials = (trial.folder for trial in self.state.in_flight.values())
        states = (seen_writer(folder)[1] for folder in (self.study.folder, *trials))
        return next((each for each in states if each is not LeaseState.EXPIRED), LeaseState.EXPIRED)

    @property
    def seconds(self) -> float:
        """How long the study has run since it was last started."""
        until = self._last_ms if self.outcome else 1000 * time.time()
        return max(0.0, (until - self._began_ms) / 1000)

    def refresh(self) -> list[TrialProgress]:
        """Read what is new, and return the trials that have ended since the last call."""
        known = self._endings()
        self._read_study()
        for name in trials_below(self.study.folder, self._known):
            with suppress(RecordError):  # damaged
                self._follow(name)
        for name in [*self._tails]:
            self._read_trial(name)
        self.state.num_slots = max(1, len(self.state.in_flight))
        return [trial for ending, trial in self._endings().items() if ending not in known]

    def _endings(self) -> dict[tuple[int, int], TrialProgress]:
        """Return the trials that have ended, by number and attempt."""
        return {(trial.number, trial.attempt): trial for trial in self.state.ended.values()}

    def _read_study(self) -> None:
        for entry in self._reader.new_entries():
            self._last_ms = entry.time_ms
            if entry.event == "started":
                self._began_ms = entry.time_ms
                self._begin()
            elif entry.event == "finished":
                self.outcome = Outcome.named(entry.fields["outcome"])
                self.state.is_closed = self.outcome in (Outcome.INTERRUPTED, Outcome.KILLED)

    def _begin(self) -> None:
        """Look at all trials anew: a study that is resumed may run each of them again."""
        self.study = study_in(self.study.folder) or self.study
        self.outcome, self.state.is_closed = None, False
        self.state.num_trials = self.study.num_trials
        self.state.ended.clear()
        self.state.in_flight.clear()
        self._tails.clear()
        self._known.clear()
        for run in self._elsewhere:
            if run.outcome is not None:
                self.state.ended[run.number or 0] = _of_ended(self.study, run)

    def _follow(self, name: str) -> None:
        """Take note of a trial; one that has ended for good is not read again."""
        self._known.add(name)
        run = Run.open(self.study.folder / name)
        if run.last.event == "finished" and not self.study.goes_back(run):
            self.state.ended[run.number or 0] = _of_ended(self.study, run)
            return
        params = self.study.params(run)
        trial = TrialProgress(run.number or 0, params, run.folder, run.counted_attempts)
        self._tails[name] = RecordTail(trial)

    def _read_trial(self, name: str) -> None:
        tail = self._tails[name]
        tail.read()
        trial = tail.progress
        if trial.outcome is not None:
            run = Run.open(trial.folder)
            trial.attempt, trial.goes_back = run.counted_attempts, self.study.goes_back(run)
            if not trial.goes_back:
                del self._tails[name]
        self._place(trial)

    def _place(self, trial: TrialProgress) -> None:
        here, other = self.state.in_flight, self.state.ended
        if trial.outcome is not None:
            here, other = other, here
        other.pop(trial.number, None)
        here[trial.number] = trial


def _of_ended(study: Study, run: Run) -> TrialProgress:
    return TrialProgress(
        run.number or 0,
        study.params(run),
        run.folder,
        attempt=run.counted_attempts,
        has_begun=True,
        seconds=run.seconds,
        ended_ms=run.last_ms,
        step=max(run.curves, default=0),
        values=run.values,
        outcome=run.outcome,
        reason=run.reason,
        goes_back=study.goes_back(run),
    )
