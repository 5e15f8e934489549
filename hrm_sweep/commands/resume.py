"""`resume`: a study goes on."""

from __future__ import annotations

import argparse

from omegaconf import OmegaConf

from hrm_sweep.archive.studies import find_study
from hrm_sweep.commands.command import Command
from hrm_sweep.errors import StudyError


def _run(arguments: argparse.Namespace) -> list[str]:
    """The arguments for Hydra that let the study go on."""
    study = find_study(arguments.study)
    config = OmegaConf.load(study.folder / "multirun.yaml")
    if "study" not in config:
        raise StudyError(
            f"{study.name}: made by an app of its own; continue with: {study.command} "
            f"hydra.sweeper.study_name={study.name} hydra.sweep.dir={study.folder}"
        )
    saved = config.hydra.overrides
    overrides = [text for text in saved.task if not text.startswith("study.name=")]
    hydra = [text for text in saved.hydra if not text.startswith("hydra.mode=")]
    return ["-m", *hydra, *overrides, f"study.name={study.name}"]


COMMAND = Command(
    name="resume",
    summary="Let a study go on: what waits or was interrupted runs now.",
    examples=(
        ("", "the newest study"),
        ("my-study", "the study of that name, with what it was started with"),
    ),
    run=_run,
    details="To extend it, type its command again with study.name=NAME and more values or trials.",
)
