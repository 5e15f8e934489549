"""Tab completion of commands, options and studies, and words for config keys.

Hydra completes config keys, by their names and present values. Values of keys that have few are
added here, and what everything is, for fish: other shells have no place for words.
"""

from __future__ import annotations

import contextlib
import io
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping

from hrm_sweep.commands import COMMANDS
from hrm_sweep.commands.resolve import studies

QUERY = ("-sc", "--shell-completion", "--shell_completion")
WIDEST = 60
"""Characters of the words beside a completion."""


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
    typed = _typed()
    if len(typed) < 2:
        named = ((name, command.summary) for name, command in COMMANDS.items())
        _print(named, beginning="".join(typed))
        return False
    if typed[0] not in COMMANDS:
        return False
    _print(_arguments_of(typed[0]), beginning=typed[-1])
    return True


@contextlib.contextmanager
def explaining(words_of: Callable[[], Mapping[str, str]]) -> Iterator[None]:
    """Print what Hydra prints in the block with words, and with further values of a key.

    Args:
        words_of: returns overrides as far as they can be completed, `lr=` or `model=hrm`, and what
            they mean.
    """
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        yield
    last = "".join(_typed()[-1:])
    known = words_of() if _has_words() or "=" in last else {}
    found = [*printed.getvalue().split(), *(text for text in known if "=" in last and text != last)]
    _print(((text, known.get(text, "")) for text in dict.fromkeys(found)), beginning=last)


def _typed() -> list[str]:
    return os.environ.get("COMP_LINE", "").split(" ")[1:]


def _arguments_of(command: str) -> Iterator[tuple[str, str]]:
    """Yield what may follow a command, and what it is: studies and its options."""
    if command != "list":
        yield from ((study.name, "") for study in studies())
    yield from COMMANDS[command].options().items()


def _print(named: Iterable[tuple[str, str]], *, beginning: str) -> None:
    """Print what begins so; behind a tab, as fish reads them, the words."""
    for text, words in named:
        if text.startswith(beginning):
            about = f"\t{words[:WIDEST]}" if words and _has_words() else ""
            sys.stdout.write(f"{text}{about}\n")
    sys.stdout.flush()


def _has_words() -> bool:
    return "query=fish" in sys.argv
