"""Figures of real studies: Optuna's own importances, logarithmic axes, every study compared."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import optuna
import pytest
from matplotlib.figure import Figure
from studies import STUDY, study, sweep

from hrm_sweep.commands.resolve import resolve_study
from hrm_sweep.report import comparison, figures
from hrm_sweep.report.data import Data
from hrm_sweep.runs.run import Run
from hrm_sweep.runs.study import Study
from hrm_sweep.search.values import plain

SEARCH = ("+x=tag(log, interval(0.01, 20))", "+noise=interval(0,3)", "+seed=range(0,8)", "+k=a,b,c")
OPTIONS = ("hydra.sweeper.n_trials=14", "hydra.sweeper.seed=3", "hydra.launcher.workers=1")


@pytest.fixture
def data(in_a_folder_of_its_own) -> Data:
    done = sweep(*SEARCH, *OPTIONS)
    assert done.returncode == 0, done.stderr
    return Data(resolve_study("study"))


def without_distributions(data: Data) -> Data:
    """The study as older versions recorded it."""
    (first, *_) = data.study.run.entries
    fields = {name: kept for name, kept in first.fields.items() if name != "distributions"}
    old = Run(STUDY, first._replace(fields=fields), first._replace(fields=fields))
    return Data(Study(old))


def test_importances_are_optunas_own_and_a_log_search_has_a_log_axis(data):
    expected = optuna.importance.get_param_importances(study())
    drawn = figures.drawn(data)
    bars = drawn["importance"].axes[0]
    names = [label.get_text() for label in bars.get_yticklabels()][::-1]
    widths = [bar.get_width() for bar in bars.patches][::-1]
    assert dict(zip(names, widths, strict=True)) == pytest.approx(expected)
    assert names == list(expected)
    scales = {axes.get_xlabel(): axes.get_xscale() for axes in drawn["slices"].axes}
    assert {name: scales[name] for name in ("x", "noise")} == {"x": "log", "noise": "linear"}
    assert data.is_log("x")
    old = without_distributions(data)
    assert (old.distributions, old.is_log("x"), old.is_log("noise")) == ({}, True, False)


def of_shares(name: str) -> Study:
    """The study, in an app whose objective is a share: figures limit its axis."""
    found = resolve_study(name)
    found.__dict__["app"] = dataclasses.replace(found.app, shares=("objective",))
    return found


def test_each_compared_study_lies_within_the_picture(in_a_folder_of_its_own, monkeypatch):
    for name, x in (("near", "2.95,2.8"), ("far", "2.2,2.1")):
        folder = f"hydra.sweep.dir=multirun/{name}"
        assert sweep(f"+x={x}", f"hydra.sweeper.study_name={name}", folder).returncode == 0
    drawn, savefig = [], Figure.savefig

    def keep(figure: Figure, *arguments: Any, **options: Any) -> None:
        drawn.append(figure)
        savefig(figure, *arguments, **options)

    monkeypatch.setattr(Figure, "savefig", keep)
    comparison.draw(
        [of_shares("near"), of_shares("far")], Path("comparison.png"), metric="objective"
    )
    so_far = drawn[0].axes[1]
    low, high = so_far.get_ylim()
    heights = [list(line.get_ydata()) for line in so_far.lines]
    assert heights == [pytest.approx([0.9025, 0.64]), pytest.approx([0.04, 0.01])]
    assert low <= 0.01
    assert high >= 0.9025


@pytest.mark.parametrize(
    ("text", "value"),
    [
        pytest.param("007", "007", id="Hydra reads that as text"),
        pytest.param("0", 0, id="zero"),
        pytest.param("0.5", 0.5, id="fraction"),
        pytest.param("9007199254740993", 9007199254740993, id="beyond 2**53"),
        pytest.param("'1'", "1", id="quoted"),
        pytest.param("'it\\'s'", "it's", id="an escaped quote"),
        pytest.param("''", "", id="empty"),
        pytest.param("inf", "inf", id="as the space has it"),
        pytest.param("[1,2]", "[1,2]", id="list"),
    ],
)
def test_a_recorded_value_is_the_one_that_optuna_has(text, value):
    assert plain(text) == value
    assert json.dumps(plain(text)) == json.dumps(value)
