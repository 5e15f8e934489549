"""First words that people type and that name no command: what they mean."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Container, Sequence

import hrm_sweep

MEANT = {
    "ls": ["list"],
    "status": ["list"],
    "rm": ["delete"],
    "remove": ["delete"],
    "train": [],
    "run": [],
    "sweep": ["-m"],
    "version": ["--version"],
    "-V": ["--version"],
}
PACKAGES = {"Hydra": "hydra-core", "Optuna": "optuna", "MLflow": "mlflow", "PyTorch": "torch"}


def understood(arguments: Sequence[str], commands: Container[str]) -> list[str]:
    """Return arguments with a first word that is one of ours: `rm x` is `delete x`."""
    first, rest = [*arguments[:1]], [*arguments[1:]]
    if first == ["help"]:
        return [rest[0], "--help"] if rest and rest[0] in commands else ["--help", *rest]
    return [*MEANT.get("".join(first), first), *rest]


def versions() -> str:
    """Return our version and those of the packages that results depend on, in one line."""
    parts = [f"hrm_sweep {hrm_sweep.__version__}"]
    for name, package in PACKAGES.items():
        try:
            parts.append(f"{name} {importlib.metadata.version(package)}")
        except importlib.metadata.PackageNotFoundError:
            parts.append(f"no {name}")
    return " · ".join(parts)
