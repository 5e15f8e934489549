"""What a study leaves in its folder: its own record, and its results as Hydra users know them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from hrm_sweep import files
from hrm_sweep.outcomes import Outcome
from hrm_sweep.study.engine import Engine, Row
from hrm_sweep.tracking.record import Record, is_held

FILE_NAME = "optimization_results.yaml"


class Results:
    """Keeps the record of the study itself: its best value after each trial, and how it ended.

    Of several sweeps that work on the study at once, the first keeps it.

    Args:
        draw: makes the study's report when it ends, and returns the names of its files.
        started: what the record's first entry says of the study.
    """

    def __init__(self, folder: Path, *, draw: Callable[[], list[str]], **started: Any) -> None:
        self._folder, self._draw = folder, draw
        self._record: Record | None = None
        if not (folder / "record.jsonl").exists() or not is_held(folder):
            self._record = Record(folder)
            self._record.append("started", kind="study", **started)

    def begin(self, engine: Engine) -> None:
        self._engine = engine

    def tick(self) -> None:
        """Only ends of trials are written."""

    def settled(self, row: Row) -> None:
        if row.outcome is Outcome.COMPLETE and self._record is not None:
            best = self._engine.best()[0]
            name = self._engine.objective
            self._record.metrics(
                row.number, {name: row.values[name], f"best/{name}": best.values[name]}
            )

    def end(self) -> None:
        """Writes the results, whole, and closes the record. The study is as good as its trials."""
        engine = self._engine
        best = engine.best()
        outcomes = engine.outcomes()
        outcome = Outcome.COMPLETE if best else Outcome.FAILED
        if Outcome.INTERRUPTED in outcomes:
            outcome = Outcome.INTERRUPTED
        counted = {known.word: number for known, number in outcomes.items()}
        files.write_text(self._folder / FILE_NAME, OmegaConf.to_yaml(_summary(engine, counted)))
        report = [] if outcome is Outcome.INTERRUPTED else self._draw()
        if self._record is None:
            return
        self._record.append(
            "finished",
            outcome=outcome.word,
            best={engine.objective: best[0].values[engine.objective]} if best else {},
            reason=", ".join(f"{number} {word}" for word, number in counted.items()),
            artifacts=["multirun.yaml", FILE_NAME, *report],
        )
        self._record.close()


def _summary(engine: Engine, counted: dict[str, int]) -> dict[str, Any]:
    summary: dict[str, Any] = {"name": "optuna"}
    if best := engine.best():
        summary |= {
            "best_params": dict(best[0].params),
            "best_value": best[0].values[engine.objective],
            "best_trial": best[0].number,
            "best_folder": str(best[0].folder),
            "best_overrides": engine.space.overrides(best[0].params),
        }
    return summary | {"objective": engine.objective, "trials": counted}
