"""The C++ compiler of this machine and the libraries it makes; without PyTorch."""

from __future__ import annotations

import contextlib
import ctypes
import functools
import hashlib
import logging
import os
import shutil
import signal
import stat
import subprocess
import sys
from pathlib import Path

from hrm_sweep.errors import InputError
from hrm_sweep.system import files

KERNELS = Path(__file__).with_name("kernels") / "kernels.cpp"
FLAGS = [
    *("-std=c++17", "-O3", "-shared", "-fPIC", "-fno-math-errno"),
    "-mcpu=native" if os.uname().machine in ("arm64", "aarch64") else "-march=native",
    *([] if sys.platform == "darwin" else ["-fopenmp"]),  # Apple's clang has no OpenMP
]
COMPILE_SECONDS = 120.0
"""It takes three seconds; a compiler that hangs would keep a study waiting for ever."""
_OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH
_WAY_OUT = "set XDG_CACHE_HOME to another folder, or trainer.compile=off"

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

    Its name has a hash of the source and the headers beside it, of compiler, CPU and flags: a
    change of any compiles anew.

    Raises:
        InputError: The compiler failed.
    """
    target = _output(*FLAGS, "-dM", "-E", "-x", "c++", os.devnull)  # compiler, version and CPU
    sources = [source, *sorted(source.parent.glob("*.h"))]
    content = "\n".join(
        [f"{FLAGS}", target, *(file.read_text(encoding="utf-8") for file in sources)]
    )
    name = f"{source.stem}-{hashlib.sha256(content.encode()).hexdigest()[:12]}.so"
    import platformdirs  # with PyTorch it comes by the extra [hrm]; --help works without both

    return platformdirs.user_cache_path("hrm_sweep") / name


@functools.cache
def library(source: Path) -> ctypes.CDLL:
    """Load the library of a source, compiled for this CPU if it is not in the cache.

    A library that others could have written, or that is not as it was compiled, is compiled anew.
    Processes that start at once may each compile it, to the same result.

    Raises:
        InputError: The compiler failed, or the library cannot be kept or loaded.
    """
    kept = path(source)
    try:
        _make_private(kept.parent)
        if not _is_as_compiled(kept):
            _compile(source, kept)
        return ctypes.CDLL(str(kept))
    except OSError as error:
        raise InputError(
            f"{kept}: cannot be kept or loaded ({error.strerror or error}); {_WAY_OUT}"
        ) from None


def _make_private(folder: Path) -> None:
    """Create the folder of libraries, in which no other user may write.

    Raises:
        InputError: It is another user's.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    status = folder.stat()
    if status.st_uid != os.getuid():
        raise InputError(f"{folder}: belongs to another user, who may write to it; {_WAY_OUT}")
    if status.st_mode & _OTHERS_WRITE:
        folder.chmod(stat.S_IMODE(status.st_mode) & ~_OTHERS_WRITE)
        for library in folder.glob("*.so"):
            library.unlink()


def _is_as_compiled(kept: Path) -> bool:
    """Whether a library is there that only this user can have written, with its digest beside."""
    try:
        status = kept.lstat()
        digest = _digest_beside(kept).read_text(encoding="utf-8").strip()
    except FileNotFoundError:
        return False
    is_private = stat.S_ISREG(status.st_mode) and not status.st_mode & _OTHERS_WRITE
    return is_private and status.st_uid == os.getuid() and files.sha256(kept) == digest


def _compile(source: Path, kept: Path) -> None:
    log.info("compiling %s for this CPU, once: it takes some seconds", source.name)
    with files.replacing(kept) as temporary:
        _output(*FLAGS, str(source), "-o", str(temporary))
        temporary.chmod(0o700)
        digest = files.sha256(temporary)
    files.write_text(_digest_beside(kept), f"{digest}\n")


def _digest_beside(kept: Path) -> Path:
    return kept.with_name(f"{kept.name}.sha256")


def _output(*arguments: str) -> str:
    """Return what the compiler prints; it and what it starts are killed if it takes too long."""
    process = subprocess.Popen(
        [compiler(), *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        printed, errors = process.communicate(timeout=COMPILE_SECONDS)
    except BaseException as error:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        if not isinstance(error, subprocess.TimeoutExpired):
            raise
        raise _useless(f"no end after {COMPILE_SECONDS:.0f} s") from None
    if process.returncode:
        reasons = (line.strip() for line in errors.splitlines() if "error" in line)
        raise _useless(next(reasons, "no reason"))
    return printed


def _useless(reason: str) -> InputError:
    return InputError(
        f"{compiler()} cannot compile for this CPU ({reason}); set CXX to another "
        "C++17 compiler, or trainer.compile=off"
    )
