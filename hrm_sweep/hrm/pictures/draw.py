"""The pictures of a run folder, drawn from the files that the run left there."""

from __future__ import annotations

import json
import traceback
from pathlib import Path

from hrm_sweep.runs.pictures import FAILURES, log

PICTURES = {
    "training_history.json": "training_metrics.png",
    "predictions.json": "prediction_vs_groundtruth.png",
}
"""File of the run -> picture of it."""


def draw(folder: Path) -> list[str]:
    """Draw the pictures of a run that has ended, as far as it left what they show.

    Returns:
        Names of the pictures. One that cannot be drawn is missing; the reason is in the log.
    """
    drawn = []
    for source, picture in PICTURES.items():
        if not (folder / source).exists():
            continue
        try:
            if not _is_newer(folder / picture, folder / source):
                _draw(folder / source, folder / picture)
            drawn.append(picture)
        except FAILURES:
            log(folder, traceback.format_exc())
    return drawn


def _draw(source: Path, picture: Path) -> None:
    from hrm_sweep.hrm.pictures import training  # matplotlib: only where something is drawn

    content = json.loads(source.read_text(encoding="utf-8"))
    if source.name == "predictions.json":
        training.draw_predictions(content, picture)
    else:
        best = [epoch["epoch"] for epoch in content if epoch.get("is_best")]
        training.draw_training_metrics(content, picture, best_epoch=best[0] if best else None)


def _is_newer(path: Path, other: Path) -> bool:
    return path.exists() and path.stat().st_mtime_ns >= other.stat().st_mtime_ns
