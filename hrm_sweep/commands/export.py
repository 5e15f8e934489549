"""`export`: write a study or a single run as a table for other programs."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from hrm_sweep import formatting
from hrm_sweep.commands.as_json import json_argument, print_json
from hrm_sweep.commands.command import Command, study_argument
from hrm_sweep.commands.resolve import resolve_whole
from hrm_sweep.errors import InputError
from hrm_sweep.runs.run import Run
from hrm_sweep.runs.study import Study
from hrm_sweep.runs.table import rows, to_frame
from hrm_sweep.system import files

if TYPE_CHECKING:
    from pandas import DataFrame

FORMATS = (".csv", ".parquet")
STANDARD_OUTPUT = Path("-")


def _arguments(parser: argparse.ArgumentParser) -> None:
    study_argument(parser)
    parser.add_argument(
        "--to",
        metavar="PATH",
        type=Path,
        help="file to write, ending in .csv or .parquet; - prints CSV; default: trials.csv and "
        "trials.parquet in its folder",
    )
    json_argument(parser)


def _run(arguments: argparse.Namespace) -> None:
    found = resolve_whole(arguments.study)
    if arguments.json and arguments.to:
        raise InputError(f"--json --to {arguments.to}: --json prints JSON; give one of the two")
    if arguments.json:
        print_json([row | {"started": row["started"].isoformat()} for row in rows(found)])
    elif arguments.to == STANDARD_OUTPUT:
        to_frame(found).to_csv(sys.stdout, index=False)
    else:
        _write_files(found, arguments.to)


def _write_files(found: Study | Run, to: Path | None) -> None:
    paths = [to] if to else [found.folder / f"trials{end}" for end in FORMATS]
    for path in paths:
        if path.suffix not in FORMATS:
            raise InputError(f"--to {path}: must end in {' or '.join(FORMATS)}")
        files.check_writable(path.parent)
    table = to_frame(found)
    if isinstance(found, Study) and (elsewhere := found.describe_elsewhere()):
        print(f"not in {found.folder}, and taken from Optuna: {elsewhere}")
    for path in paths:
        _write(table, path)
        print(f"{path}: {formatting.pluralize(len(table), 'row')}, {len(table.columns)} columns")


def _write(table: DataFrame, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with files.replacing(path) as temporary:
        if path.suffix == ".csv":
            table.to_csv(temporary, index=False)
        else:
            table.to_parquet(temporary, index=False)


COMMAND = Command(
    name="export",
    summary="Write a study as CSV and Parquet, with a row for each repeat of each trial; or a run.",
    examples=(
        ("", "trials.csv and trials.parquet in the folder of the newest study or single run"),
        ("my-study --to /data/mine.parquet", "one file, in the format of its suffix"),
        ("my-study --to -", "CSV on standard output, for a pipe"),
        ("my-run --json", "the same rows as JSON on standard output"),
    ),
    arguments=_arguments,
    run=_run,
    details="Columns: study, trial, repeat, outcome, reason, started (UTC), seconds, params.KEY, "
    "each final value by its name, signature, folder, mlflow_run_id, command. In Python, "
    'load_study("my-study").trials, from hrm_sweep, is the same table as a pandas DataFrame.',
)
