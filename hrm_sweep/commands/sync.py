"""`sync`: what is written down and not in MLflow yet goes there, or a copy into another MLflow."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from hrm_sweep import formatting
from hrm_sweep.commands.command import Command
from hrm_sweep.commands.pages import with_password
from hrm_sweep.commands.resolve import resolve_whole, single_run_folders, studies
from hrm_sweep.errors import RecordError, StudyError, TrackingError
from hrm_sweep.runs import export_state, record
from hrm_sweep.runs.app import App, trusted_pictures
from hrm_sweep.runs.run import Run
from hrm_sweep.runs.study import Study
from hrm_sweep.tracking import store


class _Place(NamedTuple):
    """An experiment in some MLflow; `uri` None is the default one."""

    uri: str | None
    experiment: str = "hrm_sweep"


class _Whole(NamedTuple):
    """A study or a single run; `home` is None if it was not tracked."""

    name: str
    folder: Path
    home: _Place | None
    app: App


def _run(arguments: argparse.Namespace) -> None:
    to = store.resolve_uri(arguments.to) if arguments.to else None
    if arguments.study:
        chosen = [_named(arguments.study)]
    else:
        chosen = [whole for whole in _all() if _has_work(whole, to)]
    if not chosen:
        print("everything is in MLflow")
    if sum(_send(whole, to) for whole in chosen):
        raise SystemExit(1)


def _named(text: str) -> _Whole:
    found = resolve_whole(text)
    return _single(found) if isinstance(found, Run) else _study(found)


def _all() -> Iterator[_Whole]:
    """All that is below `multirun/`, but for records that were edited."""
    yield from map(_study, studies())
    for folder in single_run_folders():
        try:
            yield _single(Run.open(folder))
        except RecordError as error:
            print(error, file=sys.stderr)


def _study(study: Study) -> _Whole:
    tracking = study.tracking
    home = _Place(tracking["uri"], str(tracking["experiment"])) if tracking else None
    return _Whole(study.name, study.folder, home, study.app)


def _single(run: Run) -> _Whole:
    params = run.first.fields["params"]
    home = _Place(params.get("tracking.uri"), str(params.get("tracking.experiment")))
    is_tracked = params.get("tracking.name") == "mlflow"
    return _Whole(run.folder.name, run.folder, home if is_tracked else None, run.app)


def _has_work(whole: _Whole, to: str | None) -> bool:
    """Whether something waits; what runs just now is sent by its own projector."""
    if not (whole.home or to) or record.is_held(whole.folder):
        return False
    export_state.settle_dead(whole.folder)
    if export_state.waiting(whole.folder, _cursors(to)).runs:
        return True
    sent_to = export_state.ExportState.load(whole.folder, _cursors(to)).destination
    return not store.may_hold(_uri(whole, to), sent_to)


def _send(whole: _Whole, to: str | None) -> int:
    """Sends what waits; returns how many runs still do."""
    from hrm_sweep.tracking.exporter_process import sync

    home = whole.home or _Place(None)
    if not (whole.home or to):
        raise StudyError(
            f"{whole.name}: was made with tracking=off, so nothing of it goes to MLflow; "
            f"to send it nevertheless: sync {whole.name} --to sqlite:///mlruns/mlflow.db"
        )
    uri = _uri(whole, to)
    path = store.database_path(uri)
    if path and home.uri and not to and not path.parent.parent.exists():
        raise TrackingError(
            f"{whole.name}: belongs into {uri}, and there is no such folder on this machine; "
            f"say where to: sync {whole.name} --to sqlite:///mlruns/mlflow.db"
        )
    if path and not path.exists():
        print(f"making {path}, which takes some seconds", file=sys.stderr)
    backlog = sync(
        whole.folder,
        uri,
        home.experiment,
        cursors=_cursors(to),
        pictures=trusted_pictures(whole.app),
    )
    print(
        f"{whole.name}: sent {formatting.pluralize(backlog.sent, 'measurement')}; {backlog}",
        flush=True,
    )
    return backlog.runs


def _uri(whole: _Whole, to: str | None) -> str:
    own = whole.home.uri if whole.home else None
    return to or store.resolve_uri(with_password(own, "MLFLOW_TRACKING_URI"))


def _cursors(to: str | None) -> str:
    return export_state.name_for_copy(to) if to else export_state.FILE_NAME


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "study",
        metavar="STUDY",
        nargs="?",
        help="name or folder of a study or of a single run; default: all in multirun/",
    )
    parser.add_argument(
        "--to", metavar="URI", help="another MLflow that shall have a copy: a server or a database"
    )


COMMAND = Command(
    name="sync",
    summary="Send to MLflow what is written down and not there yet.",
    examples=(
        ("", "all studies and single runs in multirun/"),
        ("my-study", "exit code 1: the server did not take everything; try again later"),
        ("/media/usb/my-study", "a folder that was copied from another machine"),
        ("my-study --to http://host:5000", "a copy in another MLflow; its own stays its own"),
    ),
    arguments=_arguments,
    run=_run,
    details=(
        "A run whose process is gone without a word is KILLED in MLflow after this. All may be "
        "sent again:\nnothing is there twice."
    ),
)
