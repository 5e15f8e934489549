"""A command of hrm_sweep: its name, help, arguments and the function that runs it."""

from __future__ import annotations

import argparse
import shutil
import sys
import textwrap
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

from hrm_sweep.errors import InputError
from hrm_sweep.system import process, shell


def study_argument(parser: argparse.ArgumentParser) -> None:
    """Add an optional argument STUDY to a parser."""
    parser.add_argument(
        "study",
        metavar="NAME",
        nargs="?",
        help="name or folder of a study or a single run, or an MLflow run id; "
        "default: the newest of both",
    )


@dataclass(frozen=True)
class Command:
    """A command: the first word on the command line, as in `python -m hrm_sweep best`."""

    name: str
    summary: str
    examples: Sequence[tuple[str, str]]
    """Arguments after the command's name, and what they do."""
    run: Callable[[argparse.Namespace], list[str] | None]
    """Runs the command. If it returns arguments, Hydra runs with them as if the user had typed
    them."""
    arguments: Callable[[argparse.ArgumentParser], None] = study_argument
    """Adds the command's arguments to its parser."""
    details: str = ""
    """Further text for --help: paragraphs, which are wrapped."""

    def parse(self, arguments: Sequence[str]) -> argparse.Namespace:
        """Return the parsed arguments; --help prints the help and exits.

        Raises:
            InputError: an argument is unknown, missing or invalid.
        """
        return self._parser().parse_args(arguments)

    def options(self) -> dict[str, str]:
        """Return the long options of the command and what they do, for tab completion."""
        return self._parser().options

    def usage(self) -> str:
        """Return the usage and the arguments as text, without summary, examples and details."""
        parser = self._parser()
        parser.description = parser.epilog = None
        return parser.format_help()

    def _parser(self) -> _Parser:
        parser = _Parser(
            prog=process.hrm_sweep_command(self.name),
            description=self.summary,
            epilog=self._epilog(),
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )
        self.arguments(parser)
        return parser

    def _epilog(self) -> str:
        command = process.hrm_sweep_command(self.name)
        examples = [
            f"  # {does}\n  {command} {arguments}".rstrip() for arguments, does in self.examples
        ]
        width = shutil.get_terminal_size().columns - 2
        paragraphs = [textwrap.fill(text, width) for text in self.details.split("\n\n") if text]
        return "\n\n".join(["\n".join(["examples:", *examples]), *paragraphs])


class _Parser(argparse.ArgumentParser):
    """A parser that raises InputError where argparse prints the usage and exits."""

    def __init__(self, **settings: Any) -> None:
        self.options: dict[str, str] = {}
        super().__init__(**settings)

    def add_argument(self, *names: Any, **settings: Any) -> argparse.Action:
        about = str(settings.get("help", ""))
        self.options |= {name: about for name in names if name.startswith("--")}
        return super().add_argument(*names, **settings)

    def error(self, message: str) -> NoReturn:
        raise InputError(f"{shell.join(sys.argv[1:])}: {message}; see {self.prog} --help")
