"""What the two pictures of a run show, read back from the figures themselves."""

import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from matplotlib.colors import same_color, to_rgb
from matplotlib.image import imread

from hrm_sweep.learning.figures import (
    draw_predictions,
    draw_training_metrics,
    predictions_figure,
    training_figure,
)

PATTERNS = ["copy", "increment", "decrement", "mirror", "transpose", "recolour"]
PANELS = ["Exact match", "Token accuracy", "Loss", "Learning rate"]


def history_of(epochs, patterns):
    """A run in which pattern k is solved from epoch 3 + k on."""
    history = []
    for epoch in range(1, epochs + 1):
        row = {
            "epoch": epoch,
            "train/loss": 3.0 / epoch,
            "eval/loss": 4.0 / epoch,
            "optimizer/lr": 1e-3 / epoch,
            "train/token_accuracy": 0.5,
            "train/exact_match": 0.25,
            "eval/token_accuracy": 0.75,
            "eval/mode_share": 1 / epoch,
        }
        solved = [epoch >= 3 + k for k in range(len(patterns))]
        row["eval/exact_match"] = sum(solved) / len(solved)
        for pattern, done in zip(patterns, solved, strict=True):
            row[f"eval/exact_match/{pattern}"] = float(done)
            row[f"eval/token_accuracy/{pattern}"] = 0.5 + done / 2
        history.append(row)
    return history


def panels_of(figure):
    return {axes.get_title(loc="left"): axes for axes in figure.axes}


def line_of(axes, label):
    return next(line for line in axes.lines if str(line.get_label()).startswith(label))


def legend_of(figure):
    return [text.get_text() for text in figure.legends[0].get_texts()]


def example(pattern, truth, prediction, *, inputs=None, scored=None):
    return {
        "pattern": pattern,
        "input": truth if inputs is None else inputs,
        "truth": truth,
        "prediction": prediction,
        "scored": [[cell > -2 for cell in row] for row in truth] if scored is None else scored,
    }


def marks_of(axes):
    """Corners of the red frames: (row, column) of the cells they are around."""
    frames = [p for p in axes.patches if same_color(p.get_edgecolor(), "#c1121f")]
    return sorted((math.floor(p.get_y()), math.floor(p.get_x())) for p in frames)


def numbers_of(axes):
    return [text.get_text() for text in axes.texts]


GRID = [[1, 2, -1], [3, 9, -1], [-1, -1, -2]]
WRONG = [[1, 5, -1], [3, -1, -1], [0, -1, 7]]


def test_each_metric_is_drawn_in_its_panel():
    figure = training_figure(history_of(10, ["copy", "increment"]))
    panels = panels_of(figure)
    assert list(panels) == PANELS
    exact = panels["Exact match"]
    assert line_of(exact, "copy").get_ydata().tolist() == [0, 0] + [1] * 8
    assert line_of(exact, "increment").get_ydata().tolist() == [0, 0, 0] + [1] * 7
    assert line_of(exact, "held out").get_xdata().tolist() == list(range(1, 11))
    assert line_of(panels["Loss"], "training").get_ydata()[1] == 1.5
    assert line_of(panels["Loss"], "held out").get_ydata()[1] == 2.0
    assert line_of(panels["Learning rate"], "learning rate").get_ydata()[1] == 5e-4
    assert line_of(panels["Token accuracy"], "copy").get_ydata().tolist() == [0.5, 0.5] + [1] * 8


def test_the_best_epoch_is_marked_in_every_panel():
    figure = training_figure(history_of(10, ["copy", "increment"]))
    assert (
        figure.get_suptitle()
        == "Best epoch 4 of 10 (dashed): 100.0% exact match on held-out puzzles"
    )
    for axes in figure.axes:
        assert [list(line.get_xdata()) for line in axes.lines].count([4, 4]) == 1


def test_the_best_epoch_may_be_given():
    figure = training_figure(history_of(10, ["copy", "increment"]), best_epoch=3)
    assert (
        figure.get_suptitle()
        == "Best epoch 3 of 10 (dashed): 50.0% exact match on held-out puzzles"
    )


