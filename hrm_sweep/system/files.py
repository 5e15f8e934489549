"""Files that are written whole or not at all."""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from hrm_sweep.errors import InputError
from hrm_sweep.system.redact import redacted_tree


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary neighbour of `path` that replaces it when the block ends well.

    A killed process or a full disk leaves the old file or the new one, never a part.
    """
    with _replacing(path) as temporary:
        yield temporary
    sync_folder(path.parent)


@contextmanager
def creating(path: Path) -> Iterator[Path]:
    """Yield a temporary neighbour of `path` that becomes `path`, unless there is such a file then.

    Like `replacing`, but what another process has put there in the meantime stays.
    """
    with _neighbour(path) as temporary:
        yield temporary
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        give_name(temporary, path)


def give_name(temporary: Path, path: Path) -> bool:
    """Let a file that is on disk appear as `path`; return False if there is such a file.

    Raises:
        FileNotFoundError: the temporary file is gone.
    """
    try:
        path.hardlink_to(temporary)
    except FileExistsError:
        return False
    except OSError:  # a disk without links
        if path.exists():
            return False
        temporary.replace(path)
    sync_folder(path.parent)
    return True


def write_text(path: Path, text: str) -> None:
    """Replace `path` by `text`."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_texts(folder: Path, texts: Mapping[str, str]) -> None:
    """Replace files of a folder by texts, given by name, and wait for the folder once."""
    for name, text in texts.items():
        with _replacing(folder / name) as temporary:
            temporary.write_text(text, encoding="utf-8")
    sync_folder(folder)


def write_note(path: Path, text: str) -> None:
    """Replace `path` by `text`, without waiting for the disk.

    For content that can be made again: after a power cut the file may be the old one, or empty.
    """
    with _neighbour(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
        temporary.replace(path)


def write_json(path: Path, value: Any) -> None:
    """Replace `path` by `value` as indented JSON, secrets in it masked.

    Raises:
        ValueError: a number is not finite; JSON has no such numbers.
    """
    write_text(path, json_text(value))


def json_text(value: Any) -> str:
    """Return `value` as `write_json` writes it."""
    text = json.dumps(redacted_tree(value), indent=2, allow_nan=False, ensure_ascii=False)
    return text + "\n"


def sha256(path: Path) -> str:
    """Hexadecimal SHA-256 of the file."""
    with path.open("rb") as file:
        digest = hashlib.sha256()
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def check_writable(folder: Path) -> None:
    """Check that `folder` can be created and written, without creating it.

    Raises:
        InputError: it cannot.
    """
    ancestor = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    try:
        with tempfile.TemporaryFile(dir=ancestor):
            pass
    except OSError as error:
        raise InputError(
            f"{folder}: cannot be written ({ancestor}: {error.strerror}); "
            "start in a folder that you may write to, on a disk that is not full"
        ) from None


def set_aside(path: Path) -> Path:
    """Rename `path` to the first free of `path.1`, `path.2`, … and return that."""
    for number in itertools.count(1):
        target = path.with_name(f"{path.name}.{number}")
        if not target.exists():
            return path.rename(target)
    raise AssertionError


def append(path: Path) -> BinaryIO:
    """Open a file for appending, and create it if need be; a symbolic link is not followed.

    Raises:
        OSError: there is a link, or the file cannot be written.
    """
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW
    return os.fdopen(os.open(path, flags, 0o666), "ab")


def make_folder(path: Path) -> None:
    """Create a folder and those above it, where they are missing; its own link is not followed.

    Raises:
        InputError: there is a link in its place, which may lead to any folder of the user.
    """
    check_no_link(path)
    path.mkdir(parents=True, exist_ok=True)


def check_no_link(path: Path) -> None:
    """Check that what is written at a path stays there: a study may come from another user.

    Raises:
        InputError: there is a symbolic link.
    """
    if path.is_symlink():
        raise InputError(
            f"{path}: is a symbolic link to {path.readlink()}, and nothing is written through one; "
            "remove it, or put what it leads to in its place"
        )


def remove_unfinished(folder: Path, pid: int) -> None:
    """Remove the temporary neighbours that a dead process has left in a folder."""
    for path in folder.glob(f".*.{pid}"):
        if path.is_file() or path.is_symlink():
            path.unlink(missing_ok=True)


@contextmanager
def _replacing(path: Path) -> Iterator[Path]:
    """Do what `replacing` does, but for the sync of the folder, which makes the name durable."""
    with _neighbour(path) as temporary:
        yield temporary
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        temporary.replace(path)


@contextmanager
def _neighbour(path: Path) -> Iterator[Path]:
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.unlink(missing_ok=True)  # of a dead process, or a link
    try:
        yield temporary
    finally:
        temporary.unlink(missing_ok=True)


def sync_folder(folder: Path) -> None:
    """Make names that were added to or removed from a folder durable."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
