"""Options of `hydra/launcher=ray`, as Hydra knows them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from hrm_sweep.errors import ConfigError


@dataclass
class RayConfig:
    """Jobs on the nodes of a Ray cluster: `hydra.launcher.*` of `hydra/launcher=ray`."""

    _target_: str = "hydra_plugins.hrm_sweep_plugins.ray_launcher.RayLauncher"
    _convert_: str = "all"  # Ray takes no configs of OmegaConf
    address: str | None = None
    """auto: the cluster that this machine is a node of; host:port: the one whose head is there;
    null: a new one on this machine, which ends with the study."""
    workers: int | None = None
    """Jobs at the same time; null: as many as the nodes that are there have room for. A number
    lets jobs wait for room, as a cluster that adds nodes on demand wants it."""
    num_cpus: float = 1.0
    """Of each job. A node runs as many jobs as it has resources for."""
    num_gpus: float = 0.0
    """Of each job; a share lets several jobs have one GPU."""
    resources: dict[str, float] = field(default_factory=dict)
    """Further resources of each job, by the names that the nodes were started with."""
    runtime_env: dict[str, Any] = field(default_factory=dict)
    """Ray's: `working_dir`, `py_modules`, `pip`, `env_vars`, …; what nodes import the app from."""
    threads: int | None = None
    """Threads of each job (OMP_NUM_THREADS and the like); null: as many as `num_cpus`."""
    timeout: Any = None
    """What a job may take once it runs, in seconds or with units (10min); then it is ended."""
    preload: list[str] = field(default_factory=list)
    """Modules that a process imports before its first job."""
    max_file_mb: float = 1000.0
    """Largest file, in millions of bytes, that travels from a node into the trial's folder."""
    artifacts: str | None = None
    """Path or fsspec URL that all nodes reach, where larger files stay."""

    @property
    def demand(self) -> dict[str, float]:
        """What a node must have free for a job, by the names of Ray."""
        named = {"CPU": self.num_cpus, "GPU": self.num_gpus, **self.resources}
        return {name: amount for name, amount in named.items() if amount}

    def check_settings(self) -> None:
        """Check what can be checked without a cluster, and is no rule of other launchers too.

        Raises:
            ConfigError: a setting breaks a rule.
        """
        for key in ("num_cpus", "max_file_mb"):
            if not getattr(self, key) > 0:
                raise ConfigError(key, getattr(self, key), "must be more than 0")
        _check_amount("num_cpus", self.num_cpus)
        _check_amount("num_gpus", self.num_gpus)
        for name, amount in self.resources.items():
            if name in ("CPU", "GPU", "memory"):
                rule, way_out = "is a name of Ray's own", "set num_cpus or num_gpus"
                raise ConfigError(f"resources.{name}", amount, rule, way_out)
            _check_amount(f"resources.{name}", amount)
        _check_address(self.address)
        if not isinstance(self.runtime_env, Mapping):
            raise ConfigError("runtime_env", self.runtime_env, "must be a mapping")


def _check_amount(key: str, amount: Any) -> None:
    is_number = isinstance(amount, (int, float)) and not isinstance(amount, bool)
    if not is_number or not amount >= 0 or (amount > 1 and amount % 1):
        raise ConfigError(key, amount, "must be a whole number, or a share of one")


def _check_address(address: str | None) -> None:
    if address is not None and address.startswith("ray://"):
        rule = "Ray's client protocol cannot bring home what trials write while they run"
        way_out = "run the command on a node of the cluster, with hydra.launcher.address=auto"
        raise ConfigError("address", address, rule, way_out)
    host, _, port = (address or "auto").rpartition(":")
    if address not in (None, "auto") and not (host and port.isdecimal()):
        raise ConfigError("address", address, "must be null, auto or host:port")
