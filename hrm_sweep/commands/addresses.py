"""Addresses of databases and servers as a study recorded them, with passwords put back."""

from __future__ import annotations

import os

from hrm_sweep.runs.study import Study


def storage_of(study: Study) -> str:
    """Return the URL of a study's Optuna storage."""
    return with_password(study.storage, "HRM_SWEEP_STORAGE") or study.storage


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
