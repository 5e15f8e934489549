"""`show`: show one run in the terminal."""

from __future__ import annotations

import argparse
import time
from pathlib import Path

from hrm_sweep import formatting
from hrm_sweep.commands.as_json import describe, json_argument, print_json
from hrm_sweep.commands.command import Command
from hrm_sweep.commands.console import curve, facts
from hrm_sweep.commands.resolve import resolve_run
from hrm_sweep.runs import layout
from hrm_sweep.runs.curves import Remeasured
from hrm_sweep.runs.models import describe_removed
from hrm_sweep.runs.run import Run
from hrm_sweep.runs.run_names import label, reference
from hrm_sweep.system import process

LOG_LINES = 8
MOST_CURVES = 6
"""Shown of an app that does not say which come first."""


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "run",
        metavar="STUDY/TRIAL",
        nargs="?",
        help="also STUDY (its best trial), STUDY/TRIAL/REPEAT, a run folder, the name of a single "
        "run or an MLflow run id; default: the newest study (its best trial) or single run",
    )
    json_argument(parser)


def _run(arguments: argparse.Namespace) -> None:
    run = resolve_run(arguments.run)
    if arguments.json:
        print_json(describe(run) | {"curves": run.curves})
        return
    print(_head(run))
    print(f"  {formatting.format_recipe(run.recipe) or 'all defaults'}\n")
    if lines := _curves(run):
        print(facts(lines) + "\n")
    if values := [(name, run.app.metrics.metric(run.values, name)) for name in _final(run)]:
        print(facts(values) + "\n")
    if traceback := run.traceback:
        print("".join(f"    {line}\n" for line in traceback.splitlines()))
    elif tail := _log(run.folder):
        print(f"  last lines of {run.folder / 'run.log'}:")
        print("".join(f"    {line}\n" for line in tail))
    print(facts(_references(run)))


def _head(run: Run) -> str:
    ago = formatting.format_age(time.time() - run.first.time_ms / 1000)
    head = f"{label(run)} · started {ago} · {run.word}"
    if run.outcome is not None:
        head += f" after {formatting.format_duration(run.seconds)}"
    if run.attempts > 1:
        head += f" in {run.attempts} attempts" if run.outcome else f" · attempt {run.attempts}"
    if run.copy_of is not None:
        head += f" · a copy of {run.copy_of}, by reproduce"
    lines = [head, *filter(None, [run.reason]), *map(_again, run.remeasured)]
    return "\n  ".join(lines)


def _again(steps: Remeasured) -> str:
    which = f"{steps.first}-{steps.last}" if steps.first < steps.last else f"{steps.first}"
    return f"attempt {steps.attempt}; steps {which} were measured again (differ)"


def _curves(run: Run) -> list[tuple[str, str]]:
    """Return the curves to show; of a trial with repeats, those of its first repeat."""
    curves = (run.repeats[0] if run.repeats else run).curves
    steps = sorted(curves)
    names = list(dict.fromkeys(name for step in steps for name in curves[step]))
    shown = [name for name in run.app.curves if name in names] or names[:MOST_CURVES]
    found = []
    for name in shown:
        values = [curves[step][name] for step in steps if name in curves[step]]
        first, last = (run.app.metrics.value(name, values[end]) for end in (0, -1))
        found.append((name, f"{curve(values)}  {first} → {last}"))
    return found


def _final(run: Run) -> list[str]:
    return [name for name in run.values if not name.endswith("/std")]


def _log(folder: Path) -> list[str]:
    path = folder / layout.LOG
    if not path.is_file():
        return []
    return path.read_text(encoding="utf-8", errors="replace").splitlines()[-LOG_LINES:]


def _references(run: Run) -> list[tuple[str, str]]:
    pairs = [("folder", str(run.folder))]
    if run.job:
        pairs.append(("ran on", run.job))
    if run.can_go_on:
        pairs.append(("resume", process.hrm_sweep_command("resume", str(run.folder))))
    if run.command:
        pairs.append(("run again", run.how_to_repeat))
    if run.values:
        pairs.append(("reproduce", process.hrm_sweep_command("reproduce", reference(run))))
    if removed := describe_removed(run):
        pairs.append(("models", removed))
    if run.mlflow_run_id:
        pairs.append(("MLflow run", run.mlflow_run_id))
    pairs += run.annotations.facts()
    pictures = sorted(path.name for path in run.trained.folder.glob("*.png"))
    return [*pairs, ("pictures", ", ".join(pictures))] if pictures else pairs


COMMAND = Command(
    name="show",
    summary="Show one run: its outcome, curves, values, the end of its log, and its files.",
    examples=(
        ("", "the newest single run, or the best trial of the newest study, whichever is newer"),
        ("my-study/3", "trial 3"),
        ("my-study/3/0", "the first repeat of trial 3"),
        ("my-study/3 --json", "the same with its curves as JSON, for scripts"),
        ("2026-11-22-brisk-otter", "a single run, or the best trial of a study"),
    ),
    arguments=_arguments,
    run=_run,
)
