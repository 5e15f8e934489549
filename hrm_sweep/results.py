"""A study, and its best trial, for Python programs and notebooks."""

from __future__ import annotations

import functools
import html
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hrm_sweep.commands.resolve import resolve_study
from hrm_sweep.errors import InputError, StudyError
from hrm_sweep.hrm.description import APP
from hrm_sweep.runs import layout
from hrm_sweep.runs.app import register
from hrm_sweep.runs.ranking import front, ranked
from hrm_sweep.runs.run import Run
from hrm_sweep.runs.study import Study
from hrm_sweep.runs.table import to_frame
from hrm_sweep.search.values import Value

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from pandas import DataFrame

    from hrm_sweep.hrm.load import LoadedRun, Weights


def load_study(name: str | Path | None = None) -> StudyResult:
    """Return a study as it is now.

    Args:
        name: a study below `multirun/`, or a study folder; None is the newest study.

    Raises:
        StudyError: there is no such study.
        RecordError: a record was edited.
    """
    register(APP)
    return StudyResult(resolve_study(None if name is None else str(name)))


class StudyResult:
    """A study as its records had it when it was loaded.

    It still answers as the DataFrame that `load_study` returned before, with a warning.

    Attributes:
        plot: its figures.
    """

    def __init__(self, study: Study) -> None:
        self._study, self.plot = study, Plots(study)

    @property
    def name(self) -> str:
        """Its name."""
        return self._study.name

    @property
    def folder(self) -> Path:
        """Its folder."""
        return self._study.folder

    @property
    def report(self) -> Path:
        """Its report, a page; it is there when the study has ended."""
        return self.folder / layout.REPORT

    @functools.cached_property
    def trials(self) -> DataFrame:
        """A row for each trial, or for each repeat of each trial, in their order.

        Columns: `study`; `trial`; `repeat` (from 0; missing where a trial is one run); `outcome`
        (complete, pruned, failed, diverged, killed, timed_out, interrupted, unjudged, running) and
        its `reason`; `started` (UTC) and `seconds` of all attempts; `params.<key>` for each
        searched key; every final value by its name, such as `eval/exact_match`, at the best epoch;
        `signature` (equal for equal recipes), `folder`, `mlflow_run_id`, `command`.
        """
        return to_frame(self._study)

    @property
    def best(self) -> TrialResult:
        """The best trial.

        Raises:
            StudyError: no trial is complete, or there are several objectives: see `front`.
        """
        if len(self._study.objective_names) > 1:
            raise StudyError(f"{self.name}: has several objectives; front has its best trials")
        if not (complete := ranked(self._study)):
            raise StudyError(f"{self.name}: no trial is complete, so there is no best one")
        return TrialResult(complete[0], self._study.params(complete[0]))

    @property
    def front(self) -> list[TrialResult]:
        """The trials that no other beats in one objective without being worse in another."""
        return [TrialResult(run, self._study.params(run)) for run in front(self._study)]

    def __repr__(self) -> str:
        return f"<study {self.name}: {self._study.describe_counts()}>"

    def _repr_html_(self) -> str:
        """Return the trials for a notebook, the best first."""
        params = [f"params.{name}" for name in self._study.searched]
        names = [name for name in [*params, *self._study.columns] if name in self.trials.columns]
        order = {run.number: place for place, run in enumerate(ranked(self._study))}
        rank = self.trials["trial"].map(order).sort_values(na_position="last")
        table = self.trials.loc[rank.index, ["trial", *names, "outcome", "seconds"]]
        shown = table.to_html(index=False, float_format="{:.4g}".format)
        return f"<p>{html.escape(repr(self)[1:-1])}</p>{shown}"

    # As the DataFrame that it was

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        return getattr(self._as_frame(), name)

    def __getitem__(self, key: Any) -> Any:
        return self._as_frame()[key]

    def __len__(self) -> int:
        return len(self._as_frame())

    def __iter__(self) -> Iterator[Any]:
        return iter(self._as_frame())

    def _as_frame(self) -> DataFrame:
        warnings.warn(
            "load_study returns a study: take its DataFrame by .trials",
            DeprecationWarning,
            stacklevel=3,
        )
        return self.trials


class TrialResult:
    """A trial of a study that has ended."""

    def __init__(self, run: Run, params: dict[str, Value]) -> None:
        self._run = run
        self.params = params
        """Values of the searched keys."""

    @property
    def number(self) -> int:
        """Its number."""
        return self._run.number or 0

    @property
    def folder(self) -> Path:
        """Its folder."""
        return self._run.folder

    @property
    def values(self) -> dict[str, float]:
        """Final values by name; of a trial with repeats means, and `<name>/std`."""
        return self._run.values

    @property
    def curves(self) -> dict[int, dict[str, float]]:
        """Everything measured, by step."""
        return self._run.curves

    @property
    def command(self) -> str:
        """The command that runs the same recipe again."""
        return self._run.command

    def load(self, *, weights: Weights = "best") -> LoadedRun:
        """Return its model and its task, as `load_run` does.

        Raises:
            InputError: it is of another app, which has to load its models itself.
            CheckpointError: its weights are gone or damaged.
        """
        if self._run.app.name != APP.name:
            raise InputError(_not_ours(self._run))
        from hrm_sweep.hrm.load import load_run  # torch

        return load_run(self.folder, weights=weights)

    def __repr__(self) -> str:
        return f"<trial {self.number}: {self.params} in {self.folder}>"


class Plots:
    """Figures of a study, as Matplotlib's; a notebook shows them."""

    def __init__(self, study: Study) -> None:
        self._study = study

    def history(self) -> Figure:
        """Return the objective of each trial, and the best so far."""
        return self._drawn("history")

    def importance(self) -> Figure:
        """Return how much each searched key mattered."""
        return self._drawn("importance")

    def parallel(self) -> Figure:
        """Return a line for each trial through its parameters and its objective."""
        return self._drawn("parallel")

    def curves(self) -> Figure:
        """Return the objective of each trial by step."""
        return self._drawn("curves")

    def _drawn(self, name: str) -> Figure:
        from hrm_sweep.report.data import Data
        from hrm_sweep.report.figures import draw
        from hrm_sweep.terminal.notebook import show_figures

        show_figures()
        if (figure := draw(Data(self._study), name)) is None:
            raise StudyError(f"{self._study.name}: has too few values for a figure of {name}")
        return figure


def _not_ours(run: Run) -> str:
    """Return what a trial of another app has to load, in one line."""
    files = sorted({path.name for each in run.app.models for path in run.folder.glob(each)})
    there = f"in {run.folder}: {', '.join(files)}" if files else f"its files are in {run.folder}"
    return (
        f"trial {run.number}: {run.app.name} loads its own models; {there} "
        "(hydra.sweeper.model_files names what is a model)"
    )
