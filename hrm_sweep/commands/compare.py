"""`compare`: lay studies, trials and single runs beside each other."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hrm_sweep import formatting
from hrm_sweep.commands.as_json import json_argument, print_json
from hrm_sweep.commands.command import Command
from hrm_sweep.commands.comparison import Comparison, Side
from hrm_sweep.commands.console import plain_table, print_beside
from hrm_sweep.commands.resolve import resolve
from hrm_sweep.errors import InputError, StudyError
from hrm_sweep.runs.environments import flat_environment
from hrm_sweep.runs.ranking import complete
from hrm_sweep.runs.run import Run
from hrm_sweep.runs.study import Study
from hrm_sweep.system import files
from hrm_sweep.terminal.consoles import PrintableConsole
from hrm_sweep.terminal.tables import cut_end, cut_middle, folded

MOST_RECIPES = 10
PICTURE = Path("multirun/comparison.png")
LONGEST_POINT = 120
"""Columns of the terminal."""


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "names",
        metavar="NAME",
        nargs="+",
        help="two or more of: a study (its best trial), STUDY/TRIAL, STUDY/TRIAL/REPEAT, a single "
        "run, a folder or an MLflow run id",
    )
    parser.add_argument(
        "--metric", help="metric to compare by; default: the objective of the studies"
    )
    parser.add_argument(
        "--picture",
        metavar="PATH",
        type=Path,
        help="PNG of the learning curves, and of the best values so far of studies; "
        f"default: {PICTURE}, and none with --json",
    )
    json_argument(parser)


def _run(arguments: argparse.Namespace) -> None:
    found = {one.folder.resolve(): one for one in map(resolve, arguments.names)}
    sides = [Side(one) for one in found.values()]
    if len(sides) < 2:
        raise StudyError(f"{sides[0].name}: name two or more studies or runs to compare")
    comparison = Comparison(sides, arguments.metric)
    if not comparison.known:
        raise StudyError("none of these studies has a complete trial")
    _check_metric(comparison, arguments.metric)
    if arguments.json:
        print_json(comparison.as_json())
    else:
        _print(comparison)
    if comparison.metric and (arguments.picture or not arguments.json):
        _draw(comparison, arguments.picture or PICTURE, is_quiet=arguments.json)


def _check_metric(comparison: Comparison, asked: str | None) -> None:
    known = dict.fromkeys(name for run in comparison.known.values() for name in run.values)
    if asked and asked not in known:
        hint = formatting.did_you_mean(asked, known) or f"there are {', '.join(known)}"
        raise InputError(f"--metric {asked}: no run has a final value of that name; {hint}")


def _print(comparison: Comparison) -> None:
    runs = comparison.known
    _print_summary(comparison)
    _print_lead(comparison)
    if configs := comparison.configs():
        rows = {
            key: {name: _in_yaml(value) for name, value in found.items()}
            for key, found in configs.items()
        }
        print_beside("config keys in which they differ", rows, list(runs))
    else:
        print("\n  config: equal, but for keys that cannot change a result")
    _print_values(comparison)
    _print_environments(comparison)
    studies = [side.found for side in comparison.sides if isinstance(side.found, Study)]
    if len(studies) > 1 and len(comparison.aims) == 1:
        _print_same_recipes(studies)


def _in_yaml(value: Any) -> str:
    """Return a value of a config as the user writes it: null, true, 1e-3."""
    is_word = value is None or isinstance(value, bool)
    return json.dumps(value) if is_word else formatting.format_param(value, width=None)


def _print_summary(comparison: Comparison) -> None:
    metric = comparison.metric
    console, label = PrintableConsole(), formatting.metric_label(metric)
    table = plain_table("name", label, "trial", "outcome", "time", "", right=[label, "trial"])
    for side in comparison.sides:
        run, found = side.run, side.found
        value = run.app.metrics.metric(run.values, metric) if run else "-"
        number = "-" if run is None or run.number is None else str(run.number)
        if isinstance(found, Run):
            outcome, seconds = found.word, found.seconds
            point = " ".join(map(formatting.format_override, found.recipe))
        else:
            outcome = ", ".join(f"{count} {word}" for word, count in found.counted().items())
            seconds = sum(each.seconds for each in found.trials)
            point = formatting.format_point(found.params(run)) if run else ""
        cells = [value, number, outcome, formatting.format_duration(seconds)]
        name = cut_middle(side.name, max(12, console.width // 3))
        table.add_row(name, *cells, cut_end(point, min(LONGEST_POINT, console.width // 3)))
    console.print(table)


def _print_lead(comparison: Comparison) -> None:
    if len(comparison.aims) > 1:
        aims = ", ".join(f"{way} {name}" for name, way in comparison.aims)
        _print_folded(f"no order: the objectives differ ({aims})")
    elif lead := comparison.lead():
        first, second, verdict = lead
        if verdict.words.endswith("they are equal"):
            label = formatting.metric_label(comparison.metric)
            print(f"\n  {first.name} and {second.name} are equal in {label}")
            return
        is_worse = "worse" in verdict.words
        how = verdict.words if is_worse else f"perhaps as good: {verdict.words}"
        _print_folded(f"{first.name} is ahead of {second.name}: {second.name} is {how}")


def _print_folded(line: str) -> None:
    print("\n" + folded(PrintableConsole(), f"  {line}"))


def _print_values(comparison: Comparison) -> None:
    runs = comparison.known
    shown = {
        metric: {name: runs[name].app.metrics.metric(runs[name].values, metric) for name in found}
        for metric, found in comparison.values().items()
    }
    facts = {name: run.facts.get("best_epoch") for name, run in runs.items()}
    steps = {name: step for name, step in facts.items() if step}
    if shown:
        rows = {**shown, **({"best epoch": steps} if steps else {})}
        print_beside("final values", rows, list(runs))


def _print_environments(comparison: Comparison) -> None:
    runs = comparison.known
    for name, run in runs.items():
        if not flat_environment(run):
            print(f"\n  {name}: its environment is not known, environment.json is missing")
    if differing := comparison.environments():
        print_beside("environments differ in", differing, list(runs))
    elif kept := flat_environment(next(iter(runs.values()))):
        names = ("Python", "CPU", "git commit", "threads")
        shown = ", ".join(f"{name} {kept[name]}" for name in names if kept[name])
        _print_folded(f"environment: the same ({shown})")


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


def _draw(comparison: Comparison, path: Path, *, is_quiet: bool) -> None:
    from hrm_sweep.report.comparison import draw  # matplotlib: only where something is drawn

    files.check_writable(path.parent)
    path.parent.mkdir(parents=True, exist_ok=True)
    draw([side.found for side in comparison.sides], path, metric=comparison.metric)
    if not is_quiet:
        print(f"\n  picture  {path}")


COMMAND = Command(
    name="compare",
    summary="Compare studies, trials and single runs: values, configs, environments, curves.",
    examples=(
        ("my-study other-study", "the best trials of two studies, and the recipes that both ran"),
        ("my-study/3 my-study/5", "two trials"),
        ("my-run my-study other-study/0/1", "a single run, the best trial of a study, a repeat"),
        ("a b c --picture bests.png", "three studies, with the picture in bests.png"),
        ("my-run other-run --json", "the same as JSON, for scripts"),
    ),
    arguments=_arguments,
    run=_run,
)
