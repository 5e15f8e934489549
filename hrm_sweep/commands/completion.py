"""Tab completion of our own commands and studies; keys of the config are Hydra's."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator

from hrm_sweep.commands import COMMANDS
from hrm_sweep.commands.resolve import studies

QUERY = ("-sc", "--shell-completion", "--shell_completion")


def is_asked(arguments: list[str]) -> bool:
    """Whether the shell asks for completions of a line (and not for the script that asks)."""
    return any(flag in arguments for flag in QUERY) and any(
        text.startswith("query=") for text in arguments
    )


def answer() -> bool:
    """Prints completions of the line that the shell has put into COMP_LINE.

    Returns:
        Whether that was all: where a setting may stand too, Hydra's completions come behind.
    """
    typed = os.environ.get("COMP_LINE", "").split(" ")[1:]
    if len(typed) < 2:
        _print(name for name in COMMANDS if name.startswith("".join(typed)))
        return False
    if typed[0] not in COMMANDS:
        return False
    _print(text for text in _behind(typed[0]) if text.startswith(typed[-1]))
    return True


def _behind(command: str) -> Iterator[str]:
    """What may stand behind a command: studies and its options."""
    if command != "list":
        yield from (study.name for study in studies())
    yield from COMMANDS[command].options()


def _print(found: Iterable[str]) -> None:
    for text in found:
        sys.stdout.write(f"{text}\n")
    sys.stdout.flush()
