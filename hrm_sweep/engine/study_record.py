"""What a study leaves in its folder: its own record, and its results as Hydra users know them."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from hrm_sweep.engine.progress import TrialProgress
from hrm_sweep.engine.state import StudyState
from hrm_sweep.errors import RecordError
from hrm_sweep.runs import layout
from hrm_sweep.runs.curves import curves
from hrm_sweep.runs.export_state import ExportState
from hrm_sweep.runs.outcomes import Outcome
from hrm_sweep.runs.record import Record, RecordReader, has_begun
from hrm_sweep.runs.writers import seen_writer
from hrm_sweep.search.space import Space
from hrm_sweep.system import files
from hrm_sweep.system.writers import LeaseState


def is_recorded(folder: Path, **started: Any) -> bool:
    """Return whether the record of a study is complete and began with these fields."""
    entries = RecordReader(folder).new_entries()
    if not entries or entries[-1].fields.get("outcome") != Outcome.COMPLETE.word:
        return False
    begin = next(entry.fields for entry in reversed(entries) if entry.event == "started")
    return all(begin.get(name) == value for name, value in started.items())


class Report:
    """Observer that makes a study's report when it ends; a stopped study gets none.

    Args:
        draw: makes the report and returns the names of its files.
        prepare: imports what that takes, in a thread while the last trials run.

    Attributes:
        files: names of what was made.
    """

    def __init__(self, draw: Callable[[], list[str]], prepare: Callable[[], None]) -> None:
        self.files: list[str] = []
        self._draw, self._prepare = draw, prepare
        self._preparation: threading.Thread | None = None

    def begin(self, state: StudyState) -> None:
        """Keep the state."""
        self._state = state

    def tick(self) -> None:
        """Do nothing."""

    def trial_ended(self, _: TrialProgress) -> None:
        """Prepare, once no further trial waits for a worker."""
        if self._preparation is None and self._state.num_left <= self._state.num_slots:
            self._preparation = threading.Thread(target=self._prepare, daemon=True)
            self._preparation.start()

    def end(self) -> None:
        """Make the report."""
        if self._preparation is not None:
            self._preparation.join()  # an interpreter that ends amid an import may crash
        if not self._state.is_stopped:
            self.files = self._draw()


class StudyRecord:
    """Observer that writes the study's record: its best value after each trial, and its end.

    Of several sweeps that work on the study at once, the first writes it; when that one has ended,
    another continues.

    Args:
        report: made before this observer ends.
        reproduce: the command that reproduces a trial.
        started: fields of the record's first entry.
    """

    def __init__(
        self,
        folder: Path,
        space: Space,
        report: Report,
        *,
        reproduce: Callable[[TrialProgress], str],
        **started: Any,
    ) -> None:
        self._folder, self._space, self._report = folder, space, report
        self._reproduce, self._started = reproduce, started
        self._record: Record | None = None
        self._written: dict[int, dict[str, float]] = {}
        """Objectives that the record has, by the number of their trial."""
        self._step = 0
        """The last one of the best value."""
        self._open()

    def begin(self, state: StudyState) -> None:
        """Keep the state, and write the trials of it that the record lacks."""
        self._state = state
        self._write_lacking(state)

    def tick(self) -> None:
        """Do nothing: only ends of trials are written."""

    def trial_ended(self, trial: TrialProgress) -> None:
        """Write the objectives of a complete trial, and the best value since then."""
        self._open()
        self._write(trial)
        if trial.outcome is Outcome.COMPLETE:
            self._write_best()

    def end(self) -> None:
        """Write the results, whole, and close the record. The study is as good as its trials."""
        state = self._state
        counts = {outcome.word: number for outcome, number in state.outcomes().items()}
        results = _results(state, self._space, self._reproduce) | {"trials": counts}
        files.write_text(self._folder / layout.STUDY_RESULTS, OmegaConf.to_yaml(results))
        self._open()
        if self._record is None:
            return
        self._write_lacking(state)
        self._write_best()
        self._record.append(
            "finished",
            outcome=state.outcome.word,
            best=self._objectives_of(state.best) if state.best else {},
            reason=", ".join(f"{number} {word}" for word, number in counts.items()),
            artifacts=[layout.SWEEP_CONFIG, layout.STUDY_RESULTS, *self._report.files],
        )
        self._record.close()

    def _objectives_of(self, trial: TrialProgress) -> dict[str, float]:
        return {name: trial.values[name] for name in self._state.objectives.names}

    def _write_best(self) -> None:
        """Write the best value so far, with the number of ended trials as its step.

        MLflow shows a metric as it was at its last step, and trials do not end in the order of
        their numbers.
        """
        state = self._state
        if self._record is None or state.objectives.is_multi_objective or state.best is None:
            return
        self._step = max(self._step + 1, len(state.ended))
        best = self._objectives_of(state.best)
        self._record.metrics(self._step, {f"best/{name}": best[name] for name in best})

    def _open(self) -> None:
        """Open the record, unless another sweep has it."""
        if self._record is not None or self._is_held():
            self._await_begin()
            return
        try:
            self._record = Record(self._folder)
        except RecordError:
            if self._is_held():  # by another sweep, since a moment ago
                self._await_begin()
                return
            raise
        self._step = _last_step_of_best(self._folder)
        self._record.append("started", kind="study", **self._started)

    def _write_lacking(self, state: StudyState) -> None:
        """Write the objectives of trials here whose own sweep could not: it died, or was second."""
        if self._record is None:
            return
        self._written = curves(RecordReader(self._folder).new_entries())
        for _, trial in sorted(state.ended.items()):
            if (self._folder / trial.folder.name / layout.RECORD).exists():
                self._write(trial)

    def _write(self, trial: TrialProgress) -> None:
        """Write the objectives of a complete trial, if they are not in the record."""
        if trial.outcome is not Outcome.COMPLETE or self._record is None:
            return
        lacking = self._objectives_of(trial).items() - self._written.get(trial.number, {}).items()
        if lacking:
            self._record.metrics(trial.number, dict(lacking))

    def _await_begin(self) -> None:
        """Wait for the first entry of another sweep, which has the id that trials read there."""
        while self._record is None and self._is_held() and not has_begun(self._folder):
            time.sleep(0.01)

    def _is_held(self) -> bool:
        """Return whether another sweep writes the record, or may do so."""
        if not (self._folder / layout.RECORD).exists():
            return False
        return seen_writer(self._folder)[1] is not LeaseState.EXPIRED


def _last_step_of_best(folder: Path) -> int:
    metrics = [entry for entry in RecordReader(folder).new_entries() if entry.event == "metrics"]
    of_best = [entry for entry in metrics if any(map(_is_of_best, entry.fields["values"]))]
    return max(curves(of_best), default=0)


def _is_of_best(name: str) -> bool:
    return name.startswith("best/")


def _results(
    state: StudyState, space: Space, reproduce: Callable[[TrialProgress], str]
) -> dict[str, Any]:
    """Return what Hydra's own Optuna sweeper writes, and where each of the best trials is."""
    objectives = state.objectives
    front: list[dict[str, Any]] = [
        {
            "params": dict(trial.params),
            "values": objectives.values_of(trial.values),
            "trial": trial.number,
            "folder": str(trial.folder),
            "mlflow_run_id": ExportState.load(trial.folder).run_id or None,
            "overrides": space.overrides(trial.params),
            "reproduce": reproduce(trial),
        }
        for trial in state.front
    ]
    results: dict[str, Any] = {"name": "optuna", "objective": list(objectives.names)}
    if objectives.is_multi_objective:
        return results | {"solutions": front}
    if not front:
        return results
    (best,) = front
    ((value,), params) = best.pop("values"), best.pop("params")
    best = {f"best_{name}": known for name, known in best.items()}
    return results | {"best_params": params, "best_value": value, **best}
