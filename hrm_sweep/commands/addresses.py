"""Addresses of databases and servers as a study recorded them, with passwords put back."""

from __future__ import annotations

import os
from pathlib import Path

from hrm_sweep.engine.plugin_config import STORAGE
from hrm_sweep.errors import StudyError
from hrm_sweep.runs.run import Run
from hrm_sweep.runs.study import Study
from hrm_sweep.system.sqlite_urls import path_of, url_of
from hrm_sweep.tracking import store


def storage_of(study: Study) -> str:
    """Return the URL of a study's Optuna storage.

    A path is taken as it was typed, or where it is now if the study's project was moved, or is not
    the current folder.
    """
    url = with_password(study.storage, "HRM_SWEEP_STORAGE") or study.storage
    return _where_it_is(study, url, "storage")


def tracking_of(study: Study) -> str:
    """Return the address of the MLflow to which a study was exported, with an absolute path.

    A path is found as that of `storage_of`.
    """
    assert study.tracking is not None
    uri = with_password(study.tracking["uri"], "MLFLOW_TRACKING_URI")
    if uri is None and os.environ.get("MLFLOW_TRACKING_URI"):
        return store.resolve_uri(None)
    return store.resolve_uri(_where_it_is(study, uri or store.DEFAULT, "tracking"))


def tracking_of_run(run: Run) -> str:
    """Return the address of the MLflow to which a single run was exported, as `tracking_of` does.

    Its record does not say where the project was: a path is taken as it was typed.

    Raises:
        StudyError: it was not exported.
    """
    params = run.first.fields["params"]
    if params.get("tracking.name") != "mlflow":
        raise StudyError(f"{run.folder.name}: was made with tracking=off, so it is not in MLflow")
    return store.resolve_uri(with_password(params.get("tracking.uri"), "MLFLOW_TRACKING_URI"))


def _where_it_is(study: Study, url: str, kind: str) -> str:
    path = path_of(url)
    if path is None or path.is_absolute() or study.place is None:
        return url
    last = path_of(study.place[kind])
    if last is None:
        return url
    from_folder = os.path.relpath(last, study.place["folder"])
    beside = Path(os.path.normpath(study.folder.resolve() / from_folder))
    return url if beside == path.resolve() or not beside.exists() else url_of(beside)


def folders_in_storage() -> list[Path]:
    """Return the folders of this machine that studies in the project's Optuna database name.

    Raises:
        StudyError: the database cannot be read.
        DatabaseAway: it does not answer.
    """
    url = os.environ.get("HRM_SWEEP_STORAGE") or STORAGE
    if url == STORAGE and not Path(STORAGE.removeprefix("sqlite:///")).exists():
        return []
    from hrm_sweep.engine.identity import folders_of
    from hrm_sweep.storage.studies import study_attributes

    return [folder for attrs in study_attributes(url) for folder in folders_of(attrs)]


def with_password(recorded: str | None, variable: str) -> str | None:
    """Return a recorded address, or the one with the password from an environment variable.

    Args:
        recorded: the address without its password, as records have it.
        variable: name of the variable, which counts if it holds the same address.
    """
    given = os.environ.get(variable)
    if not recorded or not given or given == recorded:
        return recorded
    from sqlalchemy import make_url

    bare, full = make_url(recorded), make_url(given)
    same = (bare.host, bare.port, bare.database) == (full.host, full.port, full.database)
    return given if same else recorded
