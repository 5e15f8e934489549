"""`ui` and `dashboard`: serve the MLflow UI and the Optuna dashboard on this machine."""

from __future__ import annotations

import argparse
import os
import signal
import socket
from contextlib import suppress

from hrm_sweep.commands.addresses import storage_of, tracking_of
from hrm_sweep.commands.command import Command, study_argument
from hrm_sweep.commands.resolve import resolve_study
from hrm_sweep.errors import InputError, StudyError, TrackingError
from hrm_sweep.runs.export_state import ExportState
from hrm_sweep.runs.study import Study

MOST_PORTS = 20
"""Ports that are tried, starting with the wanted one."""


def _arguments(parser: argparse.ArgumentParser, port: int) -> None:
    study_argument(parser)
    parser.add_argument(
        "--port", type=int, default=port, help=f"first port to try; default: {port}"
    )


def _ui(arguments: argparse.Namespace) -> None:
    _end_by_signal()
    from hrm_sweep.tracking import moved_store, store, ui

    is_named = arguments.study or not os.environ.get("MLFLOW_TRACKING_URI")
    study = _study_or_none(arguments.study) if is_named else None
    uri = store.resolve_uri(_tracking_uri(study))
    if uri.startswith(store.SERVERS):
        print(f"MLflow runs as a server: open {uri} in a browser")
        return
    path = store.database_path(uri)
    if path is not None and not path.exists():
        raise TrackingError(f"{path}: does not exist yet; train something first")
    store.check(uri)
    moved_store.follow(uri)
    port = free_port(arguments.port)
    with suppress(KeyboardInterrupt), ui.serving(uri, port) as process:
        address = f"http://127.0.0.1:{port}{_runs_page(study)}"
        print(f"MLflow: {address}  (Ctrl-C to stop)", flush=True)
        raise SystemExit(process.wait())


def _dashboard(arguments: argparse.Namespace) -> None:
    _end_by_signal()
    from hrm_sweep.storage.dashboard import server

    study = resolve_study(arguments.study)
    artifacts = study.folder.parent / "artifacts"
    port = free_port(arguments.port)
    with server(storage_of(study), port, study=study.name, artifacts=artifacts) as running:
        print(f"Optuna: {running.page}  (Ctrl-C to stop)", flush=True)
        with suppress(KeyboardInterrupt):
            running.serve_forever()


def _end_by_signal() -> None:
    """Let SIGTERM end the server like Ctrl-C, and with it the processes that it started."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell may ignore it


def _study_or_none(name: str | None) -> Study | None:
    """Return the study of that name; without a name the newest, or None if there is no study."""
    try:
        return resolve_study(name)
    except StudyError:
        if name is not None:
            raise
        return None


def _tracking_uri(study: Study | None) -> str | None:
    """Return the address that a study was exported to; None is the default database."""
    if study is None:
        return None
    if not study.tracking:
        raise StudyError(f"{study.name}: was made with tracking=off, so it is not in MLflow")
    return tracking_of(study)


def _runs_page(study: Study | None) -> str:
    """Return the path of the page with the runs of the study's experiment."""
    experiment = ExportState.load(study.folder).experiment_id if study else ""
    return f"/#/experiments/{experiment}/runs" if experiment else ""


def free_port(first: int) -> int:
    """Return the first free port of this machine, starting with `first`.

    Raises:
        InputError: none of the next ports is free.
    """
    for port in range(max(1, first), first + MOST_PORTS):
        with socket.socket() as probe, suppress(OSError, OverflowError):
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("127.0.0.1", port))
            return port
    raise InputError(f"--port {first}: this and the next ports are taken; try --port 8765")


UI = Command(
    name="ui",
    summary="Serve the MLflow UI on this machine, with the runs of a study.",
    examples=(
        ("", "http://127.0.0.1:5000, until Ctrl-C"),
        (
            "my-study",
            "the database of that study; without a name, MLFLOW_TRACKING_URI if it is set",
        ),
        ("--port 5005", "on another port"),
    ),
    arguments=lambda parser: _arguments(parser, 5000),
    run=_ui,
)
DASHBOARD = Command(
    name="dashboard",
    summary="Serve the Optuna dashboard on this machine, with the storage of a study.",
    examples=(
        ("", "the newest study, on http://127.0.0.1:8080 or the next free port, until Ctrl-C"),
        ("my-study", "that study; the dashboard also lists the others in its storage"),
    ),
    arguments=lambda parser: _arguments(parser, 8080),
    run=_dashboard,
)
