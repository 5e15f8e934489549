"""The machine a run is on: cores, versions, git commit, and the names of things born on it."""

from __future__ import annotations

import contextlib
import ctypes
import functools
import hashlib
import importlib.metadata
import os
import platform
import re
import resource
import secrets
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

PACKAGE = Path(__file__).parents[1]
"""Where hrm_sweep lies, the app that ships with it included."""
PACKAGES = ("hrm-sweep", "torch", "numpy", "hydra-core", "omegaconf", "optuna", "mlflow")
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, M_MXFAST = -1, -3, 1
"""As in malloc.h: bytes at the top of the heap, or in a block, that go back when they are free, and
the largest block that is kept in a list apart, to be merged with its neighbours later."""
THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")

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


def new_name(*places: Path) -> str:
    """A date and two words, such as `2026-11-22-brisk-otter`, and a word more where a folder
    of that name is in one of the places already.

    The words come from the system's randomness: studies that start in the same second, or in
    processes seeded alike, seldom draw the same.
    """
    name = f"{datetime.now():%Y-%m-%d}-{secrets.choice(_QUALITIES)}-{secrets.choice(_ANIMALS)}"
    while any((place / name).exists() for place in places):
        name += f"-{secrets.choice(_ANIMALS)}"
    return name


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


def limit_threads(threads: int) -> None:
    """For libraries that are imported later, and for child processes."""
    os.environ.update(dict.fromkeys(THREAD_VARIABLES, str(threads)))


def keep_freed_memory() -> None:
    """Lets the C library hold on to memory that is freed, where it can be told to (glibc).

    Otherwise a large tensor's memory goes back to the system and comes again as zeroed pages: some
    900 page faults and 2 of 30 ms in a training step of hidden_dim=128, batch_size=8. And merging
    small blocks later costs more than at once: 2 of the 12 µs that a small matrix product takes.
    """
    with contextlib.suppress(AttributeError):
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(M_MMAP_THRESHOLD, 2**25)
        mallopt(M_TRIM_THRESHOLD, 2**30)
        mallopt(M_MXFAST, 0)


@contextmanager
def absent(*packages: str) -> Iterator[None]:
    """Whoever imports one of these in the block goes without, as if it were not installed.

    For packages that others can do without and take seconds to import; one that is imported
    already stays.
    """
    hidden = [name for name in packages if name not in sys.modules]
    sys.modules.update(dict.fromkeys(hidden))  # type: ignore[arg-type]
    try:
        yield
    finally:
        for name in hidden:
            del sys.modules[name]


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Ctrl-C waits for the end of the block, so that what is done in it is done whole."""
    came: list[int] = []
    if threading.current_thread() is not threading.main_thread():  # signals are not for others
        yield
        return
    kept = signal.signal(signal.SIGINT, lambda number, _: came.append(number))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, kept)
    if came:
        raise KeyboardInterrupt


def say_no_more() -> None:
    """What is printed from now on goes nowhere: who read a pipe has enough."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


@functools.cache
def environment(source: Path = PACKAGE) -> dict[str, Any]:
    """What a number may depend on beside the recipe.

    Args:
        source: folder of the code that computes it, whose commit is told; a folder that its
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


def tags(source: Path = PACKAGE) -> dict[str, str]:
    """The same as tags of a run in MLflow."""
    facts = environment(source)
    versions = {"python": facts["python"], **facts["packages"]}
    told = {
        "hrm_sweep.cpu": f"{facts['cpu']}, usable cores: {facts['cores']}, {facts['platform']}",
        "hrm_sweep.threads": str(facts["threads"]),
        "hrm_sweep.versions": ", ".join(f"{name} {version}" for name, version in versions.items()),
    }
    if facts["git_commit"]:
        told["mlflow.source.git.commit"] = facts["git_commit"]
        told["hrm_sweep.git_dirty"] = str(facts["git_dirty"]).lower()
    return told


class Usage:
    """What this process uses from now on.

    Args:
        outer: one that goes on meanwhile; the kernel counts one peak of the memory at a time.
    """

    def __init__(self, outer: Usage | None = None) -> None:
        self._cpu, self._peak = time.process_time(), 0
        if outer is not None:
            outer._peak = max(outer._peak, _memory_peak())
        with contextlib.suppress(OSError):
            Path("/proc/self/clear_refs").write_text("5")  # proc(5): the peak starts here

    def measured(self) -> dict[str, float]:
        """CPU seconds of all threads, and the peak of the memory in MB."""
        peak = max(self._peak, _memory_peak())
        cpu = time.process_time() - self._cpu
        return {"cpu_seconds": round(cpu, 3), "memory_peak_mb": round(peak / 1e6, 1)}


def _memory_peak() -> int:
    """In bytes; where it cannot be reset, since the start of the process."""
    status = Path("/proc/self/status")
    if status.exists():
        peak = re.search(r"^VmHWM:\s+(\d+) kB", status.read_text(), re.MULTILINE)
        if peak:
            return 1024 * int(peak[1])
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # macOS: bytes


def _cpu() -> str:
    if sys.platform == "linux":
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


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
