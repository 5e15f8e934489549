"""Checkpoint files: written atomically, verified by a SHA-256 beside them, never unpickled."""

from __future__ import annotations

import hashlib
import pickle
import struct
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn

from hrm_sweep.errors import CheckpointError
from hrm_sweep.system.files import replacing, sha256, write_text

_DAMAGED = (
    *(OSError, EOFError, RuntimeError, LookupError, ValueError, TypeError, AttributeError),
    *(AssertionError, ArithmeticError, struct.error),
)
"""Exceptions of torch.load for a damaged file; which one depends on the damaged byte."""
Fit: TypeAlias = Callable[[dict[str, Tensor]], dict[str, Tensor]]
_WRAPPERS = ("_orig_mod.", "model.")  # torch.compile and the loss head of the published code


def save(path: Path, content: Mapping[str, Any]) -> str:
    """Write tensors and plain values to `path`, and their SHA-256 to `<path>.sha256`; return it.

    If the process is killed at any moment, `load` reads the old checkpoint or the new one.
    """
    with replacing(path) as temporary:
        torch.save(dict(content), temporary)
        digest = sha256(temporary)
        _write_digests(path, [digest, *_digests(path)])  # both are right until the rename is done
    _write_digests(path, [digest])
    return digest


def load(path: Path) -> dict[str, Any]:
    """Return the content of a checkpoint that `save` wrote.

    Raises:
        CheckpointError: A file is missing, damaged, or not written by `save`.
    """
    if not path.is_file():
        raise CheckpointError(f"{path}: no checkpoint here")
    if not _digests(path):
        raise CheckpointError(f"{path}: its digest {_sidecar(path).name} is missing")
    _verify(path)
    return _read(path)


def load_weights(model: nn.Module, path: Path, *, fit: Fit | None = None) -> None:
    """Load the weights in `path` into `model`.

    The file is one of ours or of the published HRM and TRM code, which has no digest and may prefix
    the names of its tensors with `_orig_mod.` and `model.`. `fit` may change the tensors, by name,
    before they are compared with the model's.

    Raises:
        CheckpointError: The file is damaged, or tensors are missing, extra or of another shape.
    """
    if not path.is_file():
        raise CheckpointError(f"{path}: no checkpoint here")
    if _digests(path):
        _verify(path)
    content = _read(path)
    weights = content.get("model", content)
    if not isinstance(weights, dict) or not all(isinstance(name, str) for name in weights):
        raise CheckpointError(f"{path}: not a checkpoint of tensors by name")
    found = {_unwrapped(name): t for name, t in weights.items() if isinstance(t, Tensor)}
    if fit is not None:
        found = fit(found)
    _check_fit(model.state_dict(), found, path)
    model.load_state_dict(found)


def fingerprint(weights: Mapping[str, Tensor]) -> str:
    """Return the hexadecimal SHA-256 of named tensors, which does not depend on the file format."""
    digest = hashlib.sha256()
    for name in sorted(weights):
        tensor = weights[name].detach().cpu().contiguous()
        digest.update(f"{name} {tensor.dtype} {list(tensor.shape)}\n".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def _verify(path: Path) -> None:
    if sha256(path) not in _digests(path):
        raise CheckpointError(f"{path}: damaged, its SHA-256 is not that in {_sidecar(path).name}")


def _sidecar(path: Path) -> Path:
    return path.with_name(f"{path.name}.sha256")


def _digests(path: Path) -> list[str]:
    if not _sidecar(path).is_file():
        return []
    lines = _sidecar(path).read_text(encoding="utf-8", errors="replace").splitlines()
    return [line.partition(" ")[0] for line in lines]


def _write_digests(path: Path, digests: list[str]) -> None:
    write_text(_sidecar(path), "".join(f"{digest}  {path.name}\n" for digest in digests))


def _read(path: Path) -> dict[str, Any]:
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise CheckpointError(
            f"{path}: not a checkpoint of tensors and plain values, and nothing else is read: "
            "whatever it holds could run as a program"
        ) from error
    except _DAMAGED as error:
        reason = str(error).partition("\n")[0]
        raise CheckpointError(f"{path}: not a checkpoint that can be read ({reason})") from error
    if not isinstance(content, dict):
        raise CheckpointError(f"{path}: holds a {type(content).__name__}, not named tensors")
    return content


def _unwrapped(name: str) -> str:
    while name.startswith(_WRAPPERS):
        name = name.partition(".")[2]
    return name


def _check_fit(wanted: Mapping[str, Tensor], found: Mapping[str, Tensor], path: Path) -> None:
    problems = [
        f"{name} is {list(found[name].shape)} and must be {list(wanted[name].shape)}"
        for name in sorted(wanted.keys() & found.keys())
        if found[name].shape != wanted[name].shape
    ]
    for word, names in (
        ("missing", wanted.keys() - found.keys()),
        ("extra", found.keys() - wanted.keys()),
    ):
        if names:
            problems.append(f"{word}: {', '.join(sorted(names))}")
    if problems:
        raise CheckpointError(f"{path}: weights of another model: {'; '.join(problems)}")
