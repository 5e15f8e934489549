"""Options of our sweeper and our launcher, as Hydra knows them.

They are not in the plugins' own modules: Hydra executes those a second time, which would make two
classes of each, and pickled configs need one.
"""

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hrm_sweep.compat.hydra import text_override
from hrm_sweep.engine.limits import check_limits, check_name
from hrm_sweep.errors import ConfigError
from hrm_sweep.keys.schema import choice
from hrm_sweep.runs.models import CHOICES, KEEP_ALL
from hrm_sweep.search.objectives import UNNAMED

STUDY_NAME, SWEEP_DIR = "hydra.sweeper.study_name", "hydra.sweep.dir"
TAKE_FROM = "hydra.sweeper.take_from="
RUN_AGAIN = "hydra.sweeper.run_again="
RESUME = "hydra.sweeper.resume="
PATIENCE = "hydra.sweeper.patience="
STORAGE = "sqlite:///multirun/optuna.db"
TRACKING: Mapping[str, Any] = {"name": "mlflow", "uri": None, "experiment": None}
"""`hydra.sweeper.tracking`, where nothing else is said."""
DEFAULTS = ("_self_", {"sampler": "tpe"}, {"pruner": "none"})
ASKED_ONCE = (TAKE_FROM, RUN_AGAIN, RESUME)
FOR_ONCE = ("hydra.mode=", *ASKED_ONCE)
"""Beginnings of overrides that belong to one command and not to the study it works on."""

CODE = (
    *("hydra.callbacks", "hydra/callbacks", "hydra.searchpath"),
    *("hydra.job.env_set", "hydra.launcher.preload", "hydra.sweeper.check"),
    *("hydra.launcher.setup", "hydra.launcher.srun_args", "hydra.launcher.additional_parameters"),
    *("hydra.launcher.runtime_env", "hydra.launcher.address", "hydra.launcher.setup"),
    *("hydra.launcher.srun_args", "hydra.launcher.additional_parameters"),
    "hydra.sweeper.custom_search_space",
    *("hydra.sweeper.on_trial_end", "hydra.sweeper.on_end"),
)
"""Beginnings of keys whose values Hydra, a sweep or a worker runs or imports."""


def names_code(override: str, own: Iterable[str] = ()) -> bool:
    """Return whether an override names code that is run: by its key, or in a mapping above it.

    Args:
        own: keys of the app's own that name code, see `App.code_keys`.
    """
    key, _, value = override.lstrip("+~").partition("=")
    codes = (*CODE, *own)
    is_above = value.lstrip().startswith("{") and any(code.startswith(f"{key}.") for code in codes)
    has_lines = "\n" in override  # a launcher may write them into a job's script
    return "_target_" in override or key.startswith(codes) or is_above or has_lines


def without_place(overrides: Iterable[str]) -> list[str]:
    """Return the overrides without those that say where and under which name a study is."""
    keys = (STUDY_NAME, SWEEP_DIR)
    return [text for text in overrides if text.partition("=")[0] not in keys]


def resume_overrides(
    name: str, folder: Path, *, take_from: str | None = None, run_again: str = ""
) -> list[str]:
    """Return the overrides by which a sweep of any app resumes the study."""
    where = [text_override(STUDY_NAME, name), text_override(SWEEP_DIR, str(folder))]
    return [*where, *once_overrides(take_from=take_from, run_again=run_again)]


def once_overrides(*, take_from: str | None = None, run_again: str = "") -> list[str]:
    """Return the overrides that belong to one command.

    Args:
        take_from: a machine whose running trials are to be taken over.
        run_again: "failed", or a list of trials as Hydra writes it; empty: none.
    """
    asked = [(TAKE_FROM, take_from), (RUN_AGAIN, run_again)]
    return [f"{key}{value}" for key, value in asked if value]


