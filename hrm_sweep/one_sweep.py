"""Sweep: Hydra's sweep arguments in, a finished study out; what `hydra/sweeper=hrm_sweep` does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from hydra.core.plugins import Plugins
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

from hrm_sweep import formatting
from hrm_sweep.compat.hydra import config_flags, is_main_program
from hrm_sweep.engine.callback import parse_callback
from hrm_sweep.engine.callbacks import Callbacks
from hrm_sweep.engine.choices import check_choices, set_workers
from hrm_sweep.engine.description import describe_study
from hrm_sweep.engine.interfaces import Observer, Slots, SystemClock
from hrm_sweep.engine.model_keeper import ModelKeeper
from hrm_sweep.engine.open_study import OpenStudy, find_study, open_study
from hrm_sweep.engine.optuna_summary import OptunaSummary
from hrm_sweep.engine.picture_drawer import EagerPictureDrawer, PictureDrawer
from hrm_sweep.engine.plan import Plan
from hrm_sweep.engine.plugin_config import FOR_ONCE, SweeperConfig
from hrm_sweep.engine.resuming import anew
from hrm_sweep.engine.run_again import FAILED
from hrm_sweep.engine.scheduler import Scheduler
from hrm_sweep.engine.state import StudyState
from hrm_sweep.engine.study_dir import known_folder, resume_in
from hrm_sweep.engine.study_record import Report, StudyRecord, is_recorded
from hrm_sweep.errors import DatabaseAway, MachineFault, RecordError
from hrm_sweep.launch.batch_adapter import BatchAdapter, batch_width
from hrm_sweep.launch.compose import Composer
from hrm_sweep.launch.job import Job
from hrm_sweep.launch.job_returns import Batch, in_batches, raise_failure
from hrm_sweep.report import draw_report, import_ahead
from hrm_sweep.runs.app import App, register
from hrm_sweep.runs.configs import typed_overrides
from hrm_sweep.runs.export_state import waiting
from hrm_sweep.runs.models import KEEP_ALL
from hrm_sweep.runs.own_keys import own_keys
from hrm_sweep.runs.places import Place
from hrm_sweep.runs.writers import describe_unknown, unknown_writer
from hrm_sweep.system import call, environment, machine, output, process
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
        self._app = _started_app(task, hydra_config, self._for_hydra, config.model_files)
        known = find_study(config)
        resume_in(known_folder(config.study_name, known), hydra_config)
        loader = hydra_context.config_loader
        self._plan = Plan(
            config,
            self._app,
            known,
            hydra_config=hydra_config,
            loader=loader,
            compose=Composer(loader, hydra_config),
            arguments=arguments,
        )
        self._folder = self._plan.dir.path
        if (called := call.current()) is not None:
            called.folders.append(self._folder.absolute())
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
            self._plan.check()
            self._print_plan()
            return []
        slots = self._start_slots()  # workers import what they need while the rest is checked
        try:
            self._plan.check()
            opened = self._open()
            state = opened.state()
            view = self._view(opened, state, slots)
            observers = [view, *self._observers(opened, state)]
            scheduler = Scheduler(opened, state, slots, observers, SystemClock())
            with closing(view):
                scheduler.run()
        except KeyboardInterrupt:
            output.show(f"Stopped. Continue with: {self._how_to_continue()}")
            raise
        except DatabaseAway as error:
            raise self._with_way_out(error) from error
        except MachineFault as error:
            where = machine.full_disk(self._folder)
            raise MachineFault(f"{error}{where}; {self._way_out('once that is mended')}") from error
        except (OSError, RecordError) as error:
            if not (fault := machine.describe(error, self._folder)):
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
            values=self._plan.objectives.required,
            study=self._plan.name,
            folder=self._folder.absolute(),
            judged_by=self._plan.objectives.names[0] if self._plan.pruner else None,
            tracking=self._tracking(),
            repeats=self._config.repeats,
            fixed=[part for part in self._plan.space.parts if isinstance(part, str)],
        )

    def _tracking(self) -> Tracking | None:
        config = self._config
        return Tracking.at(config.tracking_uri, config.experiment) if config.is_tracked else None

    def _start_slots(self) -> Slots:
        """Return the launcher as slots: a rolling window if it takes single jobs, else batches."""
        if hasattr(self._launcher, "submit"):
            self._launcher.start(num_jobs=self._plan.num_to_run)
            slots: Slots = self._launcher
            return slots
        return BatchAdapter(self._launcher, num_slots=self._batch_size)

    @property
    def _batch_size(self) -> int:
        """Trials that a stock launcher gets together: all of a grid, unless results may end it."""
        needs_results = not self._plan.budget.is_grid or self._config.patience is not None
        width = batch_width(self._launcher_config) if needs_results else self._plan.num_to_run
        most = self._config.max_batch_size or self._config.n_jobs
        return most or max(1, min(width, self._plan.num_to_run))

    def _at_once(self, slots: Slots) -> str:
        """Return how many trials run at once, for the user; "": none is left to run."""
        if not (most := min(slots.num_slots, self._plan.num_to_run)):
            return ""
        if isinstance(slots, BatchAdapter):
            return hints.in_batches(most, self._launcher_name)
        return hints.workers(most, threads=getattr(slots, "threads", 0))

    def _open(self) -> OpenStudy:
        opened = open_study(
            self._plan.name,
            self._config,
            self._plan.budget,
            self._plan.objectives,
            self._plan.dir,
            recipe=self._plan.recipe,
            pruner=self._plan.pruner,
        )
        self._job.study_id = opened.id  # launchers that pack the job now need not look for it
        if opened.num_rebuilt:
            trials = formatting.pluralize(opened.num_rebuilt, "trial")
            output.show(f"Optuna lacked {trials} of {self._folder}: rebuilt from the folder")
        for note in [*map(self._app.in_own_keys, opened.notes), *self._notes()]:
            output.show(note)
        if writer := unknown_writer(self._folder):
            output.show(f"{self._folder}: {describe_unknown(writer, self._plan.name)}")
        return opened

    def _notes(self) -> list[str]:
        """Return what the user may not expect, in the app's own keys."""
        further = () if self._plan.is_resumed else self._n_jobs
        return [self._app.in_own_keys(note) for note in (*self._plan.notes(), *further)]

    def _view(self, opened: OpenStudy, state: StudyState, slots: Slots) -> LiveView:
        return LiveView(
            PrintableConsole(),
            SystemClock(),
            head=self._head(opened, state, at_once=self._at_once(slots)),
            columns=MetricColumns(self._config.columns, self._app.metrics),
            describe_others=partial(hints.describe_others, how_to_continue=self._how_to_continue),
            after_end=hints.after_end(is_tracked=self._config.is_tracked),
        )

    def _observers(self, opened: OpenStudy, state: StudyState) -> list[Observer]:
        """Return what keeps the results of the study, unless nothing is left to do."""
        described = describe_study(
            self._config, self._plan.space, self._plan.objectives, num_trials=state.num_to_do
        )
        described |= {"id": opened.id, "place": self._place().to_record()}
        if self._is_up_to_date(described):
            return [OptunaSummary(opened)]
        folder = self._folder
        uri, experiment = self._config.tracking_uri, self._config.experiment
        pictures = self._app.pictures
        before: list[Observer] = [EagerPictureDrawer(pictures)]
        after: list[Observer] = []
        if self._config.is_tracked:
            exporter = ExporterProcess(
                folder, uri, experiment, pictures=pictures, is_awaited=self._app.uses_mlflow
            )
            before, after = [], [exporter, PictureDrawer(pictures)]
        if (keep := self._config.keep_models) != KEEP_ALL:
            by = self._app.in_own_keys(f"hydra.sweeper.keep_models={keep}")
            before.append(ModelKeeper(folder, keep, by=by))
        report = Report(lambda: draw_report(folder, self._config.storage), import_ahead)
        record = StudyRecord(
            folder,
            self._plan.space,
            report,
            reproduce=partial(hints.reproduce, self._plan.name, folder),
            **described,
            **self._identity(opened),
        )
        callbacks = Callbacks(folder, on_trial_end=self._on_trial_end, on_end=self._on_end)
        return [*before, report, record, *after, OptunaSummary(opened), callbacks]

    def _is_up_to_date(self, described: Mapping[str, Any]) -> bool:
        """Return whether nothing is left to run, and the study's folder and MLflow have it all."""
        if self._plan.num_to_run or not is_recorded(self._folder, **described):
            return False
        return not (self._config.is_tracked and waiting(self._folder).runs)

    def _head(self, opened: OpenStudy, state: StudyState, *, at_once: str) -> list[str]:
        """Return the first lines of the study, and say if it was there before."""
        lines = hints.head(state, self._plan.budget, sampler=opened.sampler, at_once=at_once)
        if self._plan.is_resumed:
            how = anew(self._plan.reference)
            left = f"{state.num_done} done, {state.num_left} to run"
            lines.insert(0, f"Resumes study {self._plan.name}: {left}; {how}")
        return list(map(self._app.in_own_keys, lines))

    def _identity(self, opened: OpenStudy) -> dict[str, Any]:
        """Return the fields of the study's record that name it and how it was started."""
        for_hydra, for_task, arguments = map(
            self._without_once, (self._for_hydra, self._for_task, self._arguments)
        )
        command = self._app.shell_command("-m", *for_hydra, *arguments)
        tags = environment.environment_tags(self._job.source)
        return {
            "name": self._plan.name,
            "recipe": self._plan.recipe,
            "tags": {**self._job.tags, **tags, **opened.tags},
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
            self._folder,
            storage=redacted(absolute(self._config.storage)),
            tracking=redacted(tracking),
        )

    def _print_plan(self) -> None:
        lines = hints.describe_plan(
            self._plan.budget,
            self._plan.trials,
            workers=getattr(self._launcher, "num_slots", batch_width(self._launcher_config)),
            ignored_keys=self._app.ignored_keys,
        )
        for line in [*self._notes(), *lines]:
            output.show(line)

    def _print_next_commands(self, state: StudyState, observers: list[Observer]) -> None:
        if state.is_stopped:
            left = formatting.pluralize(state.num_left, "trial")
            output.show(f"  time is up  {left} left; continue with: {self._how_to_continue()}")
        if state.is_out_of_patience and not state.is_stopped:
            output.show(hints.about_patience(state, self._folder, self._job.app))
        if state.num_failed:
            output.show(f"  run failed  {self._how_to_continue(run_again=FAILED)}")
        folder = self._folder
        for line in hints.next_commands(
            state, self._plan.space, self._config, folder, app=self._app
        ):
            output.show(line)
        for observer in observers:
            if not isinstance(observer, ExporterProcess):
                continue
            if (backlog := observer.backlog).runs:
                later = process.hrm_sweep_command("sync", self._plan.reference)
                output.show(f"  tracking     {backlog}; later: {later}")
            elif backlog.left_out:
                output.show(f"  tracking     {backlog}")

    def _how_to_continue(self, **once: Any) -> str:
        return hints.how_to_continue(self._plan.name, self._folder, self._app, **once)

    def _with_way_out(self, error: DatabaseAway) -> DatabaseAway:
        return DatabaseAway(error.where, error.reason, self._way_out("once it does"))

    def _way_out(self, once: str) -> str:
        kept = f"what was measured is kept in {self._folder}"
        return f"{kept}; {once}, continue with: {self._how_to_continue()}"


def _started_app(
    task: TaskFunction,
    config: DictConfig,
    for_hydra: Sequence[str],
    model_files: Sequence[str] | None,
) -> App:
    """Return the app that handed the task in, and how this process was started.

    Args:
        for_hydra: overrides of Hydra, as they were typed; `-m` is one.
        model_files: patterns that the user has typed instead of the app's own, if any.
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
        models=app.models if model_files is None else tuple(model_files),
        replaces_models=app.replaces_models and model_files is None,
    )
