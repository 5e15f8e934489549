"""What the entries of a record mean in MLflow: a pure translation, without files or requests."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from hrm_sweep import formatting
from hrm_sweep.runs.annotations import NOTE
from hrm_sweep.runs.copies import ORIGINAL_TAG
from hrm_sweep.runs.outcomes import Outcome
from hrm_sweep.runs.record import Entry
from hrm_sweep.system import process
from hrm_sweep.tracking.limits import Names, refusal
from hrm_sweep.tracking.saved_view import best_name


class Point(NamedTuple):
    """One value of one metric."""

    name: str
    value: float
    time_ms: int
    step: int


@dataclass
class Update:
    """What some entries of a record add to an MLflow run."""

    params: dict[str, Any] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    metrics: list[Point] = field(default_factory=list)
    datasets: list[Mapping[str, Any]] = field(default_factory=list)
    left_out: dict[str, str] = field(default_factory=dict)
    """Why MLflow can never have a measurement, the first of each metric."""


class Translation:
    """Translates the record of one run, entry by entry.

    `update` may be asked for the same entries again; `accept` moves on once they are in MLflow.

    Attributes:
        has_repeats: whether the run is a trial whose steps are its repeats: MLflow gets the mean of
            those so far, since it shows a metric as it was at its last step.
        attempts: `started` entries that were accepted.
        end: the `finished` entry of the last attempt, once it was accepted.
    """

    def __init__(self) -> None:
        self.has_repeats = False
        self.attempts = 0
        self.end: Entry | None = None
        self._earlier: dict[tuple[str, int], float | str] = {}
        """Values that earlier attempts measured, by metric and step."""
        self._not_finite: set[str] = set()
        """Metrics that have a tag because some value of theirs is not finite."""
        self._names = Names()
        self._repeats: dict[str, dict[int, float]] = {}
        """Values of a trial's repeats, by metric and step."""

    def accept(self, entry: Entry) -> None:
        """Move past an entry that is in MLflow."""
        if entry.event == "started":
            self.attempts += 1
            self.end = None
        elif entry.event == "metrics":
            for name, value in entry.fields["values"].items():
                self._names(name)
                self._mean(name, entry.fields["step"], float(value))
                if not math.isfinite(float(value)):
                    self._not_finite.add(name)
        elif entry.event == "finished":
            self.end = entry

    def resume_from(self, earlier: Iterable[Entry]) -> None:
        """Take note of what earlier attempts measured: a resumed run measures some of it again."""
        self._earlier = {
            (name, entry.fields["step"]): value
            for entry in earlier
            if entry.event == "metrics"
            for name, value in entry.fields["values"].items()
        }

    def start(self, entry: Entry) -> Update:
        """Return what the `started` entry of the next attempt adds.

        Params are immutable in MLflow, so only the first attempt has them.
        """
        tags = {
            "mlflow.source.name": "hrm_sweep",
            "mlflow.source.type": "LOCAL",
            "hrm_sweep.attempt": str(self.attempts + 1),
            "hrm_sweep.outcome": "running",
            **entry.fields.get("tags", {}),
        }
        if self.end is not None and (reason := self.end.fields.get("reason")):
            tags["hrm_sweep.reason"] = f"attempt {self.attempts}: {reason}"
        return Update(params={} if self.attempts else entry.fields.get("params", {}), tags=tags)

    def update(self, batch: Sequence[Entry]) -> Update:
        """Return what further entries of the attempt add."""
        update = Update(datasets=[each.fields for each in batch if each.event == "dataset"])
        for entry in batch:
            if entry.event == "metrics":
                self._measure(entry, update)
            elif entry.event == "rewound":
                again = f"attempt {self.attempts}, from step {entry.fields['step']} on"
                update.tags["hrm_sweep.measured_again"] = again
            elif entry.event == "finished":
                self._finish(entry, update)
        return update

    def _measure(self, entry: Entry, update: Update) -> None:
        """Add finite values as metrics and others as tags: MLflow would store 0 or 1.8e308."""
        step = entry.fields["step"]
        if reason := refusal(step):
            for name in entry.fields["values"]:
                update.left_out.setdefault(name, reason)
                update.tags.setdefault(f"hrm_sweep.left_out/{self._names(name)}", reason)
            return
        for name, value in entry.fields["values"].items():
            if self._earlier.get((name, step)) == value:
                continue
            value = self._mean(name, step, float(value))
            if math.isfinite(float(value)):
                update.metrics.append(_point(self._names(name), value, entry, int(step)))
            elif name not in self._not_finite:
                tag = _not_finite_tag(self._names(name))
                update.tags.setdefault(tag, f"{value} at step {step}")

    def _mean(self, name: str, step: int, value: float) -> float:
        """Return the mean of a metric over the repeats up to a step; without repeats its value."""
        if not self.has_repeats:
            return value
        known = self._repeats.setdefault(name, {})
        known[step] = value
        return statistics.fmean(known[each] for each in known if each <= step)

    def _finish(self, entry: Entry, update: Update) -> None:
        """Add final values and how the attempt ended; its status follows after its files."""
        best, system = entry.fields.get("best", {}), entry.fields.get("system", {})
        values = {best_name(name): float(value) for name, value in best.items()}
        values |= {f"system/{name}": float(value) for name, value in system.items()}
        for name, value in values.items():
            if math.isfinite(value):
                update.metrics.append(_point(self._names(name), value, entry, 0))
            else:
                update.tags[_not_finite_tag(self._names(name))] = str(value)
        update.tags["hrm_sweep.outcome"] = entry.fields["outcome"]
        if reason := entry.fields.get("reason"):
            update.tags["hrm_sweep.reason"] = reason
        facts = entry.fields.get("facts", {})
        update.tags |= {f"hrm_sweep.{name}": fact for name, fact in facts.items()}


