"""A Hydra job is a run: whatever launcher calls the task function, its record is kept."""

from __future__ import annotations

import math
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from hrm_sweep import files, recipe, runtime
from hrm_sweep.errors import HrmSweepError
from hrm_sweep.outcomes import Outcome
from hrm_sweep.study import trial
from hrm_sweep.study.pruning import Pruning

ARTIFACTS = ("config.yaml", "overrides.yaml", "environment.json", "result.json", "run.log")


@dataclass
class Job:
    """The task function of an app, wrapped so that each call leaves a whole run folder."""

    task: Callable[[DictConfig], Any]
    objectives: Sequence[str]
    """Names of the values that the task returns as a float or a tuple."""
    command: Sequence[str]
    """What starts the app, for the note that tells how to run the recipe again."""
    study: str | None = None
    """The study the run is a trial of, if any."""
    pruning: Pruning | None = None

    def __call__(self, cfg: DictConfig) -> Any:
        """Runs the task in Hydra's output folder and gives back what it returned.

        The record says how it ended: a task that returns no finite objective has not completed.

        Raises:
            HrmSweepError: the task called sys.exit. Other exceptions are the task's own.
        """
        hydra = HydraConfig.get()
        folder = Path(hydra.runtime.output_dir)
        overrides = list(hydra.overrides.task)
        tree = OmegaConf.to_container(cfg, resolve=True)
        assert isinstance(tree, dict)
        flat = recipe.flatten({str(key): value for key, value in tree.items()})
        _write_recipe(folder, cfg, overrides)
        number = hydra.job.num if hydra.mode == RunMode.MULTIRUN else None
        with trial.session(folder, **self._identity(number, flat, overrides, folder)) as handle:
            handle.artifact(*ARTIFACTS)
            if self.pruning is not None and number is not None:
                handle.listeners.append(self.pruning.listener(number))
            try:
                returned = self.task(cfg)
            except SystemExit as error:
                raise HrmSweepError(f"the task called sys.exit({error.code})") from error
            _judge(handle, returned, self.objectives)
        return returned

    def _identity(
        self, number: int | None, flat: dict[str, Any], overrides: list[str], folder: Path
    ) -> dict[str, Any]:
        signature = recipe.signature(flat)
        words = " ".join(overrides)
        tags = {"hrm_sweep.signature": signature, "hrm_sweep.attempt": "1"}
        if self.study is not None:
            tags |= {"hrm_sweep.study": self.study, "hrm_sweep.trial": str(number)}
        return {
            "kind": "train" if self.study is None else "trial",
            "name": folder.name if self.study is None else f"{number} {words}".strip(),
            "artifacts": list(ARTIFACTS),
            "params": {key: value for key, value in flat.items() if value is not None},
            "tags": tags | {"hrm_sweep.folder": str(folder)},
            "description": f"    {shlex.join([*self.command, *overrides])}\n",
        }


def _write_recipe(folder: Path, cfg: DictConfig, overrides: list[str]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    files.write_text(folder / "config.yaml", OmegaConf.to_yaml(cfg, resolve=True))
    files.write_text(folder / "overrides.yaml", OmegaConf.to_yaml(OmegaConf.create(overrides)))
    files.write_json(folder / "environment.json", runtime.environment())


def _judge(handle: trial.Trial, returned: Any, objectives: Sequence[str]) -> None:
    """Takes the run's final values from a task that returned a number, a tuple or a dict."""
    values = _named(returned, objectives)
    if values is None:
        handle.conclude(
            Outcome.UNJUDGED,
            f"the task returned {returned!r}; it must return {', '.join(objectives)}: "
            "a number, a tuple of numbers or a dict of named numbers",
        )
        return
    handle.values = values
    for name in objectives:
        if not math.isfinite(values[name]):
            handle.conclude(Outcome.DIVERGED, f"{name} is {values[name]}")


def _named(returned: Any, objectives: Sequence[str]) -> dict[str, float] | None:
    if isinstance(returned, Mapping):
        values = {str(name): value for name, value in returned.items()}
    else:
        numbers = returned if isinstance(returned, (tuple, list)) else [returned]
        values = dict(zip(objectives, numbers, strict=False))
    if not set(objectives) <= set(values):
        return None
    if not all(isinstance(value, (int, float)) for value in values.values()):
        return None
    return {name: float(value) for name, value in values.items()}
