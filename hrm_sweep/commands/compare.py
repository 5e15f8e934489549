"""`compare`: compare the best trials of several studies."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path

from hrm_sweep import formatting
from hrm_sweep.commands.command import Command
from hrm_sweep.commands.console import plain_table
from hrm_sweep.commands.resolve import resolve_study
from hrm_sweep.errors import StudyError
from hrm_sweep.runs.ranking import Verdict, compared, complete, ranked
from hrm_sweep.runs.recipe import is_of_the_recipe
from hrm_sweep.runs.run import Run
from hrm_sweep.runs.study import Study
from hrm_sweep.system import files
from hrm_sweep.terminal.consoles import PrintableConsole

MOST_RECIPES = 10


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("studies", metavar="STUDY", nargs="+", help="two or more studies")
    parser.add_argument(
        "--picture",
        metavar="PATH",
        type=Path,
        default=Path("multirun/comparison.png"),
        help="PNG of the best trials' learning curves and of the best values so far; "
        "default: %(default)s",
    )


def _run(arguments: argparse.Namespace) -> None:
    found = {study.name: study for study in map(resolve_study, arguments.studies)}
    studies = list(found.values())
    if len(studies) < 2:
        raise StudyError(f"{studies[0].name}: name two or more studies to compare")
    if len({(study.objective_names[0], study.directions[0]) for study in studies}) > 1:
        aims = ", ".join(f"{s.name} {s.directions[0]} {s.objective_names[0]}" for s in studies)
        raise StudyError(f"studies with different objectives cannot be compared: {aims}")
    bests = {study.name: best for study in studies for best in ranked(study)[:1]}
    if not bests:
        raise StudyError("none of these studies has a complete trial")
    _print_bests(studies, bests)
    _print_config_differences(bests)
    _print_same_recipes(studies)
    _draw(studies, arguments.picture)


def _print_bests(studies: Sequence[Study], bests: Mapping[str, Run]) -> None:
    objective = studies[0].objective_names[0]
    table = plain_table("study", formatting.metric_label(objective), "trial", "trials", "time", "")
    for study in studies:
        best = bests.get(study.name)
        counted = ", ".join(f"{number} {word}" for word, number in study.counted().items())
        took = formatting.format_duration(sum(run.seconds for run in study.trials))
        value = study.app.metrics.metric(best.values, objective) if best else "-"
        point = formatting.format_point(study.params(best)) if best else ""
        table.add_row(study.name, value, str(best.number) if best else "-", counted, took, point)
    PrintableConsole().print(table)
    sign = -1 if studies[0].directions[0] == "maximize" else 1
    valid = [study for study in studies if _is_valid(study, bests.get(study.name))]
    order = sorted(valid, key=lambda study: sign * bests[study.name].values[objective])
    if len(order) > 1:
        first, second = (study.name for study in order[:2])
        way = studies[0].directions[0]
        verdict = compared(bests[first], bests[second], objective, way)
        print(f"\n  {first} is ahead of {second}: {second} is {_describe(verdict)}")


def _is_valid(study: Study, best: Run | None) -> bool:
    return best is not None and not study.objectives.broken(best.values)


def _describe(verdict: Verdict) -> str:
    return verdict.words if "worse" in verdict.words else f"perhaps as good: {verdict.words}"


def _print_config_differences(bests: Mapping[str, Run]) -> None:
    keys = dict.fromkeys(key for run in bests.values() for key in run.config)
    differing = [
        key
        for key in keys
        if all(is_of_the_recipe(key, run.app.ignored_keys) for run in bests.values())
        and len({str(run.config.get(key)) for run in bests.values()}) > 1
    ]
    if not differing:
        return
    print("\n  config keys in which the best trials differ:")
    table = plain_table("", *bests)
    for key in differing:
        table.add_row(
            key, *(formatting.format_param(run.config.get(key, "-")) for run in bests.values())
        )
    PrintableConsole().print(table)


def _print_same_recipes(studies: Sequence[Study]) -> None:
    """Print how many recipes several studies ran, and those whose results differ."""
    objective = studies[0].objective_names[0]
    found: dict[str, dict[str, Run]] = {}
    for study in studies:
        for run in complete(study):
            found.setdefault(run.tags["hrm_sweep.signature"], {})[study.name] = run
    shared = [runs for runs in found.values() if len(runs) > 1]
    if not shared:
        return
    unequal = [runs for runs in shared if len({run.values[objective] for run in runs.values()}) > 1]
    print(
        f"\n  {formatting.pluralize(len(shared), 'recipe')} in more than one study, "
        f"{len(shared) - len(unequal)} with equal {formatting.metric_label(objective)}"
    )
    for runs in unequal[:MOST_RECIPES]:
        values = ", ".join(
            f"{name}/{run.number} {run.app.metrics.metric(run.values, objective)}"
            for name, run in runs.items()
        )
        print(f"    {values}")


def _draw(studies: Sequence[Study], path: Path) -> None:
    from hrm_sweep.report.comparison import draw  # matplotlib: only where something is drawn

    files.check_writable(path.parent)
    path.parent.mkdir(parents=True, exist_ok=True)
    draw(studies, path)
    print(f"\n  picture  {path}")


COMMAND = Command(
    name="compare",
    summary="Compare the best trials of several studies.",
    examples=(
        ("my-study other-study", "best values, differing config keys, recipes that both ran"),
        ("a b c --picture bests.png", "three studies, with the picture in bests.png"),
    ),
    arguments=_arguments,
    run=_run,
)