def status(outcome: str) -> str:
    """Return the status of a run in MLflow; an outcome of a newer version counts as failed."""
    return next((known.mlflow_status for known in Outcome if known.word == outcome), "FAILED")


def annotated(started: Mapping[str, Any], said: Mapping[str, str]) -> dict[str, Any]:
    """Return the `started` fields of a run with the user's annotations among its tags.

    Args:
        said: see `hrm_sweep.runs.annotations.as_tags`.
    """
    return {**started, "tags": {**started.get("tags", {}), **said}}


def note(started: Mapping[str, Any], folder: Path, links: Sequence[str]) -> str:
    """Return the description of a run in Markdown: the user's note, its command, folder and links.

    Args:
        folder: of the run, as the user would type it.
    """
    tags = started.get("tags", {})
    known = [
        f"{word} {formatting.escape_markdown(tags[f'hrm_sweep.{word}'])}"
        for word in ("repeat", "trial", "study")
        if f"hrm_sweep.{word}" in tags
    ]
    facts = [" of ".join(known), f"folder {formatting.markdown_code(folder)}"]
    if commit := tags.get("mlflow.source.git.commit"):
        dirty = tags.get("hrm_sweep.git_dirty") == "true"
        facts.append(
            f"git commit {formatting.markdown_code(commit[:10])}{' and changes after it' * dirty}"
        )
    where = " · ".join(filter(None, facts))
    command = " ".join(started.get("description", "").strip().splitlines())
    description = f"    {command}" if command else ""
    own = map(formatting.escape_markdown, tags.get(NOTE, "").splitlines())
    return "\n\n".join(filter(None, [*own, description, where, " · ".join(links)]))


def links(started: Mapping[str, Any], *, view: str) -> list[str]:
    """Return what leads on from the description of a run.

    Optuna's dashboard has no address before it is served, so that is the command that serves it.

    Args:
        view: address of the table of a study's trials, "" for a run that is no study.
    """
    tags = started.get("tags", {})
    found = [f"[compare the trials]({view})"] if view else []
    if original := tags.get(ORIGINAL_TAG):
        found.append(f"[the run that it reproduces](#/runs/{original})")
    if study := tags.get("hrm_sweep.study"):
        command = process.hrm_sweep_command("dashboard", study)
        found.append(f"in Optuna: {formatting.markdown_code(command)}")
    return found


def _point(name: str, value: float, entry: Entry, step: int) -> Point:
    """Return a value with the time of its entry; MLflow refuses times before 1970."""
    return Point(name, float(value), max(0, entry.time_ms), step)


def _not_finite_tag(metric: str) -> str:
    return f"hrm_sweep.not_finite/{metric}"
