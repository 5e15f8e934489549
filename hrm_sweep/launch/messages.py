"""Messages between a remote job and its driver: what changed in the run's folder, and its end.

Names of files are relative to the run's folder. Content travels compressed and in pieces, so that a
large file never stands in memory as a whole.
"""

from __future__ import annotations

import re
import zlib
from pathlib import PurePosixPath
from typing import NamedTuple

from hrm_sweep.runs import channel, layout
from hrm_sweep.runs.record import UNBORN

PIECE_BYTES = 4 << 20
"""Most bytes of a file in one message, before they are compressed."""
SAMPLE_BYTES, WORTH = 1 << 16, 0.9
"""A piece whose first bytes do not shrink below that share travels as it is: weights shrink by 7 %,
and zlib takes a second for 25 MB of them."""
AT_HOME = (
    layout.EXPORT_STATE,
    layout.EXPORTER_LOCK,
    channel.QUESTION,
    channel.ANSWER,
)
"""Files that only the driver's processes write, or that a driver and its own jobs share."""
_UNFINISHED = re.compile(rf"{re.escape(UNBORN)}.*|\..*\.\d+")
"""Names of files that are replaced or named in a moment; see `hrm_sweep.system.files`."""
_RECORD = re.compile(rf"(\d+/)?{re.escape(layout.RECORD)}")


class Appended(NamedTuple):
    """Bytes at the end of a file that only grows."""

    name: str
    offset: int
    """Bytes of the file before these."""
    packed: bytes


class Part(NamedTuple):
    """Bytes of a file that takes the place of the one of its name when it is whole."""

    name: str
    offset: int
    packed: bytes
    checksum: int | None
    """CRC-32 of the whole file, with its last part."""


class Removed(NamedTuple):
    """A file that is gone."""

    name: str


class Asked(NamedTuple):
    """The job waits after a step for the verdict of the pruner."""

    step: int


class Notice(NamedTuple):
    """A line for the user, about a file."""

    name: str
    text: str


class Complete(NamedTuple):
    """A run of the job is complete: another one of its recipe may reuse the result."""

    digest: str
    """Of the recipe."""
    name: str
    """Of the run's folder, below the study's."""


class Done(NamedTuple):
    """The last message: what the job returned, pickled, or what became of it."""

    result: bytes | Exception


FileMessage = Appended | Part | Removed
Message = FileMessage | Asked | Notice | Complete | Done


def is_record(name: str) -> bool:
    """Return whether a file is the record of a trial, or of one of its repeats."""
    return _RECORD.fullmatch(name) is not None


def travels(name: str) -> bool:
    """Return whether a file of a run's folder belongs to the run, wherever that is."""
    last = PurePosixPath(name).name
    return last not in AT_HOME and not _UNFINISHED.fullmatch(last)


def pack(data: bytes) -> bytes:
    """Return the bytes of a piece as they travel, compressed where that is worth its time."""
    sample = data[:SAMPLE_BYTES]
    is_worth_it = len(zlib.compress(sample, 1)) < WORTH * len(sample)
    return zlib.compress(data, 1 if is_worth_it else 0)


def unpack(packed: bytes) -> bytes:
    """Return the bytes of a piece.

    Raises:
        ValueError: they are damaged, or more than a piece may have.
    """
    unpacker = zlib.decompressobj()
    try:
        data = unpacker.decompress(packed, PIECE_BYTES + 1)
    except zlib.error as error:
        raise ValueError(f"a piece cannot be unpacked ({error})") from None
    if len(data) > PIECE_BYTES or not unpacker.eof:
        raise ValueError("a piece is torn, or too large")
    return data
