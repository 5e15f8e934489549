"""Observers kept apart from the study that they watch."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

from hrm_sweep.engine.interfaces import Observer
from hrm_sweep.engine.progress import TrialProgress
from hrm_sweep.engine.state import StudyState
from hrm_sweep.errors import HrmSweepError
from hrm_sweep.system import machine
from hrm_sweep.system.redact import redacted


class GuardedObserver:
    """Observer whose faults do not end the study: the first one is printed, all are passed over.

    What it raises as an `HrmSweepError` is no fault of its own, and is raised; but that a disk is
    full is for the trials to meet, whose records are made first.
    """

    def __init__(self, observer: Observer) -> None:
        self._observer = observer
        self._has_failed = False

    def begin(self, state: StudyState) -> None:
        """Begin, guarded."""
        self._guard(self._observer.begin, state)

    def tick(self) -> None:
        """Tick, guarded."""
        self._guard(self._observer.tick)

    def trial_ended(self, trial: TrialProgress) -> None:
        """Take note of a trial, guarded."""
        self._guard(self._observer.trial_ended, trial)

    def end(self) -> None:
        """End, guarded."""
        self._guard(self._observer.end)

    def _guard(self, call: Callable[..., None], *arguments: Any) -> None:
        try:
            call(*arguments)
        except Exception as error:
            if isinstance(error, HrmSweepError) and not machine.fault_of(error):
                raise
            if not self._has_failed:
                self._has_failed = True
                who, what = type(self._observer).__name__, redacted(repr(error))
                print(f"{who} failed ({what}); the study continues", file=sys.stderr)
