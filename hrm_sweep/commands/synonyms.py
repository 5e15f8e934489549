"""First words that people type and that name no command: what they mean."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Container, Sequence

import hrm_sweep
from hrm_sweep.errors import InputError

MEANT = {
    **dict.fromkeys(("train", "run", "start"), ""),
    **dict.fromkeys(("sweep", "search", "tune", "optimize"), "-m"),
    **dict.fromkeys(("ls", "status", "ps", "studies", "runs"), "list"),
    **dict.fromkeys(("info", "log", "logs", "view", "describe"), "show"),
    **dict.fromkeys(("rm", "remove"), "delete"),
    **dict.fromkeys(("plot", "plots"), "report"),
    **dict.fromkeys(("open", "mlflow"), "ui"),
    **dict.fromkeys(("new", "create"), "init"),
    **dict.fromkeys(("version", "-V"), "--version"),
    **dict.fromkeys(("continue", "restart"), "resume"),
    "diff": "compare",
    "optuna": "dashboard",
    "-h": "--help",
}
STOP = ("stop", "cancel", "kill", "pause", "abort")
PACKAGES = {"Hydra": "hydra-core", "Optuna": "optuna", "MLflow": "mlflow", "PyTorch": "torch"}


def understood(arguments: Sequence[str], commands: Container[str]) -> list[str]:
    """Return arguments with a first word that is one of ours: `rm x` is `delete x`.

    Raises:
        InputError: no command does what the word asks for; the message says what does.
    """
    first, rest = [*arguments[:1]], [*arguments[1:]]
    if first == ["help"]:
        return [rest[0], "--help"] if rest and rest[0] in commands else ["--help", *rest]
    word = "".join(first)
    if word in STOP:
        raise InputError(
            f"{word}: no command of that name; Ctrl-C where a study runs stops it, its trials "
            "are kept, and resume continues"
        )
    if word in commands or word not in MEANT:
        return [*arguments]
    return [*MEANT[word].split(), *rest]


def versions() -> str:
    """Return our version and those of the packages that results depend on, in one line."""
    parts = [f"hrm_sweep {hrm_sweep.__version__}"]
    for name, package in PACKAGES.items():
        try:
            parts.append(f"{name} {importlib.metadata.version(package)}")
        except importlib.metadata.PackageNotFoundError:
            parts.append(f"no {name}")
    return " · ".join(parts)
