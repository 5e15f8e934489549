"""`export`: a study as a table for other programs."""

from __future__ import annotations

import argparse
from pathlib import Path

from hrm_sweep.commands.command import Command, study_argument
from hrm_sweep.errors import InputError
from hrm_sweep.runs.study import find_study
from hrm_sweep.runs.table import load_study
from hrm_sweep.system import files


def _arguments(parser: argparse.ArgumentParser) -> None:
    study_argument(parser)
    parser.add_argument(
        "--to",
        metavar="PATH",
        type=Path,
        help="file ending in .csv or .parquet; default: both, as trials.csv and trials.parquet in "
        "the study's folder",
    )


def _run(arguments: argparse.Namespace) -> None:
    study = find_study(arguments.study)
    paths = [study.folder / "trials.csv", study.folder / "trials.parquet"]
    if arguments.to is not None:
        paths = [arguments.to]
    for path in paths:
        if path.suffix not in (".csv", ".parquet"):
            raise InputError(f"--to {path}: must end in .csv or .parquet")
        files.check_writable(path.parent)
    table = load_study(str(study.folder))
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        with files.replacing(path) as temporary:
            if path.suffix == ".csv":
                table.to_csv(temporary, index=False)
            else:
                table.to_parquet(temporary, index=False)
        print(f"{path}: {len(table)} rows, {len(table.columns)} columns")


COMMAND = Command(
    name="export",
    summary="Write a study as CSV and Parquet, a row for each repeat of each trial.",
    examples=(
        ("", "trials.csv and trials.parquet in the newest study's folder"),
        ("my-study --to /data/mine.parquet", "one file, of the kind that its ending says"),
    ),
    arguments=_arguments,
    run=_run,
    details="Columns: study, trial, repeat, outcome, reason, started (UTC), seconds, params.KEY,\n"
    "final values by name, signature, folder, mlflow_run_id, command. In Python:\n"
    'from hrm_sweep import load_study; load_study("my-study") is the same as a DataFrame.',
)
