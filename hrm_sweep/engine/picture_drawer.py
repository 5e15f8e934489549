"""Pictures of a study's runs, drawn by the sweep: a run's folder is whole without MLflow."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

from hrm_sweep.engine.progress import TrialProgress
from hrm_sweep.engine.state import StudyState
from hrm_sweep.errors import RecordError
from hrm_sweep.runs.pictures import draw_function
from hrm_sweep.runs.run import Run

NICE = 5


class PictureDrawer:
    """Observer that draws what is not drawn yet at the end of a study.

    That is what the exporter, which draws before it sends, could not send. A stopped study gets the
    rest when it is resumed.

    Args:
        path: dotted path of the function that draws a run's pictures; None draws none.
    """

    def __init__(self, path: str | None) -> None:
        self._has_pictures, self._draw = path is not None, draw_function(path)
        self._pool = ThreadPoolExecutor(max_workers=1, initializer=_give_way)

    def begin(self, state: StudyState) -> None:
        """Keep the state."""
        self._state = state

    def tick(self) -> None:
        """Do nothing."""

    def trial_ended(self, trial: TrialProgress) -> None:
        """Do nothing."""

    def end(self) -> None:
        """Wait until all pictures are drawn."""
        if not self._state.is_stopped:
            for trial in self._state.ended.values():
                self._submit(trial)
        self._pool.shutdown(cancel_futures=self._state.is_stopped)

    def _submit(self, trial: TrialProgress) -> None:
        if self._has_pictures and trial.folder.exists():
            self._pool.submit(self._draw_all, trial.folder)

    def _draw_all(self, folder: Path) -> None:
        with suppress(RecordError):  # named where the run is shown
            for each in _trained(folder):
                self._draw(each)


class EagerPictureDrawer(PictureDrawer):
    """Observer that draws the pictures of each trial when it has ended, where no exporter does."""

    def trial_ended(self, trial: TrialProgress) -> None:
        """Draw a trial's pictures."""
        self._submit(trial)


def _trained(folder: Path) -> Iterator[Path]:
    """Yield the folders of a trial whose runs trained: its own, or those of its repeats."""
    run = Run.open(folder)
    for each in run.repeats or [run]:
        yield each.folder


def _give_way() -> None:
    """Let processes that train go first; Linux keeps the nice value of each thread: sched(7)."""
    with suppress(OSError, AttributeError):
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICE)
