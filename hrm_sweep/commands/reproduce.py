"""`reproduce`: run a recorded run again in a new folder and compare every value."""

from __future__ import annotations

import argparse
import math
from contextlib import suppress
from pathlib import Path

from hrm_sweep import formatting
from hrm_sweep.commands import rerun
from hrm_sweep.commands.app_command import AppCommand
from hrm_sweep.commands.command import Command
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
from hrm_sweep.system import environment


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "run",
        metavar="STUDY",
        nargs="?",
        help="a study (its best trial), STUDY/TRIAL, STUDY/TRIAL/REPEAT, a run folder, the name of "
        "a single run or an MLflow run id; default: the newest study",
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

    parser.add_argument(
        "--yes", action="store_true", help="run the recorded command of another app without asking"
    )


def _tolerance(text: str) -> float:
    with suppress(ValueError):
        if 0 <= (value := float(text)) < math.inf:
            return value
    raise argparse.ArgumentTypeError(f"{text}: must be a number of at least 0, such as 1e-3")


def _run(arguments: argparse.Namespace) -> None:
    named = _named(arguments)
    if named.where:
        raise StudyError(f"{_label(named)}: it ran {named.where}; reproduce it there")
    original = named.trained
    if original is not named:
        print(f"{_label(named)} reused the values of a run with the same recipe:")
    compare.check(original)
    print(f"{_label(original)}: {' '.join(map(formatting.format_override, original.recipe))}")
    if removed := describe_removed(original):
        print(f"  its models were {removed}; values and the digest of the weights are compared")
    runner = runner_of(original.app)
    for line in _compare_environments(original, runner):
        print(f"  {line}")
    if arguments.changes:
        _run_changed(original, arguments.changes, runner)
    else:
        _run_and_compare(original, arguments, runner)


def _run_changed(original: Run, changes: list[str], runner: Runner | None) -> None:
    if runner is None:
        command = original.app.from_here(original.command)
        raise StudyError(f"--with: {_label(original)} is of another app; run: {command}")
    changed = rerun.train_again(original, runner, changes=changes)
    print(f"\n  before and now, at the best epoch of each ({changed.folder}):")
    for name in sorted(original.values.keys() & changed.values.keys()):
        before, now = (run.app.metrics.metric(run.values, name) for run in (original, changed))
        print(f"    {name:<32} {before:>10} → {now}")


def _run_and_compare(original: Run, arguments: argparse.Namespace, runner: Runner | None) -> None:
    """Exit with 1 if the original is not reproduced, with 0 otherwise."""
    tolerance = arguments.tolerance
    if runner is None:
        command, folder = rerun.app_command(original)
        if not command.is_wanted(about=_label(original), is_confirmed=arguments.yes):
            return
        again = rerun.run_app_again(command, folder)
    elif not _are_flags_wanted(original, is_confirmed=arguments.yes):
        return
    else:
        again = rerun.train_again(original, runner, final_tags=_verdict_tag(original, tolerance))
    compared = compare.compare(original, again)
    print(f"\n{_verdict(compared, again, tolerance)}")
    for difference in compare.other_work(original, again):
        print(f"  differs: {difference}")
    if runner is not None and "weights" not in original.facts:
        print("  not compared: the final weights; the run did not end at the end of an epoch")
    raise SystemExit(1 if compared.verdict(tolerance) == "no" else 0)


def _are_flags_wanted(original: Run, *, is_confirmed: bool) -> bool:
    """Ask whether to use configs outside of the app, if its flags name some: they may name code."""
    command = AppCommand(original.app, original.recipe, is_sweep=False)
    return not original.app.flags or command.is_wanted(
        about=_label(original), is_confirmed=is_confirmed
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


def _label(run: Run) -> str:
    if run.number is None:
        return run.folder.name
    repeat = run.tags.get("hrm_sweep.repeat")
    trial = f"Trial {run.number} of {run.tags['hrm_sweep.study']}"
    return trial if repeat is None else f"{trial}, repeat {repeat}"


def _compare_environments(run: Run, runner: Runner | None) -> list[str]:
    """Return a line for each difference between the run's environment and this one."""
    then = run.environment
    if not then:
        return ["environment.json is missing: the environments cannot be compared"]
    source = environment.PACKAGE if runner else Path(then.get("source", environment.PACKAGE))
    found = list(compare.differences(then, environment.environment(source)))
    commit = "same commit" if then.get("git_commit") else "no commit known"
    return [f"differs: {text}" for text in found] or [f"same versions, same CPU, {commit}"]


def _verdict(compared: compare.Comparison, again: Run, tolerance: float) -> str:
    same = compared.num_values - len(compared.drifts)
    identical = f"{same} of {compared.num_values} values"
    took = formatting.format_duration(again.seconds)
    if compared.is_identical:
        weights = " and the final weights" if compared.weights_equal else ""
        return f"Reproduced: {identical}{weights} are identical, bit for bit ({took})."
    weights = "; the final weights differ" if compared.weights_equal is False else ""
    verdict = compared.verdict(tolerance)
    how = "Not reproduced" if verdict == "no" else f"Reproduced {verdict}"
    lines = [f"{how}: {identical} are identical{weights} ({took})."]
    if compared.drifts:
        lines += [
            f"  first difference  {_describe(compared.drifts[0])}",
            f"  largest           {_describe(compared.largest)}",
        ]
    return "\n".join(lines)


def _describe(drift: compare.Drift) -> str:
    now = "not measured" if drift.now is None else f"now {drift.now}"
    where = "final" if drift.step is None else f"step {drift.step},"
    return f"{where} {drift.name}: {drift.before}, {now}"


COMMAND = Command(
    name="reproduce",
    summary="Run a recorded recipe again in a new folder and compare every value.",
    examples=(
        ("", "the best trial of the newest study"),
        ("my-study --trial 3 --repeat 1", "one repeat of one trial"),
        ("multirun/train/2026-11-22-brisk-otter", "a run of which only the folder is left"),
        ("8f2c5e…", "an MLflow run id; a run folder that is gone is downloaded"),
        ("my-study --tolerance 1e-3", "on another machine, where values may differ by 0.1 %"),
        ("my-study --yes", "a trial of another app, whose recorded command is run without asking"),
        ("my-study --with epochs=200", "rerun the best recipe with more epochs"),
    ),
    arguments=_arguments,
    run=_run,
    details="Exit code 0: reproduced, or within the tolerance; 1: not reproduced; 2: the record "
    "was edited or is incomplete. A run that was pruned or killed is compared up to its end.",
)
