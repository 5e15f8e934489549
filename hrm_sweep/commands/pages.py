"""`ui` and `dashboard`: MLflow and Optuna in a browser, on the databases of a study."""

from __future__ import annotations

import argparse
import os
import signal
import socket
from contextlib import suppress

from hrm_sweep.commands.command import Command, study_argument
from hrm_sweep.commands.resolve import resolve_study
from hrm_sweep.errors import InputError, StudyError, TrackingError
from hrm_sweep.runs.export_state import ExportState
from hrm_sweep.runs.study import Study

PORTS = 20
"""How many are tried from the first on."""


def _arguments(parser: argparse.ArgumentParser, port: int) -> None:
    study_argument(parser)
    parser.add_argument(
        "--port", type=int, default=port, help=f"default: {port}, or the next that is free"
    )


def _ui(arguments: argparse.Namespace) -> None:
    _end_by_signal()
    from hrm_sweep.tracking import store, ui

    is_named = arguments.study or not os.environ.get("MLFLOW_TRACKING_URI")
    study = _study_or_none(arguments.study) if is_named else None
    uri = store.resolve_uri(_tracking_uri(study))
    if uri.startswith(store.SERVERS):
        print(f"MLflow is a server already: open {uri} in a browser")
        return
    path = store.database_path(uri)
    if path is not None and not path.exists():
        raise TrackingError(f"{path}: nothing was sent there yet; train something first")
    store.check(uri)
    port = free_port(arguments.port)
    with suppress(KeyboardInterrupt), ui.serving(uri, port) as process:
        address = f"http://127.0.0.1:{port}{_runs_page(study)}"
        print(f"MLflow: {address}  (Ctrl-C ends it)", flush=True)
        raise SystemExit(process.wait())


def _dashboard(arguments: argparse.Namespace) -> None:
    _end_by_signal()
    from hrm_sweep.storage.dashboard import server

    study = resolve_study(arguments.study)
    artifacts = study.folder.parent / "artifacts"
    port = free_port(arguments.port)
    with server(storage_of(study), port, study=study.name, artifacts=artifacts) as running:
        print(f"Optuna: http://127.0.0.1:{port}/dashboard/  (Ctrl-C ends it)", flush=True)
        with suppress(KeyboardInterrupt):
            running.serve_forever()


def _end_by_signal() -> None:
    """SIGTERM ends the page like Ctrl-C, and with it what it has started."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # also where a shell ignores it


def _study_or_none(name: str | None) -> Study | None:
    """The study of that name; the newest one, if there is one."""
    try:
        return resolve_study(name)
    except StudyError:
        if name is not None:
            raise
        return None


def _tracking_uri(study: Study | None) -> str | None:
    """Where a study was sent; None is the default place."""
    if study is None:
        return None
    if not study.tracking:
        raise StudyError(f"{study.name}: made with tracking=off, so MLflow does not have it")
    return with_password(study.tracking["uri"], "MLFLOW_TRACKING_URI")


def _runs_page(study: Study | None) -> str:
    """The page with the runs of the study's experiment: the front page of MLflow has none."""
    experiment = ExportState.load(study.folder).experiment_id if study else ""
    return f"/#/experiments/{experiment}/runs" if experiment else ""


def storage_of(study: Study) -> str:
    """The URL of a study's Optuna storage."""
    return with_password(study.storage, "HRM_SWEEP_STORAGE") or study.storage


def with_password(shown: str | None, variable: str) -> str | None:
    """An address as it was written down, or, where it was written without its password, what the
    environment variable holds."""
    given = os.environ.get(variable)
    if not shown or not given or given == shown:
        return shown
    from sqlalchemy import make_url

    bare, full = make_url(shown), make_url(given)
    same = (bare.host, bare.port, bare.database) == (full.host, full.port, full.database)
    return given if same else shown


def free_port(first: int) -> int:
    """The first free port of this machine from `first` on.

    Raises:
        InputError: there is none near.
    """
    for port in range(max(1, first), first + PORTS):
        with socket.socket() as probe, suppress(OSError, OverflowError):
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("127.0.0.1", port))
            return port
    raise InputError(f"--port {first}: no port is free from there on; try --port 8765")


UI = Command(
    name="ui",
    summary="Open the MLflow UI on this machine, on the database that the runs are sent to.",
    examples=(
        ("", "http://127.0.0.1:5000, until Ctrl-C"),
        ("my-study", "where that study was sent; without a name MLFLOW_TRACKING_URI counts first"),
        ("--port 5005", "on another port"),
    ),
    arguments=lambda parser: _arguments(parser, 5000),
    run=_ui,
)
DASHBOARD = Command(
    name="dashboard",
    summary="Open the Optuna dashboard on this machine, on the storage of a study.",
    examples=(
        ("", "http://127.0.0.1:8080/dashboard/, until Ctrl-C"),
        ("my-study", "the storage of that study"),
    ),
    arguments=lambda parser: _arguments(parser, 8080),
    run=_dashboard,
)
