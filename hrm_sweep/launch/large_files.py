"""Files of a remote run that are too large to travel home.

They are kept on a path or an fsspec URL that all nodes reach, if the user names one
(`hydra.launcher.artifacts`). A small file in their place at home says where, and the next attempt
fetches them from there.
"""

from __future__ import annotations

import json
import math
import posixpath
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from hrm_sweep.errors import ConfigError
from hrm_sweep.launch.messages import FileMessage, Notice, Part, Removed, pack
from hrm_sweep.system import files
from hrm_sweep.system.redact import redacted

ELSEWHERE = ".elsewhere.json"
"""End of the name of a file that says where another one is kept."""
MEGABYTE = 1_000_000


class Limits(NamedTuple):
    """Which files travel.

    Args:
        max_file_mb: size of the largest one, in millions of bytes.
        artifacts: path or URL of a folder for larger ones; None: there is none.
    """

    max_file_mb: float
    artifacts: str | None = None


def check_artifacts(artifacts: str | None) -> None:
    """Check that this machine has what reaches a place for large files.

    Raises:
        ConfigError: it has not, or the place is none.
    """
    if artifacts is None:
        return
    rule, way_out = "must be a folder's path or URL", "such as s3://bucket/folder, or null"
    if not artifacts.strip():
        raise ConfigError("artifacts", artifacts, rule, way_out)
    try:
        _file_system(artifacts)
    except ImportError as error:
        raise ConfigError("artifacts", redacted(artifacts), f"needs a package ({error})") from None
    except Exception as error:  # whatever a file system raises
        rule += f" ({' '.join(str(error).split())})"
        raise ConfigError("artifacts", redacted(artifacts), rule, way_out) from None


class _Place(NamedTuple):
    """Where a large file is kept."""

    url: str
    size: int
    sha256: str

    @classmethod
    def read(cls, path: Path) -> _Place:
        content = json.loads(path.read_text(encoding="utf-8"))
        return cls(str(content["url"]), int(content["size"]), str(content["sha256"]))


class LargeFiles:
    """Keeper of the large files of one run.

    Args:
        limits: of the launcher.
        run: names the run among all that keep files there.
    """

    def __init__(self, limits: Limits, run: str) -> None:
        self._limits, self._run = limits, run
        self._kept: dict[str, list[str]] = {}
        """URLs of what was kept of a file: the last one, and the one before."""
        self._named: set[str] = set()
        """Files that a notice has named to the user."""

    def is_too_large(self, size: int) -> bool:
        """Return whether a file of so many bytes stays away from home."""
        return size > self._limits.max_file_mb * MEGABYTE

    def keep(self, name: str, path: Path) -> list[FileMessage | Notice]:
        """Keep a file, and return the messages that say where, or why not.

        The one before the last is kept too: until the last message is at home, that is the one that
        is named there.
        """
        if self._limits.artifacts is None:
            return self._notices(name, self._limit(name, path.stat().st_size))
        try:
            place = self._store(name, path, self._limits.artifacts)
        except Exception as error:  # whatever a file system raises is no fault of the trial
            why = " ".join(f"{type(error).__name__}: {error}".split())
            text = f"{name}: cannot be kept in hydra.launcher.artifacts={self._limits.artifacts}"
            return self._notices(name, f"{text} ({why}); the trial continues without it at home")
        kept = [*self._kept.get(name, []), place.url]
        for url in {*kept[:-2]} - {*kept[-2:]}:
            _remove(url)
        self._kept[name] = kept[-2:]
        content = json.dumps(place._asdict(), indent=2).encode() + b"\n"
        pointer = Part(name + ELSEWHERE, 0, pack(content), zlib.crc32(content))
        return [pointer, Removed(name)]  # a smaller one of that name

    def forgotten(self, name: str) -> Iterator[Removed]:
        """Remove what is kept of a file, and yield that there is nothing any more."""
        if kept := self._kept.pop(name, None):
            yield Removed(name + ELSEWHERE)
            for url in {*kept}:
                _remove(url)

    def fetch(self, folder: Path) -> list[Notice]:
        """Put the files that earlier attempts have kept into the run's folder."""
        notices = []
        for pointer in sorted(folder.rglob(f"*{ELSEWHERE}")):
            path = pointer.with_name(pointer.name.removesuffix(ELSEWHERE))
            name = path.relative_to(folder).as_posix()
            try:
                place = _Place.read(pointer)
                self._kept[name] = [place.url]
                with files.replacing(path) as temporary:
                    _download(place, temporary)
            except Exception as error:  # the attempt begins where it can
                why = " ".join(f"{type(error).__name__}: {error}".split())
                text = f"{name}: cannot be fetched from where {pointer.name} says it is ({why})"
                notices += self._notices(name, text)
            pointer.unlink()
        return notices

    def _store(self, name: str, path: Path, artifacts: str) -> _Place:
        digest = files.sha256(path)
        url = posixpath.join(artifacts, self._run, f"{name}.{digest[:12]}")
        system, at = _file_system(url)
        system.makedirs(posixpath.dirname(at), exist_ok=True)
        system.put_file(str(path), at)
        return _Place(url, path.stat().st_size, digest)

    def _limit(self, name: str, size: int) -> str:
        most = self._limits.max_file_mb
        return (
            f"{name}: has {math.ceil(10 * size / MEGABYTE) / 10} MB, more than "
            f"hydra.launcher.max_file_mb={most:g}, and does not travel home; keep such files with "
            "hydra.launcher.artifacts=PATH_OR_URL, or set a larger hydra.launcher.max_file_mb"
        )

    def _notices(self, name: str, text: str) -> list[Any]:
        if name in self._named:
            return []
        self._named.add(name)
        return [Notice(name, text)]


def _download(place: _Place, path: Path) -> None:
    system, at = _file_system(place.url)
    system.get_file(at, str(path))
    if files.sha256(path) != place.sha256:
        raise ValueError(f"{place.url}: is another file than the one that was kept")


def _remove(url: str) -> None:
    """Remove a kept file; one that cannot be removed stays."""
    try:
        system, at = _file_system(url)
        system.rm_file(at)
    except Exception:  # whatever a file system raises is no fault of the trial
        return


def _file_system(url: str) -> tuple[Any, str]:
    """Return the file system of a path or URL, and the path in it."""
    from fsspec.core import url_to_fs  # type: ignore[import-untyped]  # torch brings it

    system, path = url_to_fs(url)
    return system, path
