"""Pages and figures of studies that are small, tied, failed, foreign, long or in other scripts."""

import html
import json
import math
import re
import warnings
from pathlib import Path

import matplotlib as mpl
import pytest
from made_studies import made_study

from hrm_sweep.report import figures, write_report
from hrm_sweep.report.data import Data
from hrm_sweep.report.line_labels import spread
from hrm_sweep.runs.annotations import annotate
from hrm_sweep.runs.run import Run
from hrm_sweep.runs.study import Study


def page_of(study: Study | Run) -> str:
    """The page, as text; a warning while it is made is an error."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        write_report(study)
    return (study.folder / "report.html").read_text("utf-8")


def words_of(page: str) -> str:
    """What the reader sees of a page, without its figures, in one line."""
    shown = re.sub(r"(?s)<(style|script|svg|title)\b.*?</\1>", " ", page)
    return " ".join(html.unescape(re.sub(r"<[^>]*>", " ", shown)).split())


def titles_of(page: str) -> list[str]:
    """The words of what stands for trials in its figures."""
    return [html.unescape(text) for text in re.findall(r'data-trial="\d+"><title>(.*?)<', page)]


def floats(low: float, high: float, *, log: bool = False) -> str:
    return json.dumps(
        {
            "name": "FloatDistribution",
            "attributes": {"step": None, "low": low, "high": high, "log": log},
        }
    )


def tied(folder: Path) -> Study:
    losses = {1e-4: 0.5, 5e-4: 0.0123, 1e-3: 0.031, 2e-3: 0.4}
    trials = [
        {
            "point": {"lr": lr},
            "values": {"score": 0.5 if lr == 1e-4 else 1.0, "loss": loss},
            "curve": (0.1, 0.2, 1.0),
        }
        for lr, loss in losses.items()
    ]
    return made_study(folder, {"lr": "1e-4, 5e-4, 1e-3, 2e-3"}, trials, tie_breaker="loss")


def test_a_tie_is_told_and_drawn_with_what_decides(tmp_path):
    study = tied(tmp_path / "made")
    words = words_of(page_of(study))
    assert "tie breaker the lower loss" in words
    assert "trials 1 to 3 are equal; the lowest loss decides: 0.0123, the next has 0.031" in words
    drawn = figures.drawn(Data(study))
    for name in ("history", "slices"):
        objective, decider = drawn[name].axes
        assert (objective.get_ylabel(), decider.get_ylabel()) == ("score", "loss")
        assert len(objective.lines[0].get_ydata()) == 4
        assert list(decider.lines[0].get_ydata()) == [0.0123, 0.031, 0.4]


def test_without_a_tie_there_is_none(tmp_path):
    trials = [{"point": {"lr": lr}, "values": {"score": lr, "loss": 1.0}} for lr in (1, 2)]
    study = made_study(tmp_path / "made", {"lr": "1, 2"}, trials, tie_breaker="loss")
    assert "are equal" not in words_of(page_of(study))
    assert [len(figure.axes) for figure in figures.drawn(Data(study)).values()] == [1, 1, 1]


@pytest.mark.parametrize("key", ["figure.autolayout", "figure.constrained_layout.use"])
def test_the_users_matplotlibrc_moves_nothing(key, tmp_path):
    study = tied(tmp_path / "made")
    pictures = []
    for value in (False, True):
        with mpl.rc_context({key: value}):
            write_report(study)
        written = sorted((study.folder / "figures").iterdir())
        pictures.append([path.read_bytes() for path in written])
    assert pictures[0] == pictures[1]


def test_few_curves_are_named_at_their_ends_and_many_where_the_pointer_is(tmp_path):
    def made(number: int) -> Study:
        trials = [
            {"point": {"x": n}, "values": {"score": float(n)}, "curve": (0.0, float(n))}
            for n in range(number)
        ]
        return made_study(tmp_path / str(number), {"x": "0 to 99"}, trials)

    few, many = made(3), made(12)
    (axes,) = figures.drawn(Data(few))["curves"].axes
    assert [text.get_text() for text in axes.texts] == [f"trial {n} · x={n}" for n in range(3)]
    colours = {line.get_color() for line in axes.lines}
    assert len(colours) == 3
    (axes,) = figures.drawn(Data(many))["curves"].axes
    assert list(axes.texts) == []
    page = page_of(many)
    assert {f"trial {n} · x={n} · {n}" for n in range(12)} == set(titles_of(page))
    curves = re.search(r"Learning curves.*?</figure>", page, re.DOTALL)
    assert curves
    assert curves[0].count("<polyline") == 12


@pytest.mark.parametrize(
    ("heights", "expected"),
    [
        pytest.param([0.2, 0.8], [0.2, 0.8], id="apart"),
        pytest.param([0.5, 0.5], [0.5, 0.6], id="equal"),
        pytest.param([1.0, 1.0, 1.0], [0.8, 0.9, 1.0], id="at the top"),
        pytest.param([3.0, -1.0], [1.0, 0.0], id="outside"),
    ],
)
def test_words_at_the_ends_of_lines_are_apart(heights, expected):
    assert spread(heights, 0.1) == pytest.approx(expected)


def test_an_interval_is_shown_from_end_to_end_on_its_own_scale(tmp_path):
    points = [(10 ** (-3.5 + n / 4), 1 + n) for n in range(8)]
    study = made_study(
        tmp_path / "made",
        {"lr": "1e-4 to 0.1 (log)", "x": "0 to 10"},
        [{"point": {"lr": lr, "x": float(x)}, "values": {"score": lr}} for lr, x in points],
        distributions={"lr": floats(1e-4, 0.1, log=True), "x": floats(0, 10)},
    )
    drawn = figures.drawn(Data(study))
    lr, x = drawn["slices"].axes
    assert (lr.get_xscale(), x.get_xscale()) == ("log", "linear")
    for axes, ends in ((lr, ("1e-4", "0.1")), (x, ("0", "10"))):
        labels = [label.get_text() for label in axes.get_xticklabels() if label.get_text()]
        assert (labels[0], labels[-1]) == ends
    written = {text.get_text() for text in drawn["parallel"].axes[0].texts}
    assert {"1e-4", "0.1", "0", "10"} <= written


def test_what_pruned_trials_have_measured_is_shown_and_does_not_count(tmp_path):
    complete = [
        {"point": {"lr": lr, "ema": "null", "act": "relu"}, "values": {"score": lr}}
        for lr in (0.1, 0.2, 0.3, 0.4, 0.5)
    ]
    pruned = [
        {"point": {"lr": lr, "ema": "false", "act": "tanh"}, "outcome": "pruned", "curve": curve}
        for lr, curve in ((0.6, (0.01,)), (0.7, ()))
    ]
    space = {"lr": "0 to 1", "ema": "null, false", "act": "relu, tanh"}
    drawn = figures.drawn(Data(made_study(tmp_path / "made", space, [*complete, *pruned])))
    lr, ema, act = (axes for axes in drawn["slices"].axes if axes.get_visible())
    for axes, x in ((lr, 0.6), (ema, 0), (act, 1)):
        assert next((*line.get_xdata(), *line.get_ydata()) for line in axes.lines) == (x, 0.01)
    assert [label.get_text() for label in ema.get_xticklabels()] == ["false", "null"]
    assert [label.get_text() for label in act.get_xticklabels()] == ["relu", "tanh"]
    assert list(drawn["history"].axes[0].lines[-1].get_ydata()) == [0.01]
    if "importance" in drawn:
        assert "5 complete trials; 1 pruned" in drawn["importance"].axes[0].get_title(loc="left")


def test_a_parallel_axis_of_a_few_values_has_them_all(tmp_path):
    trials = [
        {"point": {"lr": lr, "act": act}, "values": {"score": lr}}
        for lr in (1e-4, 5e-4, 1e-3)
        for act in ("gelu", "relu", "silu")
    ]
    study = made_study(tmp_path / "made", {"lr": "1e-4, 5e-4, 1e-3", "act": "relu, …"}, trials)
    written = {text.get_text() for text in figures.drawn(Data(study))["parallel"].axes[0].texts}
    assert {"1e-4", "5e-4", "1e-3", "gelu", "relu", "silu"} <= written


def test_the_page_says_what_was_run_in_the_words_of_the_app(tmp_path):
    config = {"epochs": 20, "seed": 3, "lr": None, "server.port": 80}
    choices = {"server": "apache", "db": "mysql", "secret/place": "here"}
    trials = [
        {"point": {"db": db}, "values": {"score": 1.0}, "config": config, "choices": choices}
        for db in ("mysql", "postgresql")
    ]
    words = words_of(page_of(made_study(tmp_path / "made", {"db": "mysql, postgresql"}, trials)))
    assert "app app.py server apache secret/place here epochs 20 seed 3 commit" in words
    assert "command python app.py -m x=1,2" in words
    assert "Config trial 0: 5 keys" in words
    assert "server.port 80" in words


def test_the_page_has_what_the_user_says_of_a_study_and_of_a_run(tmp_path):
    study = made_study(tmp_path / "made", {"x": "1"}, [{"point": {"x": 1}, "values": {"score": 1}}])
    for folder in (study.folder, study.folder / "0"):
        annotate(folder, note="the one of the paper, <b>", tags={"stage": "paper"})
    for found in (Study(Run.open(study.folder)), Run.open(study.folder / "0")):
        words = words_of(page_of(found))
        assert "What was run tags stage=paper note the one of the paper, <b> started" in words
        assert words.count("the one of the paper, <b>") == 1


STRANGE = {
    "one trial": [{"point": {"x": 1}, "values": {"score": 0.5}, "curve": (0.1, 0.5)}],
    "none complete": [{"point": {"x": 1}, "outcome": "pruned", "curve": (0.1, 0.5)}],
    "all failed": [{"point": {"x": 1}, "outcome": "failed", "reason": "ValueError: " * 90}],
    "not finite": [
        {"point": {"x": 1}, "values": {"score": 0.5}, "curve": (0.1, math.nan, math.inf, 0.5)},
        {"point": {"x": 2}, "values": {"score": 0.6}, "curve": (math.nan, math.inf)},
        {"point": {"x": 3}, "outcome": "diverged", "curve": (-math.inf, math.nan)},
    ],
    "conditional": [
        {"point": {"x": n, "abc"[n % 3] + ".depth": n}, "values": {"score": 1.0}} for n in range(9)
    ],
    "long": [
        {"point": {"x": "y" * 4000 + str(n), "z" * 300: n}, "values": {"score": 1.0 * n}}
        for n in range(4)
    ],
    "other scripts": [
        {"point": {"x": word, "模型🚀": "$a_b$ {x}^"}, "values": {"score": 1.0 * n, "损失": n}}
        for n, word in enumerate(("小型模型", "🎉", "a$b$", "_x"))
    ],
}


@pytest.mark.parametrize("trials", STRANGE.values(), ids=STRANGE.keys())
def test_a_strange_study_has_its_page_without_a_warning(trials, tmp_path):
    names = dict.fromkeys(name for trial in trials for name in trial["point"])
    page = page_of(made_study(tmp_path / "made", dict.fromkeys(names, "some"), trials))
    words = words_of(page)
    for number, trial in enumerate(trials):
        assert re.search(rf'<tr data-trial="{number}"', page)
        assert trial.get("reason", "").strip() in words
    has_value = any("values" in trial for trial in trials)
    assert ("no complete trial" in words) == (not has_value)
    assert max(map(len, re.findall(r"<td[^>]*>(.*?)</td>", page, re.DOTALL)[:50])) < 2000


def test_the_page_of_a_run_has_its_curves_values_and_config(tmp_path):
    trials = [
        {
            "point": {"x": 1},
            "values": {"score": 0.75, "loss": 0.5},
            "curve": (0.1, 0.75),
            "config": {"epochs": 2},
        }
    ]
    run = made_study(tmp_path / "made", {"x": "1"}, trials).trials[0]
    page = page_of(run)
    words = words_of(page)
    assert "Trial 0 of made" in words
    assert "score 0.75 loss 0.5 What was run" in words
    assert "Curves score" in words
    assert "the whole config: 2 keys" in words
    assert [path.name for path in (run.folder / "figures").iterdir()] == ["0_score.png"]
