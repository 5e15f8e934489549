"""A sweep: Hydra's sweep arguments in, a finished study out; what `hydra/sweeper=hrm_sweep` is."""

from __future__ import annotations

import os
import shlex
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from functools import partial
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.plugins import Plugins
from hydra.types import HydraContext, TaskFunction
from hydra.utils import get_method
from omegaconf import DictConfig, OmegaConf

from hrm_sweep import formatting
from hrm_sweep.engine.plugin_config import FOR_ONCE, SweeperSettings
from hrm_sweep.engine.scheduler import Rules, Scheduler
from hrm_sweep.engine.study_dir import StudyFolder, go_on_in
from hrm_sweep.engine.study_record import Results, are_told
from hrm_sweep.engine.trial_queue import (
    FOLDER,
    TrialQueue,
    agree_on_recipe,
    check_take_from,
    num_to_run,
    running_of_others,
)
from hrm_sweep.errors import DatabaseAway, StudyError
from hrm_sweep.launch.batch_adapter import BatchAdapter
from hrm_sweep.launch.compose import Composer
from hrm_sweep.launch.job import Job
from hrm_sweep.report import draw_report
from hrm_sweep.runs.configs import to_yaml
from hrm_sweep.runs.export_state import OF_A_STUDY, waiting
from hrm_sweep.runs.outcomes import Outcome
from hrm_sweep.search.objectives import parse_objectives
from hrm_sweep.search.pruners import make_pruner
from hrm_sweep.search.samplers import make_sampler
from hrm_sweep.search.space import Space, check_once, parse_space
from hrm_sweep.storage.database import absolute, shown
from hrm_sweep.storage.leases import Lease, is_worked_in
from hrm_sweep.storage.optuna_storage import SharedStorage, known_study
from hrm_sweep.storage.pruning import Pruning
from hrm_sweep.system import environment, files, names, process
from hrm_sweep.system.redact import check_no_secrets, redacted, redacted_tree
from hrm_sweep.terminal import hints
from hrm_sweep.terminal.live import Screen
from hrm_sweep.tracking import store
from hrm_sweep.tracking.exporter_process import ExporterProcess

CORNERS = 64
"""Points composed and checked before the first trial, if the space has that many."""
DASHBOARD = "http://127.0.0.1:8080/dashboard"
"""Where Optuna's dashboard is, if it is started as the last lines of a study say."""


