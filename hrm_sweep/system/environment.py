"""The environment of a run: machine, versions, commit. A number may depend on each of them."""

from __future__ import annotations

import functools
import hashlib
import importlib.metadata
import os
import platform
import subprocess
import sys
from pathlib import Path
from typing import Any

from hrm_sweep.system.process import usable_cores

PACKAGE = Path(__file__).parents[1]
"""Folder of this package."""
PACKAGES = ("hrm-sweep", "torch", "numpy", "hydra-core", "omegaconf", "optuna", "mlflow")


@functools.cache
def environment(source: Path = PACKAGE) -> dict[str, Any]:
    """Return what a number may depend on beside the recipe.

    Args:
        source: folder of the code that computes it, whose commit is recorded; a folder that its
            repository does not keep, such as an environment inside a project, has none.
    """
    is_kept = _git(source, "ls-files", "--error-unmatch", ".") is not None
    commit = _git(source, "rev-parse", "HEAD") if is_kept else None
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "cpu": _cpu(),
        "cpu_features": _cpu_features(),
        "cores": usable_cores(),
        "threads": int(os.environ.get("OMP_NUM_THREADS") or usable_cores()),
        "packages": {name: _version(name) for name in PACKAGES if _version(name)},
        "source": str(source),
        "git_commit": commit,
        "git_dirty": bool(commit and _git(source, "status", "--porcelain", "--untracked-files=no")),
        "git_changes": _digest(_git(source, "diff", "HEAD")) if commit else None,
    }


def environment_tags(source: Path = PACKAGE) -> dict[str, str]:
    """Return the environment as tags of a run in MLflow."""
    facts = environment(source)
    versions = {"python": facts["python"], **facts["packages"]}
    tags = {
        "hrm_sweep.cpu": f"{facts['cpu']}, usable cores: {facts['cores']}, {facts['platform']}",
        "hrm_sweep.threads": str(facts["threads"]),
        "hrm_sweep.versions": ", ".join(f"{name} {version}" for name, version in versions.items()),
    }
    if facts["git_commit"]:
        tags["mlflow.source.git.commit"] = facts["git_commit"]
        tags["hrm_sweep.git_dirty"] = str(facts["git_dirty"]).lower()
    return tags


def cpu_vendor() -> str:
    """Return the name that the CPU gives as its maker's, such as AuthenticAMD; "" if unknown."""
    return _of_cpu("vendor_id")


def _cpu() -> str:
    return _of_cpu("model name") or platform.processor() or platform.machine()


def _of_cpu(field: str) -> str:
    if sys.platform == "linux":
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith(field):
                return line.partition(":")[2].strip()
    return ""


def _cpu_features() -> list[str]:
    """Those that decide which kernels compute; another set gives other roundings."""
    if sys.platform != "linux":
        return []
    known = "fma avx2 avx512f avx512bw avx512_vnni avx512_bf16 amx_bf16 neon asimd sve bf16".split()
    words = set(Path("/proc/cpuinfo").read_text(encoding="utf-8").split())
    return [name for name in known if name in words]


def _digest(text: str | None) -> str | None:
    """Tells whether two uncommitted changes are the same."""
    return hashlib.sha256(text.encode()).hexdigest()[:12] if text else None


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _git(folder: Path, *arguments: str) -> str | None:
    command = ["git", "-C", str(folder), *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=5)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()
