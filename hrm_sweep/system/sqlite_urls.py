"""Addresses of SQLite databases: `sqlite:///` and a path, in which SQLAlchemy decodes %-escapes."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import unquote

_PREFIX = re.compile(r"sqlite(\+pysqlite)?:///")


def path_of(url: str) -> Path | None:
    """Return the path that a URL names, None if it is that of no SQLite database."""
    match = _PREFIX.match(url)
    return Path(unquote(url[match.end() :].partition("?")[0])) if match else None


def url_of(path: Path) -> str:
    """Return the URL of the database at a path.

    An escape makes it one with the driver's name: MLflow takes the text after a plain `sqlite:///`
    for a path, and would create the folders that this text names.
    """
    escaped = str(path).replace("%", "%25").replace("?", "%3F")
    return f"sqlite{'+pysqlite' * (escaped != str(path))}:///{escaped}"


def absolute(url: str) -> str:
    """Return the URL of the same database for a process that works in another folder."""
    path = path_of(url)
    if path is None:
        return url
    _, question_mark, options = url.partition("?")
    return url_of(path.absolute()) + question_mark + options
