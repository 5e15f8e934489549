"""What the entries of a record mean in MLflow."""

from __future__ import annotations

import math
import re
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from hrm_sweep.runs import record
from hrm_sweep.runs.export_state import ExportState
from hrm_sweep.runs.outcomes import Outcome
from hrm_sweep.runs.record import Entry
from hrm_sweep.system import files
from hrm_sweep.tracking.client import Destination, MlflowRun, Point
from hrm_sweep.tracking.errors import Unreachable
from hrm_sweep.tracking.limits import Names, clean
from hrm_sweep.tracking.saved_view import best_name

TRACEBACK = "traceback.txt"

Measured = dict[tuple[str, int], float | str]
"""Values, or the marks of values that are not finite, by metric and step."""


class RunTranslator:
    """Tells MLflow about one run folder; everything may be told twice.

    Remembers of the entries that were told what the later ones depend on.

    Args:
        save: keeps the cursor.
    """

    def __init__(self, folder: Path, save: Callable[[], None]) -> None:
        self._folder, self._save = folder, save
        self.finished: Entry | None = None
        """The end of the last attempt, once it is told."""
        self._attempts = 0
        self._known: Measured = {}
        """What the attempts before this one measured."""
        self._marked: set[str] = set()
        self._names = Names()

    def note(self, entry: Entry) -> None:
        """The entry has been told."""
        if entry.event == "started":
            self._attempts += 1
            self.finished = None
            if self._attempts > 1:
                self._known = _measured(record.read(self._folder)[: entry.number])
        elif entry.event == "metrics":
            for name, value in entry.fields["values"].items():
                self._names(name)
                if not math.isfinite(float(value)):
                    self._marked.add(name)
        elif entry.event == "finished":
            self.finished = entry

    def start(
        self,
        entry: Entry,
        cursor: ExportState,
        destination: Destination,
        *,
        parent_id: str,
        dashboard: str,
        may_be_there: bool,
    ) -> MlflowRun:
        """Creates the run, or opens it again for another attempt.

        Args:
            may_be_there: whether somebody may have created it, of whom the cursor does not know.
            dashboard: address of the study in Optuna's dashboard, "" if it has none.
        """
        fields, attempt = entry.fields, self._attempts + 1
        tags = {
            "mlflow.source.name": "hrm_sweep",
            "mlflow.source.type": "LOCAL",
            "hrm_sweep.attempt": str(attempt),
            "hrm_sweep.outcome": "running",
            **fields.get("tags", {}),
        }
        if parent_id:
            tags["mlflow.parentRunId"] = parent_id
        if cursor.run_id:
            run = destination.open(cursor.run_id)
            run.tags(tags | self._reason_before())
            run.reopen()
        else:
            run = self._create(entry, cursor, destination, tags, may_be_there=may_be_there)
            cursor.run_id, cursor.experiment_id = run.run_id, destination.experiment_id
        if attempt == 1:
            run.params(fields.get("params", {}))
        links = _links(fields, destination, run.run_id, dashboard)
        run.tags({"mlflow.note.content": _note(fields, self._folder, links)})
        cursor.artifacts, cursor.finished = [], False
        return run

    def tell(self, run: MlflowRun, batch: Sequence[Entry]) -> None:
        """Tells the run what came after its start; it has yet to send it."""
        self._measure(run, [entry for entry in batch if entry.event == "metrics"])
        for entry in batch:
            if entry.event == "dataset":
                run.dataset(entry.fields)
            elif entry.event == "finished":
                self._conclude(run, entry)

    def _measure(self, run: MlflowRun, batch: Iterable[Entry]) -> None:
        """Tells finite values as metrics. Of others, MLflow would store 0 or 1.8e308: a tag."""
        points: list[Point] = []
        marks: dict[str, str] = {}
        for entry in batch:
            step = entry.fields["step"]
            for name, value in entry.fields["values"].items():
                if self._known.get((name, step)) == value:
                    continue  # another attempt has measured the same
                if math.isfinite(float(value)):
                    points.append(Point(self._names(name), float(value), entry.time_ms, step))
                elif name not in self._marked:
                    marks.setdefault(name, f"{value} at step {step}")
        run.metrics(points)
        _mark(run, marks)

    def _conclude(self, run: MlflowRun, entry: Entry) -> None:
        """Tells how the attempt ended, but not yet that it did: its files are to come."""
        best, system = entry.fields.get("best", {}), entry.fields.get("system", {})
        values = {best_name(name): float(value) for name, value in best.items()}
        values |= {f"system/{name}": float(value) for name, value in system.items()}
        finite = {name: value for name, value in values.items() if math.isfinite(value)}
        run.metrics([Point(self._names(k), v, entry.time_ms, 0) for k, v in finite.items()])
        _mark(run, {name: str(values[name]) for name in values.keys() - finite.keys()})
        tags = {"hrm_sweep.outcome": entry.fields["outcome"]}
        if entry.fields.get("reason"):
            tags["hrm_sweep.reason"] = entry.fields["reason"]
        facts = entry.fields.get("facts", {})
        run.tags(tags | {f"hrm_sweep.{name}": fact for name, fact in facts.items()})

    def send_files(self, run: MlflowRun, cursor: ExportState, drawn: Iterable[str]) -> None:
        """Sends the files that the end of the run names, one by one."""
        assert self.finished is not None
        fields = self.finished.fields
        names = [*fields.get("artifacts", ()), *drawn]
        if fields.get("traceback"):
            files.write_text(self._folder / TRACEBACK, clean(fields["traceback"]))
            names.append(TRACEBACK)
        refused = []
        try:
            for name in dict.fromkeys(names):
                if name in cursor.artifacts:
                    continue
                why = why_not(self._folder, name)
                if not why:
                    run.artifact(self._folder / name, name)
                    cursor.artifacts.append(name)
                elif why != MISSING or fields["outcome"] == "complete":
                    refused.append(f"{name} {why}")
        finally:
            self._save()
        if refused:
            run.tags({"hrm_sweep.files_not_sent": "; ".join(refused)})

    def _create(
        self,
        entry: Entry,
        cursor: ExportState,
        destination: Destination,
        tags: Mapping[str, str],
        *,
        may_be_there: bool,
    ) -> MlflowRun:
        name = entry.fields.get("name", self._folder.name)
        try:
            if may_be_there and (found := destination.find(cursor.record)):
                found.tags(tags)
                return found
            return destination.create(cursor.record, name=name, start_ms=entry.time_ms, tags=tags)
        except Unreachable:
            cursor.doubt_ms = time.time_ns() // 1_000_000
            self._save()
            raise

    def _reason_before(self) -> dict[str, str]:
        reason = self.finished.fields.get("reason") if self.finished else None
        return {"hrm_sweep.reason": f"attempt {self._attempts}: {reason}"} if reason else {}


