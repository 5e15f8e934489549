"""`data=puzzles` on folders of the published ARC builder: from the prompt to the submission."""

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from arc_folder import NAMES, SIDE, Grid, taken_back, write_folder

from hrm_sweep import load_run

SMALL = (
    *("trainer=smoke", "trainer.epochs=2", "epochs=2", "tracking=off", "hidden_dim=32"),
    *("batch_size=4", "study.name=mine", "data=puzzles"),
)
FOLDER = Path("multirun/train/mine")


def train(*typed: str) -> subprocess.CompletedProcess[str]:
    line = [sys.executable, "-m", "hrm_sweep", *SMALL, *typed]
    return subprocess.run(line, capture_output=True, text=True, check=False)


def rectangle(tokens: list[int]) -> Grid:
    """The largest rectangle of colours in the corner, by trying each; wide rows come first."""
    rows = [tokens[i : i + SIDE] for i in range(0, SIDE * SIDE, SIDE)]
    best: Grid = []
    width = SIDE
    for height in range(1, SIDE + 1):
        inside = next((n for n, t in enumerate(rows[height - 1]) if not 2 <= t < 12), SIDE)
        width = min(width, inside)
        if width and height * width > len(best) * (len(best[0]) if best else 0):
            best = [[token - 2 for token in row[:width]] for row in rows[:height]]
    return best


@pytest.mark.usefixtures("in_a_folder_of_its_own")
def test_a_run_writes_the_submission_that_its_answers_make():
    folder = write_folder(Path("arc"))
    done = train(f"data.path={folder}")
    assert done.returncode == 0, done.stderr
    submission = json.loads((FOLDER / "submission.json").read_text())
    tasks = json.loads((folder / "test_puzzles.json").read_text())
    assert submission.keys() == tasks.keys()

    model, task = loaded = load_run(FOLDER)
    batch = task.eval.all()
    answers = loaded.predict(batch)
    votes: dict[tuple[str, str], Counter[str]] = {}
    for number, shown, answer in zip(
        batch.identifiers.tolist(), batch.inputs.tolist(), answers.tolist(), strict=True
    ):
        name = NAMES[number]
        question, grid = (taken_back(rectangle(tokens), name) for tokens in (shown, answer))
        key = (name.split("|||")[0], json.dumps(question))
        votes.setdefault(key, Counter())[json.dumps(grid)] += 1
    for name, content in tasks.items():
        for pair, attempts in zip(content["test"], submission[name], strict=True):
            count = votes[name, json.dumps(pair["input"])]
            given = [count[json.dumps(attempts[f"attempt_{n}"])] for n in (1, 2)]
            most = [times for _, times in count.most_common(2)]
            assert given == [most[0], most[-1]]  # the first repeats where there is no second
    assert model.training is False


@pytest.mark.usefixtures("in_a_folder_of_its_own")
def test_folders_are_trained_on_together():
    write_folder(Path("one")), write_folder(Path("two"))
    done = train("data.path=[one,two]")
    assert done.returncode == 0, done.stderr
    _, task = load_run(FOLDER)
    assert task.eval.identifiers.tolist() == [1, 2, 3, 4, 6, 7, 8, 9]


@pytest.mark.usefixtures("in_a_folder_of_its_own")
@pytest.mark.parametrize(
    ("file", "words"),
    [
        ("arc/train/all__labels.npy", "not a whole NumPy file"),
        ("arc/test/all__group_indices.npy", "not a whole NumPy file"),
        ("arc/identifiers.json", "cannot be read as JSON"),
        ("arc/test_puzzles.json", "cannot be read as JSON"),
    ],
)
@pytest.mark.parametrize("way", ["a single run", "a study"])
def test_a_damaged_file_is_met_before_anything_is_created(file, words, way):
    write_folder(Path("arc"))
    os.truncate(file, 1)
    done = train("data.path=arc", *(["-m", "lr=1e-3,1e-4"] if way == "a study" else []))
    assert done.returncode == 2
    assert f"{file}: {words}" in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert not Path("multirun").exists()
