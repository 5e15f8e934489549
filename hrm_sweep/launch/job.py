"""A Hydra job is a run: whatever launcher calls the task function, its record is kept."""

from __future__ import annotations

import inspect
import math
import os
import shlex
import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from hrm_sweep import formatting
from hrm_sweep.errors import HrmSweepError
from hrm_sweep.runs import handle as trial
from hrm_sweep.runs import layout, recipe
from hrm_sweep.runs.app import App
from hrm_sweep.runs.configs import to_plain, to_yaml
from hrm_sweep.runs.outcomes import Outcome
from hrm_sweep.storage.pruning import Pruning
from hrm_sweep.system import environment, files
from hrm_sweep.system.redact import redacted_tree

ARTIFACTS = (
    layout.RECORD,
    layout.CONFIG,
    layout.OVERRIDES,
    layout.ENVIRONMENT,
    layout.RESULT,
)


@dataclass
class Job:
    """The task function of an app, wrapped so that each call leaves a whole run folder."""

    task: Callable[[DictConfig], Any]
    app: App
    values: Sequence[str] = ()
    """Names of the values that the task returns as a float or a tuple: objectives, constraints."""
    study: str | None = None
    """The study the run is a trial of, if any."""
    pruning: Pruning | None = None
    repeats: int = 1
    """How many seeds a trial is run with; its values are their means."""
    searched: Sequence[str] = ()
    """The keys in which the trials of the study differ: they name the runs."""
    tags: Mapping[str, str] = field(default_factory=dict)
    """For MLflow, beside those of our own."""

    @property
    def source(self) -> Path:
        """Folder of the task's code."""
        task = inspect.unwrap(self.task)
        code = getattr(task, "__code__", None) or getattr(type(task).__call__, "__code__", None)
        return Path(code.co_filename).resolve().parent if code else environment.PACKAGE

    def __call__(self, cfg: DictConfig) -> Any:
        """Run the task in Hydra's output folder and return what it returned.

        The record keeps how it ended: a task that returns no finite objective is not complete.

        Raises:
            HrmSweepError: the task called sys.exit. Other exceptions are the task's own.
        """
        hydra = HydraConfig.get()
        number = hydra.job.num if hydra.mode == RunMode.MULTIRUN else None
        run = _Run(
            Path(hydra.runtime.output_dir),
            cfg,
            list(hydra.overrides.task),
            number,
            sweep=Path(hydra.runtime.cwd, hydra.sweep.dir),  # the job may work in its own folder
            ignored_keys=self.app.ignored_keys,
        )
        with self._session(run) as handle:
            if self.pruning is not None and number is not None:
                handle.listeners.append(self.pruning.listener(number))
            if self.repeats > 1 and number is not None:
                return self._repeat(run, handle)
            return self._call(run, handle)

    def _call(self, run: _Run, handle: trial.RunHandle) -> Any:
        """Run the task, unless a complete run of the study has the same recipe."""
        if self.study is not None and (twin := run.twin()) is not None:
            handle.set_outcome(
                Outcome.COMPLETE, f"the recipe of {twin.name}, whose values these are"
            )
            handle.values = twin.values
            handle.set_tags(taken_from=os.path.relpath(twin.folder, run.folder))
            return dict(twin.values)
        try:
            returned = self.task(run.cfg)
        except SystemExit as error:
            raise HrmSweepError(f"the task called sys.exit({error.code})") from error
        _judge(handle, returned, self.values)
        if self.study is not None and handle.outcome is Outcome.COMPLETE:
            run.announce()
        return returned

    def _repeat(self, run: _Run, handle: trial.RunHandle) -> dict[str, float]:
        """Run the recipe with seed, seed + 1, …, each in a folder below the trial's.

        Repeats are the trial's steps: a pruner judges it between two of them.
        """
        handle.set_num_steps(self.repeats)
        seed, values = run.cfg.seed, []
        for repeat in range(self.repeats):
            handle.set_status(f"repeat {repeat + 1}/{self.repeats}", folder=str(repeat))
            OmegaConf.update(run.cfg, "seed", seed + repeat)
            values.append(self._values_of(run.repeated(repeat), handle))
            if len(values[-1]) == 0:
                return {}
            handle.log(values[-1], step=repeat + 1)
        handle.values = _means_and_deviations(values)
        return handle.values

    def _values_of(self, run: _Run, trial_handle: trial.RunHandle) -> dict[str, float]:
        """Return the final values of one repeat, from its folder if it has been run.

        There are none if the task returned none; the trial then ends like its repeat.
        """
        if (known := trial.finished_values(run.folder)) is not None:
            return known
        with self._session(run) as handle:
            self._call(run, handle)
        if handle.outcome is not Outcome.COMPLETE:
            trial_handle.set_outcome(handle.outcome, f"repeat {run.repeat}: {handle.reason}")
            return {}
        return _finite(handle.values)  # as its folder keeps them

    @contextmanager
    def _session(self, run: _Run) -> Iterator[trial.RunHandle]:
        run.write_recipe(self.source)
        with trial.session(run.folder, **self._identity(run)) as handle:
            handle.artifact(*run.artifacts)
            yield handle

    def _identity(self, run: _Run) -> dict[str, Any]:
        flat = run.flat
        tags = (
            dict(self.tags)
            | environment.environment_tags(self.source)
            | {
                "hrm_sweep.signature": recipe.signature(flat, self.app.ignored_keys),
                "hrm_sweep.folder": str(run.folder),
            }
        )
        recipe_alone = recipe.recipe_overrides(run.overrides, self.app.ignored_keys)
        name = run.folder.name
        if self.study is not None:
            tags |= {"hrm_sweep.study": self.study, "hrm_sweep.trial": str(run.number)}
            name = f"{run.number} {' '.join(self._point(run.overrides))}".strip()
        if run.repeat is not None:
            tags["hrm_sweep.repeat"] = str(run.repeat)
            name = f"{run.number}.{run.repeat} seed={run.cfg.seed}"
        return {
            "kind": "train" if self.study is None else "trial",
            "name": name,
            "artifacts": run.artifacts,
            "params": flat,
            "overrides": run.overrides,
            "app": self.app.to_record(),
            "tags": tags,
            "description": f"    {shlex.join([*self.app.command, *recipe_alone])}\n",
        }

    def _point(self, overrides: Sequence[str]) -> Iterator[str]:
        """Yield the overrides in which a trial differs from others, short: `lr=1e-4`."""
        for override in overrides:
            key, _, value = override.lstrip("+").partition("=")
            if key in self.searched:
                yield f"{key}={formatting.format_param(_number_or_text(value))}"


