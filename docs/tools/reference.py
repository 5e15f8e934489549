"""References made from the code: the commands with their options, and the Python interface."""

from __future__ import annotations

from hrm_sweep.commands import COMMANDS
from hrm_sweep.commands.command import Command

COMMANDS_MARK = "<!-- reference of the commands -->"
PROGRAM = "python -m hrm_sweep"

PYTHON = {
    "From the outside": (
        "hrm_sweep.sweep",
        "hrm_sweep.load_study",
        "hrm_sweep.results.StudyResult",
        "hrm_sweep.results.TrialResult",
        "hrm_sweep.results.Plots",
        "hrm_sweep.load_run",
    ),
    "In a task": (
        "hrm_sweep.runs.handle.current",
        "hrm_sweep.log_metrics",
        "hrm_sweep.runs.handle.RunHandle",
    ),
    "In other frameworks": (
        "hrm_sweep.lightning.TrialLogger",
        "hrm_sweep.huggingface.TrialCallback",
    ),
}
"""Heading -> names that are documented below it."""


def commands() -> str:
    """Return each command as a section in Markdown: summary, usage, examples, details."""
    return "\n\n".join(_command(command) for command in COMMANDS.values())


def _command(command: Command) -> str:
    examples = [
        f"$ {PROGRAM} {command.name} {arguments}".rstrip() + f"  # {does}"
        for arguments, does in command.examples
    ]
    return "\n\n".join(
        [
            f"### {command.name}",
            command.summary,
            f"```text\n{command.usage().strip()}\n```",
            "\n".join(["```console", *examples, "```"]),
            command.details,
        ]
    ).rstrip()


def python() -> str:
    """Return the page of the Python interface, which mkdocstrings fills from the docstrings."""
    parts = ["# Python reference"]
    for heading, names in PYTHON.items():
        parts += [f"## {heading}", *(f"::: {name}" for name in names)]
    return "\n\n".join(parts)
