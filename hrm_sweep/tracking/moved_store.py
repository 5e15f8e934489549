"""A store whose folder was moved or copied: MLflow keeps the addresses of artifacts absolutely.

Our own store has its artifacts beside its database (`store.artifact_root`). Where it was made can
be read from it: MLflow ends the location of an experiment with the experiment's id, and ours have
none.
"""

from __future__ import annotations

import sqlite3
import sys
from functools import partial
from pathlib import Path
from urllib.parse import unquote, urlsplit

from hrm_sweep.compat import mlflow
from hrm_sweep.errors import TrackingError
from hrm_sweep.system.locks import locked
from hrm_sweep.tracking import store


def follow(uri: str) -> None:
    """Let the addresses in a moved store of our own name its files where they are now.

    A file that is at the old place alone keeps its address. What is moved is printed. A server, and
    a database whose artifacts were never beside it, are left as they are; so is, until it is opened
    again, one that another process keeps locked.

    Raises:
        TrackingError: the database cannot be written.
    """
    path = store.database_path(uri)
    if path is None or not path.exists():
        return
    try:
        for before in _former_places(path):
            with locked(store.lock_of(path)):
                number = mlflow.replace_addresses(path, partial(_moved, before, path))
            if number:
                was = f"{path.parent} was {_path(before)} before"
                print(f"MLflow: {was}; its {number} addresses of files follow", file=sys.stderr)
    except (OSError, sqlite3.Error) as error:
        if store.is_locked(error):
            return
        raise TrackingError(
            f"{path}: was moved here, and its addresses cannot be changed ({error})"
        ) from None


def _former_places(path: Path) -> list[str]:
    """Return the addresses of the folders where a database was with its artifacts before."""
    end = f"/{store.ARTIFACTS}"
    locations = [each.removesuffix("/0") for each in mlflow.experiment_locations(path)]
    places = {each.removesuffix(end) for each in locations if each.endswith(end)}
    return sorted(each for each in places if each.startswith("file:") and not _is_at(each, path))


def _is_at(place: str, path: Path) -> bool:
    """Return whether a place is the folder of a database now, by whatever name."""
    folder = _path(place)
    return folder == path.parent or (folder.exists() and folder.samefile(path.parent))


def _moved(before: str, path: Path, address: str) -> str:
    if not address.startswith(f"{before}/"):
        return address
    now = path.parent.as_uri() + address.removeprefix(before)
    is_ours = address == f"{before}/{store.ARTIFACTS}"  # new files come there
    is_left_behind = _path(address).exists() and not _path(now).exists()
    return address if is_left_behind and not is_ours else now


def _path(address: str) -> Path:
    return Path(unquote(urlsplit(address).path))
