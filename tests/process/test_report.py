"""The page of a study: what stands on it, that it needs no network, and its figures."""

import json
import re
import shutil
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path

import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg

from hrm_sweep.commands.resolve import resolve_study
from hrm_sweep.report import draw_report, figures, page, style
from hrm_sweep.report.data import Data
from hrm_sweep.runs import record
from hrm_sweep.runs.record import Record
from hrm_sweep.search.importance import importances

pytestmark = pytest.mark.usefixtures("in_studies_folder")


class Page(HTMLParser):
    """Words of a page by element, and whatever it would load."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.words: list[str] = []
        self.loads: list[str] = []
        self.open: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.open.append(tag)
        if tag in ("link", "iframe"):
            self.loads.append(tag)
        self.loads += [value for name, value in attributes if name in ("src", "srcset")]

    def handle_data(self, data):
        if self.open[-1:] not in (["style"], ["script"]) and data.strip():
            self.words.append(" ".join(data.split()))


def read(folder: Path) -> Page:
    return Page((folder / "report.html").read_text(encoding="utf-8"))


def test_a_study_of_any_app_has_its_report_when_it_ends():
    for name in ("grid", "repeated"):
        assert (Path("multirun") / name / "report.html").exists()
        finished = record.read(Path("multirun") / name)[-1]
        assert "report.html" in finished.fields["artifacts"]
        assert "figures/history.png" in finished.fields["artifacts"]


def test_the_page_says_what_was_asked_and_what_came_out():
    words = read(Path("multirun/grid")).words
    for told in (
        "grid", "3 complete, 3 failed · ", "minimize objective", "x=2 end=well",
        "multirun/grid/4", "python -m hrm_sweep reproduce grid", "ValueError: this one raises",
        "python -m hrm_sweep dashboard grid",
    ):  # fmt: skip
        assert any(told in line for line in words), told


def test_the_page_loads_nothing():
    found = read(Path("multirun/repeated"))
    assert [source for source in found.loads if not source.startswith("data:")] == []
    text = Path("multirun/repeated/report.html").read_text()
    assert not re.search(r"url\((?!#)", text)
    assert "@import" not in text


def test_repeats_have_their_figure_and_mean_and_deviation():
    found = read(Path("multirun/repeated"))
    assert "1.5 ± 0.5" in found.words
    assert "Repeats" in found.words


def test_every_figure_is_a_png_too():
    for path in Path("multirun/grid/figures").glob("*.png"):
        assert path.read_bytes().startswith(b"\x89PNG")
        assert path.stem in figures.FIGURES
    assert Path("multirun/grid/figures/curves.png").exists()


def synthetic(
    folder: Path, number: int, *, objectives=("score",), directions=("maximize",), lrs=()
):
    """A study as it would stand in its folder, with made-up numbers; of a grid with these lrs."""
    with Record(folder) as study:
        study.append(
            "started", kind="study", name=folder.name, description="python app.py -m",
            params={"lr": ", ".join(map(str, lrs)) or "1e-4 to 1e-1, log", "size": "8, 16"},
            tags={}, hydra_overrides=[],
            judged={"objectives": objectives, "directions": directions, "tie_breaker": None,
                    "constraints": [], "columns": []},
            num_trials=number, storage="sqlite:///x.db", tracking={},
        )  # fmt: skip
    for trial in range(number):
        lr, size = 10 ** -(1 + 3 * trial / number), (8, 16)[trial % 2]
        lr = lrs[trial // 2] if lrs else lr
        values = {name: lr * size * (1 - 2 * place) for place, name in enumerate(objectives)}
        with Record(folder / str(trial)) as run:
            run.append(
                "started", kind="trial", name="", params={}, description="python app.py",
                overrides=[f"lr={lr}", f"size={size}"], tags={"hrm_sweep.trial": str(trial)},
            )  # fmt: skip
            run.metrics(1, {"score": 0.0})
            run.metrics(2, values)
            run.append(
                "finished", outcome="complete", reason="", best=values, seconds=1.0 + trial,
                artifacts=[],
            )  # fmt: skip
    return resolve_study(str(folder))


@pytest.mark.parametrize("number", [1, 3, 400])
def test_a_page_is_readable_whatever_the_number_of_trials(number, tmp_path):
    study = synthetic(tmp_path / "made", number)
    page.write(study)
    text = (study.folder / "report.html").read_text()
    assert text.count("<tr") >= number
    assert len(text) < 2_000_000


def test_figures_are_there_where_they_have_something_to_show(tmp_path):
    drawn = figures.drawn(Data(synthetic(tmp_path / "made", 12)))
    assert set(drawn) == {"history", "curves", "importance", "slices", "parallel", "cost"}
    alone = figures.drawn(Data(synthetic(tmp_path / "alone", 1)))
    assert set(alone) == {"history", "curves"}


@pytest.mark.parametrize(
    "lrs",
    [
        pytest.param((1e-4, 1.2e-4, 1.5e-4, 2e-4, 1e-3), id="five, most of them near"),
        pytest.param(tuple(round(n * 1e-4, 5) for n in range(1, 13)), id="twelve in a decade"),
        pytest.param(tuple(2.0**n for n in range(-9, 3)), id="twelve, far apart"),
        pytest.param((0.11, 0.12, 0.121, 0.14, 0.15, 0.16, 0.17), id="on a linear scale"),
    ],
)
def test_words_along_an_axis_leave_each_other_room(lrs, tmp_path):
    data = Data(synthetic(tmp_path / "made", 2 * len(lrs), lrs=lrs))
    figure = figures.drawn(data)["slices"]
    FigureCanvasAgg(figure).draw()
    for axes in figure.axes:
        labels = [label for label in axes.get_xticklabels() if label.get_text()]
        boxes = [label.get_window_extent() for label in labels]
        assert len(labels) >= 2
        assert all(one.x1 < next_one.x0 for one, next_one in pairwise(boxes))


def test_two_objectives_have_a_front(tmp_path):
    names = {"objectives": ("score", "cost"), "directions": ("maximize", "maximize")}
    study = synthetic(tmp_path / "made", 6, **names)
    assert "pareto" in figures.drawn(Data(study))


def test_a_grid_of_two_numbers_has_a_heat_map(in_studies_folder):
    study = resolve_study("grid")
    assert "heat_map" not in figures.drawn(Data(study))  # of `end` only one value is complete


def test_the_page_of_a_run_shows_the_tags_that_it_set(tmp_path, typed):
    with Record(tmp_path / "run") as run:
        run.append("started", kind="run", name="", params={}, overrides=[], tags={}, description="")
        run.append("finished", outcome="complete", reason="", best={"score": 1.0}, artifacts=[],
                   seconds=1.0, facts={"phase": "pattern recognition"})  # fmt: skip
    code, _, errors = typed("report", str(tmp_path / "run"))
    assert code == 0, errors
    words = read(tmp_path / "run").words
    assert words[words.index("phase") + 1] == "pattern recognition"


def test_words_of_others_do_not_become_markup(tmp_path):
    study = synthetic(tmp_path / "made", 2)
    with Record(study.folder / "2") as run:
        run.append("started", kind="trial", name="", params={}, overrides=["lr=<b>"],
                   tags={"hrm_sweep.trial": "2"}, description="")  # fmt: skip
        run.append("finished", outcome="failed", best={}, artifacts=[],
                   reason="<script>alert(1)</script>")  # fmt: skip
    page.write(resolve_study(str(study.folder)))
    text = (study.folder / "report.html").read_text()
    assert text.count("<script") == 1  # the page's own
    assert "&lt;script&gt;alert(1)" in text


def test_a_study_does_not_fail_for_its_report(tmp_path):
    shutil.copytree("multirun/grid", tmp_path / "grid")
    path = tmp_path / "grid/record.jsonl"
    path.write_text(path.read_text().replace("objective", "objectivf"))
    assert draw_report(tmp_path / "grid", "sqlite:///multirun/optuna.db") == []
    assert "changed after it was written" in (tmp_path / "grid/projector.log").read_text()


def test_importances_tell_what_mattered():
    points = [{"a": a, "b": b} for a in range(6) for b in ("x", "y")]
    shares = importances(points, [float(point["a"]) for point in points], direction="maximize")
    assert list(shares) == ["a", "b"]
    assert shares["a"] > 0.8
    assert sum(shares.values()) == pytest.approx(1)
    assert importances(points, [1.0] * 12, direction="maximize") == {}


@pytest.mark.parametrize(
    ("name", "title"),
    [
        pytest.param("grid/4", "Trial 4 of grid", id="trial"),
        pytest.param("repeated/0/1", "Trial 0 of repeated, repeat 1", id="repeat"),
        pytest.param("repeated", "repeated", id="study"),
    ],
)
def test_the_command_writes_the_page_of_what_is_named(name, title, tmp_path, monkeypatch, typed):
    shutil.copytree("multirun", tmp_path / "multirun")
    monkeypatch.chdir(tmp_path)
    code, printed, _ = typed("report", name)
    assert code == 0
    assert f"multirun/{name}/report.html" in printed
    assert title in read(Path("multirun", name)).words


def test_the_figures_of_a_page_take_its_colour_of_ink(tmp_path):
    text = Path("multirun/grid/report.html").read_text()
    assert style.INK not in text
    assert text.count("currentColor") > 20
    assert json.dumps(re.findall(r' id="(?:figure|axes)_1"', text)) == "[]"
