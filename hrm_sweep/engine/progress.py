"""Progress of one trial, read from its record while the trial writes it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import optuna
from optuna.trial import TrialState

from hrm_sweep.engine.attributes import ATTEMPT, ENDED_MS, JOB
from hrm_sweep.runs.curves import curves
from hrm_sweep.runs.outcomes import Outcome
from hrm_sweep.runs.record import Entry, RecordReader, Stopwatch, values_of
from hrm_sweep.search.space import Space


@dataclass
class TrialProgress:
    """Progress of one trial, or of one of its repeats."""

    number: int
    params: Mapping[str, Any]
    """In the order of the study's space."""
    folder: Path
    attempt: int = 1
    has_advanced: bool = False
    """Whether the attempt died with its sweep beyond the last step of those before it, which then
    do not count."""
    has_begun: bool = False
    """False while the attempt waits for a free worker."""
    seconds: float = 0.0
    """Duration of all attempts together, once this one has ended."""
    ended_ms: int = 0
    """When it ended, in milliseconds since 1970."""
    step: int = 0
    num_steps: int | None = None
    status: str = ""
    """What the trial does before its next step, where that takes long."""
    current_repeat: TrialProgress | None = None
    seconds_per_step: float | None = None
    """Known from the second step on."""
    values: dict[str, float] = field(default_factory=dict)
    """Latest measurement; the final values once the trial is complete."""
    outcome: Outcome | None = None
    """None while the trial runs."""
    goes_back: bool = False
    """It has ended and waits to be run again under its number."""
    reason: str = ""
    job: str = ""
    """Of a cluster, if one runs it: SLURM_JOB_ID=12."""

    @property
    def latest_values(self) -> dict[str, float]:
        """Latest measurement; that of the current repeat, if there is one."""
        return self.current_repeat.values if self.current_repeat else self.values

    @property
    def steps_done(self) -> float:
        """Finished steps and the finished fraction of the current one, if that is a repeat."""
        if self.current_repeat is None or not self.current_repeat.num_steps:
            return self.step
        return self.step + self.current_repeat.steps_done / self.current_repeat.num_steps

    @property
    def seconds_left(self) -> float | None:
        """Estimate of the time to the last step; None without a basis for one."""
        seconds = self._seconds_per_step()
        if self.num_steps is None or seconds is None:
            return None
        return seconds * (self.num_steps - self.steps_done)

    def _seconds_per_step(self) -> float | None:
        """Return the duration of a step; before the second one, that of the current repeat."""
        repeat = self.current_repeat
        if self.seconds_per_step is not None or repeat is None:
            return self.seconds_per_step
        if repeat.seconds_per_step is None or not repeat.num_steps:
            return None
        return repeat.seconds_per_step * repeat.num_steps

    def await_attempt(self) -> None:
        """Forget how the last attempt ended: another one follows."""
        self.has_begun, self.outcome, self.reason = False, None, ""

    @classmethod
    def from_finished(cls, trial: optuna.trial.FrozenTrial, space: Space) -> TrialProgress:
        """Return the progress of a trial that a sweep has finished, as Optuna keeps it."""
        kept, ended = trial.user_attrs, trial.datetime_complete
        return cls(
            trial.number,
            space.in_order(trial.params),
            Path(kept["folder"]),
            has_begun=True,
            seconds=kept.get("seconds", 0.0),
            ended_ms=round(ended.timestamp() * 1000) if ended else 0,
            values=kept.get("values", {}),
            attempt=kept.get("attempt", 1),
            outcome=Outcome.named(kept["outcome"]),
            reason=kept.get("reason", ""),
        )

    def optuna_state(self, *, max_attempts: int) -> TrialState:
        """Return the state that a trial with an outcome gets in Optuna."""
        assert self.outcome is not None
        attempts = 1 if self.has_advanced else self.attempt
        if self.outcome.is_failure and attempts >= max_attempts:
            return TrialState.FAIL
        return TrialState[self.outcome.optuna_state]

    def to_user_attrs(self, mlflow_run_id: str = "") -> dict[str, Any]:
        """Return the user attributes that Optuna keeps of an attempt that has ended."""
        assert self.outcome is not None
        kept: dict[str, Any] = {
            "outcome": self.outcome.word,
            "reason": self.reason,
            "seconds": round(self.seconds, 3),
        }
        if mlflow_run_id:
            kept["mlflow_run_id"] = mlflow_run_id
        if self.job:
            kept[JOB] = self.job
        if self.outcome.optuna_state == "WAITING":
            kept[ENDED_MS] = self.ended_ms
        if self.outcome is Outcome.COMPLETE:
            kept["values"] = self.values
        if self.outcome is Outcome.INTERRUPTED:
            kept[ATTEMPT] = self.attempt - 1
        elif self.has_advanced:
            kept[ATTEMPT] = 1
        return kept


class RecordTail:
    """Reader that updates a `TrialProgress` with what its trial appends to the record.

    Attributes:
        progress: up to date with the last `read`.
        earlier: what the record held when the tail was opened: values by step.
        is_rewound: steps that were read before are void, as the present attempt measured others.
    """

    def __init__(self, progress: TrialProgress) -> None:
        self.progress = progress
        self._reader = RecordReader(progress.folder)
        self._stopwatch = Stopwatch()
        self._repeat: RecordTail | None = None
        self._first: tuple[int, int] | None = None
        """Step and time of the first measurement: starting up does not count as a step."""
        self.is_rewound = False
        self.earlier = self.read()

    def read(self) -> dict[int, dict[str, float]]:
        """Read the entries that are new, and return the values among them by step."""
        entries = self._reader.new_entries()
        for entry in entries:
            self._stopwatch.read(entry)
            if entry.event == "metrics":
                self._measure(entry)
            elif entry.event == "rewound":
                self.is_rewound, self.progress.values = True, {}
            elif entry.event == "started":
                self._begin(**entry.fields.get("writer", {}))
            elif entry.event == "expected":
                self.progress.num_steps = entry.fields["num_steps"]
            elif entry.event == "doing":
                self._set_status(**entry.fields)
            elif entry.event == "finished":
                self._finish(entry)
        if self._repeat is not None:
            self._repeat.read()
        return curves(entries)

    def _begin(self, job: str = "", **_: str) -> None:
        self._first = None
        self._set_status("")
        self.progress.await_attempt()
        self.progress.has_begun, self.progress.job = True, job

    def _set_status(self, text: str, folder: str = "") -> None:
        trial = self.progress
        trial.status = text
        self._repeat = (
            RecordTail(TrialProgress(trial.number, trial.params, trial.folder / folder))
            if folder
            else None
        )
        trial.current_repeat = self._repeat.progress if self._repeat else None

    def _measure(self, entry: Entry) -> None:
        trial, step = self.progress, entry.fields["step"]
        before = trial.values if step == trial.step else {}  # a step may have several entries
        trial.step, trial.values = step, before | values_of(entry)
        self._set_status("")
        if self._first is None:
            self._first = trial.step, entry.time_ms
        first_step, first_ms = self._first
        if trial.step > first_step:
            trial.seconds_per_step = (entry.time_ms - first_ms) / 1000 / (trial.step - first_step)

    def _finish(self, entry: Entry) -> None:
        trial = self.progress
        self._set_status("")
        trial.outcome = Outcome.named(entry.fields["outcome"])
        trial.reason, trial.values = entry.fields["reason"], entry.fields["best"] or trial.values
        trial.seconds, trial.ended_ms = self._stopwatch.seconds, entry.time_ms