def test_the_legend_tells_when_each_pattern_was_solved():
    figure = training_figure(history_of(7, PATTERNS))
    assert legend_of(figure) == [
        "held out, all",
        "training",
        "copy (99% at epoch 3)",
        "increment (99% at epoch 4)",
        "decrement (99% at epoch 5)",
        "mirror (99% at epoch 6)",
        "transpose (99% at epoch 7)",
        "recolour",
        "the most common token's share of answers",
    ]


def test_a_single_pattern_is_the_line_of_all():
    figure = training_figure(history_of(4, ["sudoku"]))
    assert legend_of(figure) == [
        "held out, all (99% at epoch 3)",
        "training",
        "the most common token's share of answers",
    ]


def test_validity_is_drawn_where_a_task_has_it():
    history = [row | {"eval/validity": 0.5} for row in history_of(3, ["sudoku"])]
    assert "valid grids" in legend_of(training_figure(history))


def test_a_line_joins_the_epochs_that_were_evaluated():
    history = history_of(6, ["copy"])
    for row in history:
        if row["epoch"] % 3:
            del row["eval/loss"]
    loss = panels_of(training_figure(history))["Loss"]
    assert list(line_of(loss, "training").get_xdata()) == [1, 2, 3, 4, 5, 6]
    held_out = next(line for line in loss.lines if str(line.get_label()).startswith("held out"))
    assert list(held_out.get_xdata()) == [3, 6]


@pytest.mark.parametrize("lost", [math.nan, math.inf, "nan", None], ids=str)
def test_what_is_not_finite_leaves_a_gap_and_is_pointed_out(lost):
    history = history_of(6, ["copy"])
    for row in history[4:]:
        row.update({"train/loss": lost, "eval/loss": lost, "eval/exact_match": lost})
    figure = training_figure(history)
    loss = panels_of(figure)["Loss"]
    assert np.isnan(line_of(loss, "training").get_ydata()).tolist() == [False] * 4 + [True] * 2
    assert [text.get_text() for text in loss.texts] == ["not finite"]
    assert figure.get_suptitle().startswith("Best epoch 3 of 6")


@pytest.mark.parametrize(
    ("history", "headline"),
    [
        pytest.param([], "0 epochs", id="nothing yet"),
        pytest.param([{"epoch": 1, "train/loss": math.nan}], "1 epoch", id="diverged at once"),
        pytest.param(
            history_of(1, PATTERNS),
            "Best epoch 1 of 1 (dashed): 0.0% exact match on held-out puzzles",
            id="one epoch",
        ),
        pytest.param(
            history_of(300, PATTERNS),
            "Best epoch 8 of 300 (dashed): 100.0% exact match on held-out puzzles",
            id="300 epochs",
        ),
    ],
)
def test_any_history_gives_a_picture(history, headline, tmp_path):
    assert training_figure(history).get_suptitle() == headline
    draw_training_metrics(history, tmp_path / "training_metrics.png")
    assert imread(tmp_path / "training_metrics.png").shape[:2] == (888, 1320)


def test_wrong_cells_are_framed_and_counted():
    figure = predictions_figure([example("copy", GRID, WRONG)])
    inputs, truth, prediction = figure.axes
    assert [axes.get_title() for axes in figure.axes] == ["input", "truth", "prediction"]
    assert figure.texts[0].get_text() == "copy:  ✗ 3 of 8 cells wrong"
    assert marks_of(prediction) == [(0, 1), (1, 1), (2, 0)]
    assert marks_of(inputs) == marks_of(truth) == []
    assert numbers_of(truth) == ["1", "2", "3", "9"]
    assert numbers_of(prediction) == ["1", "5", "3", "0"]


def test_a_solved_puzzle_has_no_frame_whatever_is_predicted_outside():
    prediction = [[1, 2, -1], [3, 9, -1], [-1, -1, 7]]
    figure = predictions_figure([example("copy", GRID, prediction)])
    assert figure.texts[0].get_text() == "copy:  ✓ solved"
    assert marks_of(figure.axes[2]) == []
    assert numbers_of(figure.axes[2]) == ["1", "2", "3", "9"]


