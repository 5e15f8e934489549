"""The task function of an app as Hydra calls it: each call keeps a record, in any launcher."""

from __future__ import annotations

import inspect
import os
import pickle
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from hrm_sweep import formatting
from hrm_sweep.compat.cloudpickle import dumps
from hrm_sweep.errors import HrmSweepError
from hrm_sweep.launch import cached_results
from hrm_sweep.launch.cached_results import CachedResult
from hrm_sweep.launch.job_log import job_log
from hrm_sweep.launch.job_run import JobRun
from hrm_sweep.launch.returned_values import finite, means_and_deviations, take_values
from hrm_sweep.runs import handle as trial
from hrm_sweep.runs import layout, recipe
from hrm_sweep.runs.app import App
from hrm_sweep.runs.channel import Channel, channel_of
from hrm_sweep.runs.configs import group_choices, typed_overrides
from hrm_sweep.runs.copies import handed_tags
from hrm_sweep.runs.logs import masked_logs
from hrm_sweep.runs.outcomes import Outcome
from hrm_sweep.runs.study import id_of
from hrm_sweep.runs.writers import check_not_elsewhere
from hrm_sweep.system import environment
from hrm_sweep.tracking.task_calls import Tracking, joined


@dataclass
class Job:
    """The task function of an app, wrapped so that each call leaves a whole run folder."""

    task: Callable[[DictConfig], Any]
    app: App
    values: Sequence[str] = ()
    """Names of the values that the task returns as a float or a tuple: objectives, constraints."""
    study: str | None = None
    """The study the run is a trial of, if any."""
    study_id: str = ""
    """Its id; empty: it stands in the study's folder."""
    folder: Path | None = None
    """The study's folder where its driver has it; None: where the job finds it."""
    judged_by: str | None = None
    """Name of the value that a pruner judges running trials by; None: nothing prunes them."""
    tracking: Tracking | None = None
    """Where the runs of a study are exported to, if they are."""
    repeats: int = 1
    """How many seeds a trial is run with; its values are their means."""
    fixed: Sequence[str] = ()
    """The overrides that all trials of the study have; the others name the runs."""
    tags: Mapping[str, str] = field(default_factory=handed_tags)
    """For MLflow, beside those of our own; of a copy by `reproduce` those that say so."""

    def __getstate__(self) -> dict[str, Any]:
        """Return what launchers send to another process: the task keeps the files of its code."""
        return {**self.__dict__, "task": dumps(self.task)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, task=pickle.loads(state["task"]))

    @property
    def variables(self) -> dict[str, str]:
        """What a worker has to have in its environment before it imports anything."""
        return self.tracking.address(os.environ) if self.tracking else {}

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
        is_trial = self.study is not None or hydra.mode == RunMode.MULTIRUN
        number = hydra.job.num if is_trial else None
        run = JobRun(
            Path(hydra.runtime.output_dir),
            cfg,
            typed_overrides(hydra, "task"),
            number,
            sweep=Path(hydra.runtime.cwd, hydra.sweep.dir),  # the job may work in its own folder
            at_home=self.folder,
            ignored_keys=self.app.ignored_keys,
        )
        if self.study is None:  # of a study's trials its leases decide
            check_not_elsewhere(run.folder)
        with self._session(run) as handle:
            if self.judged_by is not None and number is not None:
                channel = channel_of(run.folder)
                handle.listeners.append(partial(_ask, handle, channel, self.judged_by))
            if self.repeats > 1 and number is not None:
                return self._repeat(run, handle)
            return self._call(run, handle)

    def _call(self, run: JobRun, handle: trial.RunHandle) -> Any:
        """Run the task, unless a complete run of the study has the same recipe."""
        if self.study is not None and (cached := self._cached(run)) is not None:
            reason = f"the recipe of {cached.name}, whose values these are"
            handle.set_outcome(Outcome.COMPLETE, reason)
            handle.values = cached.values
            handle.set_tags(taken_from=os.path.relpath(cached.folder, run.folder))
            return dict(cached.values)
        try:
            with joined(self.tracking, handle):
                returned = self.task(run.cfg)
        except SystemExit as error:
            raise HrmSweepError(f"the task called sys.exit({error.code})") from error
        take_values(handle, returned, self.values)
        handle.reason = self.app.in_own_keys(handle.reason)
        if self.study is not None and handle.outcome is Outcome.COMPLETE:
            cached_results.add(run.sweep, run.digest, run.folder)
        return returned

    def _cached(self, run: JobRun) -> CachedResult | None:
        return cached_results.find(run.sweep, run.digest, asking=run.folder)

    def _repeat(self, run: JobRun, handle: trial.RunHandle) -> dict[str, float]:
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
        handle.values = means_and_deviations(values)
        return handle.values

    def _values_of(self, run: JobRun, trial_handle: trial.RunHandle) -> dict[str, float]:
        """Return the final values of one repeat, from its record if it has been run.

        There are none if the task returned none; the trial then ends like its repeat.
        """
        if (known := cached_results.complete_run(run.folder, run.digest)) is not None:
            return known.values
        with self._session(run) as handle:
            self._call(run, handle)
        if handle.outcome is not Outcome.COMPLETE:
            trial_handle.set_outcome(handle.outcome, f"repeat {run.repeat}: {handle.reason}")
            return {}
        return finite(handle.values)  # as its folder keeps them

    @contextmanager
    def _session(self, run: JobRun) -> Iterator[trial.RunHandle]:
        run.write_recipe(self.source)
        log = job_log(run.folder / layout.LOG) if run.repeat is None else nullcontext()
        with (
            masked_logs(run.folder),
            log,
            trial.session(run.folder, **self._identity(run)) as handle,
        ):
            handle.artifact(*run.artifacts)
            yield handle

    def _identity(self, run: JobRun) -> dict[str, Any]:
        flat = run.flat
        tags = (
            dict(self.tags)
            | environment.environment_tags(self.source)
            | {
                "hrm_sweep.signature": recipe.signature(flat, self.app.ignored_keys),
                "hrm_sweep.folder": run.with_home(str(run.folder)),
            }
        )
        recipe_alone = recipe.recipe_overrides(run.overrides, self.app.ignored_keys)
        name = run.folder.name
        if self.study is not None:
            tags |= {
                "hrm_sweep.study": self.study,
                "hrm_sweep.study_id": self.study_id or id_of(run.sweep),
                "hrm_sweep.trial": str(run.number),
            }
            name = f"{run.number} {' '.join(self._point(run.overrides))}".strip()
        if run.repeat is not None:
            tags["hrm_sweep.repeat"] = str(run.repeat)
            name = f"{run.number}.{run.repeat} seed={run.cfg.seed}"
        return {
            "kind": "train" if self.study is None else "trial",
            "name": name,
            "artifacts": run.artifacts,
            "params": flat,
            "choices": group_choices(HydraConfig.get()),
            "overrides": run.overrides,
            "searched": [key for key, _ in self._searched(run.overrides)] if self.study else [],
            "app": self.app.to_record(),
            "tags": tags,
            "description": f"    {self.app.shell_command(*recipe_alone, *self.app.once)}\n",
        }

    def _point(self, overrides: Sequence[str]) -> Iterator[str]:
        """Yield the overrides in which a trial differs from others, short: `lr=1e-4`."""
        for key, value in self._searched(overrides):
            yield f"{key}={formatting.format_param(_number_or_text(value))}"

    def _searched(self, overrides: Sequence[str]) -> Iterator[tuple[str, str]]:
        for override in overrides:
            if override not in self.fixed:
                key, _, value = override.lstrip("+").partition("=")
                yield key, value


def _ask(
    handle: trial.RunHandle,
    channel: Channel,
    judged_by: str,
    step: int,
    values: Mapping[str, float],
) -> None:
    """Ask, after a report that a pruner can judge, whether the trial continues.

    After its last step it is complete: to prune it would save nothing and lose its result.

    Raises:
        optuna.TrialPruned: it does not.
    """
    if judged_by in values and step != handle.num_steps and (reason := channel.ask(step)):
        from optuna import TrialPruned

        raise TrialPruned(reason)


def _number_or_text(text: str) -> int | float | str:
    for number in (int, float):
        with suppress(ValueError):
            return number(text)
    return text
