"""`eval/validity` of a run is that of its own predictions, counted here by hand."""

import subprocess
import sys
from pathlib import Path

import pytest

from hrm_sweep import load_run
from hrm_sweep.runs.run import Run

EASY = (  # one or two empty cells, so that some boards are valid within seconds and others are not
    *("experiment=sudoku_4x4", "epochs=6", "trainer.eval_every=6", "hidden_dim=32", "tracking=off"),
    *("data.num_puzzles=200", "data.num_eval_puzzles=100", "data.givens=[14,15]", "lr=3e-3"),
    *("study.name=mine", "trainer.compile=on"),
)


def is_valid(board: list[list[int]]) -> bool:
    """Whether rows, columns and boxes of a 4x4 board have each digit once."""
    columns = [list(column) for column in zip(*board, strict=True)]
    boxes = [
        [board[top + i][left + j] for i in (0, 1) for j in (0, 1)]
        for top in (0, 2)
        for left in (0, 2)
    ]
    return all(sorted(unit) == [1, 2, 3, 4] for unit in [*board, *columns, *boxes])


@pytest.mark.usefixtures("in_a_folder_of_its_own")
def test_validity_is_counted_on_the_run_s_own_predictions():
    line = [sys.executable, "-m", "hrm_sweep", *EASY]
    subprocess.run(line, check=True, capture_output=True, text=True)
    folder = Path("multirun/train/mine")
    loaded, recorded = load_run(folder), Run.open(folder).values
    batch = loaded.task.eval.all()
    answers = [loaded.task.picture(tokens).tolist() for tokens in loaded.predict(batch)]
    truth = [loaded.task.picture(tokens).tolist() for tokens in batch.labels]
    assert recorded["eval/validity"] == pytest.approx(sum(map(is_valid, answers)) / 100)
    solved = [answer == board for answer, board in zip(answers, truth, strict=True)]
    assert recorded["eval/exact_match"] == pytest.approx(sum(solved) / 100)
    assert 0 < sum(map(is_valid, answers)) < 100
