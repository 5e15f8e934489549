"""Identity of a study: one id in its folder and in Optuna, compared before the study is opened."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any

from hrm_sweep.engine.attributes import FOLDER, PLACES, STUDY_ID
from hrm_sweep.errors import StudyError
from hrm_sweep.runs import record
from hrm_sweep.runs.annotations import Annotations
from hrm_sweep.runs.places import Place
from hrm_sweep.runs.run import Run
from hrm_sweep.runs.study import Study, id_of
from hrm_sweep.system import process
from hrm_sweep.system.redact import redacted
from hrm_sweep.system.sqlite_urls import absolute

if TYPE_CHECKING:
    import optuna

    from hrm_sweep.storage.optuna_storage import SharedStorage


def recorded_study(folder: Path, name: str) -> Study | None:
    """Return the study of that name whose record is in the folder.

    Raises:
        RecordError: the record was edited.
    """
    if not record.has_begun(folder):
        return None
    run = Run.open(folder)
    if run.kind != "study":
        return None
    study = Study(run)
    return study if study.name == name else None


def check_renamed(folder: Path) -> None:
    """Check that the renaming of a folder's study, if there was one, came to its end.

    Raises:
        StudyError: it was cut off, so that the study may have another name in Optuna.
    """
    if former := (said := Annotations.load(folder)).former:
        finish = process.hrm_sweep_command("rename", former, said.name)
        raise StudyError(
            f"{folder}: to rename its study from {former} to {said.name} was cut off; "
            f"finish it first: {finish}"
        )


def check_identity(known: optuna.Study, recorded: Study, storage: str) -> None:
    """Check that a study in Optuna and a folder of the same name are one study.

    Args:
        storage: URL of Optuna's.

    Raises:
        StudyError: they are two, or the folder is a copy of the study's own.
    """
    kept = study_id(known)
    if kept and recorded.id and kept != recorded.id:
        raise StudyError(
            f"hydra.sweeper.study_name={recorded.name}: {recorded.folder} has another study of "
            f"that name than {recorded.storage} ({recorded.id[:8]} and {kept[:8]}); take another "
            "hydra.sweeper.study_name, or another hydra.sweeper.storage, where this one is built "
            "from its folder"
        )
    if original := original_of(known, recorded, storage):
        raise StudyError(
            f"{recorded.folder}: is a copy of study {recorded.name}, which is in {original}; "
            f"continue that one, or repeat the study's command with "
            f"hydra.sweep.dir={recorded.folder} and a hydra.sweeper.storage of the copy's "
            f"own, such as sqlite:///{recorded.folder}/optuna.db"
        )


def original_of(known: optuna.Study, recorded: Study, storage: str) -> Place | None:
    """Return the place that a study in Optuna belongs to, if `recorded` is a mere copy of it.

    A database that was copied with the folder belongs to the copy.

    Args:
        storage: URL of Optuna's.
    """
    registered, here = places(known), Place.here(recorded.folder)
    if here in registered:
        return None
    database = redacted(absolute(storage))
    in_it = (place for place in registered if place.storage in ("", database))
    return next((place for place in in_it if place.has(recorded.id)), None)


def known_study(study: Study, url: str) -> optuna.Study | None:
    """Return the study in Optuna that a folder's study is; None if there is none of its id.

    Args:
        url: of Optuna's storage.

    Raises:
        StudyError: the storage cannot be opened.
        DatabaseAway: it does not answer.
    """
    from hrm_sweep.storage.optuna_storage import existing_study  # imports Optuna

    known = existing_study(url, study.name)
    return known if known is not None and study_id(known) == study.id else None


def study_id(known: optuna.Study) -> str:
    """Return the id of a study in Optuna; empty if an older version made it."""
    return str(known.user_attrs.get(STUDY_ID, ""))


def places(known: optuna.Study) -> list[Place]:
    """Return where the folders of a study in Optuna are: one for each machine and project."""
    kept = known.user_attrs
    if PLACES not in kept and FOLDER in kept:  # an older version kept the folder alone
        return [Place.here(Path(kept[FOLDER]))]
    return [Place.of_record(each) for each in kept.get(PLACES, [])]


def folders_of(attrs: Mapping[str, Any]) -> list[Path]:
    """Return the folders that a study may have on this machine, by its attributes in Optuna."""
    named = [Path(attrs[FOLDER])] if FOLDER in attrs else []
    kept = map(Place.of_record, attrs.get(PLACES, []))
    found = [*named, *(place.folder for place in kept if place.is_local)]
    return [folder for folder in found if id_of(folder) == attrs.get(STUDY_ID, "")]


def new_id() -> str:
    """Return an id for a new study."""
    return uuid.uuid4().hex


def move_trials(storage: SharedStorage, known: optuna.Study, name: str) -> None:
    """Let the trials of a study name their folders below its own, which gets another name.

    Those that ran elsewhere keep theirs.
    """
    before = PurePath(known.user_attrs.get(FOLDER, ""))
    if before.name in ("", name):
        return
    for trial in known.get_trials(deepcopy=False):
        folder = PurePath(trial.user_attrs.get(FOLDER, ""))
        if folder.is_relative_to(before):
            moved = before.with_name(name) / folder.relative_to(before)
            storage.set_user_attrs(trial, {FOLDER: str(moved)})


def register(known: optuna.Study, study_id: str, folder: Path, storage: str) -> None:
    """Keep a study's id in Optuna, and where its folder is instead of where it was before."""
    here = Place.here(folder, storage=redacted(absolute(storage)))
    others = [
        place
        for place in places(known)
        if place != here
        and place.storage in ("", here.storage)
        and (not place.is_local or place.folder.is_dir())
    ]
    _set(known, STUDY_ID, study_id)
    _set(known, FOLDER, str(folder))
    _set(known, PLACES, [place.to_record() for place in (*others, here)])


def _set(known: optuna.Study, name: str, value: Any) -> None:
    if known.user_attrs.get(name) != value:
        known.set_user_attr(name, value)
