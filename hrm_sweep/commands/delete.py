"""`delete`: remove a study from its folder, Optuna and MLflow."""

from __future__ import annotations

import argparse
import shutil
import sys
from typing import TYPE_CHECKING

from hrm_sweep import formatting
from hrm_sweep.commands.addresses import storage_of, with_password
from hrm_sweep.commands.command import Command
from hrm_sweep.commands.resolve import resolve_study
from hrm_sweep.errors import InputError, StudyError
from hrm_sweep.runs import layout
from hrm_sweep.runs.export_state import ExportState
from hrm_sweep.runs.study import Study
from hrm_sweep.system import files

if TYPE_CHECKING:
    from hrm_sweep.storage.optuna_storage import SharedStorage


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("study", metavar="STUDY", help="study name or folder")
    parser.add_argument("--yes", action="store_true", help="do not ask for confirmation")


def _run(arguments: argparse.Namespace) -> None:
    study = resolve_study(arguments.study)
    if study.is_running:
        raise StudyError(f"{study.name}: is running; stop it first (Ctrl-C where it runs)")
    files.check_writable(study.folder)
    storage = _writable_storage(study)  # fails before anything is removed
    run_ids = _run_ids(study)
    parts = [f"the folder {study.folder}", "the study in Optuna"]
    if run_ids:
        parts.append(f"{formatting.pluralize(len(run_ids), 'run')} in MLflow")
    trials = formatting.pluralize(len(study.trials), "trial")
    print(f"{study.name}: {trials}; this removes {', '.join(parts)}.")
    if not arguments.yes and not _confirmed(study.name):
        print("Nothing was removed.")
        return
    if run_ids:
        _delete_in_mlflow(study, run_ids)
    storage.remove_study(study.name)
    shutil.rmtree(study.folder)
    print(f"{study.name}: removed.")


def _confirmed(name: str) -> bool:
    if not sys.stdin.isatty():
        raise InputError(f"{name}: there is no terminal to confirm at; add --yes")
    return input(f"Type {name} to remove it: ").strip() == name


def _run_ids(study: Study) -> list[str]:
    """Return the MLflow run ids of the study, its trials and their repeats."""
    folders = [path.parent for path in study.folder.rglob(layout.EXPORT_STATE)]
    return [run_id for folder in folders if (run_id := ExportState.load(folder).run_id)]


def _delete_in_mlflow(study: Study, run_ids: list[str]) -> None:
    from hrm_sweep.tracking.delete import delete
    from hrm_sweep.tracking.store import resolve_uri

    uri = resolve_uri(with_password(study.tracking.get("uri"), "MLFLOW_TRACKING_URI"))
    if not delete(uri, run_ids):
        print(
            "The MLflow server keeps its runs as deleted; `mlflow gc` there removes them for good."
        )


def _writable_storage(study: Study) -> SharedStorage:
    """Return the study's Optuna storage.

    Raises:
        StudyError: it cannot be opened or locked.
    """
    from hrm_sweep.storage.optuna_storage import SharedStorage

    storage = SharedStorage(storage_of(study))
    with storage.exclusive_transaction():
        return storage


COMMAND = Command(
    name="delete",
    summary="Delete a study's folder, its trials in Optuna and its runs in MLflow.",
    examples=(
        ("my-study", "show what is deleted, and ask for the name to confirm"),
        ("my-study --yes", "delete without asking"),
    ),
    arguments=_arguments,
    run=_run,
)
