"""Find the study or run that the user named, and list those below `multirun/`.

Every command resolves its STUDY or RUN argument here, so that all accept the same names and report
the same errors. A folder becomes a `Study` or a `Run` in `open_folder` alone.
"""

from __future__ import annotations

import contextlib
import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

from hrm_sweep import formatting
from hrm_sweep.commands.addresses import folders_in_storage, storage_of
from hrm_sweep.engine.elsewhere import whole
from hrm_sweep.errors import DatabaseAway, RecordError, StudyError
from hrm_sweep.runs import layout, record
from hrm_sweep.runs.copies import ORIGINAL_TAG
from hrm_sweep.runs.export_state import ExportState
from hrm_sweep.runs.find import (
    Found,
    newest_first,
    open_folder,
    single_run_folders,
    single_runs,
    studies_below,
    study_in,
)
from hrm_sweep.runs.places import Whereabouts, whereabouts
from hrm_sweep.runs.ranking import ranked
from hrm_sweep.runs.run import Run
from hrm_sweep.runs.run_names import reference
from hrm_sweep.runs.study import Study
from hrm_sweep.system import process

MOST_NAMES = 5
"""Names that an error message lists."""


def resolve(text: str | None) -> Study | Run:
    """Return what the user named: a study, a single run, a trial or one repeat of a trial.

    Args:
        text: as typed; see `find`. None is the newest study or single run.

    Raises:
        StudyError: nothing has that name; the message says what is there.
        RecordError: its record was edited.
    """
    found = _newest(everything(), "study or run") if text is None else find(text)
    if found is None:
        raise _not_found(text or "")
    return _whole(found) if isinstance(found, Study) else found


def _whole(study: Study) -> Study:
    for error in study.damaged.values():
        print(f"left out: {error}", file=sys.stderr)
    return with_others(study)


def with_others(study: Study) -> Study:
    """Return the study with the trials that its folder lacks, as Optuna knows them."""
    return whole(study, storage_of(study))


def resolve_whole(text: str | None) -> Study | Run:
    """Return the study or the single run that the user named.

    Raises:
        StudyError: as in `resolve`, or it is a trial or a repeat, which are parts of a study.
    """
    found = resolve(text)
    if isinstance(found, Run) and found.kind != "train":
        study = found.study_name
        raise StudyError(f"{text}: is part of study {study}; name the whole study: {study}")
    return found


def resolve_unfinished() -> Study | Run:
    """Return the newest study or single run that can be resumed; if there is none, the newest.

    Raises:
        StudyError: there is nothing yet.
    """
    found = everything()
    newest = _newest([each for each in found if each.can_go_on] or found, "study or run")
    return _whole(newest) if isinstance(newest, Study) else newest


def resolve_study(text: str | None) -> Study:
    """Return the study that the user named; None is the newest study.

    Raises:
        StudyError: as in `resolve_whole`, or it is a single run.
    """
    found = _whole(_newest(studies(), "study")) if text is None else resolve_whole(text)
    if isinstance(found, Run):
        raise StudyError(f"{text}: is a single run; name a study")
    return found


def resolve_run(text: str | None) -> Run:
    """Return the run that the user named; of a study, its best trial.

    Raises:
        StudyError: as in `resolve`, or the study has no trial yet.
    """
    found = resolve(text)
    if isinstance(found, Run):
        return found
    if best := ranked(found) or found.trials:
        return best[0]
    raise StudyError(f"{found.name}: no trial was started yet")


def find(text: str) -> Study | Run | None:
    """Return the study or run of that name, or None.

    The name is tried, in this order, as a folder (a path, or below `multirun/`), as the name of a
    study or of a single run, as STUDY/TRIAL or STUDY/TRIAL/REPEAT, and as an MLflow run id.

    Raises:
        StudyError: the study is there, but it has no such trial or repeat.
        RecordError: the record was edited.
    """
    for locate in (_by_folder, _by_name, _by_number, _by_run_id):
        if (found := locate(text)) is not None:
            return found
    return None


def name_of(found: Study | Run) -> str:
    """Return what names a study, a single run, a trial or a repeat in a command."""
    return found.reference if isinstance(found, Study) else reference(found)


def trial_of(study: Study, number: int) -> Run:
    """Return the trial of that number.

    Raises:
        StudyError: the study has none; the message says which it has.
    """
    trials = {run.number or 0: run for run in study.trials}
    if str(number) in study.damaged:
        raise study.damaged[str(number)]
    return _numbered(trials, number, study.name, kind="trial", empty="none was started yet")


def repeat_of(run: Run, number: int) -> Run:
    """Return the repeat of that number.

    Raises:
        StudyError: the run has none; the message says which it has.
    """
    repeats = {int(repeat.folder.name): repeat for repeat in run.repeats}
    name = run.folder.name if run.number is None else f"{run.study_name}/{run.number}"
    return _numbered(repeats, number, name, kind="repeat", empty="it was run with one seed")


def is_run_id(text: str) -> bool:
    """Return whether a text has the form of an MLflow run id."""
    return re.fullmatch(r"[0-9a-f]{32}", text) is not None


