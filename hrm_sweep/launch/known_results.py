"""Results that jobs elsewhere reuse because a complete run has the same recipe.

Where jobs share the study's folder, they look there themselves; see `cached_results`. Elsewhere the
driver sends what trials with the same overrides have left, whatever their seeds, and a job says
what it has added. The driver computes no digests: that would take it longer than all else that it
does for a trial.
"""

from __future__ import annotations

import os
import re
import zlib
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath

from hrm_sweep.launch import cached_results
from hrm_sweep.launch.messages import PIECE_BYTES, Complete, Part, pack
from hrm_sweep.runs import layout

_DIGEST = re.compile("[0-9a-f]{64}")


class KnownResults:
    """Results of the trials that have ended in this sweep.

    Args:
        study: folder of the study.
    """

    def __init__(self, study: Path) -> None:
        self._study = study
        self._digests: dict[tuple[str, ...], list[str]] = defaultdict(list)
        """Of the complete runs of trials, by the overrides of the trials but the seed."""

    def files_for(self, overrides: Sequence[str], folder: Path) -> Iterator[Part]:
        """Yield the files by which a job finds results, with names below the study's folder.

        Args:
            folder: of the job's run.
        """
        for digest in self._digests.get(_key(overrides), ()):
            if (found := cached_results.find(self._study, digest, asking=folder)) is not None:
                name = Path(os.path.relpath(found.folder, self._study)).as_posix()
                record = (found.folder / layout.RECORD).read_bytes()
                if len(record) <= PIECE_BYTES:
                    yield _file(f"{layout.CACHED_RESULTS}/{digest}", name.encode())
                    yield _file(f"{name}/{layout.RECORD}", record)

    def add(self, overrides: Sequence[str], subdir: str, said: Complete) -> None:
        """Keep a result.

        Args:
            overrides: of the trial.
            subdir: of its folder, below the study's.
            said: what its job has said.

        Raises:
            ValueError: it is the result of no run of the trial.
        """
        name = PurePosixPath(said.name)
        is_own = ".." not in name.parts and name.is_relative_to(subdir)
        if not is_own or not _DIGEST.fullmatch(said.digest):
            raise ValueError(f"{said.name!r}, {said.digest!r}: is no run of trial {subdir}")
        cached_results.add(self._study, said.digest, self._study / name)
        self._digests[_key(overrides)].append(said.digest)


def added_results(study: Path, known: Sequence[Part]) -> Iterator[Complete]:
    """Yield the results that a job has added below what stands for the study's folder.

    Args:
        known: those that it was given.
    """
    given = {PurePosixPath(part.name).name for part in known}
    for path in (study / layout.CACHED_RESULTS).glob("*"):
        if path.name not in given:
            yield Complete(path.name, path.read_text(encoding="utf-8"))


def _key(overrides: Sequence[str]) -> tuple[str, ...]:
    """Return what trials have in common of which one may repeat a run of the other."""
    return tuple(sorted(each for each in overrides if not each.lstrip("+").startswith("seed=")))


def _file(name: str, content: bytes) -> Part:
    return Part(name, 0, pack(content), zlib.crc32(content))
