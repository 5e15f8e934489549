"""The C++ compiler of this machine, and what it makes of our sources; all without PyTorch."""

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
    """Its command, that of the environment variable CXX or the platform's."""
    return os.environ.get("CXX", "clang++" if sys.platform == "darwin" else "g++")


def missing() -> str | None:
    """What this machine lacks; None: nothing."""
    return None if shutil.which(compiler()) else f"a C++ compiler ({compiler()})"


@functools.cache
def library(source: Path) -> ctypes.CDLL:
    """What the source is compiled to for this CPU, kept in the user's cache folder.

    The name of its file tells source, compiler, CPU and flags: a change of any compiles anew.
    Processes that come at once may each compile it, to the same.

    Raises:
        InputError: the compiler failed, or the library cannot be kept or loaded.
    """
    target = _output(*FLAGS, "-dM", "-E", "-x", "c++", os.devnull)  # compiler, version and CPU
    content = f"{FLAGS}\n{target}\n{source.read_text(encoding='utf-8')}"
    name = f"{source.stem}-{hashlib.sha256(content.encode()).hexdigest()[:12]}.so"
    path = platformdirs.user_cache_path("hrm_sweep") / name
    try:
        if not path.exists():
            log.info("compiling %s for this CPU, once: it takes some seconds", source.name)
            path.parent.mkdir(parents=True, exist_ok=True)
            with files.replacing(path) as temporary:
                _output(*FLAGS, str(source), "-o", str(temporary))
        return ctypes.CDLL(str(path))
    except OSError as error:
        raise InputError(
            f"{path}: cannot be kept or loaded ({error.strerror or error}); set XDG_CACHE_HOME to "
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
