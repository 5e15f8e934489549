"""What torch.compile needs beside PyTorch; known without importing PyTorch."""

from __future__ import annotations

import os
import shutil
import sys
import sysconfig
from pathlib import Path


def missing() -> str | None:
    """What this machine lacks; None: nothing."""
    name = os.environ.get("CXX", "clang++" if sys.platform == "darwin" else "g++")
    if shutil.which(name) is None:
        return f"a C++ compiler ({name})"
    header = Path(sysconfig.get_path("include"), "Python.h")
    return None if header.is_file() else f"Python's headers ({header})"