class Sweep:
    """One sweep of one app."""

    def __init__(
        self,
        hydra_context: HydraContext,
        task: TaskFunction,
        config: DictConfig,
        settings: SweeperSettings,
    ) -> None:
        self._loader, self._config, self._settings = hydra_context.config_loader, config, settings
        check_no_secrets([*_typed(config, "hydra"), *_typed(config, "task")])
        self._known = self._known_study()
        """Its study as it was found, if that goes on."""
        go_on_in(self._known.user_attrs.get(FOLDER, "") if self._known else "", config)
        self._compose = Composer(hydra_context.config_loader, config)
        self._place = StudyFolder(config, self._compose)
        self._folder = self._place.path
        self._name = settings.study_name or names.new_name()
        self._is_tracked = settings.tracking["name"] != "off"
        self._objectives = parse_objectives(
            settings.objective,
            settings.direction,
            settings.constraints,
            tie_breaker=settings.tie_breaker,
        )
        self._pruning = self._make_pruning()
        single = task if isinstance(task, Job) else Job(task, [], [])  # how the app runs once
        self._job = Job(
            single.task,
            aside=single.aside,
            values=self._objectives.required,
            command=process.launch_command(),
            study=self._name,
            pruning=self._pruning,
            repeats=settings.repeats,
        )
        self._launcher: Any = Plugins.instance().instantiate_launcher(
            hydra_context=hydra_context, task_function=self._job, config=config
        )

    def run(self, arguments: list[str]) -> list[Batch]:
        """Checks everything, runs the study and says what came out.

        Returns:
            Batches of JobReturn in the order of the trials.

        Raises:
            InputError: something that was given cannot be used; nothing has been created.
            SystemExit: no trial is complete, or each that is breaks a constraint (1).
            DatabaseAway: it does not answer; nothing is lost.
            KeyboardInterrupt: Ctrl-C; it has said how to continue.
        """
        space = self._space(arguments)
        self._job.searched = [dimension.name for dimension in space.dimensions]
        if self._settings.dry_run:
            self._check(space)
            self._show_plan(space)
            return []
        self._num_to_run = num_to_run(
            space, self._trials_so_far(), num_trials=self._settings.n_trials
        )
        slots = self._slots(space)  # workers import what they need while the rest is looked at
        try:
            self._check(space)
            engine = self._engine(space, slots, arguments)
            engine.run()
        except KeyboardInterrupt:
            print(f"Stopped. Continue with: {self._how_to_continue()}")
            raise
        except DatabaseAway as error:
            kept = f"what was measured is kept in {self._folder}"
            once = f"once it does, continue with: {self._how_to_continue()}"
            raise DatabaseAway(error.where, error.reason, f"{kept}; {once}") from error
        finally:
            slots.close()
        self._say_what_next(engine)
        outcomes = {row.outcome for row in engine.rows.values()}
        is_nothing = not engine.front and outcomes != {Outcome.UNJUDGED}
        if is_nothing and not engine.is_left_to_others:
            raise SystemExit(1)
        return self._batches(engine.returns)

    def _how_to_continue(self, *, take_from: str | None = None) -> str:
        return hints.how_to_continue(
            self._name, self._folder, is_ours="study" in self._job.aside, take_from=take_from
        )

    def _show_plan(self, space: Space) -> None:
        workers = getattr(self._launcher, "num_slots", 1)
        for line in hints.describe_plan(
            space,
            self._settings.n_trials,
            self._trials_so_far(),
            workers=workers,
            aside=self._job.aside,
        ):
            print(line)

    def _known_study(self) -> Any:
        """The Optuna study of its name, if there is one now."""
        name = self._settings.study_name
        return known_study(self._settings.storage, name) if name is not None else None

    def _trials_so_far(self) -> list[Any]:
        return self._known.get_trials(deepcopy=False) if self._known else []

    def _space(self, arguments: list[str]) -> Space:
        """What is to be searched."""
        params = [f"{key}={value}" for key, value in (self._settings.params or {}).items()]
        parser = OverridesParser.create(config_loader=self._loader)
        typed = parser.parse_overrides(arguments)
        check_once(typed)
        return parse_space([*parser.parse_overrides(params), *typed])

    def _check(self, space: Space) -> None:
        """Looks at everything that can be wrong without a trial.

        Points of the space are composed and checked: a mistake is met now and not at night.
        """
        check = get_method(self._settings.check) if self._settings.check else None
        for point in space.corners(at_most=CORNERS):
            composed = self._compose(space.overrides(point))
            if self._settings.repeats > 1 and "seed" not in composed:
                raise StudyError(
                    f"repeats={self._settings.repeats}: the config has no key `seed` for them"
                )
            if check is not None:
                check(composed)
        self._place.check([space.overrides(point) for point in space.corners(at_most=CORNERS)])
        self._sampler(space, 0)
        if machine := self._settings.take_from:
            check_take_from(machine, running_of_others(self._known) if self._known else Counter())
        if is_worked_in(self._folder) and self._known_study() is None:  # not of a moment ago either
            self._place.check_is_free()
        if self._is_tracked:
            store.check(store.resolve_uri(self._settings.tracking.get("uri")))

    def _slots(self, space: Space) -> Any:
        """The launcher as slots: a rolling window if it takes single jobs, batches if not."""
        if hasattr(self._launcher, "submit"):
            self._launcher.start(num_jobs=self._num_to_run)
            return self._launcher
        all_of_them = max(1, self._num_to_run) if space.is_finite else 1
        size = self._settings.max_batch_size or all_of_them
        return BatchAdapter(self._launcher, num_slots=size)

    def _engine(self, space: Space, slots: Any, arguments: list[str]) -> Scheduler:
        settings = self._settings
        ledger = SharedStorage(settings.storage)
        study = ledger.open_study(self._name, self._objectives.directions)
        with ledger.exclusive():  # of sweeps that start a study together, one makes its folder
            is_new = agree_on_recipe(
                study, space, self._objectives, repeats=settings.repeats, aside=self._job.aside
            )
            if is_new:
                self._place.clear()
                study.set_user_attr(FOLDER, str(self._folder))
            self._folder.mkdir(parents=True, exist_ok=True)
            owner = Lease(self._folder)
        self._write_config()
        study.sampler, by = self._sampler(space, len(study.get_trials(deepcopy=False)))
        if self._pruning is not None:
            study.pruner = self._pruning.pruner  # samplers ask it
        plan = TrialQueue(ledger, study, space, num_trials=settings.n_trials)
        num_slots = min(slots.num_slots, self._num_to_run)
        screen = Screen(
            head=hints.head(self._name, space, self._objectives, plan, by=by, slots=num_slots),
            columns=settings.columns,
            of_others=partial(hints.of_others, how_to_continue=self._how_to_continue),
        )
        asked = {"num_trials": plan.num_trials, **self._asked(space)}
        self._projectors, results = [], []
        if not self._is_all_told(asked):
            self._projectors = self._start_projectors()
            asked["dashboard"] = f"{DASHBOARD}/studies/{study._study_id}"
            results = [self._results(asked, arguments)]
        return Scheduler(
            study=study,
            ledger=ledger,
            space=space,
            plan=plan,
            objectives=self._objectives,
            rules=Rules(
                max_attempts=settings.max_attempts,
                take_from=settings.take_from,
                max_failure_rate=settings.max_failure_rate,
                timeout=settings.timeout,
                reports=self._pruning is None,
                is_tracked=self._is_tracked,
            ),
            slots=slots,
            folder=self._folder,
            owner=owner,
            folder_of=self._place.of_trial,
            observers=[screen, *results, *self._projectors],
        )

    def _is_all_told(self, asked: Mapping[str, Any]) -> bool:
        """Nothing is left to run, and the study's folder and MLflow have all of it."""
        if self._num_to_run or not are_told(self._folder, **asked):
            return False
        return not (self._is_tracked and waiting(self._folder).runs)

    def _asked(self, space: Space) -> dict[str, Any]:
        """What the study's record says of it that decides about its trials and how they count."""
        return {
            "params": {each.name: hints.values_of(each) for each in space.dimensions},
            "judged": {
                "objectives": list(self._objectives.names),
                "directions": list(self._objectives.directions),
                "constraints": [str(constraint) for constraint in self._objectives.constraints],
                "tie_breaker": self._settings.tie_breaker,
                "columns": list(self._settings.columns),
                "repeats": self._settings.repeats,
            },
            "storage": shown(self._settings.storage),
            "tracking": self._tracking_as_shown(),
        }

    def _results(self, asked: Mapping[str, Any], arguments: list[str]) -> Results:
        for_hydra = self._typed_for_hydra()
        typed = [*process.launch_command(), "-m", *for_hydra, *arguments]
        return Results(
            self._folder,
            draw=lambda: draw_report(self._folder),
            again=partial(hints.reproduce, self._name),
            name=self._name,
            tags=environment.environment_tags(self._job.source) | {"hrm_sweep.study": self._name},
            description=f"    {shlex.join(typed)}\n",
            hydra_overrides=for_hydra,
            aside=[*self._job.aside],
            **asked,
        )

    def _typed_for_hydra(self) -> list[str]:
        """The overrides of Hydra's own settings that are part of the study."""
        return [text for text in _typed(self._config, "hydra") if not text.startswith(FOR_ONCE)]

    def _tracking_as_shown(self) -> dict[str, str | None]:
        """Where the study's runs go, without passwords; uri None is `mlruns/` beside the study."""
        if not self._is_tracked:
            return {}
        uri = self._settings.tracking.get("uri") or os.environ.get("MLFLOW_TRACKING_URI")
        experiment = self._settings.tracking.get("experiment", "hrm_sweep")
        return {"uri": redacted(uri) if uri else None, "experiment": experiment}

    def _sampler(self, space: Space, num_known: int) -> tuple[Any, str]:
        settings = self._settings
        return make_sampler(
            settings.sampler,
            space,
            self._objectives,
            num_trials=settings.n_trials,
            num_known=num_known,
            seed=settings.seed,
        )

    def _make_pruning(self) -> Pruning | None:
        pruner = make_pruner(
            self._settings.pruner, self._objectives, repeats=self._settings.repeats
        )
        if pruner is None:
            return None
        storage = absolute(self._settings.storage)
        return Pruning(storage, self._name, self._objectives.names[0], pruner)

    def _write_config(self) -> None:
        tree = OmegaConf.to_container(self._config, enum_to_str=True)
        files.write_text(self._folder / OF_A_STUDY, to_yaml(redacted_tree(tree)))

    def _start_projectors(self) -> list[ExporterProcess]:
        if not self._is_tracked:
            return []
        tracking = self._settings.tracking
        experiment = tracking.get("experiment", "hrm_sweep")
        return [ExporterProcess(self._folder, uri=tracking.get("uri"), experiment=experiment)]

    def _say_what_next(self, engine: Scheduler) -> None:
        if engine.is_stopped:
            left = formatting.pluralize(engine.num_left, "trial")
            print(f"  time is up  {left} left; continue with: {self._how_to_continue()}")
        for line in hints.next_commands(
            self._settings, engine, self._folder, aside=self._job.aside
        ):
            print(line)
        for backlog in (projector.backlog for projector in self._projectors):
            if backlog.runs:
                print(f"  tracking     {backlog}; later: python -m hrm_sweep sync {self._name}")

    def _batches(self, returns: dict[int, Future[Any]]) -> list[Batch]:
        jobs = [returns[number] for number in sorted(returns)]
        size = self._settings.max_batch_size or max(1, len(jobs))
        return [Batch(jobs[first : first + size]) for first in range(0, len(jobs), size)]


class Batch(Sequence[Any]):
    """What jobs returned, each unpacked when it is asked for."""

    def __init__(self, jobs: list[Future[Any]]) -> None:
        self._jobs = jobs

    def __len__(self) -> int:
        return len(self._jobs)

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return Batch(self._jobs[index])
        return self._jobs[index].result()


def _typed(config: DictConfig, what: str) -> list[str]:
    """The overrides for `hydra` or for the `task` as they were typed, their interpolations too."""
    overrides = OmegaConf.to_container(config.hydra.overrides[what], resolve=False)
    assert isinstance(overrides, list)
    return [str(text) for text in overrides]
