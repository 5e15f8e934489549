"""Observer that calls what the user lets run at the end of a trial and of a study."""

from __future__ import annotations

import contextlib
import queue
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

from hrm_sweep import formatting
from hrm_sweep.engine.callback import Callback
from hrm_sweep.engine.progress import TrialProgress
from hrm_sweep.engine.state import StudyState
from hrm_sweep.system import output
from hrm_sweep.system.redact import redacted

SECONDS_TO_END = 600.0
"""How long the end of a study waits for callbacks."""
SECONDS_UNSAID = 2.0
"""How long it does so without a word."""


@dataclass(frozen=True, kw_only=True)
class TrialEnd:
    """A trial that has ended for good."""

    study: str
    number: int
    outcome: str
    """complete, pruned, diverged, failed, unjudged, killed or timed_out."""
    reason: str
    objectives: tuple[str, ...]
    """Names of the values that it is judged by."""
    values: Mapping[str, float]
    """Final values of a complete trial, at its best step; else the last that were measured."""
    params: Mapping[str, Any]
    seconds: float
    folder: Path
    """Absolute."""

    def environment(self) -> dict[str, str]:
        """Return it as environment variables."""
        values = [repr(self.values[name]) for name in self.objectives if name in self.values]
        return {
            "HRM_SWEEP_STUDY": self.study,
            "HRM_SWEEP_TRIAL": str(self.number),
            "HRM_SWEEP_OUTCOME": self.outcome,
            "HRM_SWEEP_VALUE": ",".join(values) if self.outcome == "complete" else "",
            "HRM_SWEEP_FOLDER": str(self.folder),
        }


@dataclass(frozen=True, kw_only=True)
class StudyEnd:
    """The end of a sweep on a study. `hrm_sweep.load_study(end.folder).trials` has all of them."""

    study: str
    outcome: str
    """complete: there is a best trial; failed: there is none; interrupted: trials are left."""
    counts: Mapping[str, int]
    """How many trials ended with each outcome."""
    best: tuple[TrialEnd, ...]
    """The best trial; the front of several objectives; nothing if there is none."""
    folder: Path
    """Absolute."""

    def environment(self) -> dict[str, str]:
        """Return it as environment variables; trial and value are those of the first best trial."""
        of_best = self.best[0].environment() if self.best else {}
        return (
            {"HRM_SWEEP_TRIAL": "", "HRM_SWEEP_VALUE": ""}
            | of_best
            | {
                "HRM_SWEEP_STUDY": self.study,
                "HRM_SWEEP_OUTCOME": self.outcome,
                "HRM_SWEEP_FOLDER": str(self.folder),
            }
        )


class _Call(NamedTuple):
    what: str
    callback: Callback
    ending: TrialEnd | StudyEnd


class Callbacks:
    """Observer that calls a function or a command, one at a time, in the order of the ends.

    Calls are made in a thread. One that fails is one line, and costs no trial anything. The end of
    the study waits for those that are left, up to `seconds_to_end`. Attempts that are made again
    and trials that ended in an earlier sweep are not called for; nor is the end of a sweep in which
    no trial has ended.
    """

    def __init__(
        self,
        folder: Path,
        *,
        on_trial_end: Callback | None,
        on_end: Callback | None,
        seconds_to_end: float = SECONDS_TO_END,
    ) -> None:
        self._folder, self._on_trial_end, self._on_end = folder.absolute(), on_trial_end, on_end
        self._seconds_to_end = seconds_to_end
        self._has_ended_trials = self._is_given_up = False
        self._is_done = threading.Event()
        self._calls: queue.SimpleQueue[_Call | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._make_calls, name="callbacks", daemon=True)

    def begin(self, state: StudyState) -> None:
        """Keep the state, and start the thread."""
        self._state = state
        self._thread.start()

    def tick(self) -> None:
        """Do nothing."""

    def trial_ended(self, trial: TrialProgress) -> None:
        """Ask for a call if the trial has ended for good."""
        self._has_ended_trials = True
        if self._on_trial_end is not None and not trial.goes_back:
            what = f"on_trial_end of trial {trial.number}"
            self._calls.put(_Call(what, self._on_trial_end, self._trial_end(trial)))

    def end(self) -> None:
        """Ask for the last call, and wait for what is left."""
        if self._on_end is not None and self._has_ended_trials:
            self._calls.put(_Call("on_end", self._on_end, self._study_end()))
        self._calls.put(None)
        with contextlib.suppress(KeyboardInterrupt):  # of a user who does not want to wait
            self._wait()
        if not self._is_done.is_set():
            self._give_up()

    def _wait(self) -> None:
        if not self._is_done.wait(min(SECONDS_UNSAID, self._seconds_to_end)):
            most = formatting.format_duration(self._seconds_to_end)
            output.show(f"Waits for on_trial_end and on_end, up to {most}; Ctrl-C ends that")
            self._is_done.wait(max(0.0, self._seconds_to_end - SECONDS_UNSAID))

    def _give_up(self) -> None:
        """End what still runs."""
        self._is_given_up = True
        for callback in filter(None, (self._on_trial_end, self._on_end)):
            callback.cancel()
        output.show("What is left of on_trial_end and on_end is given up")

    def _make_calls(self) -> None:
        try:
            while (call := self._calls.get()) and not self._is_given_up:
                failure = _failure(call)
                if failure and not self._is_given_up:
                    output.show(f"{call.what} failed: {redacted(failure)}")
        finally:
            self._is_done.set()

    def _trial_end(self, trial: TrialProgress) -> TrialEnd:
        assert trial.outcome is not None
        return TrialEnd(
            study=self._state.name,
            number=trial.number,
            outcome=trial.outcome.word,
            reason=trial.reason,
            objectives=self._state.objectives.names,
            values=MappingProxyType(dict(trial.values)),
            params=MappingProxyType(dict(trial.params)),
            seconds=trial.seconds,
            folder=trial.folder.absolute(),
        )

    def _study_end(self) -> StudyEnd:
        state = self._state
        counts = {outcome.word: number for outcome, number in state.outcomes().items()}
        return StudyEnd(
            study=state.name,
            outcome=state.outcome.word,
            counts=MappingProxyType(counts),
            best=tuple(map(self._trial_end, state.front)),
            folder=self._folder,
        )


def _failure(call: _Call) -> str:
    """Make a call, and return in one line why it failed, also if it could not be begun."""
    try:
        return call.callback(call.ending)
    except (OSError, ValueError) as error:
        return " ".join(f"{type(error).__name__}: {error}".split())
