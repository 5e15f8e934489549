"""Removal of a study: what belongs to it in its folder, in Optuna and in MLflow."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from hrm_sweep import formatting
from hrm_sweep.commands import own_files
from hrm_sweep.commands.addresses import storage_of, tracking_of
from hrm_sweep.commands.idle import check_idle, check_no_sweep_in, check_no_sweep_runs
from hrm_sweep.runs.export_state import ExportState
from hrm_sweep.runs.places import Place, Whereabouts, whereabouts
from hrm_sweep.runs.run_folders import run_folders
from hrm_sweep.runs.study import Study
from hrm_sweep.system import files
from hrm_sweep.system.redact import redacted
from hrm_sweep.tracking import store

if TYPE_CHECKING:
    from hrm_sweep.storage.optuna_storage import SharedStorage

MARKED = "The MLflow server keeps its runs as deleted; `mlflow gc` there removes them for good."


class StudyRemoval:
    """What removing a study takes away.

    Raises:
        StudyError: a sweep works on it, or may, or its storage cannot be opened or locked.
    """

    def __init__(self, study: Study) -> None:
        self.name, self._study = study.name, study
        check_idle(study)
        files.check_writable(study.folder)
        self._belongings = _belongings(study)

    def describe(self) -> Iterator[str]:
        """Yield lines that say what is removed, and what else loses by it."""
        return _describe(self._study, self._belongings)

    def remove(self, *, is_seen: bool) -> list[str]:
        """Remove it and return the names of what stays in its folder, which is not the study's.

        Args:
            is_seen: the user has read `describe`; runs in MLflow that may be another's stay if not.
        """
        study, belongings = self._study, self._belongings
        check_no_sweep_in(study)  # a sweep may have opened it meanwhile
        if belongings.run_ids and (is_seen or not belongings.are_runs_in_doubt):
            delete_in_mlflow(belongings.mlflow, belongings.run_ids)
        storage = belongings.storage
        with storage.removing_study(study.name) if storage else contextlib.nullcontext():
            check_no_sweep_in(study)  # a sweep opens a study in such a transaction too
            return own_files.remove_study(study.folder)

    @property
    def folder(self) -> Path:
        """The folder that is removed."""
        return self._study.folder


@dataclass(frozen=True)
class _Belongings:
    """What belongs to a study's folder, and is outside of it."""

    storage: SharedStorage | None
    """Optuna's storage, if its study of that name is this one."""
    run_ids: list[str]
    """Of the runs in MLflow."""
    mlflow: str = ""
    """Address of the MLflow that has them, or lacks them all; empty: none were sent."""
    original: Place | None = None
    """The folder that this one is a copy of, to which Optuna's study and the runs belong."""
    others: Sequence[Place] = ()
    """Further folders of the study, of other machines or projects."""
    are_runs_in_doubt: bool = False
    """The folder came from another machine, where the runs may still be those of its original."""


def _belongings(study: Study) -> _Belongings:
    """Return what is to be removed with a study's folder.

    Raises:
        StudyError: another machine runs trials of it, or the storage cannot be opened or locked.
    """
    from hrm_sweep.engine.identity import known_study, original_of, places
    from hrm_sweep.engine.other_sweeps import running_of_others
    from hrm_sweep.storage.optuna_storage import SharedStorage

    where, here, url = whereabouts(study), Place.here(study.folder), storage_of(study)
    run_ids, mlflow = ([], "") if _shares_runs(study, where) else _runs_in_mlflow(study)
    in_doubt = bool(run_ids) and where is Whereabouts.RECEIVED
    original = Place.of_record(study.place) if study.place and where is Whereabouts.COPY else None
    known = known_study(study, url)
    if known is None or original_of(known, study, url):
        return _Belongings(None, run_ids, mlflow, original, are_runs_in_doubt=in_doubt)
    registered = places(known)
    check_no_sweep_runs(study, running_of_others(known))
    storage = SharedStorage(url)
    with storage.exclusive_transaction(study.name):  # shows that it can be written
        pass
    others = [place for place in registered if place != here and _may_exist(place, study.id)]
    return _Belongings(storage, run_ids, mlflow, original, others, in_doubt)


def _shares_runs(study: Study, where: Whereabouts) -> bool:
    """Return whether the MLflow of a copied folder is that of its original."""
    if where is not Whereabouts.COPY or not study.place or not study.tracking:
        return False
    return bool(redacted(tracking_of(study)) == study.place["tracking"])


def _may_exist(place: Place, study_id: str) -> bool:
    return not place.is_local or place.has(study_id)


def _describe(study: Study, belongings: _Belongings) -> Iterator[str]:
    parts = [f"the folder {study.folder}"]
    if belongings.storage is not None:
        parts.append("the study in Optuna")
    runs = formatting.pluralize(len(belongings.run_ids), "run") + " in MLflow"
    if belongings.run_ids:
        parts.append(runs)
    trials = formatting.pluralize(len(study.trials), "trial")
    yield f"{study.name}: {trials}; this removes {', '.join(parts)}."
    if belongings.mlflow and not belongings.run_ids:
        where = redacted(belongings.mlflow)
        yield f"{where} does not have its runs; what another MLflow has of them stays."
    if belongings.original is not None:
        yield f"It is a copy of {belongings.original}, which stays whole."
    for place in belongings.others:
        yield f"{place} belongs to the same study and loses its trials in Optuna."
    if belongings.are_runs_in_doubt:
        place = Place.of_record(study.place or {})
        yield f"The folder came from {place}; with --yes, the {runs} stay, which may be that one's."


def _runs_in_mlflow(study: Study) -> tuple[list[str], str]:
    """Return the ids of all runs of the study that MLflow has, and its address."""
    if not (sent := sent_runs(study.folder)):
        return [], ""
    uri = tracking_of(study) if study.tracking else store.resolve_uri(None)
    is_there = store.may_hold(uri, sent[0].destination)
    return [state.run_id for state in sent if is_there], uri


def sent_runs(folder: Path) -> list[ExportState]:
    """Return the export states of the runs at and below a folder that MLflow was sent."""
    states = (ExportState.load(each) for each in run_folders(folder))
    return [state for state in states if state.run_id]


def delete_in_mlflow(uri: str, run_ids: Sequence[str]) -> None:
    """Delete runs, and say where a server keeps them marked as deleted."""
    from hrm_sweep.tracking.delete import delete

    if not delete(uri, run_ids):
        print(MARKED)
