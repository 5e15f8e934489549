"""`rename`: give a study or a single run another name: in its folder, in Optuna and in MLflow.

The folder is the truth, so the name in its annotations decides, and `former` beside it says that a
renaming has begun and not ended. Each step may be the last before a kill; typed again, the command
does the rest. MLflow comes last and follows by `sync`, as with all annotations.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from hrm_sweep.commands.addresses import storage_of
from hrm_sweep.commands.command import Command
from hrm_sweep.commands.idle import check_idle, check_no_sweep_runs
from hrm_sweep.commands.resolve import find, resolve_whole
from hrm_sweep.commands.sync import send_annotations
from hrm_sweep.engine.limits import check_name
from hrm_sweep.errors import StudyError
from hrm_sweep.runs import layout
from hrm_sweep.runs.annotations import annotate
from hrm_sweep.runs.find import open_folder
from hrm_sweep.runs.places import Place, Whereabouts, whereabouts
from hrm_sweep.runs.run import Run
from hrm_sweep.runs.study import Study
from hrm_sweep.system import files, process


def _run(arguments: argparse.Namespace) -> None:
    new = arguments.new
    check_name(new, key="name")
    found = _named(arguments.name, new)
    target = _target(found, new)
    _check_free(found, new, target)
    if isinstance(found, Study):
        _rename_study(found, new, target)
    else:
        _rename_run(found, new, target)
    print(f"{new}: {target}", flush=True)
    send_annotations(renamed := open_folder(target))
    if isinstance(renamed, Study) and (target / layout.REPORT).exists():
        print(f"its report has the old name until: {process.hrm_sweep_command('report', new)}")


def _named(old: str, new: str) -> Study | Run:
    """Return the study or single run of a name, or the one whose renaming from it was cut off.

    Raises:
        StudyError: there is none, or it is a part of a study.
    """
    if Path(old).name in ("", ".."):
        old = str(Path(old).resolve())  # `.` has no name, and cannot be renamed
    if find(old) is None:
        cut_off = find(new)
        if cut_off is not None and cut_off.annotations.former == old:
            return cut_off
    return resolve_whole(old)


def _target(found: Study | Run, new: str) -> Path:
    """Return the folder under the new name; a study's folder that was called otherwise stays."""
    names = {found.folder.name}
    if isinstance(found, Study):
        names = {found.name, found.annotations.former}
    return found.folder.with_name(new) if found.folder.name in names else found.folder


def _check_free(found: Study | Run, new: str, target: Path) -> None:
    """Check that nothing else has the name or the folder.

    Raises:
        StudyError: something has.
    """
    other = find(new)
    if other is not None and other.folder.resolve() != found.folder.resolve():
        what = "study" if isinstance(other, Study) else "run"
        raise StudyError(f"name={new}: {other.folder} has a {what} of that name; take another one")
    if target != found.folder and target.exists():
        raise StudyError(f"name={new}: {target} is there already; take another name")


def _rename_run(run: Run, new: str, target: Path) -> None:
    if run.outcome is None:
        raise StudyError(f"{run.folder.name}: is running, or may be; stop it first")
    former = run.annotations.former or run.folder.name
    annotate(run.folder, name=new, former=former)
    _move(run.folder, target)
    annotate(target, former="")


def _rename_study(study: Study, new: str, target: Path) -> None:
    """Rename a study; its folder and Optuna agree again when this has ended.

    Raises:
        StudyError: a sweep works on it, other places belong to it, or Optuna has the name.
        DatabaseAway: its database does not answer; nothing has changed.
    """
    check_idle(study)
    if "hrm_sweep.study_id" not in study.run.tags:
        why = "was made by an older hrm_sweep without an id, by which its trials are found"
        raise StudyError(f"{study.name}: {why}; it keeps its name")
    if whereabouts(study) is Whereabouts.COPY:
        raise StudyError(
            f"{study.folder}: is a copy of {Place.of_record(study.place or {})}, to which the "
            "study in Optuna and MLflow belongs; rename that one"
        )
    files.check_writable(study.folder)
    _name(study, new, target)
    _move(study.folder, target)
    annotate(target, former="")


def _name(study: Study, new: str, target: Path) -> None:
    """Give a study its name in its folder, in the transaction in which Optuna gets it."""
    from hrm_sweep.engine.identity import move_trials, places, register, study_id
    from hrm_sweep.engine.other_sweeps import running_of_others
    from hrm_sweep.storage.optuna_storage import SharedStorage, existing_study

    url, said = storage_of(study), study.annotations
    names = dict.fromkeys(filter(None, (study.name, said.former, new)))
    found = [each for name in names if (each := existing_study(url, name))]
    known = next((each for each in found if study_id(each) == study.id), None)
    if known is None:
        annotate(study.folder, name=new, former=said.former or study.name)
        return
    if any(each.study_name == new and each is not known for each in found):
        raise StudyError(f"name={new}: {study.storage} has a study of that name; take another one")
    check_no_sweep_runs(study, running_of_others(known))
    here = Place.here(study.folder)
    for place in places(known):
        if place not in (here, Place.here(target)) and (not place.is_local or place.has(study.id)):
            raise StudyError(
                f"{study.name}: {place} belongs to the same study, so it keeps its name"
            )
    storage = SharedStorage(url)
    with storage.exclusive_transaction(known.study_name):
        storage.rename(known, new)
        renamed = storage.load(new)
        move_trials(storage, renamed, target.name)
        register(renamed, study.id, target, url)
        check_idle(study)  # a sweep may have opened it meanwhile
        before = said.former if known.study_name == new else known.study_name
        annotate(study.folder, name=new, former=before)


def _move(folder: Path, target: Path) -> None:
    if folder != target:
        folder.rename(target)
        files.sync_folder(target.parent)


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", metavar="OLD", help="name or folder of a study or single run")
    parser.add_argument("new", metavar="NEW", help="its new name")


COMMAND = Command(
    name="rename",
    summary="Rename a study or a single run: its folder, and its name in Optuna and MLflow.",
    examples=(
        ("2026-11-22-brisk-otter seed-grid", "a study that is to be found again"),
        ("2026-11-22-calm-fox baseline", "a single run"),
    ),
    arguments=_arguments,
    run=_run,
    details="A folder is renamed that has the study's name; another one, such as "
    "multirun/2026-11-22/10-15-00, stays. A study on which a sweep works is refused, and so is a "
    "name that is taken. If it is cut off, type it again. Records keep what was typed when trials "
    "ran: a command that names the study by its old name would begin a new one.",
)
