"""`sync`: export to MLflow what is not there yet, or copy it to another MLflow server."""

from __future__ import annotations

import argparse
import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from hrm_sweep import formatting
from hrm_sweep.commands.addresses import storage_of, tracking_of, tracking_of_run
from hrm_sweep.commands.command import Command
from hrm_sweep.commands.resolve import how_to_start, name_of, resolve_whole, studies
from hrm_sweep.errors import DatabaseAway, RecordError, StudyError, TrackingError
from hrm_sweep.runs import export_state, layout, record
from hrm_sweep.runs.app import App, trusted_pictures
from hrm_sweep.runs.export_state import Backlog
from hrm_sweep.runs.find import single_run_folders
from hrm_sweep.runs.run import Run
from hrm_sweep.runs.run_names import study_around
from hrm_sweep.runs.study import Study
from hrm_sweep.system import process
from hrm_sweep.tracking import store

if TYPE_CHECKING:
    from hrm_sweep.tracking.presence import GoneRun

MOST_NAMES = 5
"""Runs that are named, where more are deleted."""


class _Destination(NamedTuple):
    """An experiment of an MLflow server or database."""

    uri: str
    experiment: str = "hrm_sweep"


class _Source(NamedTuple):
    """A study or a single run to export."""

    name: str
    folder: Path
    home: _Destination | None
    """Where it was exported to; None if it was not tracked."""
    app: App
    study: Study | None = None


def _run(arguments: argparse.Namespace) -> None:
    to = store.resolve_uri(arguments.to) if arguments.to else None
    if arguments.study:
        named = _named(arguments.study)
        _put_back(named, to)
        is_whole = _send(named, to)
    else:
        is_whole = _sync_all(to)
    if not is_whole:
        raise SystemExit(1)


def _sync_all(to: str | None) -> bool:
    """Export what waits, and name what is gone; return whether all could be done."""
    is_whole = is_quiet = True
    if not (sources := [*_all()]):
        raise StudyError(f"there is no study or run in {layout.MULTIRUN}/ yet; {how_to_start()}")
    for source in sources:
        if _has_work(source, to):
            is_quiet = False
            is_whole &= _send(source, to)
        elif left := _gone_in_words(source, to) or _left_out_in_words(source, to):
            is_quiet = False
            print(f"{source.name}: {left}")
    if is_quiet:
        print("everything is in MLflow")
    return is_whole


def _named(text: str) -> _Source:
    found = resolve_whole(text)
    return _single(found) if isinstance(found, Run) else _study(found)


def _all() -> Iterator[_Source]:
    """Yield everything below `multirun/`; for an edited record, print its error instead."""
    yield from map(_study, studies())
    for folder in single_run_folders():
        try:
            yield _single(Run.open(folder))
        except RecordError as error:
            print(error, file=sys.stderr)


def _study(study: Study) -> _Source:
    tracking = study.tracking
    home = _Destination(tracking_of(study), str(tracking["experiment"])) if tracking else None
    return _Source(study.name, study.folder, home, study.app, study)


def _single(run: Run) -> _Source:
    params, home = run.first.fields["params"], None
    if params.get("tracking.name") == "mlflow":
        home = _Destination(tracking_of_run(run), str(params.get("tracking.experiment")))
    return _Source(run.folder.name, run.folder, home, run.app)


def _has_work(source: _Source, to: str | None) -> bool:
    """Return whether something is not exported yet; a running process exports its own runs."""
    if not (source.home or to) or record.is_held(source.folder):
        return False
    export_state.write_ends(source.folder)
    if export_state.waiting(source.folder, _state_file(to)).runs:
        return True
    sent_to = export_state.ExportState.load(source.folder, _state_file(to)).destination
    return not store.may_hold(_uri(source, to), sent_to)


def _gone(source: _Source, to: str | None) -> list[GoneRun]:
    """Return the runs that were exported and deleted in MLflow since then."""
    if not (source.home or to) or record.is_held(source.folder):
        return []
    uri = _uri(source, to)
    path = store.database_path(uri)
    if path and not path.exists():
        return []
    from hrm_sweep.tracking.presence import gone_runs

    return gone_runs(uri, source.folder, _state_file(to))


def _gone_in_words(source: _Source, to: str | None) -> str:
    """Return which runs are gone and how to put them back, "" if none is."""
    if not (gone := _gone(source, to)):
        return ""
    folders = [run.folder.relative_to(source.folder) for run in gone]
    names = [f"{source.name}/{folder}".removesuffix("/.") for folder in folders[:MOST_NAMES]]
    names += [f"{len(gone) - MOST_NAMES} more"] * (len(gone) > MOST_NAMES)
    more = ["--to", to] if to else []
    way_back = process.hrm_sweep_command("sync", source.name, *more)
    runs = formatting.pluralize(len(gone), "run")
    return f"{runs} deleted in MLflow: {', '.join(names)}; to put them back: {way_back}"


