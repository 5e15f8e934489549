"""`trainer.compile`: when blocks are compiled, the same bits everywhere, and errors."""

from __future__ import annotations

import hashlib
import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from paths import TESTS
from small import adamw_config, hrm_config, small_task, trainer_config
from studies import is_gone, until

from hrm_sweep.errors import InputError
from hrm_sweep.hrm.backends import kernel_library, toolchain
from hrm_sweep.hrm.backends.native import NativeBackend
from hrm_sweep.hrm.backends.select import why_eager
from hrm_sweep.hrm.models.build import build_model
from hrm_sweep.hrm.training.trainer import Trainer

AS_ROOT = pytest.param(
    "owner", marks=pytest.mark.skipif(os.getuid() != 0, reason="only root gives files away")
)
TOO_SHORT = "too short a training to earn compiling back"


def trained(model: Any, **trainer: Any) -> Trainer:
    """Return the trainer after its epochs."""
    trained = made(model, **trainer)
    assert list(trained.epochs())
    return trained


def made(model: Any, **trainer: Any) -> Trainer:
    torch.manual_seed(0)
    task = small_task()
    built, config = build_model(model, task), trainer_config(**trainer)
    return Trainer(built, task, adamw_config(), config, batch_size=4, seed=0)


def vector(trainer: Trainer) -> torch.Tensor:
    """All weights."""
    return torch.cat([weights.flatten() for weights in trainer.weights().values()])


def digest(trainer: Trainer) -> str:
    return hashlib.sha256(vector(trainer).numpy().tobytes()).hexdigest()


def test_a_compiled_training_learns_the_same():
    compiled, plain = (
        vector(trained(hrm_config(), epochs=1, compile=how)) for how in ("on", "off")
    )
    torch.testing.assert_close(compiled, plain, rtol=1e-3, atol=1e-4)
    assert not torch.equal(compiled, plain)  # else: not compiled


def test_a_library_compiled_in_another_cache_gives_the_same_bits_and_is_kept(tmp_path):
    here = digest(trained(hrm_config(), epochs=2, precision="bf16", compile="on"))
    program = (
        "from test_compiling import *\n"
        "print(digest(trained(hrm_config(), epochs=2, precision='bf16', compile='on')))"
    )
    folders = (str(TESTS), str(Path(__file__).parent), os.environ.get("PYTHONPATH", ""))
    path = os.pathsep.join(folders)
    environment = {**os.environ, "XDG_CACHE_HOME": str(tmp_path), "PYTHONPATH": path}
    command = [sys.executable, "-c", program]
    both = [
        subprocess.Popen(command, env=environment, text=True, stdout=subprocess.PIPE)
        for _ in range(2)
    ]
    assert [process.communicate()[0].split() for process in both] == [[here]] * 2
    (kept,) = (tmp_path / "hrm_sweep").glob("*.so")
    assert kept.stem == NativeBackend().name
    made_at = kept.stat().st_mtime_ns
    assert subprocess.check_output(command, env=environment, text=True).split() == [here]
    assert kept.stat().st_mtime_ns == made_at


def test_a_resumed_compiled_training_is_bit_identical():
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
        pytest.param({}, 20, TOO_SHORT, id="a short training"),
        pytest.param({"epochs": 100}, 200, None, id="a long one"),
        pytest.param({"epochs": 5}, 200, None, id="each puzzle for three segments"),
        pytest.param({"epochs": 5, "batches": "published"}, 200, TOO_SHORT, id="for one"),
        pytest.param({"epochs": 10_000, "compile": "off"}, 10_000, "as asked for", id="off"),
        pytest.param({"compile": "on"}, 20, None, id="on"),
    ],
)
def test_auto_compiles_all_but_short_trainings(changes, puzzles, expected):
    model = build_model(hrm_config(), small_task())
    config = trainer_config(**{"compile": "auto", **changes})
    assert why_eager(config, model, puzzles, 8) == expected


def test_auto_needs_a_compiler(monkeypatch):
    model = build_model(hrm_config(), small_task())
    monkeypatch.setenv("CXX", "no-such-compiler")
    reason = why_eager(trainer_config(epochs=10_000, compile="auto"), model, 10_000, 8)
    assert reason == "a C++ compiler (no-such-compiler) is not here"


@pytest.fixture(autouse=True)
def _own_library() -> Iterator[None]:
    """Loads the library anew after each test: some break it."""
    yield
    forget()


def forget() -> None:
    for cache in (toolchain.path, toolchain.library, kernel_library.load):
        cache.cache_clear()


@pytest.fixture
def broken_compiler(tmp_path, monkeypatch) -> Path:
    path = tmp_path / "broken-c++"
    path.write_text("#!/bin/sh\necho 'note: see' >&2; echo 'error: no such CPU' >&2; exit 1\n")
    path.chmod(0o755)
    monkeypatch.setenv("CXX", str(path))
    forget()
    return path


def test_the_log_names_what_computes(caplog):
    caplog.set_level("INFO")
    for how in ("on", "auto", "off"):
        made(hrm_config(), compile=how)
    assert [message for message in caplog.messages if message.startswith("trainer.")] == [
        "trainer.compile=on: kernels compiled for this CPU compute",
        f"trainer.compile=auto: PyTorch's own operators compute ({TOO_SHORT})",
        "trainer.compile=off: PyTorch's own operators compute (as asked for)",
    ]


def test_auto_falls_back_with_a_warning_when_the_compiler_fails(broken_compiler, caplog):
    trainer = made(hrm_config(), epochs=10_000, compile="auto")
    assert trainer.backend.name == "no"
    assert caplog.messages == [
        f"{broken_compiler} cannot compile for this CPU (error: no such CPU); set CXX to another "
        "C++17 compiler, or trainer.compile=off; PyTorch's own operators compute instead"
    ]
    with pytest.raises(InputError, match="no such CPU"):
        made(hrm_config(), compile="on")


