"""The machine a run is on: cores, versions, git commit, and the names of things born on it."""

from __future__ import annotations

import functools
import importlib.metadata
import os
import platform
import secrets
import subprocess
import sys
from datetime import datetime
from pathlib import Path
from typing import Any

PACKAGES = ("hrm-sweep", "torch", "numpy", "hydra-core", "omegaconf", "optuna", "mlflow")

_QUALITIES = (
    "able amber apt bold brave brisk calm clear crisp daring deft eager fair fine fleet fond "
    "frank free fresh gentle glad golden grand happy hardy honest keen kind light lively loyal "
    "lucid mellow merry mild neat noble patient plain prime proud quick quiet rapid ready sharp "
    "silent silver sleek smart solid spry steady still sunny swift tidy true vivid warm wise "
    "witty"
).split()
_ANIMALS = (
    "badger bear beaver bison bobcat crane crow deer dingo dove eagle egret elk falcon ferret "
    "finch fox gazelle gecko goose hare hawk hedgehog heron ibex ibis jackal jay kestrel koala "
    "lark lemur linnet lion lynx magpie marten mole moose newt ocelot orca osprey otter owl "
    "panda pelican pika plover puffin quail rabbit raven robin salmon seal sparrow stork swan "
    "swift tapir tern thrush tiger toad trout turtle viper vole walrus weasel whale wolf wombat "
    "wren yak zebra"
).split()


def new_name() -> str:
    """A date and two words, such as `2026-11-22-brisk-otter`.

    The words come from the system's randomness: studies that start in the same second, or in
    processes seeded alike, still get folders of their own.
    """
    return f"{datetime.now():%Y-%m-%d}-{secrets.choice(_QUALITIES)}-{secrets.choice(_ANIMALS)}"


def command() -> list[str]:
    """What a person typed to start this process, without its arguments."""
    spec = getattr(sys.modules["__main__"], "__spec__", None)
    if spec is not None:
        return ["python", "-m", spec.name.removesuffix(".__main__")]
    script = Path(sys.argv[0])
    return [script.name] if os.access(script, os.X_OK) else ["python", sys.argv[0]]


def usable_cores() -> int:
    """Cores this process may run on, which can be fewer than the machine has."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@functools.cache
def environment() -> dict[str, Any]:
    """What a number may depend on beside the recipe."""
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "cpu": _cpu(),
        "cores": usable_cores(),
        "packages": {name: _version(name) for name in PACKAGES if _version(name)},
        "git_commit": _git("rev-parse", "HEAD"),
        "git_dirty": bool(_git("status", "--porcelain", "--untracked-files=no")),
    }


def _cpu() -> str:
    if sys.platform == "linux":
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _git(*arguments: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", *arguments], capture_output=True, text=True, check=True, timeout=5
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()