def _left_out_in_words(source: _Source, to: str | None) -> str:
    """Return what MLflow has and what of it can never have, "" if that is nothing."""
    if not (source.home or to):
        return ""
    backlog = export_state.waiting(source.folder, _state_file(to))
    return str(backlog) if backlog.left_out else ""


def _put_back(source: _Source, to: str | None) -> None:
    if not (gone := _gone(source, to)):
        return
    from hrm_sweep.tracking.presence import put_back

    put_back(_uri(source, to), gone, _state_file(to))
    print(f"{source.name}: {formatting.pluralize(len(gone), 'run')} deleted in MLflow, put back")


def _send(source: _Source, to: str | None) -> bool:
    """Export what is missing; return whether nothing is left."""
    if not (source.home or to):
        raise StudyError(
            f"{source.name}: was made with tracking=off, so it is not exported; to export it: "
            + process.hrm_sweep_command("sync", source.name, "--to", store.DEFAULT)
        )
    uri = _uri(source, to)
    path = store.database_path(uri)
    if path and not to and not path.parent.parent.exists():
        raise TrackingError(
            f"{source.name}: is exported to {uri}, and there is no such folder on this machine; "
            "name another database: "
            + process.hrm_sweep_command("sync", source.name, "--to", store.DEFAULT)
        )
    if path and not path.exists():
        print(f"creating {path}, which takes a few seconds", file=sys.stderr)
    backlog = _export(source, uri, _state_file(to))
    sent = formatting.pluralize(backlog.sent, "measurement")
    left = str(backlog) if backlog.runs else _gone_in_words(source, to) or str(backlog)
    print(f"{source.name}: sent {sent}; {left}", flush=True)
    if source.study and not to:
        _complete_in_optuna(source.study)
    return not backlog.runs


def _export(source: _Source, uri: str, state_file: str) -> Backlog:
    from hrm_sweep.tracking.exporter_process import sync

    experiment = (source.home or _Destination(uri)).experiment
    pictures = trusted_pictures(source.app)
    return sync(source.folder, uri, experiment, state_file=state_file, pictures=pictures)


def send_annotations(found: Study | Run) -> None:
    """Send what the user says of a study or run to MLflow at once, where that has the run already.

    The process that runs a study or a run sends it by itself; a server that does not answer is
    named, and `sync` sends it later.
    """
    whole = study_around(found) or found if isinstance(found, Run) else found
    run = found.run if isinstance(found, Study) else found
    if not run.mlflow_run_id or record.is_held(whole.folder):
        return
    source = _single(whole) if isinstance(whole, Run) else _study(whole)
    if source.home is None:
        return
    uri = source.home.uri
    path = store.database_path(uri)
    reason = "its database is not here"
    if path is None or path.exists():
        try:
            backlog = _export(source, uri, layout.EXPORT_STATE)
        except TrackingError as error:
            reason = str(error)
        else:
            if not backlog.runs:
                return
            reason = backlog.reason
    later = process.hrm_sweep_command("sync", name_of(whole))
    print(f"MLflow does not have it yet ({reason}); to send it: {later}")


def _complete_in_optuna(study: Study) -> None:
    """Let the trials in Optuna name their runs in MLflow; a database that is away is left alone."""
    from hrm_sweep.engine.identity import known_study
    from hrm_sweep.engine.optuna_summary import write_run_ids
    from hrm_sweep.storage.optuna_storage import SharedStorage

    url = storage_of(study)
    with contextlib.suppress(StudyError, DatabaseAway):
        if (known := known_study(study, url)) is not None:
            run_ids = {trial.number or 0: trial.mlflow_run_id for trial in study.trials}
            write_run_ids(SharedStorage(url), known, run_ids)


def _uri(source: _Source, to: str | None) -> str:
    return to or (source.home.uri if source.home else store.resolve_uri(None))


def _state_file(to: str | None) -> str:
    return export_state.name_for_copy(to) if to else layout.EXPORT_STATE


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "study",
        metavar="STUDY",
        nargs="?",
        help="name or folder of a study or single run; default: all in multirun/",
    )
    parser.add_argument("--to", metavar="URI", help="MLflow server or database that gets a copy")


COMMAND = Command(
    name="sync",
    summary="Export to MLflow what is recorded and not there yet.",
    examples=(
        ("", "all studies and single runs in multirun/"),
        ("my-study", "one study"),
        ("/media/usb/my-study", "a folder that was copied from another machine"),
        ("my-study --to http://host:5000", "copy to another MLflow server; the original stays"),
    ),
    arguments=_arguments,
    run=_run,
    details="Exit code 1: the server did not accept everything; try again later. A run whose "
    "process died is KILLED in MLflow afterwards. Nothing is ever stored twice. A run that was "
    "deleted in MLflow is named; naming its study puts it back.",
)