def test_auto_falls_back_from_a_library_that_takes_other_sizes(monkeypatch, caplog):
    monkeypatch.setattr(kernel_library.Shape, "layout", lambda: "batch 0 4")
    forget()
    trainer = made(hrm_config(), epochs=10_000, compile="auto")
    assert trainer.backend.name == "no"
    (message,) = caplog.messages
    assert "takes sizes as [batch 0 8, tokens 8 8, " in message
    assert message.endswith("trainer.compile=off; PyTorch's own operators compute instead")
    with pytest.raises(InputError, match="delete it to have it compiled anew"):
        made(hrm_config(), compile="on")


@pytest.mark.parametrize(
    ("compiler", "expected"),
    [
        pytest.param(
            "no-such-compiler",
            "trainer.compile=on: needs a C++ compiler (no-such-compiler), not found; "
            "try trainer.compile=auto\n",
            id="not there",
        ),
        pytest.param(
            "false",
            "false cannot compile for this CPU (no reason); set CXX to another C++17 compiler, "
            "or trainer.compile=off\n",
            id="fails",
        ),
    ],
)
def test_on_names_what_the_machine_lacks(tmp_path, compiler, expected):
    done = subprocess.run(
        [sys.executable, "-m", "hrm_sweep", "trainer.compile=on"],
        env={**os.environ, "CXX": compiler},
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr) == (2, expected)
    assert not any(tmp_path.iterdir())


def test_a_cache_that_cannot_be_used_is_named(tmp_path, monkeypatch):
    way_out = "; set XDG_CACHE_HOME to another folder, or trainer.compile=off"
    name = toolchain.path(toolchain.KERNELS).name

    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    forget()
    with pytest.raises(InputError, match=r"cannot be kept or loaded \(Not a directory\)") as raised:
        toolchain.library.__wrapped__(toolchain.KERNELS)
    assert str(raised.value).startswith(f"{tmp_path}/file/hrm_sweep/{name}: ")
    assert str(raised.value).endswith(way_out)


@pytest.mark.skipif(os.getuid() != 0, reason="only root gives files away")
def test_a_cache_of_another_user_is_named(tmp_path, monkeypatch):
    (tmp_path / "hrm_sweep").mkdir()
    os.chown(tmp_path / "hrm_sweep", 12345, -1)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    forget()
    with pytest.raises(InputError, match=r"hrm_sweep: belongs to another user, who") as raised:
        toolchain.library.__wrapped__(toolchain.KERNELS)
    assert str(raised.value).endswith("to another folder, or trainer.compile=off")


@pytest.mark.parametrize("spoilt", ["damaged", "digest", "mode", "folder", "link", AS_ROOT])
def test_a_library_that_others_could_have_written_is_compiled_anew(tmp_path, monkeypatch, spoilt):
    """Each is put right, and what is loaded is what was compiled."""
    source, evil = tmp_path / "answer.cpp", tmp_path / "evil.cpp"
    source.write_text('extern "C" int answer() { return 42; }\n')
    evil.write_text('extern "C" int answer() { return 13; }\n')
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    folder, kept = tmp_path / "cache" / "hrm_sweep", toolchain.path.__wrapped__(source)
    toolchain._make_private(folder)
    toolchain._compile(evil, kept)
    match spoilt:
        case "damaged":
            kept.write_text("no library")
        case "digest":
            kept.with_name(f"{kept.name}.sha256").unlink()
        case "mode":
            kept.chmod(0o777)
        case "folder":
            folder.chmod(0o777)
        case "link":
            kept.symlink_to(kept.rename(tmp_path / "evil.so"))
        case "owner":
            os.chown(kept, 12345, -1)
    assert toolchain.library.__wrapped__(source).answer() == 42
    now = kept.lstat()
    assert (now.st_uid, stat.S_IMODE(now.st_mode)) == (os.getuid(), 0o700)
    assert stat.S_IMODE(folder.stat().st_mode) & 0o022 == 0


def test_a_compiler_that_hangs_is_ended_with_what_it_started(tmp_path, monkeypatch):
    compiler = tmp_path / "slow-c++"
    compiler.write_text(f"#!/bin/sh\nsleep 600 & echo $! > {tmp_path}/pid; wait\n")
    compiler.chmod(0o755)
    monkeypatch.setenv("CXX", str(compiler))
    monkeypatch.setattr(toolchain, "COMPILE_SECONDS", 3.0)
    with pytest.raises(
        InputError, match=r"slow-c\+\+ cannot compile .* \(no end after 3 s\); set CXX"
    ):
        toolchain.path.__wrapped__(toolchain.KERNELS)
    until((tmp_path / "pid").exists)
    until(lambda: is_gone(int((tmp_path / "pid").read_text())))


def test_in_bf16_an_mlp_of_odd_width_is_not_compiled():
    model = hrm_config(mlp_multiple_of=1)  # two thirds of 2 · 16 are 21
    assert made(model, precision="fp32", compile="on").backend.name != "no"
    odd = made(model, epochs=10_000, precision="bf16", compile="auto")
    assert odd.backend.name == "no"
    with pytest.raises(InputError, match=r"trainer\.compile=on: in bf16 it takes an even hidden"):
        made(model, precision="bf16", compile="on")


@pytest.mark.parametrize(("written", "meant"), [(True, "on"), (False, "off"), ("auto", "auto")])
def test_on_and_off_that_yaml_reads_as_booleans_are_understood(written, meant):
    assert trainer_config(compile=str(written)).compile == meant
