"""Sweep: Hydra's sweep arguments in, a finished study out; what `hydra/sweeper=hrm_sweep` does."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.plugins import Plugins
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

from hrm_sweep import formatting
from hrm_sweep.compat.hydra import config_flags, is_main_program
from hrm_sweep.engine.callback import parse_callback
from hrm_sweep.engine.callbacks import Callbacks
from hrm_sweep.engine.checks import check_sweep
from hrm_sweep.engine.choices import check_choices, set_workers
from hrm_sweep.engine.damage import as_waiting, undone_trials
from hrm_sweep.engine.description import describe_study
from hrm_sweep.engine.identity import check_identity, recorded_study
from hrm_sweep.engine.interfaces import Observer, Slots, SystemClock
from hrm_sweep.engine.open_study import OpenStudy, find_study, open_study
from hrm_sweep.engine.optuna_summary import OptunaSummary
from hrm_sweep.engine.picture_drawer import EagerPictureDrawer, PictureDrawer
from hrm_sweep.engine.plugin_config import FOR_ONCE, SweeperConfig
from hrm_sweep.engine.rebuild import lacking_trials
from hrm_sweep.engine.resuming import anew, check_resume
from hrm_sweep.engine.run_again import FAILED, trials_to_run_again
from hrm_sweep.engine.scheduler import Scheduler
from hrm_sweep.engine.shared_settings import SharedSettings
from hrm_sweep.engine.state import StudyState
from hrm_sweep.engine.study_dir import StudyDir, known_folder, resume_in
from hrm_sweep.engine.study_recipe import check_recipe, directions_of, recipe_of
from hrm_sweep.engine.study_record import Report, StudyRecord, is_recorded
from hrm_sweep.engine.trial_queue import enqueued_trials, num_to_run
from hrm_sweep.errors import ConfigError, DatabaseAway, MachineFault, RecordError
from hrm_sweep.launch.batch_adapter import BatchAdapter, batch_width
from hrm_sweep.launch.compose import Composer
from hrm_sweep.launch.job import Job
from hrm_sweep.launch.job_returns import Batch, in_batches, raise_failure
from hrm_sweep.report import draw_report
from hrm_sweep.runs.app import App, register
from hrm_sweep.runs.configs import typed_overrides
from hrm_sweep.runs.export_state import waiting
from hrm_sweep.runs.own_keys import own_keys
from hrm_sweep.runs.places import Place
from hrm_sweep.runs.study import reference
from hrm_sweep.runs.writers import describe_unknown, unknown_writer
from hrm_sweep.search.budget import Budget
from hrm_sweep.search.custom import CustomSpace
from hrm_sweep.search.enqueued import parse_enqueued
from hrm_sweep.search.objectives import Objectives, parse_objectives
from hrm_sweep.search.params import param_overrides
from hrm_sweep.search.parsing import check_once, ends_left_out, parse_space
from hrm_sweep.search.pruners import make_pruner
from hrm_sweep.storage.pruning import Pruning
from hrm_sweep.system import environment, machine, names, output, process
from hrm_sweep.system.redact import check_no_secrets, redacted
from hrm_sweep.system.sqlite_urls import absolute
from hrm_sweep.terminal import hints
from hrm_sweep.terminal.consoles import PrintableConsole
from hrm_sweep.terminal.live import LiveView
from hrm_sweep.terminal.study_tables import MetricColumns
from hrm_sweep.tracking.exporter_process import ExporterProcess
from hrm_sweep.tracking.store import resolve_uri
from hrm_sweep.tracking.task_calls import Tracking


class Sweep:
    """One sweep of one app.

    Args:
        task: the app's task function.
        hydra_config: of the whole command.
        config: its `hydra.sweeper`.
        arguments: the task overrides, swept ones among them.

    Raises:
        InputError: the arguments or the config cannot be used.
    """

    def __init__(
        self,
        hydra_context: HydraContext,
        task: TaskFunction,
        hydra_config: DictConfig,
        config: SweeperConfig,
        arguments: list[str],
    ) -> None:
        self._for_hydra = typed_overrides(hydra_config.hydra, "hydra")
        self._for_task = typed_overrides(hydra_config.hydra, "task")
        check_no_secrets([*self._for_hydra, *self._for_task])
        config.check_settings()
        check_choices(hydra_config, self._for_hydra)
        self._config, self._arguments = config, arguments
        self._app = _started_app(task, hydra_config, self._for_hydra)
        self._known = find_study(config)
        resume_in(known_folder(config.study_name, self._known), hydra_config)
        self._compose = Composer(hydra_context.config_loader, hydra_config)
        self._dir = StudyDir(hydra_config, self._compose)
        self._shared = SharedSettings(hydra_config)
        self._name = config.study_name or names.new_name()
        self._objectives = parse_objectives(
            config.objective,
            directions_of(config, self._known),
            config.constraints,
            tie_breaker=config.tie_breaker,
        )
        self._pruning = _make_pruning(config, self._objectives, self._name)
        parser = OverridesParser.create(config_loader=hydra_context.config_loader)
        params = parser.parse_overrides(param_overrides(config.params))
        typed = parser.parse_overrides(arguments)
        check_once(typed)
        self._typed = {override.get_key_element(): override for override in typed}
        by_key = {override.get_key_element(): override for override in params}
        self._params = {key: by_key[key] for key in by_key if key not in self._typed}
        custom = CustomSpace.load(config.custom_search_space, hydra_config)
        self._space = parse_space([*params, *typed], custom)
        self._recipe = recipe_of(
            self._space,
            self._objectives,
            repeats=config.repeats,
            ignored_keys=self._app.ignored_keys,
        )
        self._recorded = recorded_study(self._dir.path, self._name)
        self._is_resumed = self._known is not None or self._recorded is not None
        named = reference(self._name, self._dir.path)
        check_resume(config, reference=named, exists=self._is_resumed)
        if self._known is None and self._recorded is not None:
            check_recipe(self._name, self._recorded.recipe, self._recipe)
        known = self._known.get_trials(deepcopy=False) if self._known else []
        undone = undone_trials(known, self._recorded, self._objectives)
        undone += trials_to_run_again(known, config.run_again)
        self._trials = as_waiting(known, undone) + lacking_trials(
            known,
            self._recorded,
            self._space,
            self._objectives,
            max_attempts=config.max_attempts,
        )
        enqueued = parse_enqueued(config.enqueue, self._space)
        self._budget = Budget(self._space, config.n_trials, enqueued)
        self._trials += enqueued_trials(self._budget, self._trials)
        self._num_to_run = num_to_run(self._budget, self._trials)
        self._job = self._make_job(task)
        self._launcher_config = hydra_config.hydra.launcher
        self._launcher_name = str(hydra_config.hydra.runtime.choices["hydra/launcher"])
        self._on_trial_end = parse_callback("hydra.sweeper.on_trial_end", config.on_trial_end)
        self._on_end = parse_callback("hydra.sweeper.on_end", config.on_end)
        self._n_jobs = set_workers(hydra_config.hydra.launcher, n_jobs=config.n_jobs)
        self._launcher: Any = Plugins.instance().instantiate_launcher(
            hydra_context=hydra_context, task_function=self._job, config=hydra_config
        )

    @output.tolerated()
    def run(self) -> list[Batch]:
        """Check everything, run the study and print what came out.

        Returns:
            Batches of JobReturn in the order of the trials.

        Raises:
            InputError: something cannot be used; nothing has been created.
            SystemExit: no trial is complete, or each that is breaks a constraint (1). A program
                that calls Hydra gets the first exception of a task, if there is one.
            DatabaseAway: the database does not answer; nothing is lost.
            KeyboardInterrupt: Ctrl-C; the command that resumes the study is printed.
        """
        if self._config.dry_run:
            self._check()
            self._print_plan()
            return []
        slots = self._start_slots()  # workers import what they need while the rest is checked
        try:
            self._check()
            opened = self._open()
            state = opened.state()
            observers = self._observers(opened, state, slots)
            scheduler = Scheduler(opened, state, slots, observers, SystemClock())
            scheduler.run()
        except KeyboardInterrupt:
            output.show(f"Stopped. Continue with: {self._how_to_continue()}")
            raise
        except DatabaseAway as error:
            raise self._with_way_out(error) from error
        except MachineFault as error:
            raise MachineFault(f"{error}; {self._way_out('once that is mended')}") from error
        except (OSError, RecordError) as error:
            if not (fault := machine.fault_of(error)):
                raise
            raise MachineFault(f"{fault}; {self._way_out('once that is mended')}") from error
        finally:
            slots.close()
        self._print_next_commands(state, observers)
        batches = in_batches(scheduler.jobs, self._config.max_batch_size)
        if not state.has_result:
            if not is_main_program():
                raise_failure(batches)
            raise SystemExit(1)
        return batches

    def _make_job(self, task: TaskFunction) -> Job:
        register(self._app)
        return Job(
            task.task if isinstance(task, Job) else task,
            self._app,
            values=self._objectives.required,
            study=self._name,
            pruning=self._pruning,
            tracking=self._tracking(),
            repeats=self._config.repeats,
            fixed=[part for part in self._space.parts if isinstance(part, str)],
        )

    def _tracking(self) -> Tracking | None:
        config = self._config
        return Tracking.at(config.tracking_uri, config.experiment) if config.is_tracked else None

    def _start_slots(self) -> Slots:
        """Return the launcher as slots: a rolling window if it takes single jobs, else batches."""
        if hasattr(self._launcher, "submit"):
            self._launcher.start(num_jobs=self._num_to_run)
            slots: Slots = self._launcher
            return slots
        return BatchAdapter(self._launcher, num_slots=self._batch_size)

    @property
    def _batch_size(self) -> int:
        """Trials that a stock launcher gets together: all of a grid, unless results may end it."""
        needs_results = not self._budget.is_grid or self._config.patience is not None
        width = batch_width(self._launcher_config) if needs_results else self._num_to_run
        most = self._config.max_batch_size or self._config.n_jobs
        return most or max(1, min(width, self._num_to_run))

    def _at_once(self, slots: Slots) -> str:
        """Return how many trials run at once, for the user; "": none is left to run."""
        if not (most := min(slots.num_slots, self._num_to_run)):
            return ""
        if isinstance(slots, BatchAdapter):
            return hints.in_batches(most, self._launcher_name)
        return formatting.pluralize(most, "worker")

    def _check(self) -> None:
        try:
            check_sweep(
                self._config,
                self._budget,
                self._objectives,
                self._dir,
                self._known,
                self._compose,
                self._shared,
            )
        except ConfigError as error:
            if error.key not in self._params:
                raise
            raise error.below("hydra.sweeper.params") from None
        if self._known is not None and self._recorded is not None:
            check_identity(self._known, self._recorded, self._config.storage)

    def _open(self) -> OpenStudy:
        opened = open_study(
            self._name,
            self._config,
            self._budget,
            self._objectives,
            self._dir,
            recipe=self._recipe,
            pruner=self._pruning.pruner if self._pruning else None,
        )
        if opened.num_rebuilt:
            trials = formatting.pluralize(opened.num_rebuilt, "trial")
            output.show(f"Optuna lacked {trials} of {self._dir.path}: rebuilt from the folder")
        for note in [*opened.notes, *self._notes()]:
            output.show(self._app.in_own_keys(note))
        if writer := unknown_writer(self._dir.path):
            output.show(f"{self._dir.path}: {describe_unknown(writer, self._name)}")
        return opened

    def _notes(self) -> Iterator[str]:
        """Yield what a new study takes for granted, and its user may not."""
        if self._is_resumed:
            return
        if self._config.direction is None:
            for name in self._objectives.maximized:
                yield f"{name}: is maximized, by its name; hydra.sweeper.direction=minimize if not"
        typed = () if self._budget.is_grid else self._typed.values()
        yield from ends_left_out([*self._params.values(), *typed])
        yield from self._n_jobs

    def _observers(self, opened: OpenStudy, state: StudyState, slots: Slots) -> list[Observer]:
        """Return the live view and, unless nothing is left to do, what keeps the results."""
        view = LiveView(
            PrintableConsole(),
            SystemClock(),
            head=self._head(opened, state, at_once=self._at_once(slots)),
            columns=MetricColumns(self._config.columns, self._app.metrics),
            describe_others=partial(hints.describe_others, how_to_continue=self._how_to_continue),
        )
        described = describe_study(
            self._config, self._space, self._objectives, num_trials=state.num_to_do
        )
        described |= {"id": opened.id, "place": self._place().to_record()}
        if self._is_up_to_date(described):
            return [view, OptunaSummary(opened)]
        folder = self._dir.path
        uri, experiment = self._config.tracking_uri, self._config.experiment
        pictures = self._app.pictures
        before: list[Observer] = [EagerPictureDrawer(pictures)]
        after: list[Observer] = []
        if self._config.is_tracked:
            exporter = ExporterProcess(folder, uri, experiment, pictures=pictures)
            before, after = [], [exporter, PictureDrawer(pictures)]
        report = Report(lambda: draw_report(folder, self._config.storage))
        record = StudyRecord(
            folder,
            self._space,
            report,
            reproduce=partial(hints.reproduce, self._name, folder),
            **described,
            **self._identity(opened),
        )
        callbacks = Callbacks(folder, on_trial_end=self._on_trial_end, on_end=self._on_end)
        return [view, *before, report, record, *after, OptunaSummary(opened), callbacks]

    def _is_up_to_date(self, described: Mapping[str, Any]) -> bool:
        """Return whether nothing is left to run, and the study's folder and MLflow have it all."""
        if self._num_to_run or not is_recorded(self._dir.path, **described):
            return False
        return not (self._config.is_tracked and waiting(self._dir.path).runs)

    def _head(self, opened: OpenStudy, state: StudyState, *, at_once: str) -> list[str]:
        """Return the first lines of the study, and say if it was there before."""
        lines = hints.head(state, self._budget, sampler=opened.sampler, at_once=at_once)
        if self._is_resumed:
            how = anew(reference(self._name, self._dir.path))
            left = f"{state.num_done} done, {state.num_left} to run"
            lines.insert(0, f"Resumes study {self._name}: {left}; {how}")
        return list(map(self._app.in_own_keys, lines))

    def _identity(self, opened: OpenStudy) -> dict[str, Any]:
        """Return the fields of the study's record that name it and how it was started."""
        for_hydra, for_task, arguments = map(
            self._without_once, (self._for_hydra, self._for_task, self._arguments)
        )
        command = self._app.shell_command("-m", *for_hydra, *arguments)
        tags = environment.environment_tags(self._job.source)
        return {
            "name": self._name,
            "recipe": self._recipe,
            "tags": tags | opened.tags,
            "description": f"    {command}\n",
            "hydra_overrides": for_hydra,
            "task_overrides": for_task,
            "app": self._app.to_record(),
            "enqueued": opened.enqueued,
        }

    def _without_once(self, overrides: list[str]) -> list[str]:
        """Return the overrides that belong to the study, and not to this command alone."""
        once = (*FOR_ONCE, *map(self._app.in_own_keys, FOR_ONCE))
        return [text for text in overrides if not text.startswith(once)]

    def _place(self) -> Place:
        tracking = resolve_uri(self._config.tracking_uri) if self._config.is_tracked else ""
        return Place.here(
            self._dir.path,
            storage=redacted(absolute(self._config.storage)),
            tracking=redacted(tracking),
        )

    def _print_plan(self) -> None:
        lines = hints.describe_plan(
            self._budget,
            self._trials,
            workers=getattr(self._launcher, "num_slots", batch_width(self._launcher_config)),
            ignored_keys=self._app.ignored_keys,
        )
        for line in [*map(self._app.in_own_keys, self._notes()), *lines]:
            output.show(line)

    def _print_next_commands(self, state: StudyState, observers: list[Observer]) -> None:
        if state.is_stopped:
            left = formatting.pluralize(state.num_left, "trial")
            output.show(f"  time is up  {left} left; continue with: {self._how_to_continue()}")
        if state.is_out_of_patience and not state.is_stopped:
            output.show(hints.about_patience(state, self._dir.path, self._job.app))
        if state.num_failed:
            output.show(f"  run failed  {self._how_to_continue(run_again=FAILED)}")
        folder = self._dir.path
        for line in hints.next_commands(state, self._space, self._config, folder, app=self._app):
            output.show(line)
        for observer in observers:
            if not isinstance(observer, ExporterProcess):
                continue
            if (backlog := observer.backlog).runs:
                later = process.hrm_sweep_command("sync", reference(self._name, self._dir.path))
                output.show(f"  tracking     {backlog}; later: {later}")
            elif backlog.left_out:
                output.show(f"  tracking     {backlog}")

    def _how_to_continue(self, **once: Any) -> str:
        return hints.how_to_continue(self._name, self._dir.path, self._app, **once)

    def _with_way_out(self, error: DatabaseAway) -> DatabaseAway:
        return DatabaseAway(error.where, error.reason, self._way_out("once it does"))

    def _way_out(self, once: str) -> str:
        kept = f"what was measured is kept in {self._dir.path}"
        return f"{kept}; {once}, continue with: {self._how_to_continue()}"


def _started_app(task: TaskFunction, config: DictConfig, for_hydra: Sequence[str]) -> App:
    """Return the app that handed the task in, and how this process was started.

    Args:
        for_hydra: overrides of Hydra, as they were typed; `-m` is one.
    """
    command = tuple(process.launch_command())
    app = task.app if isinstance(task, Job) else App.of_command(command)
    is_typed = any(text.startswith("hydra.mode=") for text in for_hydra)
    return replace(
        app,
        command=command,
        flags=config_flags(),
        folder=str(Path.cwd()),
        once=() if is_typed else ("hydra.mode=RUN",),
        keys=own_keys(config),
    )


def _make_pruning(config: SweeperConfig, objectives: Objectives, study: str) -> Pruning | None:
    pruner = make_pruner(config.pruner, objectives, repeats=config.repeats)
    if pruner is None:
        return None
    return Pruning(absolute(config.storage), study, objectives.names[0], pruner)