@dataclass
class SweeperConfig:
    """`hydra.sweeper.*` of `hydra/sweeper=hrm_sweep`: what a sweep was asked for."""

    _target_: str = "hydra_plugins.hrm_sweep_plugins.sweeper.HrmSweeper"
    _recursive_: bool = False
    defaults: list[Any] = field(default_factory=lambda: list(DEFAULTS))
    params: dict[str, Any] | None = field(default_factory=dict)
    """Search space: key -> sweep as on the command line, which has precedence."""
    custom_search_space: str | None = None
    """Dotted path of a function of the config and Optuna's trial, which adds keys to each trial."""
    study_name: str | None = None
    """null: a new name, a date and two words. A study that has the name is resumed."""
    resume: str = choice("auto", "must", "never", default="auto")
    """must: only resume a study that is there; never: only begin a new one; auto: either."""
    objective: Any = UNNAMED
    """Name of the value that a trial is judged by, or a list of names; with a list of directions
    alone the names are objective_0, objective_1, …."""
    tie_breaker: str | None = None
    """Name of a value that is lower for the better of two trials with equal objectives."""
    direction: Any = None
    """minimize or maximize; a list if there are several objectives. null: maximize what is named
    like an accuracy, minimize any other."""
    constraints: Any = None
    """Value's name -> `<= 10` or `>= 0.9`: trials that break one are never the best."""
    n_trials: int | None = None
    """Total number of trials; null: every point of a finite space, 20 of any other."""
    enqueue: Any = None
    """Points that are run first: a list of mappings from keys to values, or a file with one."""
    max_attempts: int = 3
    """How often a trial is started whose process dies."""
    max_batch_size: int | None = None
    """Jobs in a batch, with a launcher that takes batches; null: all of a grid, and as many of a
    search as the launcher runs at once."""
    max_failure_rate: float | None = None
    """Share of failed trials that ends the study, once four have ended; 0: the first one does;
    null, 1: never."""
    on_trial_end: Any = None
    """Called when a trial ends: `module.function`, a line for the shell, or a list of words."""
    on_end: Any = None
    """Called when the study ends, or was stopped; like `on_trial_end`."""
    timeout: Any = None
    """After which no further trial is started: seconds, or a time such as 10min or 2h."""
    patience: int | None = None
    """Trials in a row, complete or pruned, without a new best that end the study; null: never."""
    repeats: int = 1
    """Seeds that each trial is run with (seed, seed + 1, …); its value is their mean."""
    take_from: str | None = None
    """Name of a machine that is gone for good: its running trials are taken over."""
    run_again: Any = None
    """Trials to run again: `failed`, or a list of numbers of trials that are not complete."""
    dry_run: bool = False
    """Show the plan and run nothing."""
    storage: Any = None
    """URL of Optuna's database; null: the environment variable HRM_SWEEP_STORAGE, where one with a
    password belongs, or sqlite:///multirun/optuna.db."""
    n_jobs: int | None = None
    """Trials at a time: the workers of the pool, unless they are set, or the size of a batch."""
    seed: int | None = None
    """Seed of the sampler; null: other proposals each time."""
    sampler: Any = None
    """Sampler of Optuna: an option of `hydra/sweeper/sampler`, or a config with `_target_`."""
    pruner: Any = None
    """Pruner of Optuna: an option of `hydra/sweeper/pruner`, or a config with `_target_`."""
    keep_models: str = choice(*CHOICES, default=KEEP_ALL)
    """Whose models and checkpoints stay: all; best: of the best trial, or the Pareto front; none.
    What others have left is removed as the study runs, and is not sent to MLflow."""
    model_files: list[str] | None = None
    """Which files of a run folder those are, as patterns; null: *.ckpt, *.pt, *.safetensors, …, or
    those that the app names itself."""
    tracking: Any = field(default_factory=lambda: dict(TRACKING))
    """`name`: mlflow or off; `uri`, `experiment`: null takes MLflow's variables of the shell."""
    check: str | None = None
    """Dotted path of a function that raises for a composed config that cannot run; what it warns of
    is shown once."""
    columns: list[str] = field(default_factory=list)
    """Metrics shown while trials run; * stands for any rest."""
    search_space: Any = None
    """Refused: what `params` was in older versions of Optuna's sweeper."""

    def __post_init__(self) -> None:
        if self.storage is None:
            self.storage = os.environ.get("HRM_SWEEP_STORAGE") or STORAGE

    def check_settings(self) -> None:
        """Check what can be checked of each setting alone.

        Raises:
            ConfigError: a setting breaks a rule.
        """
        try:
            check_limits(vars(self))
            if self.study_name is not None:
                check_name(self.study_name, key="study_name")
            self._check_tracking()
            if not isinstance(self.storage, str):
                rule = "must be the URL of a database, or null"
                raise ConfigError("storage", self.storage, rule, f"such as {STORAGE}")
            if self.search_space:
                way_out = "such as hydra.sweeper.params.x='interval(0, 1)'"
                raise ConfigError("search_space", self.search_space, "is called params", way_out)
        except ConfigError as error:
            raise error.below("hydra.sweeper") from None

    def _check_tracking(self) -> None:
        if self._tracking is None:
            raise ConfigError(
                "tracking", self.tracking, "must be mlflow or off, or have such a name"
            )
        if self._tracking["name"] not in ("mlflow", "off"):
            raise ConfigError("tracking.name", self._tracking["name"], "must be mlflow or off")

    @property
    def _tracking(self) -> Mapping[str, Any] | None:
        """What `tracking` says, which may also be a name alone; None if it is something else."""
        if isinstance(self.tracking, Mapping):
            return {**TRACKING, **self.tracking}
        named = {None: "off", False: "off", "off": "off", True: "mlflow", "mlflow": "mlflow"}
        is_name = isinstance(self.tracking, (str, bool, type(None))) and self.tracking in named
        return {**TRACKING, "name": named[self.tracking]} if is_name else None

    @property
    def is_tracked(self) -> bool:
        """Whether runs are sent to MLflow."""
        return bool((self._tracking or TRACKING)["name"] != "off")

    @property
    def tracking_uri(self) -> str | None:
        """Address of the MLflow server; None: `MLFLOW_TRACKING_URI`, or `mlruns/`."""
        uri: str | None = (self._tracking or TRACKING)["uri"]
        return uri

    @property
    def experiment(self) -> str:
        """Name of the MLflow experiment; null: `MLFLOW_EXPERIMENT_NAME`, or hrm_sweep."""
        named = (self._tracking or TRACKING)["experiment"]
        return str(named or os.environ.get("MLFLOW_EXPERIMENT_NAME") or "hrm_sweep")


@dataclass
class PoolConfig:
    """Warm processes on this machine: `hydra.launcher.*` of `hydra/launcher=pool`."""

    _target_: str = "hydra_plugins.hrm_sweep_plugins.launcher.PoolLauncher"
    workers: int | None = None
    """Processes that work at the same time; null: as many as this process has cores."""
    threads: int = 1
    """Threads of each (OMP_NUM_THREADS and the like)."""
    timeout: Any = None
    """What a job may take, in seconds or with units (10min); then its process is ended."""
    preload: list[str] = field(default_factory=list)
    """Modules that a worker imports while it waits for its first job."""
    start_method: str = "auto"
    """How workers start. auto: on Linux as forks of a process that has imported `preload`, and
    nothing else, unless that has started a thread; spawn: as new interpreters, for modules that do
    not survive a fork in another way, such as an open connection."""

    def check_settings(self) -> None:
        """Check the settings.

        Raises:
            ConfigError: one is out of its range.
        """
        try:
            check_limits(vars(self))
        except ConfigError as error:
            raise error.below("hydra.launcher") from None