def test_the_empty_rest_of_a_canvas_is_cut_away():
    canvas = [row + [-2] * 27 for row in GRID] + [[-2] * 30] * 27
    noise = [[5] * 30 for _ in range(30)]
    figure = predictions_figure([example("copy", canvas, noise)])
    assert figure.axes[0].get_xlim() == pytest.approx((-0.06, 3.06))
    assert figure.texts[0].get_text() == "copy:  ✗ 8 of 8 cells wrong"


def test_sudoku_is_drawn_with_boxes_and_its_given_digits():
    truth = [[1, 2, 3, 4], [3, 4, 1, 2], [2, 1, 4, 3], [4, 3, 2, 1]]
    given = [[1, -1, -1, 4], [-1, -1, 1, -1], [-1, 1, -1, -1], [4, -1, -1, 1]]
    figure = predictions_figure([example("sudoku", truth, truth, inputs=given)])
    inputs, solved, _ = figure.axes
    assert numbers_of(inputs) == ["1", "4", "1", "1", "4", "1"]
    bold = [text.get_text() for text in solved.texts if text.get_fontweight() == "bold"]
    assert bold == numbers_of(inputs)
    assert sorted((p.get_x(), p.get_y()) for p in inputs.patches) == [
        (0, 0),
        (0, 2),
        (2, 0),
        (2, 2),
    ]
    assert figure.texts[-1].get_text() == "Framed in red: predicted wrongly. Shaded: given."


def test_two_patterns_take_a_column_each():
    order = ["copy", "copy", "increment", "copy", "increment"]
    figure = predictions_figure([example(name, GRID, GRID) for name in order])
    titles = figure.texts[:5]
    assert [t.get_position()[0] < 0.5 for t in titles] == [name == "copy" for name in order]


def test_more_patterns_take_rows_of_two():
    order = ["copy", "copy", "copy", "mirror", "mirror", "transpose"]
    figure = predictions_figure([example(name, GRID, GRID) for name in order])
    rows = [round(t.get_position()[1], 3) for t in figure.texts[:6]]
    assert rows[0] == rows[1] > rows[2] > rows[3] == rows[4] > rows[5]


@pytest.mark.parametrize(
    "examples",
    [
        pytest.param([], id="none"),
        pytest.param([example("copy", GRID, WRONG)], id="one"),
        pytest.param([example(name, GRID, WRONG) for name in PATTERNS * 2], id="six patterns"),
        pytest.param([example("copy", [[7] * 30] * 30, [[8] * 30] * 30)], id="30x30"),
        pytest.param([example("copy", [[12, 500]], [[-2, -1]])], id="numbers beyond the palette"),
        pytest.param([example("copy", [[-2, -2]], [[1, 1]])], id="nothing scored"),
    ],
)
def test_any_examples_give_a_picture(examples, tmp_path):
    draw_predictions(examples, tmp_path / "prediction_vs_groundtruth.png")
    picture = imread(tmp_path / "prediction_vs_groundtruth.png")
    wrong = any(e["prediction"] != e["truth"] and np.any(e["scored"]) for e in examples)
    red = np.abs(picture[..., :3] - to_rgb("#c1121f")).max(axis=-1) < 0.02
    assert red.any() == wrong
    assert [path.name for path in tmp_path.iterdir()] == ["prediction_vs_groundtruth.png"]


def test_equal_records_give_equal_files(tmp_path):
    for name in ("a.png", "b.png"):
        draw_training_metrics(history_of(5, PATTERNS), tmp_path / name)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


def test_a_picture_that_cannot_be_drawn_leaves_the_old_one(tmp_path):
    path = tmp_path / "training_metrics.png"
    path.write_text("old")
    with pytest.raises(KeyError):
        draw_training_metrics([{"train/loss": 1.0}], path)
    assert path.read_text() == "old"


def test_figures_come_without_torch_and_without_pyplot():
    code = (
        "import sys, hrm_sweep.learning.figures;"
        "print([m for m in ('torch', 'matplotlib.pyplot') if m in sys.modules])"
    )
    folder = Path(__file__).parents[1]
    seen = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=folder
    )
    assert seen.stdout.strip() == "[]"
