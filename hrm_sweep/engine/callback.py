"""What a user lets run when a trial or a study ends: a function, or a command."""

from __future__ import annotations

import importlib.util
import inspect
import pkgutil
import re
import shutil
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from hrm_sweep.errors import StudyError
from hrm_sweep.system import companion, output, shell
from hrm_sweep.system.redact import redacted

SHELL = "/bin/sh"
MOST_SHOWN = 4000
"""Characters of a command's output that are shown, the last ones."""

_FUNCTION = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)+")


class Ending(Protocol):
    """Argument of a callback: a `TrialEnd` or a `StudyEnd`."""

    def environment(self) -> dict[str, str]:
        """Return it as the environment variables of a command."""
        ...


class Callback(Protocol):
    """A function or a command.

    A call may raise OSError or ValueError if it cannot be begun.
    """

    def __call__(self, ending: Ending) -> str:
        """Run it, and return in one line why it failed; nothing if it did not."""
        ...

    def cancel(self) -> None:
        """End what can be ended of a call that runs in another thread."""
        ...


@dataclass
class FunctionCallback:
    """A Python function, which is called in this process."""

    function: Callable[[Ending], Any]

    def __call__(self, ending: Ending) -> str:
        """Call the function; whatever it raises is returned as text."""
        try:
            self.function(ending)
        except BaseException as error:  # of the user: a SystemExit is none of ours
            frame = traceback.extract_tb(error.__traceback__)[-1]
            what = " ".join(f"{type(error).__name__}: {error}".split())
            return f"{what} ({Path(frame.filename).name}:{frame.lineno})"
        return ""

    def cancel(self) -> None:
        """Do nothing: a thread cannot be ended; it dies with this process."""


@dataclass
class CommandCallback:
    """A command, which runs in a process of its own and ends with this one."""

    words: list[str]
    _process: subprocess.Popen[bytes] | None = None

    def __call__(self, ending: Ending) -> str:
        """Run the command, show what it prints, and return how it failed."""
        with tempfile.TemporaryFile() as said:
            self._process = companion.start(self.words, said=said, **ending.environment())
            code = self._process.wait()
            companion.end(self._process)
            said.seek(0)
            printed = redacted(said.read().decode(errors="replace").strip())[-MOST_SHOWN:]
        if printed and not code:
            output.show(printed)
        last = printed.rpartition("\n")[2]
        return f"exit code {code}{last and f': {last}'}" if code else ""

    def cancel(self) -> None:
        """End the command."""
        if self._process is not None and self._process.poll() is None:
            companion.end(self._process)


def parse_callback(key: str, value: Any) -> Callback | None:
    """Return what a config names; None if it names nothing.

    Args:
        key: of the config, for messages.
        value: `module.function`, a line for the shell, or a list of words that are a command.

    Raises:
        StudyError: it cannot be imported or found, or takes no argument.
    """
    if value is None:
        return None
    if isinstance(value, str) and _FUNCTION.fullmatch(value):
        return FunctionCallback(_function(key, value))
    if isinstance(value, str) and value.strip():
        _check_line(key, value)
        return CommandCallback([SHELL, "-c", value])
    if not value or isinstance(value, str) or not isinstance(value, Sequence):
        rule = "must be module.function, a line for the shell, or a list of words"
        raise StudyError(f"{key}={value}: {rule}; such as {key}=[notify-send,done]")
    words = [str(word) for word in value]
    if shutil.which(words[0]) is None:
        raise _not_found(key, shell.join(words), words[0])
    return CommandCallback(words)


def _check_line(key: str, line: str) -> None:
    """Check that the shell can read a line, and knows its first word."""
    read = subprocess.run([SHELL, "-n", "-c", line], capture_output=True, text=True, check=False)
    if read.returncode:
        said = read.stderr.strip().rpartition("\n")[2]
        raise StudyError(f"{key}={line}: the shell cannot read it ({said})")
    first = next((word for word in line.split() if "=" not in word), "")
    if not re.fullmatch(r"[\w./+-]+", first):
        return  # quoted, or made by the shell
    known = [SHELL, "-c", 'command -v -- "$1"', SHELL, first]
    if subprocess.run(known, capture_output=True, check=False).returncode:
        raise _not_found(key, line, first)


def _not_found(key: str, command: str, program: str) -> StudyError:
    return StudyError(
        f"{key}={command}: there is no program {program}; name one on PATH, or its whole path"
    )


def _function(key: str, path: str) -> Callable[[Ending], Any]:
    module, _, name = path.rpartition(".")
    try:
        script = sys.modules["__main__"]
        function: Any = getattr(script, name) if _is_main(module) else pkgutil.resolve_name(path)
        if not callable(function):
            raise TypeError(f"{function!r} is none")
        inspect.signature(function).bind(None)
        checked: Callable[[Ending], Any] = function
    except Exception as error:
        what = " ".join(f"{type(error).__name__}: {error}".split())
        raise StudyError(
            f"{key}={path}: is no function that can be called with one argument ({what}); "
            f"a command is a list: {key}=[{path}]"
        ) from None
    return checked


def _is_main(module: str) -> bool:
    """Return whether a module is the script that runs, whose code would be executed again."""
    spec = importlib.util.find_spec(module)
    script = getattr(sys.modules["__main__"], "__file__", None)
    if spec is None or spec.origin is None or script is None:
        return False
    return Path(spec.origin).resolve() == Path(script).resolve()
