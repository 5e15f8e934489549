from __future__ import annotations

import hashlib
import random
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from small import small_task, trm_config

from hrm_sweep.errors import CheckpointError
from hrm_sweep.hrm.models.build import build_model
from hrm_sweep.hrm.training import checkpoint

CONTENT = {"model": {"weight": torch.arange(6.0).view(2, 3)}, "epoch": 3, "best": None}


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    checkpoint.save(tmp_path / "model.pth", CONTENT)
    return tmp_path / "model.pth"


def test_what_is_saved_comes_back(saved):
    content = checkpoint.load(saved)
    assert torch.equal(content["model"]["weight"], CONTENT["model"]["weight"])
    assert (content["epoch"], content["best"]) == (3, None)
    assert sorted(path.name for path in saved.parent.iterdir()) == ["model.pth", "model.pth.sha256"]


def test_the_digest_is_what_sha256sum_checks(saved):
    digest = hashlib.sha256(saved.read_bytes()).hexdigest()
    assert Path(f"{saved}.sha256").read_text() == f"{digest}  model.pth\n"
    assert checkpoint.save(saved, CONTENT) == hashlib.sha256(saved.read_bytes()).hexdigest()


def test_any_flipped_bit_is_noticed(saved):
    whole = saved.read_bytes()
    for place in range(0, len(whole), len(whole) // 25):
        damaged = bytearray(whole)
        damaged[place] ^= 1 << place % 8
        saved.write_bytes(damaged)
        with pytest.raises(CheckpointError, match=r"model\.pth: damaged, its SHA-256 is not"):
            checkpoint.load(saved)


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        pytest.param(lambda path: path.unlink(), "no checkpoint here", id="missing"),
        pytest.param(
            lambda path: Path(f"{path}.sha256").unlink(),
            r"its digest model\.pth\.sha256 is missing",
            id="digest missing",
        ),
        pytest.param(lambda path: path.write_bytes(b""), "damaged", id="emptied"),
    ],
)
def test_what_cannot_be_trusted_is_not_loaded(saved, spoil, words):
    spoil(saved)
    with pytest.raises(CheckpointError, match=words):
        checkpoint.load(saved)


@pytest.mark.parametrize(
    "write",
    [
        pytest.param(lambda path: torch.save(Path("code"), path), id="an object"),
        pytest.param(lambda path: path.write_text("weights"), id="a text"),
        pytest.param(lambda path: torch.save(torch.ones(2), path), id="a lone tensor"),
        pytest.param(lambda path: torch.save({"model": [1, 2]}, path), id="a list as the model"),
        pytest.param(lambda path: torch.save({1: torch.ones(2)}, path), id="numbers for names"),
    ],
)
def test_what_is_no_checkpoint_is_said_in_one_line(tmp_path, write):
    path = tmp_path / "weights"
    write(path)
    with pytest.raises(
        CheckpointError, match=r"weights: (not a checkpoint|holds a Tensor)"
    ) as error:
        checkpoint.load_weights(torch.nn.Linear(1, 1), path)
    assert "\n" not in str(error.value)


def test_foreign_weights_with_any_bit_flipped_are_named_or_whole(tmp_path):
    path = tmp_path / "weights"
    torch.save(torch.nn.Linear(4, 3).state_dict(), path)  # without a digest beside it
    whole, chance = path.read_bytes(), random.Random(0)
    for _ in range(400):
        damaged = bytearray(whole)
        damaged[chance.randrange(len(whole))] ^= 1 << chance.randrange(8)
        path.write_bytes(damaged)
        with suppress(CheckpointError):
            checkpoint.load_weights(torch.nn.Linear(4, 3), path)


def test_puzzle_embeddings_of_another_number_start_with_the_mean(tmp_path):
    config = trm_config()
    few, many = small_task(), small_task(patterns={"copy": 1.0, "mirror": 1.0, "transpose": 1.0})
    model = build_model(config, few)
    model.inner.puzzle_emb.weights.normal_()
    checkpoint.save(tmp_path / "weights", {"model": model.state_dict()})
    other = build_model(replace(config, init_from=str(tmp_path / "weights")), many)
    mean = model.inner.puzzle_emb.weights.mean(dim=0)
    assert many.num_identifiers > few.num_identifiers
    torch.testing.assert_close(
        other.inner.puzzle_emb.weights, mean.expand(many.num_identifiers, -1)
    )
    assert torch.equal(other.inner.lm_head.weight, model.inner.lm_head.weight)
