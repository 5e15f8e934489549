"""One trial as a person follows it, read from its record while it is written."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import optuna

from hrm_sweep.runs.outcomes import Outcome
from hrm_sweep.runs.record import Entry, RecordReader, Stopwatch, values_of


@dataclass
class TrialProgress:
    """What is known of one trial."""

    number: int
    params: Mapping[str, Any]
    folder: Path
    attempt: int = 1
    has_begun: bool = False
    """False while it waits for a free worker."""
    seconds: float = 0.0
    """What all its attempts took, once this one has ended."""
    step: int = 0
    num_steps: int | None = None
    doing: str = ""
    """What takes time before the next step."""
    part: TrialProgress | None = None
    """The run that this is, if it has a record of its own: a repeat."""
    pace: float | None = None
    """Seconds a step takes, from the second step on."""
    values: dict[str, float] = field(default_factory=dict)
    """The newest measurement; the final values once the trial is complete."""
    outcome: Outcome | None = None
    """None while it runs."""
    reason: str = ""

    @property
    def newest(self) -> dict[str, float]:
        """The newest measurement, its part's included."""
        return self.part.values if self.part else self.values

    @property
    def steps_done(self) -> float:
        """With what its part has done of the next one."""
        if self.part is None or not self.part.num_steps:
            return self.step
        return self.step + self.part.steps_done / self.part.num_steps

    @property
    def seconds_left(self) -> float | None:
        """None while that cannot be told."""
        if self.num_steps is None or (pace := self._pace_of_all()) is None:
            return None
        return pace * (self.num_steps - self.steps_done)

    def _pace_of_all(self) -> float | None:
        """The pace; until it has one, that of its part."""
        if self.pace is not None or self.part is None:
            return self.pace
        pace, steps = self.part.pace, self.part.num_steps
        return pace * steps if pace is not None and steps else None

    @classmethod
    def of_the_past(cls, trial: optuna.trial.FrozenTrial) -> TrialProgress:
        """A trial that had ended when the study was opened."""
        told = trial.user_attrs
        return cls(
            trial.number,
            trial.params,
            Path(told["folder"]),
            has_begun=True,
            seconds=told.get("seconds", 0.0),
            values=told.get("values", {}),
            attempt=told.get("attempt", 1),
            outcome=Outcome.named(told["outcome"]),
            reason=told.get("reason", ""),
        )


class RecordTail:
    """Keeps a row up to date with the record of its trial, from now on."""

    def __init__(self, row: TrialProgress) -> None:
        self.row = row
        self._reader = RecordReader(row.folder)
        self._stopwatch = Stopwatch()
        self._part: RecordTail | None = None
        self._first: tuple[int, int] | None = None
        """Step and time of the first measurement; starting up does not count for the pace."""
        self.past = self.follow()
        """What attempts before this one measured, by step."""

    def follow(self) -> dict[int, dict[str, float]]:
        """Reads what the trial wrote since; returns the values among it by step."""
        measured = {}
        for entry in self._reader.new_entries():
            self._stopwatch.read(entry)
            if entry.event == "metrics":
                self._measure(entry)
                measured[self.row.step] = self.row.values
            elif entry.event == "started":
                self._begin()
            elif entry.event == "expected":
                self.row.num_steps = entry.fields["num_steps"]
            elif entry.event == "doing":
                self._do(**entry.fields)
            elif entry.event == "finished":
                self._finish(entry)
        if self._part is not None:
            self._part.follow()
        return measured

    def wait(self) -> None:
        """Another attempt is to come: how the one before it ended counts no more."""
        self.row.has_begun, self.row.outcome, self.row.reason = False, None, ""

    def _begin(self) -> None:
        self._first = None
        self._do("")
        self.row.has_begun, self.row.outcome, self.row.reason = True, None, ""

    def _do(self, text: str, folder: str = "") -> None:
        row = self.row
        row.doing = text
        self._part = (
            RecordTail(TrialProgress(row.number, row.params, row.folder / folder))
            if folder
            else None
        )
        row.part = self._part.row if self._part else None

    def _measure(self, entry: Entry) -> None:
        row = self.row
        step, values = entry.fields["step"], values_of(entry)
        before = row.values if step == row.step else {}  # a step may be told in several entries
        row.step, row.values = step, before | values
        self._do("")
        if self._first is None:
            self._first = row.step, entry.time_ms
        first_step, first_ms = self._first
        if row.step > first_step:
            row.pace = (entry.time_ms - first_ms) / 1000 / (row.step - first_step)

    def _finish(self, entry: Entry) -> None:
        row = self.row
        self._do("")
        row.outcome = Outcome.named(entry.fields["outcome"])
        row.reason, row.values = entry.fields["reason"], entry.fields["best"] or row.values
        row.seconds = self._stopwatch.seconds
