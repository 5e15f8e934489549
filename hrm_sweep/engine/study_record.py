"""What a study leaves in its folder: its own record, and its results as Hydra users know them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from hrm_sweep.engine.progress import TrialProgress
from hrm_sweep.engine.scheduler import Scheduler
from hrm_sweep.errors import RecordError
from hrm_sweep.runs.export_state import ExportState
from hrm_sweep.runs.outcomes import Outcome
from hrm_sweep.runs.record import FILE_NAME as NAME
from hrm_sweep.runs.record import Record, RecordReader, curves, is_held
from hrm_sweep.system import files

FILE_NAME = "optimization_results.yaml"


def are_told(folder: Path, **asked: Any) -> bool:
    """Whether the record of the study says that it is complete, and what was asked of it."""
    entries = RecordReader(folder).new_entries()
    if not entries or entries[-1].fields.get("outcome") != Outcome.COMPLETE.word:
        return False
    told = next(entry.fields for entry in reversed(entries) if entry.event == "started")
    return all(told.get(name) == value for name, value in asked.items())


class Results:
    """Keeps the record of the study itself: its best value after each trial, and how it ended.

    Of several sweeps that work on the study at once, the first keeps it; when that one has ended,
    another goes on with it.

    Args:
        draw: makes the study's report when it ends, and returns the names of its files.
        again: the command that reproduces a trial.
        started: what the record's first entry says of the study.
    """

    def __init__(
        self,
        folder: Path,
        *,
        draw: Callable[[], list[str]],
        again: Callable[[TrialProgress], str],
        **started: Any,
    ) -> None:
        self._folder, self._draw, self._again = folder, draw, again
        self._started = started
        self._record: Record | None = None
        self._step = 0
        """The last at which the record has the best value."""
        self._take()

    def begin(self, engine: Scheduler) -> None:
        self._engine = engine

    def tick(self) -> None:
        """Only ends of trials are written."""

    def settled(self, row: TrialProgress) -> None:
        self._take()
        if row.outcome is Outcome.COMPLETE and self._record is not None:
            objectives = self._engine.objectives
            self._record.metrics(row.number, {name: row.values[name] for name in objectives.names})
            self._tell_best()

    def end(self) -> None:
        """Writes the results, whole, and closes the record. The study is as good as its trials."""
        engine = self._engine
        report = [] if engine.is_stopped else self._draw()  # takes its time; what is counted is new
        engine.count_those_of_others()
        outcomes = engine.outcomes()
        outcome = Outcome.COMPLETE if engine.front else Outcome.FAILED
        if engine.is_stopped:
            outcome = Outcome.INTERRUPTED
        counted = {known.word: number for known, number in outcomes.items()}
        summary = _summary(engine, self._again) | {"trials": counted}
        files.write_text(self._folder / FILE_NAME, OmegaConf.to_yaml(summary))
        self._take()
        if self._record is None:
            return
        self._tell_best()
        best = engine.front[0] if len(engine.front) == 1 else None
        self._record.append(
            "finished",
            outcome=outcome.word,
            best={name: best.values[name] for name in engine.objectives.names} if best else {},
            reason=", ".join(f"{number} {word}" for word, number in counted.items()),
            artifacts=["multirun.yaml", FILE_NAME, *report],
        )
        self._record.close()

    def _tell_best(self) -> None:
        """The best value so far, at the number of trials that have ended: MLflow shows a metric as
        it was at its last step, and trials do not end in the order of their numbers."""
        objectives, front = self._engine.objectives, self._engine.front
        if self._record is None or objectives.is_multi_objective or not front:
            return
        self._step = max(self._step + 1, sum(self._engine.outcomes().values()))
        best = {f"best/{name}": front[0].values[name] for name in objectives.names}
        self._record.metrics(self._step, best)

    def _take(self) -> None:
        """Opens the record, unless another sweep has it."""
        if self._record is not None or self._is_held():
            return
        try:
            self._record = Record(self._folder)
        except RecordError:
            if self._is_held():  # by another one, since a moment ago
                return
            raise
        self._step = _last_step_of_best(self._folder)
        self._record.append("started", kind="study", **self._started)

    def _is_held(self) -> bool:
        return (self._folder / NAME).exists() and is_held(self._folder)


def _last_step_of_best(folder: Path) -> int:
    metrics = [entry for entry in RecordReader(folder).new_entries() if entry.event == "metrics"]
    told = [entry for entry in metrics if any(map(_is_of_best, entry.fields["values"]))]
    return max(curves(told), default=0)


def _is_of_best(name: str) -> bool:
    return name.startswith("best/")


def _summary(engine: Scheduler, again: Callable[[TrialProgress], str]) -> dict[str, Any]:
    """What Hydra's own Optuna sweeper writes, and where each of the best trials is."""
    objectives = engine.objectives
    front: list[dict[str, Any]] = [
        {
            "params": dict(row.params),
            "values": objectives.values_of(row.values),
            "trial": row.number,
            "folder": str(row.folder),
            "mlflow_run_id": ExportState.load(row.folder).run_id or None,
            "overrides": engine.space.overrides(row.params),
            "reproduce": again(row),
        }
        for row in engine.front
    ]
    summary: dict[str, Any] = {"name": "optuna", "objective": list(objectives.names)}
    if objectives.is_multi_objective:
        return summary | {"solutions": front}
    if not front:
        return summary
    (best,) = front
    ((value,), params) = best.pop("values"), best.pop("params")
    best = {f"best_{name}": known for name, known in best.items()}
    return summary | {"best_params": params, "best_value": value, **best}
