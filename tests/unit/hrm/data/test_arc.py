"""Voting over augmented examples of ARC, on a tiny folder in the published format."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf
from paths import ROOT
from small import adamw_config, trainer_config, trm_config

from hrm_sweep.errors import DataError
from hrm_sweep.hrm.data import build_task
from hrm_sweep.hrm.data.arc import crop, parse_name, restored
from hrm_sweep.hrm.data.configs import PuzzlesConfig
from hrm_sweep.hrm.data.task import Answers
from hrm_sweep.hrm.models.build import build_model
from hrm_sweep.hrm.training.trainer import Trainer

QUESTION, TRUTH, WRONG = [[1, 2, 3], [4, 5, 6]], [[9, 8], [7, 6], [5, 4]], [[0]]
OTHER_QUESTION, OTHER_TRUTH = [[7]], [[8]]
TURNED = "one|||t1|||1234567890"  # turned by 90 degrees, every colour one up
FLIPPED = "one|||t4|||0123456789"
NAMES = ["<blank>", "one", TURNED, FLIPPED, "two"]


def augmented(grid: list[list[int]], name: str) -> list[list[int]]:
    """The grid as the published builder augments it, in plain lists."""
    if name == TURNED:  # counterclockwise: the last column is the first row
        turned = [list(column) for column in zip(*grid, strict=True)][::-1]
        return [[(colour + 1) % 10 for colour in row] for row in turned]
    return [row[::-1] for row in grid] if name == FLIPPED else grid


def tokens(grid: list[list[int]]) -> np.ndarray:
    canvas = np.zeros((30, 30), dtype=np.uint8)
    canvas[: len(grid), : len(grid[0])] = np.array(grid) + 2
    canvas[len(grid), : len(grid[0])] = canvas[: len(grid), len(grid[0])] = 1
    return canvas.flatten()


def write_split(folder: Path) -> None:
    folder.mkdir(parents=True)
    questions = [augmented(QUESTION, name) for name in NAMES[1:4]] + [OTHER_QUESTION]
    answers = [augmented(TRUTH, name) for name in NAMES[1:4]] + [OTHER_TRUTH]
    arrays = {
        "inputs": np.stack([tokens(grid) for grid in questions]),
        "labels": np.stack([tokens(grid) for grid in answers]),
        "puzzle_identifiers": np.arange(1, 5, dtype=np.int32),
        "puzzle_indices": np.arange(5, dtype=np.int32),
        "group_indices": np.array([0, 3, 4], dtype=np.int32),
    }
    for kind, array in arrays.items():
        np.save(folder / f"all__{kind}.npy", array)
    sizes = {"vocab_size": 12, "seq_len": 900, "num_puzzle_identifiers": 5, "total_groups": 2}
    ids = {"pad_id": 0, "ignore_label_id": 0, "blank_identifier_id": 0}
    header = {**ids, **sizes, "mean_puzzle_examples": 2.0, "sets": ["all"]}
    (folder / "dataset.json").write_text(json.dumps(header))


@pytest.fixture
def folder(tmp_path) -> Path:
    write_split(tmp_path / "train")
    write_split(tmp_path / "test")
    (tmp_path / "identifiers.json").write_text(json.dumps(NAMES))
    tasks = {
        "one": {"train": [], "test": [{"input": QUESTION, "output": TRUTH}]},
        "two": {"train": [], "test": [{"input": OTHER_QUESTION, "output": OTHER_TRUTH}]},
    }
    (tmp_path / "test_puzzles.json").write_text(json.dumps(tasks))
    return tmp_path


def config(folder: Path) -> PuzzlesConfig:
    yaml = OmegaConf.load(ROOT / "conf" / "data" / "puzzles.yaml")
    own = {"path": str(folder), "batch_size": 2}
    return OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(PuzzlesConfig), yaml, own))


@pytest.mark.parametrize("name", NAMES[1:4])
def test_an_augmented_grid_is_taken_back(name):
    task, symmetry, colours = parse_name(name)
    assert task == "one"
    made = crop(tokens(augmented(TRUTH, name)).astype(np.int64))
    assert restored(made, symmetry, colours) == tuple(map(tuple, TRUTH))


@pytest.mark.parametrize("symmetry", range(8))
def test_every_symmetry_has_its_inverse(symmetry):
    turned = np.rot90(np.array(QUESTION), k=symmetry) if symmetry < 4 else None
    if turned is None:
        q = np.array(QUESTION)
        turned = [q[:, ::-1], q[::-1], q.T, q[::-1, ::-1].T][symmetry - 4]
    assert restored(turned, symmetry, list(range(10))) == tuple(map(tuple, QUESTION))


@pytest.mark.parametrize(
    ("shown", "found"),
    [
        pytest.param([[1, 1], [1, 1]], (2, 2), id="whole"),
        pytest.param([[1, 1, 1], [1, 1, -2]], (2, 2), id="the larger of two rectangles"),
        pytest.param([[1, 1, 1, 1, 1], [1, -2, 1, 1, 1]], (1, 5), id="a wide row"),
        pytest.param([[-2]], (0, 0), id="nothing"),
    ],
)
def test_a_crop_is_the_largest_rectangle_of_colours(shown, found):
    assert crop(tokens(shown).astype(np.int64)).shape == found


@pytest.mark.parametrize(
    ("answers", "confidence", "expected"),
    [
        pytest.param([TRUTH, TRUTH, WRONG], [0.1, 0.1, 0.9], (1.0, 1.0), id="most votes win"),
        pytest.param([WRONG, TRUTH, WRONG], [0.1, 0.9, 0.1], (0.5, 1.0), id="second"),
        pytest.param([TRUTH, WRONG, [[1]]], [0.1, 0.9, 0.5], (0.5, 0.5), id="confidence decides"),
    ],
)
def test_augmented_examples_vote(folder, answers, confidence, expected):
    task = build_task(config(folder), seed=0)
    shown = [augmented(grid, name) for grid, name in zip(answers, NAMES[1:4], strict=True)]
    predictions = torch.from_numpy(np.stack([tokens(g) for g in [*shown, OTHER_TRUTH]])).long()
    found = Answers(task.eval.all(), predictions, torch.tensor([*confidence, 0.5]))
    assert task.votes(found) == {"pass_at_1": expected[0], "pass_at_2": expected[1]}
    attempts = task.submission(found)
    assert attempts["two"] == [{"attempt_1": OTHER_TRUTH, "attempt_2": OTHER_TRUTH}]
    assert (TRUTH in attempts["one"][0].values()) == (expected[1] == 1)


def test_a_training_on_such_a_folder_is_judged_by_its_votes(folder):
    task = build_task(config(folder), seed=0)
    torch.manual_seed(0)
    trainer = Trainer(
        build_model(trm_config(halt_max_steps=1), task),
        task,
        adamw_config(),
        trainer_config(epochs=1),
        batch_size=2,
        seed=0,
    )
    (measurement,) = trainer.epochs()
    assert {"eval/pass_at_1", "eval/pass_at_2"} <= measurement.values.keys()
    assert {"eval/pass_at_1", "eval/pass_at_2"} <= {*config(folder).metric_names()}


@pytest.mark.parametrize(
    ("file", "content", "words"),
    [
        pytest.param("identifiers.json", ["a"], "1 names, must be 5", id="too few names"),
        pytest.param(
            "identifiers.json", ["", "a|||t9|||0123456789"], "must be task, or task", id="no name"
        ),
        pytest.param("test_puzzles.json", {"one": {}}, "the task one must have test", id="no test"),
    ],
)
def test_a_folder_with_other_files_is_refused(folder, file, content, words):
    (folder / file).write_text(json.dumps(content))
    with pytest.raises(DataError, match=words):
        build_task(config(folder), seed=0)
