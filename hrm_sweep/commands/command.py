"""What a command is: a name, what it does, examples, arguments, and the function that does it."""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NoReturn

from hrm_sweep.errors import InputError
from hrm_sweep.system import process


def study_argument(parser: argparse.ArgumentParser) -> None:
    """STUDY, which may be left out."""
    parser.add_argument(
        "study", metavar="STUDY", nargs="?", help="name or folder; default: the newest study"
    )


@dataclass(frozen=True)
class Command:
    """One command of ours."""

    name: str
    summary: str
    examples: Sequence[tuple[str, str]]
    """What is typed behind the command's name, and what that does."""
    run: Callable[[argparse.Namespace], list[str] | None]
    """Returns arguments for Hydra if the command goes on as if they were typed."""
    arguments: Callable[[argparse.ArgumentParser], None] = study_argument
    details: str = ""
    """Further words for --help."""

    def parse(self, arguments: Sequence[str]) -> argparse.Namespace:
        """Raises InputError for what it does not know; --help prints and leaves."""
        return self._parser().parse_args(arguments)

    def options(self) -> list[str]:
        """The flags it knows."""
        actions = self._parser()._actions
        return [text for action in actions for text in action.option_strings if len(text) > 2]

    def _parser(self) -> argparse.ArgumentParser:
        parser = _Parser(
            prog=f"{shlex.join(process.launch_command())} {self.name}",
            description=self.summary,
            epilog=self._epilog(),
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )
        self.arguments(parser)
        return parser

    def _epilog(self) -> str:
        lines = [f"{runtime_words()} {self.name} {typed}".rstrip() for typed, _ in self.examples]
        width = max(map(len, lines))
        told = [
            f"  {line:<{width}}   {does}"
            for line, (_, does) in zip(lines, self.examples, strict=True)
        ]
        return "\n".join(["examples:", *told, *([f"\n{self.details}"] if self.details else [])])


def runtime_words() -> str:
    """`python -m hrm_sweep` or `hrm-sweep`, as it was typed."""
    return shlex.join(process.launch_command())


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        typed = shlex.join(sys.argv[1:])
        raise InputError(f"{typed}: {message}; see {self.prog} --help")
