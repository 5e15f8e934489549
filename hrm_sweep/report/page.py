"""Writes the page: figures drawn, words chosen, the template filled."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator
from io import StringIO
from pathlib import Path
from typing import Any

import matplotlib as mpl
from jinja2 import Environment, FileSystemLoader
from matplotlib.figure import Figure

from hrm_sweep import formatting
from hrm_sweep.report import figures, style
from hrm_sweep.report.data import Data
from hrm_sweep.runs import layout, pictures
from hrm_sweep.runs.app import trusted_pictures
from hrm_sweep.runs.ranking import next_best
from hrm_sweep.runs.run import Run
from hrm_sweep.runs.study import Study
from hrm_sweep.system import files, process

SHOWN_ROWS = 25
"""Trials in the table that is open; the others can be unfolded."""
MOST_PICTURES, MOST_BYTES = 4, 1_500_000
"""Pictures of the best trial that the page takes in."""


def write(study: Study) -> list[str]:
    """Write `report.html` and `figures/*.png` into the study's folder.

    Returns:
        The names of the files, below the folder.
    """
    data = Data(study)
    found = figures.drawn(data)
    folder = study.folder / layout.FIGURES
    files.make_folder(folder)
    for name, figure in found.items():
        _save_png(figure, folder / f"{name}.png")
        figure.set_layout_engine("none")  # drawn once more, everything stays where it is
    shown = [(figures.FIGURES[name][0], _svg(figure, name)) for name, figure in found.items()]
    page = _template().render(**_words(data), figures=shown, pictures=list(_pictures(data.best)))
    files.write_text(study.folder / layout.REPORT, page)
    return [layout.REPORT, *(f"{layout.FIGURES}/{name}.png" for name in found)]


def _template() -> Any:
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("page.html.jinja")


def _words(data: Data) -> dict[str, Any]:
    """Return the values of the template, without figures and pictures."""
    study, best = data.study, data.best
    rows = [_row(data, run) for run in data.ranked]
    seconds = sum(run.seconds for run in study.trials)
    return {
        "study": study,
        "outcomes": study.describe_counts(),
        "asked": list(_asked(data)),
        "best": best,
        "headline": study.app.metrics.metric(best.values, data.objective)
        if best
        else "no complete trial",
        "label": formatting.metric_label(data.objective),
        "point": formatting.format_point(study.params(best)) if best else "",
        "facts": list(_facts(data)),
        "columns": [*study.searched, *map(formatting.metric_label, _metrics(data)), "time"],
        "rows": rows[:SHOWN_ROWS],
        "further_rows": rows[SHOWN_ROWS:],
        "failed": [(run.number, run.word, run.reason) for run in data.failed],
        "took": formatting.format_duration(seconds),
    }


def _asked(data: Data) -> Iterator[tuple[str, str]]:
    study = data.study
    objectives = zip(study.directions, study.objective_names, strict=True)
    yield "objective", ", ".join(f"{direction} {name}" for direction, name in objectives)
    if study.objectives.constraints:
        yield "constraints", ", ".join(map(str, study.objectives.constraints))
    yield from study.space.items()
    if data.best and data.best.repeats:
        yield "repeats", formatting.pluralize(len(data.best.repeats), "seed")
    environment = data.best.environment if data.best else {}
    if environment:
        yield (
            "machine",
            f"{environment['cpu']}, {environment['cores']} usable, {_commit(environment)}",
        )
    if elsewhere := study.describe_elsewhere():
        yield "not in this folder", elsewhere
    yield "command", study.command


def _commit(environment: dict[str, Any]) -> str:
    commit = environment.get("git_commit")
    if not commit:
        return "no git repository"
    return f"commit {commit[:10]}" + (", with changes" if environment.get("git_dirty") else "")


def _facts(data: Data) -> Iterator[tuple[str, str]]:
    """Yield name and value of what the page shows of the best trial."""
    best, study = data.best, data.study
    if best is None:
        return
    for name in _metrics(data):
        yield formatting.metric_label(name), study.app.metrics.metric(best.values, name)
    if data.front:
        yield (
            "Pareto front",
            formatting.pluralize(len(data.front), "trial") + ", marked in the table",
        )
    elif rival := next_best(study, data.ranked):
        yield "next best", rival
    yield "folder", str(best.folder)
    if best.mlflow_run_id:
        yield "MLflow run", best.mlflow_run_id
    yield "run again", best.command
    yield "reproduce", process.hrm_sweep_command("reproduce", study.reference)


def _metrics(data: Data) -> list[str]:
    if data.best is None:
        return data.study.objective_names
    chosen = formatting.matching_metrics(data.best.values, data.study.columns)
    return list(dict.fromkeys([*data.study.objective_names, *chosen]))


def _row(data: Data, run: Run) -> dict[str, Any]:
    point = data.study.params(run)
    settings = [formatting.format_param(point.get(name, "")) for name in data.study.searched]
    values = [data.study.app.metrics.metric(run.values, name) for name in _metrics(data)]
    return {
        "number": run.number,
        "cells": [*settings, *values, formatting.format_duration(run.seconds)],
        "is_best": run is data.best or run in data.front,
    }


def _save_png(figure: Figure, path: Path) -> None:
    with files.replacing(path) as temporary:
        figure.savefig(temporary, format="png", dpi=150, metadata={"Software": None})


def _svg(figure: Figure, name: str) -> str:
    """Return a figure as SVG for a page: as wide as its place, in the page's colour of text."""
    text = StringIO()
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": name}):
        figure.savefig(text, format="svg", transparent=True, metadata={"Date": None})
    svg = text.getvalue()
    svg = svg[svg.index("<svg") :].replace(style.INK, "currentColor")
    svg = re.sub(r'<svg [^>]*?width="[^"]*"[^>]*?>', _without_size, svg, count=1)
    svg = re.sub(r' id="[a-zA-Z]+_\d+"', "", svg)  # every figure counts its parts from 1
    return re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.S)


def _without_size(match: re.Match[str]) -> str:
    return re.sub(r' (?:width|height)="[^"]*"', "", match[0])


def _pictures(best: Run | None) -> Iterator[tuple[str, str]]:
    """Yield the pictures of the best trial, or of its first repeat, as data for the page."""
    if best is None or best.where:
        return
    folder = (best.repeats[0] if best.repeats else best).trained.folder
    pictures.draw_function(trusted_pictures(best.app))(folder)
    own = (path for path in folder.glob("*.png") if not path.is_symlink())
    paths = sorted(path for path in own if path.stat().st_size <= MOST_BYTES)
    for path in paths[:MOST_PICTURES]:
        data = base64.b64encode(path.read_bytes()).decode()
        yield path.stem.replace("_", " "), f"data:image/png;base64,{data}"
