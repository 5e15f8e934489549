"""The Optuna dashboard on a study's storage, for this machine alone."""

from __future__ import annotations

import json
import shutil
import uuid
from collections.abc import Callable, Iterable
from pathlib import Path
from socketserver import ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from optuna.storages import BaseStorage

from hrm_sweep.compat.optuna import study_id, trial_id
from hrm_sweep.errors import StudyError
from hrm_sweep.storage.database import shown
from hrm_sweep.storage.optuna_storage import SharedStorage, existing_study

HOST = "127.0.0.1"
Application = Callable[..., Iterable[bytes]]


def server(storage: str, port: int, *, study: str, artifacts: Path) -> DashboardServer:
    """Return a server for the storage at a URL; `serve_forever` runs it.

    Args:
        study: whose trials' pictures are shown with them.
        artifacts: folder where the dashboard looks for pictures; `optuna-dashboard` takes it too,
            as `--artifact-dir`.

    Raises:
        StudyError: the storage cannot be opened, or has no study of that name.
    """
    from optuna.artifacts import FileSystemArtifactStore
    from optuna_dashboard import wsgi

    found = existing_study(storage, study)
    if found is None:
        raise StudyError(
            f"{study}: not in Optuna's storage {shown(storage)} any more; its folder has it all: "
            "see best, show and report"
        )
    opened = SharedStorage(storage)
    show_pictures(opened, study, artifacts)
    application: Any = wsgi(opened, artifact_store=FileSystemArtifactStore(artifacts))
    hosts = {f"localhost:{port}", f"{HOST}:{port}"}
    served = make_server(
        HOST, port, guarded(application, hosts), server_class=DashboardServer, handler_class=_Quiet
    )
    served.page = f"http://{HOST}:{served.server_port}/dashboard/studies/{study_id(found)}"
    return served


def show_pictures(storage: BaseStorage, study: str, artifacts: Path) -> None:
    """Attach the pictures in the folders of trials and repeats to the trials of a study.

    Optuna itself attaches a file to a running trial only, and pictures are drawn afterwards; the
    dashboard also reads what stands with the study under the trial's number.
    """
    artifacts.mkdir(parents=True, exist_ok=True)
    study_id = storage.get_study_id_from_name(study)
    known = storage.get_study_system_attrs(study_id)
    for trial in storage.get_all_trials(study_id, deepcopy=False):
        folder = Path(trial.user_attrs.get("folder", artifacts))
        for picture in sorted([*folder.glob("*.png"), *folder.glob("*/*.png")]):
            if picture.is_symlink():
                continue
            name = str(picture.relative_to(folder))
            identity = str(uuid.uuid5(uuid.NAMESPACE_URL, f"{study}/{trial.number}/{name}"))
            _link(picture, artifacts / identity)
            key = f"dashboard:artifacts:{trial_id(trial)}:{identity}"
            if key not in known:
                artifact = {"artifact_id": identity, "filename": name, "mimetype": "image/png"}
                storage.set_study_system_attr(
                    study_id, key, json.dumps(artifact | {"encoding": None})
                )


def _link(picture: Path, path: Path) -> None:
    path.unlink(missing_ok=True)
    try:
        path.hardlink_to(picture)
    except OSError:  # another disk, or one without links
        shutil.copyfile(picture, path)


def guarded(application: Application, hosts: set[str]) -> Application:
    """Answers requests for `hosts` only: a page elsewhere may let its own name point here."""

    def answer(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        if environ.get("HTTP_HOST") in hosts:
            return application(environ, start_response)
        start_response("403 Forbidden", [("Content-Type", "text/plain")])
        return [b"this dashboard answers on localhost only\n"]

    return answer


class DashboardServer(ThreadingMixIn, WSGIServer):
    """Server of the dashboard."""

    daemon_threads = True
    page = ""
    """Address of the study's page, unknown until it is served: port and number may be any."""


class _Quiet(WSGIRequestHandler):
    def log_message(self, *_: Any) -> None:
        """Log nothing: a browser polls every few seconds."""
