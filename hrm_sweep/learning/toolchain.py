"""PyTorch's compiler, and what it needs beside PyTorch; that is known without importing it."""

from __future__ import annotations

import functools
import os
import shutil
import sys
import sysconfig
from collections.abc import Callable
from pathlib import Path
from typing import Any


def missing() -> str | None:
    """What this machine lacks; None: nothing."""
    name = os.environ.get("CXX", "clang++" if sys.platform == "darwin" else "g++")
    if shutil.which(name) is None:
        return f"a C++ compiler ({name})"
    header = Path(sysconfig.get_path("include"), "Python.h")
    return None if header.is_file() else f"Python's headers ({header})"


@functools.cache
def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function, compiled when inputs of a new size come.

    Give a method as the function of its class: then a second model of equal sizes finds in this
    process what was compiled for the first. On disk it is shared by all processes.
    """
    import torch
    import torch._dynamo.config
    import torch._inductor.config

    torch._inductor.config.compile_threads = 1  # no processes of its own that outlive a kill
    torch._dynamo.config.recompile_limit = 10_000  # a study tries many sizes
    torch._dynamo.config.accumulated_recompile_limit = 10_000
    return torch.compile(function, dynamic=False, fullgraph=True)
