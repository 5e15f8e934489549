"""Tab completion of commands, options and studies; Hydra completes config keys."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator

from hrm_sweep.commands import COMMANDS
from hrm_sweep.commands.resolve import studies

QUERY = ("-sc", "--shell-completion", "--shell_completion")


def is_requested(arguments: list[str]) -> bool:
    """Return whether the shell requests completions, and not the script that sets them up."""
    return any(flag in arguments for flag in QUERY) and any(
        text.startswith("query=") for text in arguments
    )


def print_completions() -> bool:
    """Print completions of the line that the shell has put into COMP_LINE.

    Returns:
        Whether these are all; where overrides may stand too, Hydra has to add its own.
    """
    typed = os.environ.get("COMP_LINE", "").split(" ")[1:]
    if len(typed) < 2:
        _print(name for name in COMMANDS if name.startswith("".join(typed)))
        return False
    if typed[0] not in COMMANDS:
        return False
    _print(text for text in _arguments_of(typed[0]) if text.startswith(typed[-1]))
    return True


def _arguments_of(command: str) -> Iterator[str]:
    """Yield what may follow a command: studies and its options."""
    if command != "list":
        yield from (study.name for study in studies())
    yield from COMMANDS[command].options()


def _print(found: Iterable[str]) -> None:
    for text in found:
        sys.stdout.write(f"{text}\n")
    sys.stdout.flush()
