"""The handle that a task function reports to, in a study, in a single run, and without either.

from hrm_sweep import trial

def task(cfg):
    for step in range(1, 11):
        trial.current().log({"loss": 1 / step}, step=step)
    return 0.1
"""

from __future__ import annotations

import json
import math
import operator
import signal
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hrm_sweep.compat.hydra import output_folder
from hrm_sweep.errors import Diverged, Interrupted, RecordError
from hrm_sweep.runs import layout
from hrm_sweep.runs.curves import curves, differs
from hrm_sweep.runs.export_state import run_id_of
from hrm_sweep.runs.numbers import as_number
from hrm_sweep.runs.outcomes import Outcome
from hrm_sweep.runs.record import Record, RecordReader, seconds_worked
from hrm_sweep.runs.tracebacks import format_task_error
from hrm_sweep.system import files, machine, process

STOPPED_BY_FAULT = "the machine failed: "
"""Beginning of the reason of a run that met a fault of the machine."""
STOPPED_AFTER = "stopped after step"
"""Beginning of the reason of a run that was asked to stop, and has at a report."""
RENAMED = {
    "conclude": "set_outcome",
    "dataset": "log_dataset",
    "doing": "set_status",
    "expect": "set_num_steps",
    "facts": "tags",
    "note": "set_tags",
}
"""Old names of attributes of a handle, kept for one release."""


