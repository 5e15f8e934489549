"""A single run in the terminal: `python -m hrm_sweep` without `-m`."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from hrm_sweep import formatting
from hrm_sweep.errors import Interrupted
from hrm_sweep.hrm.description import APP
from hrm_sweep.runs import handle as trial
from hrm_sweep.runs.app import FinalTags
from hrm_sweep.runs.pictures import draw_function
from hrm_sweep.system import output, process
from hrm_sweep.tracking import store
from hrm_sweep.tracking.task_calls import Tracking, joined

MOST_LINES = 40
UNEVALUATED = ("train/loss", "train/token_accuracy")
"""What an epoch without evaluation shows."""

_exporter: Any = None
_folder: Path | None = None
"""Of the run that this process trains."""


@output.tolerated()
def train(
    cfg: DictConfig,
    folder: str,
    *,
    columns: Sequence[str],
    last_step: int | None = None,
    final_tags: FinalTags | None = None,
) -> dict[str, float]:
    """Train once; print a line for each epoch, the result and where it is.

    Args:
        folder: of the run, as the user would type it.
        columns: metrics to show, by name; `*` stands for any rest.
        last_step: the epoch after which the run is stopped; None lets it go to its end.
        final_tags: returns further tags of the run when it ends, however that is.

    Raises:
        Interrupted: `last_step` was reached.
        KeyboardInterrupt: Ctrl-C; the command that continues is printed.
    """
    global _exporter, _folder
    handle = trial.current()
    _folder = handle.folder
    print(f"Run {handle.folder.name} · {cfg.model.name} on {cfg.data.name}\n", flush=True)
    from hrm_sweep.hrm.train import task  # torch: only where something is trained

    tracking = None
    if cfg.tracking.name != "off":  # after torch: both take seconds of the same cores
        from hrm_sweep.tracking.exporter_process import ExporterProcess

        _exporter = ExporterProcess(
            handle.folder, cfg.tracking.uri, cfg.tracking.experiment, pictures=APP.pictures
        )
        tracking = Tracking.at(cfg.tracking.uri, cfg.tracking.experiment)

    said = logging.StreamHandler(sys.stdout)  # what run.log gets, without its times
    logging.getLogger("hrm_sweep").addHandler(said)
    handle.listeners.append(_printer(cfg.trainer.epochs, columns))
    if last_step is not None:
        handle.listeners.append(_stopper(last_step))
    try:
        with _stops_gently(handle, folder), joined(tracking, handle):
            values = task(cfg)
    finally:
        logging.getLogger("hrm_sweep").removeHandler(said)
        if final_tags is not None:
            handle.set_tags(**final_tags(handle))
    best = APP.metrics.metrics(values, formatting.matching_metrics(values, columns))
    print(f"\nBest epoch: {best}\n")
    print(f"  folder       {folder}")
    if _exporter is not None:
        print(f"  compare      {store.ui_hint(cfg.tracking.uri)}")
    return values


@output.tolerated()
def end() -> None:
    """Wait until MLflow has everything, or print what is waiting; draw what is not drawn yet."""
    if _exporter is not None:
        if (backlog := _exporter.close()).runs:
            later = process.shell_command("sync", _exporter.root.name)
            print(f"  tracking     {backlog}; later: {later}")
        elif backlog.left_out:
            print(f"  tracking     {backlog}")
    if _folder is not None:
        draw_function(APP.pictures)(_folder)


@contextmanager
def _stops_gently(handle: trial.RunHandle, folder: str) -> Iterator[None]:
    """Ctrl-C lets the run reach the end of its epoch, where it is saved; a second one does not."""
    stop: list[int] = []

    def ask(number: int, _: Any) -> None:
        if stop:
            raise process.interruption(number)
        stop.append(number)
        print("Stopping at the end of this epoch; Ctrl-C again stops at once", flush=True)

    checked_before = trial.set_stop_check(lambda: bool(stop))
    try:
        with process.handled(process.STOPPING, ask):  # not those that a shell or nohup ignores
            yield
    except (Interrupted, KeyboardInterrupt) as error:
        if not stop:
            raise
        saved = f" after epoch {handle.last_step}, saved" if isinstance(error, Interrupted) else ""
        again = process.shell_command("resume", folder)
        print(f"Stopped{saved}. Continue with: {again}")
        raise process.interruption(stop[0]) from None
    finally:
        trial.set_stop_check(checked_before)


def _stopper(last_step: int) -> Callable[[int, Mapping[str, float]], None]:
    def stop(epoch: int, _: Mapping[str, float]) -> None:
        if epoch >= last_step:
            raise Interrupted(f"stopped after step {epoch}, like the run that it repeats")

    return stop


def _printer(epochs: int, columns: Sequence[str]) -> Callable[[int, Mapping[str, float]], None]:
    first: list[tuple[int, float]] = []  # the first epoch's end; starting up does not count
    every = -(-epochs // MOST_LINES)

    def say(epoch: int, values: Mapping[str, float]) -> None:
        if not first:
            first.append((epoch, time.monotonic()))
        if epoch % every and epoch < epochs:
            return
        ending = ""
        begun, since = first[0]
        if begun < epoch < epochs:
            pace = (time.monotonic() - since) / (epoch - begun)
            ending = f"  {formatting.format_duration(pace * (epochs - epoch))} left"
        names = formatting.matching_metrics(values, columns) or formatting.matching_metrics(
            values, UNEVALUATED
        )
        measured = APP.metrics.metrics(values, names)
        print(f"epoch {epoch}/{epochs}  {measured}{ending}", flush=True)

    return say
