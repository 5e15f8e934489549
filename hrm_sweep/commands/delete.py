"""`delete`: a study is removed everywhere."""

from __future__ import annotations

import argparse
import shutil
import sys
from typing import TYPE_CHECKING

from hrm_sweep import formatting
from hrm_sweep.commands.command import Command
from hrm_sweep.commands.pages import storage_of, with_password
from hrm_sweep.commands.resolve import resolve_study
from hrm_sweep.errors import InputError, StudyError
from hrm_sweep.runs.export_state import ExportState
from hrm_sweep.runs.study import Study
from hrm_sweep.system import files

if TYPE_CHECKING:
    from hrm_sweep.storage.optuna_storage import SharedStorage


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("study", metavar="STUDY", help="name or folder")
    parser.add_argument("--yes", action="store_true", help="do not ask")


def _run(arguments: argparse.Namespace) -> None:
    study = resolve_study(arguments.study)
    if study.is_running:
        raise StudyError(f"{study.name}: it is running; stop it first (Ctrl-C where it runs)")
    files.check_writable(study.folder)
    ledger = _ledger(study)  # what cannot be removed is known before anything is
    run_ids = _run_ids(study)
    told = [f"the folder {study.folder}", "the study in Optuna"]
    if run_ids:
        told.append(f"{formatting.pluralize(len(run_ids), 'run')} in MLflow")
    trials = formatting.pluralize(len(study.trials), "trial")
    print(f"{study.name}: {trials}; this removes {', '.join(told)}.")
    if not arguments.yes and not _agreed(study.name):
        print("Nothing was removed.")
        return
    if run_ids:
        _delete_in_mlflow(study, run_ids)
    ledger.delete_study(study.name)
    shutil.rmtree(study.folder)
    print(f"{study.name}: removed.")


def _agreed(name: str) -> bool:
    if not sys.stdin.isatty():
        raise InputError(f"{name}: nobody can be asked here; say it with --yes")
    return input(f"Type {name} to remove it: ").strip() == name


def _run_ids(study: Study) -> list[str]:
    """The runs of the study, its trials and their repeats."""
    folders = [path.parent for path in study.folder.rglob("mlflow.json")]
    return [run_id for folder in folders if (run_id := ExportState.load(folder).run_id)]


def _delete_in_mlflow(study: Study, run_ids: list[str]) -> None:
    from hrm_sweep.tracking.delete import delete
    from hrm_sweep.tracking.store import resolve_uri

    uri = resolve_uri(with_password(study.tracking.get("uri"), "MLFLOW_TRACKING_URI"))
    if not delete(uri, run_ids):
        print("The MLflow server has marked its runs as deleted; its own `mlflow gc` removes them.")


def _ledger(study: Study) -> SharedStorage:
    """Of the study, and it can be written."""
    from hrm_sweep.storage.optuna_storage import SharedStorage

    ledger = SharedStorage(storage_of(study))
    with ledger.exclusive():
        return ledger


COMMAND = Command(
    name="delete",
    summary="Remove a study everywhere: its folder, in Optuna, in MLflow. Asks first.",
    examples=(
        ("my-study", "says what goes, and asks for the name once more"),
        ("my-study --yes", "does not ask"),
    ),
    arguments=_arguments,
    run=_run,
)
