"""`export`: write a study as a table for other programs."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from hrm_sweep.commands.command import Command, study_argument
from hrm_sweep.commands.resolve import resolve_study
from hrm_sweep.errors import InputError
from hrm_sweep.runs.table import to_frame
from hrm_sweep.system import files

if TYPE_CHECKING:
    from pandas import DataFrame

FORMATS = (".csv", ".parquet")
STANDARD_OUTPUT = Path("-")


def load_study(name: str | None = None) -> DataFrame:
    """Return a study as a pandas DataFrame, a row for each repeat of each trial, in their order.

    Columns: `study`; `trial`; `repeat` (from 0; missing where a trial is one run); `outcome`
    (complete, pruned, failed, diverged, killed, timed_out, interrupted, unjudged, running) and its
    `reason`; `started` (UTC) and `seconds` of all attempts; `params.<key>` for each searched key;
    every final value by its name, such as `eval/exact_match`, at the best epoch; `signature` (equal
    for equal recipes), `folder`, `mlflow_run_id`, `command`.

    Args:
        name: a study below `multirun/`, or a study folder; None is the newest study.

    Raises:
        StudyError: there is no such study.
        RecordError: a record was edited.
    """
    return to_frame(resolve_study(name))


def _arguments(parser: argparse.ArgumentParser) -> None:
    study_argument(parser)
    parser.add_argument(
        "--to",
        metavar="PATH",
        type=Path,
        help="file to write, ending in .csv or .parquet; - prints CSV; default: trials.csv and "
        "trials.parquet in the study's folder",
    )


def _run(arguments: argparse.Namespace) -> None:
    study = resolve_study(arguments.study)
    if arguments.to == STANDARD_OUTPUT:
        to_frame(study).to_csv(sys.stdout, index=False)
        return
    paths = [arguments.to] if arguments.to else [study.folder / f"trials{end}" for end in FORMATS]
    for path in paths:
        if path.suffix not in FORMATS:
            raise InputError(f"--to {path}: must end in {' or '.join(FORMATS)}")
        files.check_writable(path.parent)
    table = to_frame(study)
    if elsewhere := study.describe_elsewhere():
        print(f"not in {study.folder}, and taken from Optuna: {elsewhere}")
    for path in paths:
        _write(table, path)
        print(f"{path}: {len(table)} rows, {len(table.columns)} columns")


def _write(table: DataFrame, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with files.replacing(path) as temporary:
        if path.suffix == ".csv":
            table.to_csv(temporary, index=False)
        else:
            table.to_parquet(temporary, index=False)


COMMAND = Command(
    name="export",
    summary="Write a study as CSV and Parquet, with a row for each repeat of each trial.",
    examples=(
        ("", "trials.csv and trials.parquet in the folder of the newest study"),
        ("my-study --to /data/mine.parquet", "one file, in the format of its suffix"),
        ("my-study --to -", "CSV on standard output, for a pipe"),
    ),
    arguments=_arguments,
    run=_run,
    details="Columns: study, trial, repeat, outcome, reason, started (UTC), seconds, params.KEY, "
    "each final value by its name, signature, folder, mlflow_run_id, command. In Python, "
    'load_study("my-study") from hrm_sweep returns the same table as a pandas DataFrame.',
)
