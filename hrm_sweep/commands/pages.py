"""`ui` and `dashboard`: serve the MLflow UI and the Optuna dashboard on this machine."""

from __future__ import annotations

import argparse
import os
import signal
import socket
import sys
from contextlib import suppress

from hrm_sweep.commands.addresses import storage_of, tracking_of, tracking_of_run
from hrm_sweep.commands.browser import browse
from hrm_sweep.commands.command import Command, study_argument
from hrm_sweep.commands.resolve import resolve, resolve_study
from hrm_sweep.errors import InputError, StudyError, TrackingError
from hrm_sweep.runs.export_state import ExportState
from hrm_sweep.runs.run import Run
from hrm_sweep.runs.run_names import study_around
from hrm_sweep.runs.study import Study
from hrm_sweep.system.redact import redacted
from hrm_sweep.tracking import store
from hrm_sweep.tracking.saved_view import page_of

MOST_PORTS = 20
"""Ports that are tried, starting with the wanted one."""


def _arguments(parser: argparse.ArgumentParser, port: int) -> None:
    study_argument(parser)
    parser.add_argument(
        "--port", type=int, default=port, help=f"first port to try; default: {port}"
    )
    parser.add_argument(
        "--no-browser", action="store_true", help="print the address and open no browser"
    )


def _ui(arguments: argparse.Namespace) -> None:
    _end_by_signal()
    from hrm_sweep.tracking import moved_store, ui

    is_named = arguments.study or not os.environ.get("MLFLOW_TRACKING_URI")
    shown = _shown(arguments.study) if is_named else None
    uri = _tracking_uri(shown)
    if uri.startswith(store.SERVERS):
        address = f"{redacted(uri)}{_page(shown)}"
        print(f"MLflow runs as a server: open {address} in a browser")
        _browse(address, arguments)
        return
    path = store.database_path(uri)
    if path is not None and not path.exists():
        raise TrackingError(f"{path}: does not exist yet; train something first")
    store.check(uri)
    moved_store.follow(uri)
    port = free_port(arguments.port)
    _say_what_is_awaited("MLflow starts, which takes some seconds …")
    with suppress(KeyboardInterrupt), ui.serving(uri, port) as process:
        address = f"http://127.0.0.1:{port}{_page(shown)}"
        print(f"MLflow: {address}  (Ctrl-C to stop)", flush=True)
        _browse(address, arguments)
        raise SystemExit(process.wait())


def _dashboard(arguments: argparse.Namespace) -> None:
    _end_by_signal()
    from hrm_sweep.storage.dashboard import server

    study = resolve_study(arguments.study)
    artifacts = study.folder.parent / "artifacts"
    port = free_port(arguments.port)
    _say_what_is_awaited("Optuna's dashboard starts …")
    with server(storage_of(study), port, study=study.name, artifacts=artifacts) as running:
        print(f"Optuna: {running.page}  (Ctrl-C to stop)", flush=True)
        _browse(running.page, arguments)
        with suppress(KeyboardInterrupt):
            running.serve_forever()


def _end_by_signal() -> None:
    """Let SIGTERM end the server like Ctrl-C, and with it the processes that it started."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell may ignore it


def _shown(name: str | None) -> Study | Run | None:
    """Return what the user named, or the newest study or single run; None if there is none."""
    if name is not None:
        return resolve(name)
    with suppress(StudyError):
        return resolve(None)
    return None


def _tracking_uri(shown: Study | Run | None) -> str:
    """Return the address that a study or a run was exported to, or that of the default database."""
    if shown is None:
        return store.resolve_uri(None)
    if isinstance(shown, Run) and shown.kind == "train":
        return tracking_of_run(shown)
    study = shown if isinstance(shown, Study) else study_around(shown)
    if study is None:
        raise StudyError(f"{shown.folder}: is not in the folder of its study")
    if not study.tracking:
        raise StudyError(f"{study.name}: was made with tracking=off, so it is not in MLflow")
    return tracking_of(study)


def _page(shown: Study | Run | None) -> str:
    """Return where MLflow shows the trials of a study, best first, or a run; else all it has."""
    state = ExportState.load(shown.folder) if shown else ExportState()
    return page_of(state, is_study=isinstance(shown, Study))


def _say_what_is_awaited(text: str) -> None:
    """Tell the user at a terminal; a program that reads the address gets the address alone."""
    if sys.stderr.isatty():
        print(text, file=sys.stderr)


def _browse(address: str, arguments: argparse.Namespace) -> None:
    if not arguments.no_browser:
        browse(address)


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
        ("", "the newest study, its best trials first, or single run, on http://127.0.0.1:5000"),
        (
            "my-study",
            "that study, trial or run; without a name, MLFLOW_TRACKING_URI if it is set",
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