def studies() -> list[Study]:
    """Return the studies below `multirun/` and those that its Optuna database names, newest first.

    Left out are studies whose record was edited.
    """
    found = studies_below()
    known = {study.folder.resolve() for study in found}
    named: dict[Path, Path] = {}
    with contextlib.suppress(StudyError, DatabaseAway):  # said where its answer is needed
        for folder in folders_in_storage():
            named.setdefault(folder.resolve(), folder)  # first as it was typed
    outside = filter(None, (study_in(named[place]) for place in named.keys() - known))
    ids = {study.id for study in found}
    return newest_first([*found, *(study for study in outside if study.id not in ids)])


def everything() -> list[Study | Run]:
    """Return the studies and the single runs, the newest first, copies by `reproduce` among them.

    Left out are those whose record was edited.
    """
    found: list[Study | Run] = [*studies(), *single_runs()]
    return newest_first(found)


def reproductions(of: Study | Run | None) -> list[Study | Run]:
    """Return the copies that `reproduce` has made, the newest first.

    Args:
        of: the run that was copied, or a study, any run of which was; None: whatever was.
    """
    copies = [each for each in everything() if each.copy_of is not None]
    if of is None:
        return copies
    return [each for each in copies if _is_copy_of(each, of)]


def _is_copy_of(copy: Study | Run, of: Study | Run) -> bool:
    """Return whether a copy is one of a run or of a study's run, also where that was renamed."""
    if copy.copy_of and copy.copy_of.resolve().is_relative_to(of.folder.resolve()):
        return True
    if isinstance(of, Study) or of.kind == "train":
        return copy.original_id == of.whole_id
    run = copy.run if isinstance(copy, Study) else copy
    return run.tags.get(ORIGINAL_TAG) in (of.mlflow_run_id, of.first.fields.get("record"))


def unreadable() -> Iterator[Exception]:
    """Yield an error for each record below `multirun/`, and a database, that cannot be read."""
    try:
        folders_in_storage()
    except (StudyError, DatabaseAway) as error:
        yield error
    folders = (layout.MULTIRUN, layout.SINGLE_RUNS)
    for path in sorted(path for each in folders for path in each.glob(f"*/{layout.RECORD}")):
        try:
            record.ends(path.parent)
        except RecordError as error:
            yield error


def _by_folder(text: str) -> Study | Run | None:
    for folder in (Path(text), layout.MULTIRUN / text):
        if _has_record(folder):
            return open_folder(folder)
    return None


def _has_record(folder: Path) -> bool:
    """Return whether a record is there; what the user typed may be too long for a file's name."""
    try:
        return (folder / layout.RECORD).exists()
    except OSError:
        return False


def _by_name(text: str) -> Study | Run | None:
    for study in studies():  # a study's folder may have another name than the study
        if study.name == text:
            return study
    folder = layout.SINGLE_RUNS / text
    return Run.open(folder) if _has_record(folder) else None


def _by_number(text: str) -> Run | None:
    name, trial, repeat = _split(text)
    if trial is None:
        return None
    study = _by_folder(name) or _by_name(name)
    if not isinstance(study, Study):
        return None
    run = trial_of(with_others(study), int(trial))
    return run if repeat is None else repeat_of(run, int(repeat))


def _by_run_id(text: str) -> Study | Run | None:
    """Return the run whose folder was exported to MLflow as that run; MLflow is not contacted."""
    if is_run_id(text):
        for path in layout.MULTIRUN.rglob(layout.EXPORT_STATE):
            if ExportState.load(path.parent).run_id == text:
                return open_folder(path.parent)
    return None


def _split(text: str) -> tuple[str, str | None, str | None]:
    """Return the name, trial and repeat of NAME[/TRIAL[/REPEAT]]."""
    match = re.fullmatch(r"(.+?)(?:/(\d+)(?:/(\d+))?)?/?", text)
    return (match[1], match[2], match[3]) if match else (text, None, None)


def _numbered(runs: Mapping[int, Run], number: int, name: str, *, kind: str, empty: str) -> Run:
    if number in runs:
        return runs[number]
    numbers = sorted(runs)
    there = f"it has {numbers[0]}" if numbers else empty
    if len(numbers) > 1:
        there += f" to {numbers[-1]}"
    raise StudyError(f"{name}/{number}: no {kind} of that number; {there}")


def _newest(found: list[Found], kind: str) -> Found:
    """Return the first that is no copy by `reproduce`.

    If there is one, it is neither archived nor a copied folder.
    """
    made = [each for each in found if each.copy_of is None]
    shown = [each for each in made if not each.annotations.is_archived]
    originals = (each for each in shown if not _is_copied(each))
    for each in (*originals, *shown, *made):
        return each
    raise StudyError(f"there is no {kind} in {layout.MULTIRUN}/ yet; {how_to_start()}")


def _is_copied(found: Study | Run) -> bool:
    return isinstance(found, Study) and whereabouts(found) is Whereabouts.COPY


def _not_found(text: str) -> StudyError:
    name = _split(text)[0]
    names = [
        *(study.name for study in studies()),
        *(folder.name for folder in single_run_folders()),
    ]
    hint = formatting.did_you_mean(Path(name).name, names) or (
        f"there are {', '.join(names[:MOST_NAMES])}"
        if names
        else f"there is none yet; {how_to_start()}"
    )
    return StudyError(f"{name}: no study or run of that name in {layout.MULTIRUN}/; {hint}")


def how_to_start() -> str:
    """Return how to begin a first study."""
    return f"start one: {process.hrm_sweep_command('-m', 'lr=1e-4,1e-3')}"
