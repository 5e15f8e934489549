"""`trainer.compile`: the same mathematics, the same bits everywhere, and only where it pays."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from small import adamw_config, hrm_config, small_task, trainer_config
from torch._dynamo.utils import counters

from hrm_sweep.learning import toolchain
from hrm_sweep.learning.compiling import is_compiled
from hrm_sweep.learning.model import build_model
from hrm_sweep.learning.trainer import Trainer


def trained(model: Any, **trainer: Any) -> Trainer:
    """After its epochs."""
    trained = made(model, **trainer)
    assert list(trained.epochs())
    return trained


def made(model: Any, **trainer: Any) -> Trainer:
    torch.manual_seed(0)
    task = small_task()
    built, config = build_model(model, task), trainer_config(**trainer)
    return Trainer(built, task, adamw_config(), config, batch_size=4, seed=0)


def digest(trainer: Trainer) -> str:
    return hashlib.sha256(trainer._weights.vector.detach().numpy().tobytes()).hexdigest()


@pytest.mark.slow
def test_a_compiled_training_learns_the_same():
    compiled, plain = (trained(hrm_config(), epochs=1, compile=how) for how in ("on", "off"))
    torch.testing.assert_close(
        compiled._weights.vector, plain._weights.vector, rtol=1e-3, atol=1e-4
    )
    assert not torch.equal(compiled._weights.vector, plain._weights.vector)  # else: not compiled


@pytest.mark.slow
def test_another_training_of_equal_sizes_compiles_nothing():
    first = trained(hrm_config(), epochs=1, compile="on")
    before = counters["stats"]["unique_graphs"]
    assert before > 0
    again = trained(hrm_config(), epochs=1, compile="on")
    assert counters["stats"]["unique_graphs"] == before
    assert digest(again) == digest(first)
    trained(hrm_config(hidden_dim=32), epochs=1, compile="on")
    assert counters["stats"]["unique_graphs"] > before


@pytest.mark.slow
def test_compiled_anew_elsewhere_it_gives_the_same_bits(tmp_path):
    here = digest(trained(hrm_config(), epochs=2, precision="bf16", compile="on"))
    program = (
        "from test_compiling import *\n"
        "print(digest(trained(hrm_config(), epochs=2, precision='bf16', compile='on')))"
    )
    path = os.pathsep.join((str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")))
    environment = {**os.environ, "TORCHINDUCTOR_CACHE_DIR": str(tmp_path), "PYTHONPATH": path}
    there = subprocess.check_output([sys.executable, "-c", program], env=environment, text=True)
    assert any(tmp_path.rglob("*.so"))
    assert there.split() == [here]


@pytest.mark.slow
def test_a_compiled_training_goes_on_bit_for_bit():
    whole = trained(hrm_config(), epochs=3, compile="on")
    part = made(hrm_config(), epochs=3, compile="on")
    next(part.epochs())
    other = made(hrm_config(), epochs=3, compile="on")
    other.load_state(part.state())
    assert [measurement.step for measurement in other.epochs()] == [2, 3]
    assert digest(other) == digest(whole)


@pytest.mark.parametrize(
    ("changes", "puzzles", "expected"),
    [
        pytest.param({}, 200, False, id="a short training"),
        pytest.param({"epochs": 10_000}, 10_000, True, id="a long one"),
        pytest.param({"epochs": 10_000, "compile": "off"}, 10_000, False, id="off"),
        pytest.param({"compile": "on"}, 200, True, id="on"),
    ],
)
def test_auto_compiles_where_the_training_is_long(changes, puzzles, expected):
    model = build_model(hrm_config(), small_task())
    assert (
        is_compiled(trainer_config(**{"compile": "auto", **changes}), model, puzzles, 8) is expected
    )


def test_auto_does_without_where_there_is_no_compiler(monkeypatch):
    model = build_model(hrm_config(), small_task())
    monkeypatch.setenv("CXX", "no-such-compiler")
    assert toolchain.missing() == "a C++ compiler (no-such-compiler)"
    config = trainer_config(epochs=10_000, compile="auto")
    assert not is_compiled(config, model, 10_000, 8)


def test_on_says_what_the_machine_lacks(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "hrm_sweep", "trainer.compile=on"],
        env={**os.environ, "CXX": "no-such-compiler"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2
    assert done.stderr == (
        "trainer.compile=on: needs a C++ compiler (no-such-compiler), not found; "
        "try trainer.compile=auto\n"
    )
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize(("written", "meant"), [(True, "on"), (False, "off"), ("auto", "auto")])
def test_yaml_may_take_on_and_off_for_true_and_false(written, meant):
    assert trainer_config(compile=str(written)).compile == meant
