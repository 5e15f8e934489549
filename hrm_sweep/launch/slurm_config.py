"""Options of `hydra/launcher=slurm`. Imported at every start of every Hydra app: light."""

from dataclasses import dataclass, field
from typing import Any

from hrm_sweep.errors import ConfigError
from hrm_sweep.keys.schema import choice

ON_INTERRUPT = ("ask", "cancel", "leave")
NOT_FOR_SBATCH = ("_target_", "max_jobs", "on_interrupt", "timeout_min", "mem_gb")
WHOLE = ("max_jobs", "cpus_per_task", "signal_delay_s")
POSITIVE = ("timeout_min", "mem_gb")
OURS = ("job_name", "output", "error", "open_mode", "requeue", "no_requeue", "array", "signal")
"""Options of `sbatch` by which the launcher finds its jobs and their ends."""
MOST_JOBS = 16


@dataclass
class SlurmConfig:
    """Jobs of Slurm: `hydra.launcher.*` of `hydra/launcher=slurm`; names are submitit's."""

    _target_: str = "hydra_plugins.hrm_sweep_plugins.slurm.SlurmLauncher"
    max_jobs: int | None = None
    """Jobs in the queue at a time, waiting ones included; null: 16. Each runs one trial."""
    on_interrupt: str = choice(*ON_INTERRUPT, default="ask")
    """What Ctrl-C does with them: cancel or leave; ask: the user, and without a terminal cancel."""
    partition: str | None = None
    """Part of the cluster; null, here and below: what Slurm is set to."""
    timeout_min: float = 60
    """Time limit of a job in minutes. A trial that takes longer continues in another job."""
    signal_delay_s: int = 90
    """Seconds before the time limit from which on a trial stops at its next report."""
    cpus_per_task: int | None = None
    """Cores of each job, and threads of its libraries."""
    gpus_per_node: Any = None
    """GPUs of each job: a number, or type:number."""
    mem_gb: float | None = None
    """Memory of each job."""
    account: str | None = None
    """Who pays."""
    qos: str | None = None
    """Quality of service."""
    constraint: str | None = None
    """Features that a node has to have."""
    exclude: str | None = None
    """Nodes that are not used."""
    gres: str | None = None
    """Generic resources: gpu:a100:1."""
    comment: str | None = None
    """For whoever looks at the queue."""
    setup: list[str] | None = None
    """Lines of the shell before the trial: module load cuda."""
    srun_args: list[str] | None = None
    """Further arguments of `srun`."""
    additional_parameters: dict[str, Any] = field(default_factory=dict)
    """Further options of `sbatch`: {reservation: exam, nice: 100}."""

    def check_settings(self) -> None:
        """Check each setting alone.

        Raises:
            ConfigError: one breaks a rule.
        """
        try:
            for key in (*WHOLE, *POSITIVE):
                if (number := getattr(self, key)) is not None and number <= 0:
                    rule = "must be 1 or more" if key in WHOLE else "must be more than 0"
                    raise ConfigError(key, number, rule)
            if self.on_interrupt not in ON_INTERRUPT:
                raise ConfigError("on_interrupt", self.on_interrupt, "must be ask, cancel or leave")
            for key, value in self.additional_parameters.items():
                if key.replace("-", "_") in OURS:
                    rule = "is set by the launcher, which finds its jobs by it; leave it out"
                    raise ConfigError(f"additional_parameters.{key}", value, rule)
        except ConfigError as error:
            raise error.below("hydra.launcher") from None

    def options(self, name: str) -> dict[str, Any]:
        """Return the options of the job with a name, as submitit knows them."""
        given = {key: value for key, value in vars(self).items() if key not in NOT_FOR_SBATCH}
        memory = None if self.mem_gb is None else f"{round(self.mem_gb * 1024)}M"
        further = {**self.additional_parameters, "no-requeue": True}  # the sweep submits it again
        return given | {
            "job_name": name,
            "time": max(1, round(self.timeout_min)),
            "mem": memory,
            "additional_parameters": further,
        }
