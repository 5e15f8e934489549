"""The pictures of a run folder: its curves from the record, its examples from what it predicted."""

from __future__ import annotations

import json
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hrm_sweep.errors import RecordError
from hrm_sweep.runs import layout
from hrm_sweep.runs.pictures import FAILURES, log
from hrm_sweep.runs.run import Run

METRICS, PREDICTIONS = "training_metrics.png", "prediction_vs_groundtruth.png"
EXAMPLES = "predictions.json"


def draw(folder: Path) -> list[str]:
    """Draw the pictures of a run that has ended, as far as it left what they show.

    Returns:
        Names of the pictures. One that cannot be drawn is missing; the reason is in the log.
    """
    sources: dict[str, tuple[str, Callable[[Path, Path], bool]]] = {
        METRICS: (layout.RECORD, _draw_metrics),
        PREDICTIONS: (EXAMPLES, _draw_predictions),
    }
    drawn = []
    for picture, (source, draw_it) in sources.items():
        if not (folder / source).exists():
            continue
        try:
            is_there = _is_newer(folder / picture, folder / source)
            if is_there or draw_it(folder, folder / picture):
                drawn.append(picture)
        except (RecordError, *FAILURES):
            log(folder, traceback.format_exc())
    return drawn


def _draw_metrics(folder: Path, picture: Path) -> bool:
    """Draw the curves of a run that has some and trained itself; return whether it has."""
    run = Run.open(folder)
    if not (curves := run.curves) or not run.dataset:
        return False
    from hrm_sweep.hrm.pictures import training  # matplotlib: only where something is drawn

    history: list[dict[str, Any]] = [{"epoch": step, **curves[step]} for step in sorted(curves)]
    best = run.facts.get("best_epoch")
    training.draw_training_metrics(history, picture, best_epoch=int(best) if best else None)
    return True


def _draw_predictions(folder: Path, picture: Path) -> bool:
    from hrm_sweep.hrm.pictures import grids

    content = json.loads((folder / EXAMPLES).read_text(encoding="utf-8"))
    grids.draw_predictions(content, picture)
    return True


def _is_newer(path: Path, other: Path) -> bool:
    return path.exists() and path.stat().st_mtime_ns >= other.stat().st_mtime_ns