class RunHandle:
    """One run, seen from inside: where it writes and reports."""

    def __init__(
        self,
        folder: Path,
        record: Record | _NoRecord,
        usage: process.ResourceUsage | None = None,
        past: Mapping[int, Mapping[str, float]] | None = None,
    ) -> None:
        self.folder = folder
        self._record, self._usage, self._past = record, usage, dict(past or {})
        self.last_step = max(self._past, default=0)
        """The last step that is in the record; a resumed run begins with some.

        A checkpoint of a later step belongs to a record that is lost: do not resume from it.
        """
        self.values: dict[str, float] = {}
        """The run's final values by name; the study's objective is one of them."""
        self.listeners: list[Callable[[int, Mapping[str, float]], None]] = []
        """Called with step and values after each report."""
        self.mlflow_uri: str | None = None
        """Address of the MLflow that the run is exported to; None: it is not tracked."""
        self.num_steps: int | None = None
        """The number of steps that it will have, if it has said so."""
        self._latest = _last_values(self._past)
        self._repeated: dict[int, dict[str, float]] = {}
        """What this attempt measured to the same values as those before it."""
        self._artifacts: list[str] = []
        self._tags: dict[str, str] = {}
        self.outcome, self.reason = Outcome.COMPLETE, ""

    def __getattr__(self, name: str) -> Any:
        if name not in RENAMED:
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        warnings.warn(
            f"trial.current().{name} is now {RENAMED[name]}; the old name goes in the next release",
            DeprecationWarning,
            stacklevel=2,
        )
        return getattr(self, RENAMED[name])

    def log(self, values: Mapping[str, float], *, step: int) -> None:
        """Write measurements of one step durably; a step may be logged in several calls.

        What an earlier attempt measured too is not written again. If the values differ, that
        attempt's measurements are void from this step on.

        Args:
            values: numbers by name, also of NumPy or PyTorch.
            step: a whole number from 0 on, such as the epoch.

        Raises:
            TypeError, ValueError: an argument is of another kind; nothing was written.
            Interrupted: the user asked the study to stop; what was logged is safe.
            optuna.TrialPruned: the study's pruner sees no hope; let it pass through.
        """
        step, values = _checked_step(step), _checked_values(values)
        if differs(step, values, self._past):
            self._rewind(step)
        self._latest |= {
            name: (step, value) for name, value in values.items() if self._is_last(name, step)
        }
        known = self._past.get(step, {})
        if new := {name: value for name, value in values.items() if name not in known}:
            self._record.metrics(step, new)
            self.last_step = max(self.last_step, step)
        if known:
            same = {name: known[name] for name in values if name in known}
            self._repeated.setdefault(step, {}).update(same)
        for listener in self.listeners:
            listener(step, values)
        if stop_requested():
            raise Interrupted(f"{STOPPED_AFTER} {step}")

    @property
    def last_values(self) -> dict[str, float]:
        """The value of each metric at the last step that logged it."""
        return {name: value for name, (_, value) in self._latest.items()}

    def _is_last(self, name: str, step: int) -> bool:
        return step >= self._latest.get(name, (step, 0.0))[0]

    def set_num_steps(self, num_steps: int) -> None:
        """Set the number of steps that the run will have, for progress and time left.

        Raises:
            TypeError, ValueError: it is no whole number from 0 on.
        """
        self.num_steps = _checked_step(num_steps, name="num_steps")
        self._record.append("expected", num_steps=self.num_steps)

    def set_status(self, text: str, **where: str) -> None:
        """Set a short text on what takes time before the next step.

        If that is a run with a record of its own, `folder` names its folder below this one.
        """
        self._record.append("doing", text=text, **where)

    def log_dataset(self, **described: Any) -> None:
        """Say what the run learns from: `name`, `train_size`, `eval_size`, `digest`."""
        self._record.append("dataset", **described)

    def artifact(self, *names: str) -> None:
        """Name files of the run folder that are to be kept with the run in MLflow."""
        self._artifacts += [name for name in names if name not in self._artifacts]

    def set_tags(self, **tags: str) -> None:
        """Set tags of the run, such as the digest of what it made; written when it ends."""
        self._tags |= {name: str(value) for name, value in tags.items()}

    @property
    def tags(self) -> Mapping[str, str]:
        """The tags set so far."""
        return dict(self._tags)

    def set_outcome(self, outcome: Outcome, reason: str = "") -> None:
        """Say how the run ended, where that is not by an exception."""
        self.outcome, self.reason = outcome, reason

    @property
    def mlflow_run_id(self) -> str | None:
        """Id of the run in MLflow, for `mlflow.start_run(run_id=…)`; None if it is not tracked.

        Waits until the exporter has created the run, or opened it again for this attempt.

        Raises:
            TrackingError: MLflow does not have the run within a minute.
            Interrupted: the user asked the study to stop.
        """
        if self.mlflow_uri is None or isinstance(self._record, _NoRecord):
            return None
        return run_id_of(self.folder, entry=self._record.started, should_stop=stop_requested)

    def _rewind(self, step: int) -> None:
        """Make earlier attempts' measurements void from a step on, but for what this one shares."""
        self._record.append("rewound", step=step)
        self._past = {known: self._past[known] for known in self._past if known < step}
        for repeated in [known for known in self._repeated if known >= step]:
            self._record.metrics(repeated, self._repeated.pop(repeated))
        self.last_step = max(self._past, default=0)
        self._latest = _last_values(self._past)

    def _close(self, seconds: float, error: BaseException | None) -> None:
        if error is not None:
            self.set_outcome(*ending_of(error))
        values = {name: value for name, value in self.values.items() if math.isfinite(value)}
        ending = {"outcome": self.outcome.word, "reason": self.reason}
        seconds = round(seconds, 3)
        result = ending | {"values": values, "seconds": seconds}
        try:  # a reader of the `finished` entry finds the result too
            files.write_json(self.folder / layout.RESULT, result)
        finally:
            self._record.append(
                "finished",
                **ending,
                best=values,
                seconds=seconds,
                system=self._usage.measured() if self._usage else {},
                facts=self._tags,
                traceback=format_task_error(error) if error else "",
                artifacts=self._artifacts,
            )


_current: RunHandle | None = None


def _never() -> bool:
    return False


_stop_check: Callable[[], bool] = _never
"""Returns whether the run should stop."""


def stop_requested() -> bool:
    """Return whether the user asked the study or the run to stop."""
    return _stop_check()


def set_stop_check(check: Callable[[], bool]) -> Callable[[], bool]:
    """Let `check` decide whether to stop, for all runs of this process; return the one before."""
    global _stop_check
    before, _stop_check = _stop_check, check
    return before


def current() -> RunHandle:
    """Return the handle of the run in this process.

    Where none is tracked, such as in `python app.py`, it is one that checks its arguments and
    writes nothing. Its folder is Hydra's output folder, or the working folder without Hydra.
    """
    return _current or RunHandle(output_folder() or Path.cwd(), _NoRecord())


