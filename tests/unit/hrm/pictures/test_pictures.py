"""What the two pictures of a run show, read back from the figures themselves."""

import math

import numpy as np
import pytest
from matplotlib.colors import to_rgb
from matplotlib.image import imread

from hrm_sweep.hrm.pictures.grids import read
from hrm_sweep.hrm.pictures.training import (
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


def texts_of(drawn):
    return [text.get_text() for text in drawn.texts]


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


@pytest.mark.parametrize(
    ("losses", "numbers"),
    [
        pytest.param([5.2, 3.0, 0.8], ["1", "2", "3", "4", "5"], id="evenly"),
        pytest.param(
            [3.1, 0.3, 0.03],
            ["0.05", "0.1", "0.2", "0.5", "1", "2"],
            id="by powers of ten, where values differ more than twentyfold",
        ),
    ],
)
def test_scales_are_labelled(losses, numbers):
    history = [{"epoch": 7 + k, "train/loss": loss} for k, loss in enumerate(losses)]
    loss = panels_of(training_figure(history))["Loss"]
    across = [text for text in loss.texts if text.get_position()[1] < 0]
    beside = [text for text in loss.texts if text.get_position()[0] < 0]
    assert [(t.get_position()[0], t.get_text()) for t in across] == [
        (7, "7"),
        (8, "8"),
        (9, "9"),
        (0.5, "epoch"),
    ]
    assert [t.get_text() for t in beside] == numbers
    assert all(t.get_position()[1] == float(t.get_text()) for t in beside)


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
        "copy (≥ 99% at epoch 3)",
        "increment (≥ 99% at epoch 4)",
        "decrement (≥ 99% at epoch 5)",
        "mirror (≥ 99% at epoch 6)",
        "transpose (≥ 99% at epoch 7)",
        "recolour",
        "the most common token's share of answers",
    ]


def test_a_single_pattern_is_the_line_of_all():
    figure = training_figure(history_of(4, ["sudoku"]))
    assert legend_of(figure) == [
        "held out, all (≥ 99% at epoch 3)",
        "training",
        "the most common token's share of answers",
    ]


def test_validity_is_drawn_where_a_task_has_it():
    history = [row | {"eval/validity": 0.5} for row in history_of(3, ["sudoku"])]
    assert "valid grids" in legend_of(training_figure(history))


def test_phases_are_shaded_up_to_each_evaluation_and_named():
    phases = [1.0] * 8 + [2.0] + [3.0] * 11
    history = [row | {"eval/phase": phases[row["epoch"] - 1]} for row in history_of(20, ["copy"])]
    figure = training_figure(history)
    named = [label for label in legend_of(figure) if label.startswith("phase: ")]
    assert named == [
        "phase: mode value (one token > 50%)",
        "phase: pattern recognition (in between)",
        "phase: specialization (solved ≥ 50%)",
    ]
    figure.draw_without_rendering()
    drawn = figure.legends[0].get_window_extent()
    assert drawn.x0 >= 0, "a label is cut off"
    assert drawn.x1 <= figure.bbox.width, "a label is cut off"
    spans = [(patch.get_x(), patch.get_width()) for patch in figure.axes[0].patches]
    assert spans == [(0.5, 8.0), (8.5, 1.0), (9.5, 11.0)]
    assert not training_figure(history_of(20, ["copy"])).axes[0].patches  # of an older record


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
    assert texts_of(loss).count("not finite") == 1
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


def test_wrong_cells_are_counted():
    content = example("copy", GRID, WRONG)
    assert np.argwhere(read(content).wrong).tolist() == [[0, 1], [1, 1], [2, 0]]
    texts = texts_of(predictions_figure([content]))
    assert texts[0] == "copy:  ✗ 3 of 8 cells wrong"


def test_what_nobody_scores_is_shown_as_the_input_has_it():
    solved = read(example("copy", GRID, [[1, 2, -1], [3, 9, -1], [-1, -1, 7]]))
    assert solved.verdict == "✓ solved"
    assert not solved.wrong.any()
    for kind in ("input", "truth", "prediction"):
        assert solved.shown(kind).tolist() == GRID


def test_the_empty_rest_of_a_canvas_is_cut_away():
    canvas = [row + [-2] * 27 for row in GRID] + [[-2] * 30] * 27
    cut = read(example("copy", canvas, [[5] * 30] * 30))
    assert cut.shown("prediction").tolist() == [[5, 5, 5], [5, 5, 5], [5, 5, -2]]
    assert cut.verdict == "✗ 8 of 8 cells wrong"


def test_sudoku_shows_what_was_given_and_what_was_filled_in():
    truth = [[1, 2, 3, 4], [3, 4, 1, 2], [2, 1, 4, 3], [4, 3, 2, 1]]
    given = [[1, -1, -1, 4], [-1, -1, 1, -1], [-1, 1, -1, -1], [4, -1, -1, 1]]
    content = example("sudoku", truth, truth, inputs=given)
    sudoku = read(content)
    assert sudoku.fills_in
    assert sudoku.given.tolist() == [[number > 0 for number in row] for row in given]
    assert sudoku.shown("input").tolist() == given
    texts = texts_of(predictions_figure([content]))
    assert "Framed in red: predicted wrongly. Shaded: given." in texts


@pytest.mark.parametrize(
    ("truth", "red"),
    [
        pytest.param([[3, 4], [5, 6]], [], id="solved"),
        pytest.param([[3, 7], [5, 6]], [(0, 1)], id="one cell wrong"),
        pytest.param([[7, 4], [5, 7]], [(0, 0), (1, 1)], id="two cells wrong"),
    ],
)
def test_wrong_cells_have_a_red_frame(truth, red, tmp_path):
    draw_predictions([example("copy", truth, [[3, 4], [5, 6]])], tmp_path / "picture.png")
    picture = imread(tmp_path / "picture.png")[74:284, 494:704, :3]  # the prediction's grid
    is_red = np.abs(picture - to_rgb("#c1121f")).max(axis=-1) < 0.02
    cells = is_red.reshape(2, 105, 2, 105).any(axis=(1, 3))
    assert [tuple(cell) for cell in np.argwhere(cells)] == red


def test_numbers_are_written_into_their_cells(tmp_path):
    for name, number in (("one.png", 1), ("eleven.png", 11)):  # of one colour
        draw_predictions([example("copy", [[number]], [[number]])], tmp_path / name)
    one, eleven = imread(tmp_path / "one.png"), imread(tmp_path / "eleven.png")
    rows, columns = np.nonzero((one != eleven).any(axis=-1))
    assert len(rows)
    assert np.ptp(rows) < 20  # a line of text, in the middle of the cell
    assert abs(rows.mean() - (74 + 105)) < 4
    middles = 36 + 105 + 229 * np.arange(3)
    assert np.abs(columns[:, None] - middles).min(axis=1).max() < 20


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
