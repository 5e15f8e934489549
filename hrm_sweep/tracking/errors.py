"""What can go wrong with a tracking server, as three errors; the client raises dozens of kinds."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import requests
import sqlalchemy.exc
from mlflow.exceptions import MlflowException

from hrm_sweep.errors import TrackingError
from hrm_sweep.system.redact import redacted
from hrm_sweep.tracking.limits import cut


class Unreachable(TrackingError):
    """The server or its database does not answer as it should now; later it may."""


class Refused(TrackingError):
    """The server answers, and refuses this request; it will refuse it again."""


class Gone(Refused):
    """The run was deleted there."""


@contextmanager
def translated() -> Iterator[None]:
    """Translate what MLflow and the libraries below it raise into these errors."""
    try:
        yield
    except MlflowException as error:
        status: int = error.get_http_status_code()  # type: ignore[no-untyped-call]
        raise _translation(status, error.error_code, str(error)) from None
    except requests.HTTPError as error:
        status = 500 if error.response is None else error.response.status_code
        raise _translation(status, "", str(error)) from None
    except (requests.RequestException, sqlalchemy.exc.SQLAlchemyError, OSError) as error:
        raise Unreachable(plain(str(error))) from None


def _translation(status: int, code: str | None, text: str) -> TrackingError:
    if code == "RESOURCE_DOES_NOT_EXIST" or "must be in the 'active' state" in text:
        return Gone(plain(text))
    # BAD_REQUEST is what MLflow makes of a database's errors
    passing = status >= 500 or status in (401, 403, 408, 425, 429) or code == "BAD_REQUEST"
    return (Unreachable if passing else Refused)(plain(text))


_PLAIN = {
    "Connection refused": "connection refused",
    "Name or service not known": "no such host",
    "nodename nor servname": "no such host",
    "timed out": "no answer in time",
    "timeout": "no answer in time",
    "Connection reset": "connection reset",
    "Connection aborted": "connection closed without an answer",
    "RemoteDisconnected": "connection closed without an answer",
    "too many 429": "too many requests (429)",
    "too many 50": "the server has an error (5xx)",
    "database is locked": "the database is locked by another process",
    "disk is full": "the disk is full",
    "disk I/O error": "the disk is full or broken",
}


def plain(text: str) -> str:
    """Return the cause in a few words where it is known, else the first line; without secrets."""
    for sign, words in _PLAIN.items():
        if sign in text:
            return words
    lines = [line for line in text.splitlines() if line and "Query-invoked autoflush" not in line]
    return cut(redacted("".join(lines[:1])), 300)
