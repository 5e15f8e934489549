"""`best`: show the best trial of a study, and whether the next best is clearly worse."""

from __future__ import annotations

import argparse
import json
import shlex
from typing import Any

from hrm_sweep import formatting
from hrm_sweep.commands.command import Command, study_argument
from hrm_sweep.commands.console import facts, plain_table
from hrm_sweep.commands.resolve import resolve_study
from hrm_sweep.errors import StudyError
from hrm_sweep.runs.models import describe_removed
from hrm_sweep.runs.ranking import front, next_best, ranked
from hrm_sweep.runs.run import Run
from hrm_sweep.runs.study import Study
from hrm_sweep.system import process
from hrm_sweep.terminal.consoles import PrintableConsole


def _arguments(parser: argparse.ArgumentParser) -> None:
    study_argument(parser)
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument(
        "--pareto",
        action="store_true",
        help="show the Pareto front: the trials that no other trial dominates",
    )


def _run(arguments: argparse.Namespace) -> None:
    study = resolve_study(arguments.study)
    best = front(study) if arguments.pareto else ranked(study)
    if not best:
        counts = study.describe_counts()
        raise StudyError(f"{study.name}: no trial is complete yet ({counts}), so there is no best")
    if arguments.json:
        shown = best if arguments.pareto else best[:1]
        described = [_describe(study, run) for run in shown]
        print(json.dumps(described if arguments.pareto else described[0], indent=2))
    elif arguments.pareto:
        _print_front(study, best)
    else:
        _print_best(study, best)


def _print_best(study: Study, best: list[Run]) -> None:
    first = best[0]
    print(f"Trial {first.number} of {study.name}: {formatting.format_point(study.params(first))}\n")
    names = dict.fromkeys(
        [*study.objective_names, *formatting.matching_metrics(first.values, study.columns)]
    )
    pairs = [
        (formatting.metric_label(name), study.app.metrics.metric(first.values, name))
        for name in names
    ]
    if first.repeats:
        pairs.append(("repeats", f"{len(first.repeats)} seeds, mean ± standard deviation"))
    if broken := study.objectives.broken(first.values):
        pairs.append(("breaks", ", ".join(map(str, broken)) + ": no trial meets all constraints"))
    if study.objectives.is_multi_objective:
        number = formatting.pluralize(len(front(study)), "trial")
        command = process.hrm_sweep_command("best", study.reference, "--pareto")
        pairs.append(("front", f"{number}, this one first: {command}"))
    elif rival := next_best(study, best):
        pairs.append(("next best", rival))
    if first.where:
        pairs.append(("it ran", first.where))
        print(facts(pairs))
        return
    if elsewhere := study.describe_elsewhere():
        pairs.append(("counted too", elsewhere))
    pairs += [
        ("run again", first.app.from_here(first.command)),
        ("reproduce", process.hrm_sweep_command("reproduce", study.reference)),
        ("folder", str(first.folder)),
    ]
    if removed := describe_removed(first):
        pairs.append(("models", removed))
    if first.mlflow_run_id:
        pairs.append(("MLflow run", first.mlflow_run_id))
    print(facts(pairs))


def _print_front(study: Study, best: list[Run]) -> None:
    labels = [formatting.metric_label(name) for name in study.objective_names]
    table = plain_table("trial", *study.searched, *labels, right=[*study.searched, *labels])
    for run in best:
        values = [study.app.metrics.metric(run.values, name) for name in study.objective_names]
        point = study.params(run)
        params = [formatting.format_param(point.get(name, "-")) for name in study.searched]
        table.add_row(str(run.number), *params, *values)
    PrintableConsole().print(table)


def _describe(study: Study, run: Run) -> dict[str, Any]:
    return {
        "study": study.name,
        "trial": run.number,
        "objectives": study.objective_names,
        "values": run.values,
        "params": study.params(run),
        "overrides": run.overrides,
        "command": shlex.split(run.command),
        "repeats": len(run.repeats) or 1,
        "folder": str(run.folder),
        "mlflow_run_id": run.mlflow_run_id or None,
    }


COMMAND = Command(
    name="best",
    summary="Show the best trial of a study, and whether the next best is clearly worse.",
    examples=(
        ("", "the best trial of the newest study"),
        ("my-study --json", "the same as JSON, for scripts"),
        ("my-study --pareto", "the Pareto front of a study with several objectives"),
    ),
    arguments=_arguments,
    run=_run,
    details="Of trials with equal objectives, the one with the lower tie breaker (eval/loss) is "
    "the best, then the one with the lower number. The next best is clearly worse if a one-sided "
    "test says so at 5 %: Welch's t-test over repeats, or, for single runs, the two-proportion "
    "z-test over the held-out examples (exact match only).",
)