MISSING = "is missing"


def why_not(folder: Path, name: str) -> str:
    """Why a file may not be sent, "" if it may."""
    path = folder / name
    if Path(name).is_absolute() or ".." in Path(name).parts:
        return "points out of the run's folder"
    if not re.fullmatch(r"[\w.\-+=, /]+", name):
        return "has characters that do not survive the way"
    if not path.is_file():
        return MISSING
    if not path.resolve().is_relative_to(folder.resolve()):
        return "is a link out of the run's folder"
    return ""


def status(outcome: str) -> str:
    """The status of a run in MLflow; what nobody knows has failed."""
    return next((known.mlflow_status for known in Outcome if known.word == outcome), "FAILED")


def _note(fields: Mapping[str, Any], folder: Path, links: str) -> str:
    """What a person reads first of a run, in Markdown: its command, then where it stands."""
    tags = fields.get("tags", {})
    known = [
        f"{word} {tags[f'hrm_sweep.{word}']}"
        for word in ("repeat", "trial", "study")
        if f"hrm_sweep.{word}" in tags
    ]
    here = folder.relative_to(Path.cwd()) if folder.is_relative_to(Path.cwd()) else folder
    facts = [" of ".join(known), f"folder `{here}`"]
    if commit := tags.get("mlflow.source.git.commit"):
        dirty = tags.get("hrm_sweep.git_dirty") == "true"
        facts.append(f"git commit `{commit[:10]}`{' and changes after it' * dirty}")
    told = " · ".join(filter(None, facts))
    return "\n\n".join(filter(None, [fields.get("description", "").rstrip(), told, links]))


def _links(fields: Mapping[str, Any], destination: Destination, run_id: str, dashboard: str) -> str:
    """To the table of a study's trials, and to Optuna's dashboard."""
    links = []
    if "judged" in fields:
        links.append(f"[compare the trials]({destination.keep_view(fields, run_id)})")
    if dashboard:
        trial = fields.get("tags", {}).get("hrm_sweep.trial")
        where = f"/trials?numbers={trial}" if trial else ""
        links.append(f"[{'trial' if trial else 'study'} in Optuna]({dashboard}{where})")
    return " · ".join(links)


def _mark(run: MlflowRun, marks: Mapping[str, str]) -> None:
    if marks:
        run.tags({f"hrm_sweep.not_finite/{name}": text for name, text in marks.items()})


def _measured(entries: Iterable[Entry]) -> Measured:
    return {
        (name, entry.fields["step"]): value
        for entry in entries
        if entry.event == "metrics"
        for name, value in entry.fields["values"].items()
    }
