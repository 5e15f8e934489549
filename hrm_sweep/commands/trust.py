"""What a command asks before it runs what a folder says: the folder may come from another user."""

from __future__ import annotations

import sys
from collections.abc import Iterable

from hrm_sweep.engine.plugin_config import names_code
from hrm_sweep.errors import InputError, StudyError


def confirmed(question: str, *, about: str, wanted: str) -> bool:
    """Ask the user at the terminal and return whether the answer is the wanted one.

    Raises:
        InputError: there is no terminal; `about` begins the message.
    """
    if not sys.stdin.isatty():
        raise InputError(f"{about}: there is no terminal to confirm at; add --yes")
    return input(question).strip() == wanted


def check_overrides(name: str, overrides: Iterable[str], *, command: str) -> None:
    """Check that recorded overrides of this app start nothing but this app.

    Args:
        name: of the study or run, for the message.
        command: what the user can run himself.

    Raises:
        StudyError: one is a flag, or names code that is run.
    """
    for override in overrides:
        if override.startswith("-") or names_code(override):
            raise StudyError(
                f"{name}: its record has {override}, which can run any program; "
                f"if you trust it, run: {command}"
            )
