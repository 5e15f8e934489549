"""Studies as they would stand in their folders, with made-up numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hrm_sweep.runs.record import Record
from hrm_sweep.runs.run import Run
from hrm_sweep.runs.study import Study

APP = {"name": "app.py", "command": ["python", "app.py"]}


def made_study(
    folder: Path,
    space: Mapping[str, str],
    trials: Sequence[Mapping[str, Any]],
    *,
    objectives: Sequence[str] = ("score",),
    directions: Sequence[str] = ("maximize",),
    tie_breaker: str | None = None,
    **started: Any,
) -> Study:
    """A study whose trials have a point, final values, a curve of the first objective.

    Args:
        trials: `point`, and perhaps `values`, `curve`, `outcome`, `reason` and further fields.
        started: further fields of the study's first entry.
    """
    with Record(folder) as study:
        study.append(
            "started", kind="study", name=folder.name, description="python app.py -m x=1,2",
            params=space, tags={}, hydra_overrides=[], app=APP, num_trials=len(trials),
            judged={"objectives": objectives, "directions": directions, "constraints": [],
                    "tie_breaker": tie_breaker, "columns": []},
            storage="sqlite:///x.db", tracking={}, **started,
        )  # fmt: skip
    for number, trial in enumerate(trials):
        made_trial(folder / str(number), number, objective=objectives[0], **trial)
    return Study(Run.open(folder))


def made_trial(
    folder: Path, number: int, *, objective: str, point: Mapping[str, object],
    values: Mapping[str, float] | None = None, curve: Sequence[float] = (),
    outcome: str = "complete", reason: str = "", config: Mapping[str, object] | None = None,
    **started: Any,
) -> None:  # fmt: skip
    """A trial that has ended."""
    with Record(folder) as run:
        run.append(
            "started", kind="trial", name="", description="python app.py",
            params={**(config or {}), **point}, app=APP,
            tags={"hrm_sweep.trial": str(number), "hrm_sweep.study": folder.parent.name},
            overrides=[f"{key}={value}" for key, value in point.items()], **started,
        )  # fmt: skip
        for step, value in enumerate(curve, start=1):
            run.metrics(step, {objective: value})
        run.append(
            "finished", outcome=outcome, reason=reason, best=values or {}, seconds=1.0 + number,
            artifacts=[],
        )  # fmt: skip