def log_metrics(values: Mapping[str, float], step: int) -> None:
    """Log measurements of one step of the run in this process; see `RunHandle.log`."""
    current().log(values, step=step)


class _NoRecord:
    """Stands for the record of a run that is not tracked."""

    def append(self, event: str, **fields: Any) -> None:
        """Check that a record could keep the entry."""
        json.dumps({"event": event, **fields})

    def metrics(self, step: int, values: Mapping[str, float]) -> None:
        """Do nothing: the handle has checked them."""


def _last_values(curves: Mapping[int, Mapping[str, float]]) -> dict[str, tuple[int, float]]:
    """Return the last step that logged a metric, and its value there, by name."""
    return {name: (step, curves[step][name]) for step in sorted(curves) for name in curves[step]}


def _checked_step(step: Any, *, name: str = "step") -> int:
    try:
        number = operator.index(step)
    except TypeError:
        raise TypeError(f"{name}={step!r}: must be a whole number, such as the epoch") from None
    if number < 0:
        raise ValueError(f"{name}={number}: must be 0 or more")
    return number


def _checked_values(values: Mapping[str, Any]) -> dict[str, float]:
    """Return measurements as Python's own numbers.

    Raises:
        TypeError: they are no mapping from names to numbers.
    """
    if not isinstance(values, Mapping):
        raise TypeError(
            f"log({values!r}): takes named numbers; such as log({{'loss': 0.1}}, step=1)"
        )
    numbers: dict[str, float] = {}
    for name, value in values.items():
        if not isinstance(name, str):
            raise TypeError(f"log({{{name!r}: ...}}): the name of a value must be text")
        if (number := as_number(value)) is None:
            raise TypeError(f"log({{{name!r}: {value!r}}}): a value must be a number")
        numbers[name] = number
    return numbers


@contextmanager
def session(folder: Path, **started: Any) -> Iterator[RunHandle]:
    """Keep the record of one run in `folder`, from its `started` entry to its outcome."""
    global _current
    past = RecordReader(folder).new_entries()
    attempt = 1 + sum(entry.event == "started" for entry in past)
    record = Record(folder)
    record.append("started", **_with_attempt(started, attempt))
    outer, begin, error = _current, time.monotonic() - seconds_worked(past), None
    usage = process.ResourceUsage(outer=outer._usage if outer else None)  # noqa: SLF001
    _current = handle = RunHandle(folder, record, usage, curves(past))
    try:
        yield handle
    except BaseException as caught:
        error = caught
        raise
    finally:
        _current = outer
        try:
            handle._close(time.monotonic() - begin, error)  # noqa: SLF001
        except (OSError, RecordError):
            if error is None:
                raise  # otherwise the first error is raised: this one followed from it
        finally:
            record.close()


def _with_attempt(started: dict[str, Any], attempt: int) -> dict[str, Any]:
    return started | {"tags": started["tags"] | {"hrm_sweep.attempt": str(attempt)}}


def ending_of(error: BaseException) -> tuple[Outcome, str]:
    """Return how a run ends whose task raises an error, and why."""
    if isinstance(error, Interrupted) and _may_be_stopped():
        return Outcome.INTERRUPTED, str(error)
    if isinstance(error, KeyboardInterrupt) and _may_be_stopped():
        return Outcome.INTERRUPTED, "stopped by Ctrl-C"
    if fault := machine.fault_of(error):
        return Outcome.INTERRUPTED, f"{STOPPED_BY_FAULT}{fault}"
    if isinstance(error, Diverged):
        return Outcome.DIVERGED, str(error)
    if type(error).__name__ == "TrialPruned":  # Optuna's; it need not be imported for that
        return Outcome.PRUNED, str(error)
    return Outcome.FAILED, f"{type(error).__name__}: {error}"


def _may_be_stopped() -> bool:
    """Return whether the user may have asked for it: Ctrl-C does not reach a pool's worker."""
    return stop_requested() or signal.getsignal(signal.SIGINT) is not process.ignore_signal