@dataclass(frozen=True)
class _Run:
    """What is run where."""

    folder: Path
    cfg: DictConfig
    overrides: list[str]
    number: int | None
    """Of the trial, in a study."""
    sweep: Path
    """The study's folder."""
    ignored_keys: Sequence[str] = ()
    repeat: int | None = None

    def repeated(self, repeat: int) -> _Run:
        overrides = [*self.overrides, f"seed={self.cfg.seed}"]
        return replace(self, folder=self.folder / str(repeat), overrides=overrides, repeat=repeat)

    @property
    def artifacts(self) -> list[str]:
        return [*ARTIFACTS] if self.repeat is not None else [*ARTIFACTS, layout.LOG]

    def twin(self) -> _Twin | None:
        """Return the complete run of this sweep that has the same recipe, if there is one."""
        try:
            name = self._announcement().read_text(encoding="utf-8")
        except FileNotFoundError:
            return None
        folder = self.sweep / name
        values = trial.finished_values(folder)
        is_other = folder.absolute() != self.folder.absolute()
        if not (values and is_other):
            return None
        return _Twin(f"trial {name.replace('/', ', repeat ')}", folder, values)

    def announce(self) -> None:
        """Lets runs to come know that this recipe is done."""
        files.write_text(self._announcement(), os.path.relpath(self.folder, self.sweep))

    def _announcement(self) -> Path:
        folder = self.sweep / layout.CACHED_RESULTS
        folder.mkdir(exist_ok=True)
        return folder / recipe.digest(self.flat, self.ignored_keys)

    @cached_property
    def flat(self) -> dict[str, Any]:
        """The recipe as it was before the task saw it."""
        return recipe.flatten(self._tree)

    @cached_property
    def _tree(self) -> dict[str, Any]:
        tree = to_plain(self.cfg)
        assert isinstance(tree, dict)
        return tree

    def write_recipe(self, source: Path) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        files.write_text(self.folder / layout.CONFIG, to_yaml(redacted_tree(self._tree)))
        overrides = OmegaConf.to_yaml(OmegaConf.create(self.overrides))
        files.write_text(self.folder / layout.OVERRIDES, overrides)
        files.write_json(self.folder / layout.ENVIRONMENT, environment.environment(source))


def _number_or_text(text: str) -> int | float | str:
    for number in (int, float):
        with suppress(ValueError):
            return number(text)
    return text


class _Twin(NamedTuple):
    name: str
    folder: Path
    values: dict[str, float]


def _means_and_deviations(repeats: list[dict[str, float]]) -> dict[str, float]:
    """Of each value that all have its mean and, as `<name>/std`, its standard deviation (n - 1)."""
    values: dict[str, float] = {}
    for name in [name for name in repeats[0] if all(name in repeat for repeat in repeats)]:
        of_all = [repeat[name] for repeat in repeats]
        values[name] = statistics.fmean(of_all)
        values[f"{name}/std"] = statistics.stdev(of_all)
    return values


def _judge(handle: trial.RunHandle, returned: Any, objectives: Sequence[str]) -> None:
    """Take the run's final values from what the task returned: a number, a tuple or a dict."""
    values = _named(returned, objectives)
    if not set(objectives) <= set(values):
        handle.set_outcome(
            Outcome.UNJUDGED,
            f"the task returned {returned!r}; it must return {', '.join(objectives)}: "
            "a number, a tuple of numbers or a dict of named numbers",
        )
        return
    handle.values = values
    for name in objectives:
        if not math.isfinite(values[name]):
            handle.set_outcome(Outcome.DIVERGED, f"{name} is {values[name]}")


def _named(returned: Any, objectives: Sequence[str]) -> dict[str, float]:
    """Return the numbers among what was returned, by name; other entries of a dict are ignored."""
    if isinstance(returned, Mapping):
        values = {str(name): _number(value) for name, value in returned.items()}
    else:
        several = returned if isinstance(returned, (tuple, list)) else [returned]
        values = dict(zip(objectives, map(_number, several), strict=False))
    return {name: value for name, value in values.items() if value is not None}


def _number(value: Any) -> float | None:
    """Also NumPy's and PyTorch's, and arrays of one; None for what is no number."""
    if not hasattr(value, "__float__"):  # a text has none, though float() would read it
        return None
    with suppress(TypeError, ValueError, RuntimeError):  # arrays of several
        return float(value)
    return None


def _finite(values: Mapping[str, float]) -> dict[str, float]:
    return {name: value for name, value in values.items() if math.isfinite(value)}
