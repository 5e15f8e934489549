"""`resume`: a study goes on, or a single run."""

from __future__ import annotations

import argparse
import json
import shlex

from omegaconf.errors import OmegaConfBaseException

from hrm_sweep.commands.command import Command, study_argument
from hrm_sweep.engine.plugin_config import FOR_ONCE, TAKE_FROM
from hrm_sweep.errors import RecordError, StudyError
from hrm_sweep.runs.configs import read_config
from hrm_sweep.runs.run import Run
from hrm_sweep.runs.study import Study, find_single_run, find_study


def _arguments(parser: argparse.ArgumentParser) -> None:
    study_argument(parser)
    parser.add_argument(
        "--take-from",
        metavar="HOST",
        help="a machine that is gone for good: its running trials are taken over",
    )


def _run(arguments: argparse.Namespace) -> list[str]:
    """The arguments for Hydra that let the study or the run go on."""
    if arguments.study is not None and (run := find_single_run(arguments.study)) is not None:
        return _single(run, arguments)
    study = find_study(arguments.study)
    once = [f"{TAKE_FROM}{arguments.take_from}"] if arguments.take_from else []
    if "study" not in study.run.aside:
        raise StudyError(
            f"{study.name}: made by an app of its own; continue with: {study.command} "
            + shlex.join(
                [f"hydra.sweeper.study_name={study.name}", f"hydra.sweep.dir={study.folder}", *once]
            )
        )
    for_hydra, overrides = _saved(study)
    return ["-m", *for_hydra, *once, *overrides, f"study.name={study.name}"]


def _single(run: Run, arguments: argparse.Namespace) -> list[str]:
    if arguments.take_from:
        raise StudyError(f"--take-from: {run.folder.name} is a single run; leave it out")
    if "study" not in run.aside:
        raise StudyError(
            f"{run.folder.name}: made by an app of its own; continue with: {run.command} "
            + shlex.join([f"hydra.run.dir={run.folder}"])
        )
    typed = [text for text in run.overrides if not text.startswith("study.name=")]
    where = f"hydra.run.dir={json.dumps(str(run.folder))}"
    return [*typed, f"study.name={run.folder.name}", where]


def _saved(study: Study) -> tuple[list[str], list[str]]:
    """What was typed for Hydra and for the app when the study was started."""
    path = study.folder / "multirun.yaml"
    try:
        typed = read_config(path).hydra.overrides
        for_hydra = [text for text in typed.hydra if not text.startswith(FOR_ONCE)]
        return for_hydra, [text for text in typed.task if not text.startswith("study.name=")]
    except (RecordError, OmegaConfBaseException, AttributeError, TypeError):
        raise StudyError(
            f"{path}: does not tell what was typed; type it again with study.name={study.name}"
        ) from None


COMMAND = Command(
    name="resume",
    summary="Let a study go on (what waits or was interrupted runs now), or a single run.",
    examples=(
        ("", "the newest study"),
        ("my-study", "the study of that name, with what it was started with"),
        ("multirun/train/my-run", "a single run, from its checkpoint"),
        ("my-study --take-from node7", "with the trials that a machine had which is gone for good"),
    ),
    run=_run,
    arguments=_arguments,
    details="To extend it, type its command again with study.name=NAME and more values or trials.\n"
    "--take-from is for studies that several machines share. A trial goes on from its checkpoint\n"
    "if the study's folder here is the one it ran in, otherwise it begins again. Where there is\n"
    "no folder of the study, type its command with study.name=NAME hydra.sweeper.take_from=HOST.",
)
