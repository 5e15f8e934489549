"""A sweep: Hydra's sweep arguments in, a finished study out; what `hydra/sweeper=hrm_sweep` is."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.plugins import Plugins
from hydra.types import HydraContext, TaskFunction
from hydra.utils import get_method, instantiate
from omegaconf import DictConfig, OmegaConf, open_dict

from hrm_sweep import files, runtime
from hrm_sweep.errors import StudyError
from hrm_sweep.launch.batches import Batches
from hrm_sweep.launch.job import Job
from hrm_sweep.outcomes import Outcome
from hrm_sweep.projector import ProjectorProcess
from hrm_sweep.study import words
from hrm_sweep.study.engine import Engine
from hrm_sweep.study.ledger import Ledger, shown
from hrm_sweep.study.plan import Plan, agree_on_recipe, is_of_the_recipe
from hrm_sweep.study.pruning import Pruning
from hrm_sweep.study.results import Results
from hrm_sweep.study.screen import Screen
from hrm_sweep.study.space import Dimension, Space, parse_space
from hrm_sweep.tracking import mlflow_store

SYNC = "python -m hrm_sweep sync"
CORNERS = 64
"""Points composed and checked before the first trial, if the space has that many."""


class Sweep:
    """One sweep of one app; the arguments are those of `HrmSweeperConf`."""

    def __init__(
        self,
        hydra_context: HydraContext,
        task: TaskFunction,
        config: DictConfig,
        *,
        params: dict[str, str] | None,
        study_name: str | None,
        objective: str,
        tie_breaker: str | None,
        direction: Any,
        n_trials: int,
        max_failure_rate: float | None,
        timeout: float | None,
        dry_run: bool,
        repeats: int,
        pruner: Any,
        max_attempts: int,
        max_batch_size: int | None,
        storage: str,
        seed: int | None,
        sampler: Any,
        tracking: Any,
        check: str | None,
        columns: Sequence[str],
    ) -> None:
        self._loader, self._config = hydra_context.config_loader, config
        self._params = params or {}
        self._folder = Path(str(config.hydra.sweep.dir))
        self._name = study_name or runtime.new_name()
        self._objective, self._direction, self._n_trials = objective, direction, n_trials
        self._tie_breaker, self._max_attempts = tie_breaker, max_attempts
        self._max_batch_size, self._storage, self._seed = max_batch_size, storage, seed
        self._sampler, self._tracking, self._columns = sampler, tracking, columns
        self._check = get_method(check) if check else None
        self._max_failure_rate, self._timeout, self._dry_run = max_failure_rate, timeout, dry_run
        self._pruner = instantiate(pruner)
        is_pruned = self._pruner is not None and type(self._pruner).__name__ != "NopPruner"
        pruning = Pruning(storage, self._name, objective, self._pruner) if is_pruned else None
        self._is_pruned = is_pruned
        self._repeats = repeats
        if isinstance(task, Job):  # an app that keeps records of single runs as well
            task = task.task
        self._launcher = Plugins.instance().instantiate_launcher(
            hydra_context=hydra_context,
            task_function=Job(
                task,
                [objective],
                runtime.command(),
                study=self._name,
                pruning=pruning,
                repeats=repeats,
            ),
            config=config,
        )

    def run(self, arguments: list[str]) -> list[list[Any]]:
        """Checks everything, runs the study and says what came out.

        Returns:
            Batches of JobReturn in the order of the trials.

        Raises:
            InputError: something that was given cannot be used; nothing has been created.
            SystemExit: trials failed and none is complete (1).
            KeyboardInterrupt: Ctrl-C; it has said how to continue.
        """
        if self._repeats > 1 and "seed" not in self._config:
            raise StudyError(f"repeats={self._repeats}: the config has no key `seed` for them")
        space = self._parse(arguments)
        self._check_corners(space)
        if self._dry_run:
            self._show_plan(space)
            return []
        files.check_writable(self._folder)
        if self._tracking.name != "off":
            mlflow_store.check(mlflow_store.resolve_uri(self._tracking.uri))
        slots = self._slots(space)  # workers import what they need while the storage is opened
        try:
            engine = self._engine(space, slots, arguments)
            engine.run()
        except KeyboardInterrupt:
            self._screen.say(f"Stopped. Continue with: {self._how_to_continue()}")
            raise
        finally:
            slots.close()
        self._say_what_next(engine)
        if not engine.best() and any(
            row.outcome is not Outcome.UNJUDGED for row in engine.rows.values()
        ):
            raise SystemExit(1)
        return self._batches(engine.returns)

    def _parse(self, arguments: list[str]) -> Space:
        texts = [f"{key}={value}" for key, value in self._params.items()] + arguments
        parser = OverridesParser.create(config_loader=self._loader)
        return parse_space(parser.parse_overrides(texts))

    def _check_corners(self, space: Space) -> None:
        """Composes and checks points of the space: a mistake is met now and not at night."""
        for point in space.corners(at_most=CORNERS):
            composed = self._loader.load_sweep_config(self._config, space.overrides(point))
            if self._check is not None:
                self._check(composed)

    def _show_plan(self, space: Space) -> None:
        """What would run, and nothing else."""
        if not space.is_finite:
            print(f"A search of {words.count(self._n_trials, 'trial')}: {_sizes(space)}")
            return
        points = [" ".join(space.overrides(point)) for point in space.points()]
        print(f"A grid of {words.count(len(points), 'point')}: {_sizes(space)}")
        for number, point in enumerate(points):
            print(f"  {number}  {point}")

    def _slots(self, space: Space) -> Any:
        """The launcher as slots: a rolling window if it takes single jobs, batches if not."""
        launcher: Any = self._launcher
        if hasattr(launcher, "submit"):
            launcher.start()
            return launcher
        size = self._max_batch_size or (len(list(space.points())) if space.is_finite else 1)
        return Batches(launcher, num_slots=size)

    def _engine(self, space: Space, slots: Any, arguments: list[str]) -> Engine:
        ledger = Ledger(self._storage)
        study = ledger.open_study(self._name, self._direction)
        is_new = not study.user_attrs
        agree_on_recipe(study, space, objective=self._objective)
        self._make_folder(set_aside=is_new)
        self._projectors = self._start_projectors()
        study.sampler = self._make_sampler(len(study.get_trials(deepcopy=False)))
        plan = Plan(ledger, study, space, num_trials=self._n_trials)
        self._screen = Screen(head=self._head(space, plan, slots), columns=self._columns)
        results = Results(
            self._folder,
            name=self._name,
            params={dimension.name: str(dimension.distribution) for dimension in space.dimensions},
            tags={"hrm_sweep.study": self._name},
            description=f"    {shlex.join([*runtime.command(), '-m', *arguments])}\n",
        )
        return Engine(
            study=study,
            ledger=ledger,
            space=space,
            plan=plan,
            slots=slots,
            objective=self._objective,
            tie_breaker=self._tie_breaker,
            folder=self._folder,
            folder_of=self._folder_of,
            max_attempts=self._max_attempts,
            is_tracked=self._tracking.name != "off",
            reports=not self._is_pruned,
            max_failure_rate=self._max_failure_rate,
            timeout=self._timeout,
            observers=[results, self._screen, *self._projectors],
        )

    def _folder_of(self, number: int, overrides: list[str]) -> Path:
        """The folder that Hydra will give a job."""
        if self._config.hydra.sweep._get_node("subdir")._value() == "${hydra.job.num}":
            return self._folder / str(number)  # known without composing the job's config
        job = self._loader.load_sweep_config(self._config, overrides)
        with open_dict(job):
            job.hydra.job.num, job.hydra.job.id = number, str(number)
        return self._folder / str(job.hydra.sweep.subdir)

    def _make_folder(self, *, set_aside: bool) -> None:
        """The study's folder; for a new study, one that holds another is kept beside it."""
        if set_aside and (self._folder / "multirun.yaml").exists():
            files.set_aside(self._folder)
        self._folder.mkdir(parents=True, exist_ok=True)
        OmegaConf.save(self._config, self._folder / "multirun.yaml")

    def _make_sampler(self, num_trials: int) -> Any:
        """The sampler; seeded by the seed alone it would propose its first trials once more when
        the study goes on."""
        seed = None if self._seed is None else self._seed + num_trials
        return instantiate(self._sampler, seed=seed)

    def _start_projectors(self) -> list[ProjectorProcess]:
        if self._tracking.name == "off":
            return []
        uri, experiment = self._tracking.uri, self._tracking.experiment
        return [ProjectorProcess(self._folder, uri=uri, experiment=experiment)]

    def _head(self, space: Space, plan: Plan, slots: Any) -> list[str]:
        how = f"Grid of {plan.num_trials}, every point once"
        if not space.is_finite:
            sampler = self._sampler["_target_"].rpartition(".")[2]
            how = f"Search of {words.count(plan.num_trials, 'trial')}, proposed by {sampler}"
        return [
            f"Study {self._name} · {_sizes(space)} · {self._direction} {self._objective}",
            f"{how} · {words.count(slots.num_slots, 'worker')}",
        ]

    def _say_what_next(self, engine: Engine) -> None:
        for line in self._next_commands(engine):
            self._screen.say(line)

    def _how_to_continue(self) -> str:
        if OmegaConf.select(self._config, "study.name") == self._name:  # our own app
            return shlex.join([*runtime.command(), "resume", self._name])
        name = f"hydra.sweeper.study_name={self._name}"
        same = [*sys.argv[1:], name, f"hydra.sweep.dir={self._folder}"]
        return shlex.join([*runtime.command(), *same])

    def _next_commands(self, engine: Engine) -> Iterator[str]:
        for best in engine.best()[:1]:
            overrides = filter(is_of_the_recipe, engine.space.overrides(best.params))
            yield f"  best folder  {best.folder}"
            yield f"  once more    {shlex.join([*runtime.command(), *overrides])}"
        for projector in self._projectors:
            if projector.backlog.runs:
                yield f"  tracking     {projector.backlog}; later: {SYNC} {self._name}"
        if self._tracking.name != "off":
            yield f"  compare      {ui_command(self._tracking.uri)}"
        yield f"  explore      optuna-dashboard {shown(self._storage)}"

    def _batches(self, returns: dict[int, Any]) -> list[list[Any]]:
        jobs = [returns[number] for number in sorted(returns)]
        size = self._max_batch_size or max(1, len(jobs))
        return [jobs[first : first + size] for first in range(0, len(jobs), size)]


def _sizes(space: Space) -> str:
    return ", ".join(map(_described, space.dimensions)) or "one point"


def _described(dimension: Dimension) -> str:
    if dimension.choices is not None:
        return f"{dimension.name} {len(dimension.choices)}"
    distribution: Any = dimension.distribution
    low, high = words.setting(distribution.low), words.setting(distribution.high)
    return f"{dimension.name} {low} to {high}{', log' if distribution.log else ''}"


def ui_command(uri: str | None) -> str:
    """What starts the MLflow UI. Its own defaults accept hosts that only look like ours."""
    if uri and uri.startswith("http"):
        return f"{uri} in a browser"
    return (
        f"mlflow ui --backend-store-uri {uri or 'sqlite:///mlruns/mlflow.db'} --host 127.0.0.1 "
        "--port 5000 --allowed-hosts localhost:5000,127.0.0.1:5000"
    )
