"""`reproduce`: run a recorded run again in a new folder and compare every value."""

from __future__ import annotations

import argparse
import math
from contextlib import nullcontext, suppress

from hrm_sweep import formatting
from hrm_sweep.commands import rerun
from hrm_sweep.commands.app_command import AppCommand
from hrm_sweep.commands.as_json import json_argument, print_json
from hrm_sweep.commands.command import Command
from hrm_sweep.commands.reproduction import (
    Reproduction,
    environment_differences,
    environment_lines,
)
from hrm_sweep.commands.resolve import (
    find,
    is_run_id,
    repeat_of,
    resolve_run,
    resolve_study,
    trial_of,
)
from hrm_sweep.errors import StudyError
from hrm_sweep.runs import compare, layout
from hrm_sweep.runs.app import FinalTags, Runner, runner_of
from hrm_sweep.runs.handle import RunHandle
from hrm_sweep.runs.models import describe_removed
from hrm_sweep.runs.run import Run
from hrm_sweep.runs.run_names import label
from hrm_sweep.system import output


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "run",
        metavar="STUDY",
        nargs="?",
        help="a study (its best trial), STUDY/TRIAL, STUDY/TRIAL/REPEAT, a run folder, the name of "
        "a single run or an MLflow run id; default: the newest study or single run",
    )
    parser.add_argument("--trial", type=int, metavar="N", help="trial N of the study")
    parser.add_argument(
        "--repeat", type=int, metavar="K", help="repeat K of the trial; default: the first"
    )
    parser.add_argument(
        "--tolerance",
        type=_tolerance,
        metavar="X",
        default=0.0,
        help="largest accepted difference: relative, or absolute for values below one; "
        "default: 0, every bit must be equal",
    )
    parser.add_argument(
        "--with",
        dest="changes",
        action="extend",
        nargs="+",
        default=[],
        metavar="KEY=VALUE",
        help="run the recipe with these overrides and print its values before and now",
    )
    json_argument(parser)
    parser.add_argument(
        "--yes", action="store_true", help="run the recorded command of another app without asking"
    )


def _tolerance(text: str) -> float:
    with suppress(ValueError):
        if 0 <= (value := float(text)) < math.inf:
            return value
    raise argparse.ArgumentTypeError(f"{text}: must be a number of at least 0, such as 1e-3")


def _run(arguments: argparse.Namespace) -> None:
    """Exit with 1 if the original is not reproduced, with 0 otherwise."""
    with output.to_standard_error() if arguments.json else nullcontext():
        original = _original(arguments)
        runner = runner_of(original.app)
        differing = environment_differences(original, runner)
        for line in environment_lines(original, differing):
            print(f"  {line}")
        if (again := _again(original, arguments, runner)) is None:
            return
        reproduction = Reproduction(original, again, arguments.tolerance)
        if arguments.changes:
            reproduction.print_changes()
        else:
            reproduction.print_verdict(is_of_this_app=runner is not None)
    if arguments.json:
        print_json(reproduction.as_json(arguments.changes) | {"environment": differing})
    if not arguments.changes and reproduction.verdict == "no":
        raise SystemExit(1)


def _original(arguments: argparse.Namespace) -> Run:
    """Return the run whose record is compared with; print which one that is.

    Raises:
        StudyError: its folder is not here.
        RecordError: its record was edited or is incomplete.
    """
    named = _named(arguments)
    if named.where:
        raise StudyError(f"{label(named)}: it ran {named.where}; reproduce it there")
    original = named.trained
    if original is not named:
        print(f"{label(named)} reused the values of a run with the same recipe:")
    compare.check(original)
    overrides = formatting.format_recipe(original.recipe)
    print(f"{label(original)}: {overrides or 'all defaults'}")
    if removed := describe_removed(original):
        print(f"  its models were {removed}; values and the digest of the weights are compared")
    return original


def _again(original: Run, arguments: argparse.Namespace, runner: Runner | None) -> Run | None:
    """Return the new run; None if the user does not want it."""
    if runner is None and arguments.changes:
        command = original.app.from_here(original.command)
        raise StudyError(f"--with: {label(original)} is of another app; run: {command}")
    if runner is None:
        its_own, folder = rerun.app_command(original)
        if not its_own.is_wanted(about=label(original), is_confirmed=arguments.yes):
            return None
        return rerun.run_app_again(its_own, folder)
    if not _are_flags_wanted(original, is_confirmed=arguments.yes):
        return None
    final_tags = None if arguments.changes else _verdict_tag(original, arguments.tolerance)
    return rerun.train_again(original, runner, changes=arguments.changes, final_tags=final_tags)


def _are_flags_wanted(original: Run, *, is_confirmed: bool) -> bool:
    """Ask whether to use configs outside of the app, if its flags name some: they may name code."""
    command = AppCommand(original.app, original.recipe, is_sweep=False)
    return not original.app.flags or command.is_wanted(
        about=label(original), is_confirmed=is_confirmed
    )


def _verdict_tag(original: Run, tolerance: float) -> FinalTags:
    """Return a function that tags the new run, also in MLflow, with the verdict."""

    def final_tags(again: RunHandle) -> dict[str, str]:
        curves = Run.open(again.folder).curves
        weights = again.tags.get("weights")
        compared = compare.compare_values(original, curves, weights=weights)
        return {"reproduced": compared.verdict(tolerance)}

    return final_tags


def _named(arguments: argparse.Namespace) -> Run:
    """Return the run that the arguments name; of a trial with repeats, one repeat."""
    text = arguments.run
    if arguments.trial is not None:
        run = trial_of(resolve_study(text), arguments.trial)
    elif is_run_id(text or "") and find(text) is None:
        run = _download(text)
    else:
        run = resolve_run(text)
    if arguments.repeat is not None:
        return repeat_of(run, arguments.repeat)
    return run.repeats[0] if run.repeats else run


def _download(run_id: str) -> Run:
    """Return a run whose folder is gone, downloaded from MLflow."""
    from hrm_sweep.tracking.download import fetch

    folder = fetch(None, run_id, layout.MULTIRUN / "fetched" / run_id)
    print(f"{run_id}: no folder of that run here; downloaded from MLflow to {folder}")
    return Run.open(folder)


COMMAND = Command(
    name="reproduce",
    summary="Run a recorded recipe again in a new folder and compare every value.",
    examples=(
        ("", "the newest single run, or the best trial of the newest study, whichever is newer"),
        ("my-study --trial 3 --repeat 1", "one repeat of one trial"),
        ("multirun/train/2026-11-22-brisk-otter", "a run of which only the folder is left"),
        ("8f2c5e…", "an MLflow run id; a run folder that is gone is downloaded"),
        ("my-study --tolerance 1e-3", "on another machine, where values may differ by 0.1 %"),
        ("my-study --yes", "a trial of another app, whose recorded command is run without asking"),
        ("my-study --with epochs=200", "rerun the best recipe with more epochs"),
        ("my-run --json", "the verdict as JSON on standard output; progress goes to the other one"),
    ),
    arguments=_arguments,
    run=_run,
    details="Exit code 0: reproduced, or within the tolerance; 1: not reproduced; 2: the record "
    "was edited or is incomplete. A run that was pruned or killed is compared up to its end.\n\n"
    "The copy has the tags hrm_sweep.reproduces and hrm_sweep.reproduces_folder, also in MLflow, "
    "where it links to its original. No command takes it where no name is given. "
    "`delete NAME --reproductions` removes it.",
)
