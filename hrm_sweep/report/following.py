"""A page that follows a study or a run: written anew when a record has grown."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from hrm_sweep.report import write_report
from hrm_sweep.report.html import stop_following
from hrm_sweep.runs import layout
from hrm_sweep.runs.find import open_folder
from hrm_sweep.runs.run import Run
from hrm_sweep.runs.study import Study
from hrm_sweep.system import process

POLL_SECONDS = 1.0
REST = 4.0
"""Times as long as the last page took to write is none written: what runs needs the processor."""

Found = Study | Run


def follow(folder: Path, whole: Callable[[Found], Found], say: Callable[[str], None]) -> None:
    """Write the page of a study or run whenever its records have grown, until it has ended.

    Args:
        folder: of the study or run.
        whole: adds the trials of a study that its folder lacks.
        say: gets a line when trials have begun or ended.

    Raises:
        KeyboardInterrupt: Ctrl-C, or a signal that asks for the same. The page stays as it is.
    """
    seen, said = None, ""
    try:
        with process.stop_signals():
            while True:
                found = open_folder(folder)
                goes_on, now = _runs(found), _sizes(folder)
                begun = time.monotonic()
                if now != seen or not goes_on:
                    text = _describe(found := whole(found))
                    if text != said:
                        say(said := text)
                    if _has_begun(found):
                        write_report(found, follows=goes_on)
                    seen = now
                if not goes_on:
                    return
                process.raise_again()
                time.sleep(max(POLL_SECONDS, REST * (time.monotonic() - begun)))
    except KeyboardInterrupt:
        stop_following(folder)
        raise


def _runs(found: Found) -> bool:
    """Return whether something works on it, also where nothing is seen of that from here."""
    if isinstance(found, Run):
        return found.outcome is None
    return found.is_running or bool(found.run.unknown_writer)


def _describe(found: Found) -> str:
    return found.word if isinstance(found, Run) else found.describe_counts()


def _has_begun(found: Found) -> bool:
    return isinstance(found, Run) or bool(found.trials)


def _sizes(folder: Path) -> dict[Path, int]:
    """Return how long the records of a study, its trials and their repeats are; they only grow."""
    records = (path for depth in ("", "*/", "*/*/") for path in folder.glob(depth + layout.RECORD))
    return {path: path.stat().st_size for path in records}
