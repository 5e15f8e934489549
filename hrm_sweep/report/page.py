"""The page of a study."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, NamedTuple

from hrm_sweep import formatting
from hrm_sweep.formatting import shorten_middle
from hrm_sweep.report import facts, figures
from hrm_sweep.report.data import Data
from hrm_sweep.report.facts import Fact
from hrm_sweep.report.html import pictures_of, write_page
from hrm_sweep.runs.outcomes import Outcome
from hrm_sweep.runs.ranking import next_best
from hrm_sweep.runs.run import Run
from hrm_sweep.runs.study import Study
from hrm_sweep.system import process

LONGEST = 48
"""Letters of a value in the table; the middle of a longer one is left out."""


class Cell(NamedTuple):
    """What stands in a table, and what it is sorted by."""

    text: str
    sort: object


def write(study: Study, *, follows: bool = False) -> list[str]:
    """Write `report.html` and `figures/*.png` into the study's folder.

    Args:
        follows: whether the page loads itself again every few seconds.

    Returns:
        The names of the files, below the folder.
    """
    data = Data(study)
    best = data.best
    shown = best or next(iter(study.trials), None)
    found = {name: (figures.FIGURES[name][0], each) for name, each in figures.drawn(data).items()}
    return write_page(
        study.folder,
        "study.html.jinja",
        found,
        follows=follows,
        name=study.name,
        outcomes=study.describe_counts(),
        began=facts.moment(study.run.first.time_ms),
        best=best,
        label=formatting.metric_label(data.objective),
        headline=study.app.metrics.metric(best.values, data.objective)
        if best
        else "no complete trial",
        point=formatting.format_point(study.params(best)) if best else "",
        result=list(_result(data)),
        searched=list(_searched(data)),
        what=list(facts.of_study(data)),
        columns=_columns(data),
        rows=[_row(data, run) for run in _in_order(data)],
        failed=[(run.number, run.word, run.reason) for run in data.failed],
        pictures=list(pictures_of(best)),
        config=facts.config_of(shown) if shown else {},
        config_title=f"trial {shown.number}" if shown else "",
    )


def _result(data: Data) -> Iterator[Fact]:
    """Yield what came out: values of the best trial, how sure it is, how to run it again."""
    best, study = data.best, data.study
    if best is None:
        yield from _to_go(study)
        return
    for name in _metrics(data):
        if name != data.objective:  # the headline
            yield Fact(formatting.metric_label(name), study.app.metrics.metric(best.values, name))
    if data.front:
        text = formatting.pluralize(len(data.front), "trial") + ", marked in the table"
        yield Fact("Pareto front", text)
    elif rival := next_best(study, data.ranked):
        yield Fact("next best", rival)
    if data.tied:
        yield Fact("tie", _tie(data))
    yield Fact("folder", str(best.folder), is_code=True)
    if best.mlflow_run_id:
        yield Fact("MLflow run", best.mlflow_run_id, is_code=True)
    yield Fact("run again", best.command, is_code=True)
    reproduce = process.hrm_sweep_command("reproduce", study.reference)
    yield Fact("reproduce", reproduce, is_code=True)
    yield from _to_go(study)


def _to_go(study: Study) -> Iterator[Fact]:
    counted = study.counted()
    if "to go" in counted and "running" not in counted:
        resume = process.hrm_sweep_command("resume", study.reference)
        yield Fact("continue", resume, is_code=True)


def _tie(data: Data) -> str:
    """Return which trials are equally good, and what decided between them."""
    name = data.study.tie_breaker or ""
    metrics = data.study.app.metrics
    first, second = (metrics.metric(run.values, name) for run in data.tied[:2])
    numbers = formatting.ranges(sorted(run.number or 0 for run in data.tied))
    label = formatting.metric_label(name)
    return f"trials {numbers} are equal; the lowest {label} decides: {first}, the next has {second}"


def _searched(data: Data) -> Iterator[Fact]:
    study = data.study
    objectives = zip(study.directions, study.objective_names, strict=True)
    yield Fact("objective", ", ".join(f"{direction} {name}" for direction, name in objectives))
    if study.tie_breaker and len(study.objective_names) == 1:
        yield Fact("tie breaker", f"the lower {study.tie_breaker}")
    if study.objectives.constraints:
        yield Fact("constraints", ", ".join(map(str, study.objectives.constraints)))
    for name, values in study.space.items():
        yield Fact(name, values)
    if elsewhere := study.describe_elsewhere():
        yield Fact("not in this folder", elsewhere)


def _metrics(data: Data) -> list[str]:
    if data.best is None:
        return data.study.objective_names
    chosen = formatting.matching_metrics(data.best.values, data.study.columns)
    return list(dict.fromkeys([*data.study.objective_names, *chosen]))


def _in_order(data: Data) -> list[Run]:
    """Return all trials: the complete ones, best first, then the others by number."""
    is_ranked = {id(run) for run in data.ranked}
    return [*data.ranked, *(run for run in data.study.trials if id(run) not in is_ranked)]


def _columns(data: Data) -> list[str]:
    names = [shorten_middle(name, LONGEST) for name in data.study.searched]
    outcome = [] if _are_all_complete(data) else ["outcome"]
    return ["trial", *names, *map(formatting.metric_label, _metrics(data)), *outcome, "time"]


def _are_all_complete(data: Data) -> bool:
    return len(data.ranked) == len(data.study.trials)


def _row(data: Data, run: Run) -> dict[str, Any]:
    """Return a row of the table, below `_columns`."""
    point, metrics = data.study.params(run), data.study.app.metrics
    cells = [Cell(str(run.number), run.number)]
    for name in data.study.searched:
        value = point.get(name, "")
        cells.append(_cell(formatting.format_param(value), value))
    values = run.values if run.outcome is Outcome.COMPLETE else {}
    for name in _metrics(data):
        cells.append(_cell(metrics.metric(values, name), values.get(name, "")))
    if not _are_all_complete(data):
        cells.append(Cell(run.word, run.word))
    cells.append(Cell(formatting.format_duration(run.seconds), run.seconds))
    is_best = run is data.best or run in data.front
    return {"number": run.number, "cells": cells, "is_best": is_best}


def _cell(text: str, value: object) -> Cell:
    """Return a cell; what is no number is sorted by its beginning."""
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if is_number and not math.isfinite(value):  # type: ignore[arg-type]
        return Cell(text, "")
    return Cell(shorten_middle(text, LONGEST), value if is_number else str(value)[:LONGEST])
