"""`resume`: continue a study or a single run."""

from __future__ import annotations

import argparse
import itertools
from typing import Any

from omegaconf.errors import OmegaConfBaseException

from hrm_sweep.commands.app_command import AppCommand
from hrm_sweep.commands.command import Command, study_argument
from hrm_sweep.commands.resolve import resolve_study, resolve_unfinished, resolve_whole
from hrm_sweep.commands.trust import check_overrides, code_in
from hrm_sweep.compat.hydra import text_override
from hrm_sweep.engine.plugin_config import (
    FOR_ONCE,
    SWEEP_DIR,
    once_overrides,
    resume_overrides,
    without_place,
)
from hrm_sweep.errors import RecordError, StudyError
from hrm_sweep.runs import layout
from hrm_sweep.runs.app import registered
from hrm_sweep.runs.configs import read_config
from hrm_sweep.runs.outcomes import Outcome
from hrm_sweep.runs.run import Run
from hrm_sweep.runs.study import Study
from hrm_sweep.runs.writers import check_not_elsewhere, take_over


def _arguments(parser: argparse.ArgumentParser) -> None:
    study_argument(parser)
    parser.add_argument(
        "--take-from",
        metavar="HOST",
        help="take over the running trials of a machine that is gone for good",
    )
    again = parser.add_mutually_exclusive_group()
    again.add_argument("--failed", action="store_true", help="run the failed trials again too")
    again.add_argument(
        "--trial",
        metavar="N",
        type=int,
        action="append",
        help="run this trial again, which has failed or was pruned; may be repeated",
    )
    parser.add_argument(
        "--yes",
        action="store_true",
        help="run a recorded command of another app, or one that names code, without asking",
    )


def _run(arguments: argparse.Namespace) -> list[str] | None:
    """Return the arguments with which Hydra resumes the study or the run.

    A study of another app is resumed here, by that app's own command; so is one that runs code
    which its record names.
    """
    run_again = "failed" if arguments.failed else _listed(arguments.trial)
    found = _named(arguments.study, is_run_again=bool(run_again))
    if isinstance(found, Run):
        if run_again:
            raise StudyError(f"{found.folder.name}: is a single run, it has no trials")
        return _single_run(found, arguments.take_from)
    once = {"take_from": arguments.take_from, "run_again": run_again}
    is_of_this_app = registered(found.app.name) is not None and not found.app.flags
    if not is_of_this_app or code_in(itertools.chain(*_saved(found)), found.app.name):
        _resume_by_its_app(found, is_confirmed=arguments.yes, **once)
        return None
    return _study(found, **once)


def _named(name: str | None, *, is_run_again: bool) -> Study | Run:
    """Return what the user named, or the newest with something left to run."""
    if name is not None:
        return resolve_whole(name)
    return resolve_study(None) if is_run_again else resolve_unfinished()


def _listed(numbers: list[int] | None) -> str:
    return f"[{','.join(map(str, numbers))}]" if numbers else ""


def _study(study: Study, **once: Any) -> list[str]:
    for_hydra, overrides = _saved(study)
    app = study.app.name
    check_overrides(study.name, [*for_hydra, *overrides], app=app, command=study.command)
    further = once_overrides(**once)
    if study.folder != layout.MULTIRUN / study.name:
        further.append(text_override(SWEEP_DIR, str(study.folder)))
    return ["-m", *for_hydra, *further, *overrides, text_override("study.name", study.name)]


def _single_run(run: Run, take_from: str | None) -> list[str]:
    if take_from and not take_over(run.folder, take_from):
        why = "is not left on another machine; leave it out"
        raise StudyError(f"--take-from={take_from}: the single run {run.folder.name} {why}")
    check_not_elsewhere(run.folder)
    where = text_override("hydra.run.dir", str(run.folder))
    if run.app.flags or registered(run.app.name) is None:
        if run.outcome is Outcome.COMPLETE:
            raise StudyError(f"{run.folder.name}: is complete, see {run.folder}")
        command = run.app.from_here(f"{run.command} {where}")
        raise StudyError(f"{run.folder.name}: resume it by its own command: {command}")
    name, app = run.folder.name, run.app.name
    check_overrides(name, run.overrides, app=app, command=run.command)
    overrides = [text for text in run.overrides if not _is_name(text)]
    return [*overrides, text_override("study.name", run.folder.name), where]


def _resume_by_its_app(study: Study, *, is_confirmed: bool, **once: Any) -> None:
    """Run the app that made the study, after a confirmation.

    Raises:
        SystemExit: with the app's exit code.
    """
    for_hydra, for_task = _saved(study)
    where = resume_overrides(study.name, study.folder.absolute(), **once)
    command = AppCommand(study.app, [*for_hydra, *where, *for_task])
    print(f"{study.name}: was made by {study.app.name}")
    if command.is_wanted(about=study.name, is_confirmed=is_confirmed):
        raise SystemExit(command.run())


def _saved(study: Study) -> tuple[list[str], list[str]]:
    """Return the overrides for Hydra and those for the app that the study was started with."""
    for_hydra, for_task = study.hydra_overrides, study.task_overrides
    if for_task is None:
        for_hydra, for_task = _saved_by_hydra(study)
    for_hydra = [text for text in for_hydra if not text.startswith(FOR_ONCE)]
    return without_place(for_hydra), [text for text in for_task if not _is_name(text)]


def _is_name(override: str) -> bool:
    return override.startswith("study.name=")


def _saved_by_hydra(study: Study) -> tuple[list[str], list[str]]:
    """Return the overrides from the config of the sweep: older records do not have them all."""
    path = study.folder / layout.SWEEP_CONFIG
    try:
        saved = read_config(path).hydra.overrides
        return list(saved.hydra), list(saved.task)
    except (RecordError, OmegaConfBaseException, AttributeError, TypeError):
        raise StudyError(
            f"{path}: does not have the study's overrides; repeat its command "
            f"with study.name={study.name}"
        ) from None


COMMAND = Command(
    name="resume",
    summary="Resume a study (run its waiting and interrupted trials) or a single run.",
    examples=(
        ("", "the newest study or single run that was stopped; else the newest of all"),
        ("my-study", "the study of that name, with the overrides it was started with"),
        ("multirun/train/my-run", "a single run, from its checkpoint"),
        (
            "my-study --take-from node7",
            "also the running trials of a machine that is gone for good",
        ),
        ("my-study --yes", "a study of another app, whose recorded command is run without asking"),
        ("my-study --failed", "also the trials that failed, from their checkpoints"),
        ("my-study --trial 3 --trial 5", "also trials 3 and 5, which failed or were pruned"),
    ),
    run=_run,
    arguments=_arguments,
    details="To extend a study, repeat its command with study.name=NAME and more values or "
    "trials. To start anew instead, take another study.name, or `delete NAME` first; with "
    "study.resume=never a command begins a new study only, with study.resume=must it resumes "
    "one only.\n\n"
    "--take-from is for studies that several machines share. A trial continues from its "
    "checkpoint if it ran in this study folder, and starts again otherwise. On a machine without "
    "the study's folder, repeat its command with study.name=NAME hydra.sweeper.take_from=HOST.",
)
