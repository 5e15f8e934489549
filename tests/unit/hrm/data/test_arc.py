"""Voting over augmented examples of ARC, on a tiny folder in the published format."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from arc_folder import (
    NAMES,
    OTHER_TRUTH,
    QUESTION,
    TRUTH,
    WRONG,
    augmented,
    taken_back,
    tokens,
    write_folder,
)
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


@pytest.fixture
def folder(tmp_path) -> Path:
    return write_folder(tmp_path)


def config(folder: Path | list[str]) -> PuzzlesConfig:
    yaml = OmegaConf.load(ROOT / "conf" / "data" / "puzzles.yaml")
    path = folder if isinstance(folder, list) else str(folder)
    own = {"path": path, "batch_size": 2}
    return OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(PuzzlesConfig), yaml, own))


@pytest.mark.parametrize("symmetry", range(8))
def test_an_augmented_grid_is_taken_back(symmetry):
    for colours in ("0123456789", "0918273645", "1234567890"):
        name = f"one|||t{symmetry}|||{colours}"
        made = augmented(QUESTION, name)
        assert taken_back(made, name) == QUESTION  # the truth agrees with itself
        task, number, mapping = parse_name(name)
        cropped = crop(tokens(made).astype(np.int64))
        assert (task, restored(cropped, number, mapping)) == ("one", tuple(map(tuple, QUESTION)))


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


def test_folders_of_one_task_vote_together_and_others_do_not_vote(tmp_path):
    first, plain = write_folder(tmp_path / "first"), write_folder(tmp_path / "plain")
    for name in ("identifiers.json", "test_puzzles.json"):
        (plain / name).unlink()
    task = build_task(config([str(plain), str(first)]), seed=0)
    assert task.num_identifiers == 10
    shown = torch.from_numpy(np.stack([tokens(WRONG)] * 4 + [tokens(OTHER_TRUTH)] * 4)).long()
    found = task.votes(Answers(task.eval.all(), shown, torch.full((8,), 0.5)))
    assert found == {"pass_at_1": 0.5, "pass_at_2": 0.5}
    assert {*task.submission(Answers(task.eval.all(), shown, torch.ones(8)))} == {"one", "two"}


def test_a_task_with_other_test_pairs_in_another_folder_is_refused(tmp_path):
    folders = [write_folder(tmp_path / name) for name in ("first", "second")]
    path = folders[1] / "test_puzzles.json"
    path.write_text(path.read_text().replace("[[8]]", "[[9]]"))
    with pytest.raises(DataError, match="two folders have a task two with different test pairs"):
        build_task(config([str(folder) for folder in folders]), seed=0)
