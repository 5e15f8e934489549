"""The command of another app, as a study recorded it: shown, asked for and run."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from hrm_sweep.commands.trust import confirmed
from hrm_sweep.runs.app import App
from hrm_sweep.system import process

QUESTION = "The folder says so, and may come from another user. Run it? [y/N] "


class AppCommand(NamedTuple):
    """An app and the overrides of a sweep, or of a single run."""

    app: App
    overrides: list[str]
    is_sweep: bool = True
    environment: Mapping[str, str] = {}
    """Variables that it has besides those of this process."""

    def __str__(self) -> str:
        return self.app.from_here(self.app.shell_command(*self._arguments))

    @property
    def _arguments(self) -> list[str]:
        return ["-m", *self.overrides] if self.is_sweep else self.overrides

    def is_wanted(self, *, about: str, is_confirmed: bool) -> bool:
        """Show the command and ask whether to run it, unless that is confirmed already.

        Raises:
            InputError: there is no terminal to ask at; `about` begins the message.
        """
        print(f"  runs {self}", flush=True)
        if is_confirmed or confirmed(QUESTION, about=about, wanted="y"):
            return True
        print("Nothing was run.")
        return False

    def run(self) -> int:
        """Run it in the app's working folder, if that is here, and return its exit code."""
        words = [*self.app.command, *self.app.flags, *self._arguments]
        started = [sys.executable if words[0] == "python" else words[0], *words[1:]]
        folder = self.app.folder if Path(self.app.folder).is_dir() else None
        typed_in = {process.TYPED_IN: str(process.typed_in())}
        known = {**os.environ, **typed_in, **self.environment}
        print(flush=True)
        return subprocess.run(started, cwd=folder or None, env=known, check=False).returncode
