"""Which runs can lose their models: neither those that run or wait, nor the best of a study."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from hrm_sweep.runs import models
from hrm_sweep.runs.export_state import ExportState
from hrm_sweep.runs.ranking import front, ranked
from hrm_sweep.runs.run import Run
from hrm_sweep.runs.study import Study


@dataclass(frozen=True)
class ModelsOf:
    """Model files of one run."""

    folder: Path
    names: list[str]
    """Those in its folder."""
    in_mlflow: list[str]
    """Those that MLflow has of them, and of those that are gone from the folder."""
    run_id: str
    """Of the run in MLflow."""

    @classmethod
    def of(cls, run: Run) -> ModelsOf:
        """Return the model files of a run, without those of its repeats."""
        names = models.model_files(run)
        state, gone = ExportState.load(run.folder), models.removed_names(run.folder)
        in_mlflow = [name for name in state.artifacts if name in {*names, *gone}]
        return cls(run.folder, names, in_mlflow, state.run_id)


@dataclass
class Removable:
    """What can be removed of a study or a single run."""

    found: Study | Run
    models: list[ModelsOf] = field(default_factory=list)
    num_trials: int = 0
    """Trials that they belong to."""
    num_waiting: int = 0
    """Trials that run, or continue from their checkpoints when they are resumed."""

    def add(self, trial: Run, *, besides: Iterable[Path] = ()) -> None:
        """Add the models of a trial and its repeats, but for runs in folders that are needed."""
        runs = [run for run in (trial, *trial.repeats) if run.last.event == "finished"]
        each = [ModelsOf.of(run) for run in runs if run.folder.resolve() not in besides]
        there = [models for models in each if models.names or models.in_mlflow]
        self.models += there
        self.num_trials += bool(there)


def of_study(study: Study, *, num_best: int, before_ms: float) -> Removable:
    """Return what can be removed of a study.

    Args:
        num_best: how many of the best trials keep theirs; those of the Pareto front always do.
        before_ms: trials that ended later keep theirs; in ms since 1970.
    """
    kept = [*ranked(study)[:num_best], *(front(study) if len(study.objective_names) > 1 else [])]
    numbers = {trial.number for trial in kept}
    needed = set(_folders(kept))
    found = Removable(study)
    for trial in study.trials:
        if trial.where or trial.number in numbers:
            continue
        if trial.outcome is None or study.goes_back(trial):
            found.num_waiting += 1
        elif trial.last.time_ms < before_ms:
            found.add(trial, besides=needed)
    return found


def of_run(run: Run, *, before_ms: float) -> Removable:
    """Return what can be removed of a single run."""
    found = Removable(run)
    if run.outcome is None or run.can_go_on:
        found.num_waiting += 1
    elif run.last.time_ms < before_ms:
        found.add(run)
    return found


def _folders(trials: Iterable[Run]) -> Iterator[Path]:
    """Yield the folders of the runs that have trained what the trials have."""
    for trial in trials:
        for run in () if trial.where else (trial, *trial.repeats):
            yield run.folder.resolve()
            yield run.trained.folder.resolve()
