"""`best`: show the best trial of a study, and whether the next best is clearly worse; or a run."""

from __future__ import annotations

import argparse

from hrm_sweep import formatting
from hrm_sweep.commands.as_json import describe, json_argument, print_json
from hrm_sweep.commands.command import Command, study_argument
from hrm_sweep.commands.console import facts, plain_table
from hrm_sweep.commands.resolve import resolve_whole
from hrm_sweep.errors import StudyError
from hrm_sweep.runs.models import describe_removed
from hrm_sweep.runs.ranking import front, next_best, ranked
from hrm_sweep.runs.run import Run
from hrm_sweep.runs.run_names import label, reference
from hrm_sweep.runs.study import Study
from hrm_sweep.system import process
from hrm_sweep.terminal.consoles import PrintableConsole


def _arguments(parser: argparse.ArgumentParser) -> None:
    study_argument(parser)
    json_argument(parser)
    parser.add_argument(
        "--pareto",
        action="store_true",
        help="show the Pareto front: the trials that no other trial dominates",
    )


def _run(arguments: argparse.Namespace) -> None:
    found = resolve_whole(arguments.study)
    if isinstance(found, Run):
        _show_run(found, arguments)
    else:
        _show_study(found, arguments)


def _show_run(run: Run, arguments: argparse.Namespace) -> None:
    if arguments.pareto:
        raise StudyError(f"{reference(run)}: is a single run; --pareto is for studies")
    if not run.values:
        command = process.hrm_sweep_command("show", reference(run))
        raise StudyError(f"{reference(run)}: {run.word}, it has no values; see: {command}")
    if arguments.json:
        print_json(describe(run))
        return
    overrides = formatting.format_recipe(run.recipe)
    print(f"{label(run)}: {overrides or 'all defaults'}\n")
    names = [name for name in run.values if not name.endswith("/std")]
    values = [(name, run.app.metrics.metric(run.values, name)) for name in names]
    print(facts([*values, *_where(run, reference(run))]))


def _show_study(study: Study, arguments: argparse.Namespace) -> None:
    best = front(study) if arguments.pareto else ranked(study)
    if not best:
        counts = study.describe_counts()
        raise StudyError(f"{study.name}: no trial is complete yet ({counts}), so there is no best")
    if arguments.json:
        shown = best if arguments.pareto else best[:1]
        described = [describe(run, study) for run in shown]
        print_json(described if arguments.pareto else described[0])
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
    print(facts([*pairs, *_where(first, study.reference)]))


def _where(run: Run, named: str) -> list[tuple[str, str]]:
    """Return how to run it again, and where it is."""
    pairs = [
        ("run again", run.how_to_repeat),
        ("reproduce", process.hrm_sweep_command("reproduce", named)),
        ("folder", str(run.folder)),
    ]
    if removed := describe_removed(run):
        pairs.append(("models", removed))
    return [*pairs, ("MLflow run", run.mlflow_run_id)] if run.mlflow_run_id else pairs


def _print_front(study: Study, best: list[Run]) -> None:
    labels = [formatting.metric_label(name) for name in study.objective_names]
    table = plain_table("trial", *study.searched, *labels, right=[*study.searched, *labels])
    for run in best:
        values = [study.app.metrics.metric(run.values, name) for name in study.objective_names]
        point = study.params(run)
        params = [formatting.format_param(point.get(name, "-")) for name in study.searched]
        table.add_row(str(run.number), *params, *values)
    PrintableConsole().print(table)


COMMAND = Command(
    name="best",
    summary="Show the best trial of a study, and whether the next best is clearly worse.",
    examples=(
        ("", "the best trial of the newest study, or the newest single run"),
        ("my-study --json", "the same as JSON, for scripts"),
        ("my-study --pareto", "the Pareto front of a study with several objectives"),
        ("my-run", "a single run: its values, and how to run it again"),
    ),
    arguments=_arguments,
    run=_run,
    details="Of trials with equal objectives, the one with the lower tie breaker (eval/loss) is "
    "the best, then the one with the lower number. The next best is clearly worse if a one-sided "
    "test says so at 5 %: Welch's t-test over repeats, or, for single runs, the two-proportion "
    "z-test over the held-out examples (exact match only).",
)
