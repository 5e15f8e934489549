"""The settings of our sweeper and our launcher, as Hydra knows them.

Not in the plugins' own modules: Hydra executes those a second time, which would make two classes of
each, and pickled configs need one.
"""

from dataclasses import dataclass, field
from typing import Any

TAKE_FROM = "hydra.sweeper.take_from="
FOR_ONCE = ("hydra.mode=", TAKE_FROM)
"""How overrides begin that are not part of a study, and are not typed again when it goes on."""


@dataclass
class SweeperSettings:
    """`hydra.sweeper.*` of `hydra/sweeper=hrm_sweep`: what a sweep is asked for."""

    _target_: str = "hydra_plugins.hrm_sweep_plugins.sweeper.HrmSweeper"
    _recursive_: bool = False
    params: dict[str, str] | None = None
    """Search space: key -> sweep, as on the command line, which wins."""
    study_name: str | None = None
    """null: a new one, a date and two words. A study of that name goes on."""
    objective: Any = "objective"
    """Name of the value that a trial is judged by, or a list of names."""
    tie_breaker: str | None = None
    """Name of a value that is lower for the better of two trials with equal objectives."""
    direction: Any = "minimize"
    """minimize or maximize; a list if there are several objectives."""
    constraints: Any = None
    """Value's name -> `<= 10` or `>= 0.9`: trials that break one are never the best."""
    n_trials: int = 20
    """Trials of a search in total; a grid has as many as points."""
    max_attempts: int = 3
    """How often a trial is started whose process dies."""
    max_batch_size: int | None = None
    """With a launcher that takes batches: jobs in one."""
    max_failure_rate: float | None = None
    """Share of failed trials that ends the study, once four have ended; null: never."""
    timeout: float | None = None
    """Seconds after which no further trial is started."""
    repeats: int = 1
    """Seeds that each trial is run with (seed, seed + 1, …); its value is their mean."""
    take_from: str | None = None
    """Name of a machine that is gone for good: its running trials are taken over."""
    dry_run: bool = False
    """Show the plan and run nothing."""
    storage: str = "${oc.env:HRM_SWEEP_STORAGE,'sqlite:///multirun/optuna.db'}"
    """URL of Optuna's database; with a password in it, it belongs into the environment variable."""
    seed: int | None = None
    """Of the sampler."""
    sampler: Any = field(default_factory=lambda: {"_target_": "optuna.samplers.TPESampler"})
    pruner: Any = None
    """Optuna pruner as a config with `_target_`; null: none."""
    tracking: Any = field(default_factory=lambda: {"name": "mlflow", "uri": None})
    check: str | None = None
    """Dotted path of a function that raises for a composed config that cannot run."""
    columns: list[str] = field(default_factory=list)
    """Metrics shown while trials run; * stands for any rest."""


@dataclass
class PoolSettings:
    """`hydra.launcher.*` of `hydra/launcher=pool`."""

    _target_: str = "hydra_plugins.hrm_sweep_plugins.launcher.PoolLauncher"
    workers: int | None = None
    """Processes that work at the same time; null: as many as this process has cores."""
    threads: int = 1
    """Threads of each (OMP_NUM_THREADS and its like)."""
    timeout: float | None = None
    """Seconds that a job may take; its process is ended then."""
    preload: list[str] = field(default_factory=list)
    """Modules that a worker imports while it waits for its first job."""
