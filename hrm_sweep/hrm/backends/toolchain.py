"""The C++ compiler of this machine and the libraries it makes; without PyTorch."""

from __future__ import annotations

import ctypes
import functools
import hashlib
import logging
import os
import shutil
import subprocess
import sys
from pathlib import Path

import platformdirs

from hrm_sweep.errors import InputError
from hrm_sweep.system import files

BLOCK = Path(__file__).with_name("block.cpp")
FLAGS = [
    *("-std=c++17", "-O3", "-shared", "-fPIC", "-fno-math-errno"),
    "-mcpu=native" if os.uname().machine in ("arm64", "aarch64") else "-march=native",
    *([] if sys.platform == "darwin" else ["-fopenmp"]),  # Apple's clang has no OpenMP
]

log = logging.getLogger(__name__)


def compiler() -> str:
    """Return the compiler's command: the environment variable CXX, or the platform's usual one."""
    return os.environ.get("CXX", "clang++" if sys.platform == "darwin" else "g++")


def missing() -> str | None:
    """Return what this machine lacks for compiling; None: nothing."""
    return None if shutil.which(compiler()) else f"a C++ compiler ({compiler()})"


@functools.cache
def path(source: Path) -> Path:
    """Return where the library of a source is kept: the user's cache folder.

    Its name has a hash of source, compiler, CPU and flags: a change of any compiles anew.

    Raises:
        InputError: The compiler failed.
    """
    target = _output(*FLAGS, "-dM", "-E", "-x", "c++", os.devnull)  # compiler, version and CPU
    content = f"{FLAGS}\n{target}\n{source.read_text(encoding='utf-8')}"
    name = f"{source.stem}-{hashlib.sha256(content.encode()).hexdigest()[:12]}.so"
    return platformdirs.user_cache_path("hrm_sweep") / name


@functools.cache
def library(source: Path) -> ctypes.CDLL:
    """Load the library of a source, compiled for this CPU if it is not in the cache.

    Processes that start at once may each compile it, to the same result.

    Raises:
        InputError: The compiler failed, or the library cannot be kept or loaded.
    """
    kept = path(source)
    try:
        if not kept.exists():
            log.info("compiling %s for this CPU, once: it takes some seconds", source.name)
            kept.parent.mkdir(parents=True, exist_ok=True)
            with files.replacing(kept) as temporary:
                _output(*FLAGS, str(source), "-o", str(temporary))
        return ctypes.CDLL(str(kept))
    except OSError as error:
        raise InputError(
            f"{kept}: cannot be kept or loaded ({error.strerror or error}); set XDG_CACHE_HOME to "
            "another folder, or trainer.compile=off"
        ) from None


def _output(*arguments: str) -> str:
    done = subprocess.run([compiler(), *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        reason = next((line for line in done.stderr.splitlines() if "error" in line), "no reason")
        raise InputError(
            f"{compiler()} cannot compile for this CPU ({reason.strip()}); set CXX to another "
            "C++17 compiler, or trainer.compile=off"
        )
    return done.stdout
