"""The pictures of a run's folder, drawn from what the run left there, while others train."""

from __future__ import annotations

import contextlib
import json
import traceback
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

PICTURES = {
    "training_history.json": "training_metrics.png",
    "predictions.json": "prediction_vs_groundtruth.png",
}
"""File of the run -> picture of it."""

LOG = "projector.log"
FAILURES = (ArithmeticError, LookupError, OSError, RuntimeError, TypeError, ValueError)
"""What drawing may raise for a file that is not what it should be."""


def draw(folder: Path) -> list[str]:
    """Draws the pictures of a run that has ended, as far as it left what they show.

    Returns:
        Names of the pictures. One that cannot be drawn is missing; the log says why.
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


class Drawer:
    """Draws in a thread, one run at a time: what it is drawn for can do other things meanwhile."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(max_workers=1)
        self._drawing: dict[Path, Future[list[str]]] = {}

    def __call__(self, folder: Path) -> list[str] | None:
        """Names of the pictures in the folder, None as long as they are not ready."""
        if folder not in self._drawing:
            self._drawing[folder] = self._pool.submit(draw, folder)
        if not self._drawing[folder].done():
            return None
        return self._drawing.pop(folder).result()


def log(folder: Path, text: str) -> None:
    """Keeps what went wrong, for who looks for it."""
    with contextlib.suppress(OSError), (folder / LOG).open("a", encoding="utf-8") as file:
        file.write(text)


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
