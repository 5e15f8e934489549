"""What a command asks before it runs what a folder says: the folder may come from another user."""

from __future__ import annotations

import sys
from collections.abc import Iterable

from hrm_sweep.engine.plugin_config import names_code
from hrm_sweep.errors import InputError, StudyError
from hrm_sweep.runs.app import registered


def confirmed(question: str, *, about: str, wanted: str) -> bool:
    """Ask the user at the terminal and return whether the answer is the wanted one.

    Raises:
        InputError: there is no terminal; `about` begins the message.
    """
    if not sys.stdin.isatty():
        raise InputError(f"{about}: there is no terminal to confirm at; add --yes")
    return input(question).strip() == wanted


def code_in(overrides: Iterable[str], app: str) -> str:
    """Return the first recorded override that can run any program; "": none does.

    Args:
        app: name of the app; it is asked itself, and not the record, which keys name code.
    """
    known = registered(app)
    own = known.code_keys if known else ()
    return next((each for each in overrides if each.startswith("-") or names_code(each, own)), "")


def check_overrides(name: str, overrides: Iterable[str], *, app: str, command: str) -> None:
    """Check that recorded overrides of this app start nothing but this app.

    Args:
        name: of the study or run, for the message.
        app: name of the app.
        command: what the user can run himself.

    Raises:
        StudyError: one is a flag, or names code that is run.
    """
    if override := code_in(overrides, app):
        raise StudyError(
            f"{name}: its record has {override}, which can run any program; "
            f"if you trust it, run: {command}"
        )
