"""Our own commands: a bare first word, as in `python -m hrm_sweep resume my-study`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

from omegaconf import OmegaConf

from hrm_sweep.errors import StudyError
from hrm_sweep.study import words

MULTIRUN = Path("multirun")


def resume(study: str) -> list[str]:
    """The arguments for Hydra that let a study go on."""
    saved = OmegaConf.load(folder_of(study) / "multirun.yaml").hydra.overrides
    overrides = [text for text in saved.task if not text.startswith("study.name=")]
    hydra = [text for text in saved.hydra if not text.startswith("hydra.mode=")]
    return ["-m", *hydra, *overrides, f"study.name={study}"]


def sync(study: str) -> None:
    """Sends what a study has written down and MLflow does not have."""
    from hrm_sweep.projector import sync as send

    config = OmegaConf.load(folder_of(study) / "multirun.yaml")
    backlog = send(folder_of(study), config.tracking.uri, config.tracking.experiment)
    print(f"{study}: sent {words.count(backlog.sent, 'measurement')}; {backlog}")
    if backlog.runs:
        sys.exit(1)


def folder_of(study: str) -> Path:
    """The folder of a study.

    Raises:
        StudyError: there is none; the nearest names are given.
    """
    if (MULTIRUN / study / "multirun.yaml").exists():
        return MULTIRUN / study
    known = studies()
    hint = words.did_you_mean(study, known) or (
        f"there are {', '.join(known[:5])}" if known else "start one with -m"
    )
    raise StudyError(f"{study}: no study of that name in {MULTIRUN}/; {hint}")


def studies() -> list[str]:
    """Names of the studies below `multirun/`, the newest first."""
    found = sorted(MULTIRUN.glob("*/multirun.yaml"), key=lambda path: -path.stat().st_mtime)
    return [path.parent.name for path in found]


def parse(arguments: list[str]) -> argparse.Namespace:
    """The arguments of one of our commands; STUDY may be left out: the newest."""
    parser = argparse.ArgumentParser(prog="python -m hrm_sweep", allow_abbrev=False)
    commands = parser.add_subparsers(dest="command", required=True)
    for name, (summary, _) in COMMANDS.items():
        command = commands.add_parser(name, help=summary, description=summary)
        command.add_argument("study", metavar="STUDY", nargs="?", help="default: the newest")
    parsed = parser.parse_args(arguments)
    if parsed.study is None:
        if not studies():
            raise StudyError(f"there is no study in {MULTIRUN}/ yet; start one with -m")
        parsed.study = studies()[0]
    return parsed


COMMANDS: dict[str, tuple[str, Callable[[str], list[str] | None]]] = {
    "resume": ("Let a study go on: what waits or was interrupted runs now.", resume),
    "sync": ("Send to MLflow what is written down and not there yet.", sync),
}
