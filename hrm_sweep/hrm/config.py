"""The composed config as typed objects: the one place where a config is checked."""

from __future__ import annotations

import copy
import importlib.util
import pickle
import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, ListConfig, OmegaConf
from omegaconf.errors import ConfigKeyError, MissingMandatoryValue, ValidationError

from hrm_sweep import formatting
from hrm_sweep.compat.hydra import replace_config
from hrm_sweep.compat.omegaconf import register_resolver, unresolved
from hrm_sweep.engine.limits import check_limits, check_name
from hrm_sweep.engine.plugin_config import PoolConfig
from hrm_sweep.errors import ConfigError, InputError
from hrm_sweep.hrm import PRELOAD
from hrm_sweep.hrm.backends import kernel_library, toolchain
from hrm_sweep.hrm.checks import check_choices, choice
from hrm_sweep.hrm.data.configs import DATA, PuzzlesConfig
from hrm_sweep.hrm.models.configs import MODELS
from hrm_sweep.hrm.training.configs import OPTIMIZERS, TrainerConfig
from hrm_sweep.hrm.training.metrics import EVAL_METRICS, lower_is_better
from hrm_sweep.launch.ray_config import RayConfig
from hrm_sweep.launch.slurm_config import SlurmConfig
from hrm_sweep.runs.configs import typed_overrides
from hrm_sweep.runs.models import why_missing
from hrm_sweep.search.objectives import parse_objectives
from hrm_sweep.system import names, process

CONF = next(
    folder
    for folder in (Path(__file__).parents[1] / "conf", Path(__file__).parents[2] / "conf")
    if folder.is_dir()  # inside the package in a wheel, beside it in a checkout
)

TAKEN = ("train", "artifacts", "optuna.db", "comparison.png")
"""What our own commands put beside studies."""


@dataclass(kw_only=True, slots=True)
class RootConfig:
    """The keys that users set most; the groups read them."""

    lr: float
    hidden_dim: int
    batch_size: int
    epochs: int
    seed: int

    def __post_init__(self) -> None:
        if self.seed < 0:
            raise ConfigError("seed", self.seed, "must be 0 or more")


@dataclass(kw_only=True, slots=True)
class StudyConfig:
    """What a study is asked for; checked here, read by the sweeper through `hydra.sweeper`."""

    objective: Any
    direction: Any
    constraints: Any
    n_trials: int | None
    repeats: int
    max_attempts: int
    max_failure_rate: float | None
    patience: int | None
    timeout: Any
    trial_timeout: Any
    dry_run: bool
    workers: int
    name: str
    storage: str
    resume: str = "auto"
    keep_models: str = "all"
    enqueue: Any = None
    on_trial_end: Any = None
    on_end: Any = None
    sampler: Any = None
    pruner: Any = None

    def __post_init__(self) -> None:
        parse_objectives(self.objective, self.direction, self.constraints)
        check_limits({each.name: getattr(self, each.name) for each in fields(self)})
        check_name(self.name, key="name")
        if self.name in TAKEN:
            taken = ", ".join(TAKEN)
            raise ConfigError("name", self.name, f"has another use in multirun/, like {taken}")


@dataclass(kw_only=True, slots=True)
class TrackingConfig:
    """Where records are projected to."""

    name: str = choice("mlflow", "off")
    """Whether runs are sent to MLflow."""
    uri: str | None = None
    """Address of MLflow; null: MLFLOW_TRACKING_URI, or mlruns/mlflow.db, which needs no server."""
    experiment: str = "hrm_sweep"
    """Name of the MLflow experiment."""

    def __post_init__(self) -> None:
        check_choices(self)


@dataclass(kw_only=True, slots=True)
class Config:
    """One run: everything that its numbers depend on, and where it is kept."""

    root: RootConfig
    model: Any
    data: Any
    optimizer: Any
    trainer: TrainerConfig
    study: StudyConfig
    tracking: TrackingConfig


def build(cfg: DictConfig) -> Config:
    """Check a composed config, and its groups against each other.

    Raises:
        ConfigError: a key breaks a rule; it is named as the user would type it.
    """
    for group in ("model", "data", "optimizer", "trainer", "study", "tracking"):
        if not isinstance(cfg.get(group), DictConfig):
            raise ConfigError(
                group, cfg.get(group), "is a group of keys", "leave it, or see --help"
            )
    typed = {group or "root": _typed(cfg, group, kind) for group, kind in schemas(cfg).items()}
    config = Config(**typed)
    _check_metrics(cfg, config)
    _check_batches(cfg, config)
    _check_trained(config)
    return config


def _check_trained(config: Config) -> None:
    """Check that something is trained."""
    if config.trainer.freeze_weights and config.model.puzzle_emb_ndim == 0:
        rule = "leaves nothing to train, as model.puzzle_emb_ndim=0"
        raise ConfigError("trainer.freeze_weights", "true", rule, "leave it out")


def _check_batches(cfg: DictConfig, config: Config) -> None:
    """Check that the published loader, which drops incomplete batches, has a whole one."""
    if config.trainer.batches != "published":
        return
    if (balance := getattr(config.data, "balance", None)) is not None:
        rule = "cannot be used with trainer.batches=published, whose batches run across epochs"
        raise ConfigError("data.balance", balance, rule, "leave one of them out")
    key = _typed_as(cfg, "data.batch_size")
    interval = min(config.trainer.eval_every, config.trainer.epochs)
    puzzles, rows = config.data.puzzles_per_epoch() * interval, config.data.batch_size
    if puzzles < rows:
        rule = (
            f"makes no whole batch of the {puzzles} examples between two evaluations, "
            "and trainer.batches=published drops an incomplete one"
        )
        way_out = f"try {key}={puzzles}, or a larger trainer.eval_every"
        raise ConfigError(key, rows, rule, way_out)


READ_BY = {
    "lr": "optimizer.lr",
    "hidden_dim": "model.hidden_dim",
    "batch_size": "data.batch_size",
    "epochs": "trainer.epochs",
}
"""Root key -> the key that reads it, unless that is set itself."""


def _check_metrics(cfg: DictConfig, config: Config) -> None:
    """Check that training and study go by metrics that are measured."""
    known, study = [*EVAL_METRICS, *config.data.metric_names()], config.study
    judged = parse_objectives(study.objective, study.direction, study.constraints)
    keys = dict.fromkeys(judged.required, "study.objective")
    keys |= dict.fromkeys(study.constraints or (), "study.constraints")
    keys.setdefault(config.trainer.monitor, _typed_as(cfg, "trainer.monitor"))
    for name, key in keys.items():
        if name not in known:
            hint = formatting.did_you_mean(name, known) or f"choose from {', '.join(known)}"
            raise ConfigError(key, name, "no metric of that name", hint)
    if judged.names[0] == config.trainer.monitor:
        _check_direction(judged.names[0], judged.directions[0])


def _check_direction(metric: str, direction: str) -> None:
    """Check the direction: a trial is judged at its best epoch, so both must agree on "best"."""
    if direction != _direction_of(metric):
        way = "lower" if lower_is_better(metric) else "higher"
        rule = f"{metric} is better when it is {way}, and a trial's best epoch is picked by it"
        raise ConfigError("study.direction", direction, rule, "leave study.direction out")


def _direction_of(metric: Any) -> str:
    return "minimize" if lower_is_better(str(metric)) else "maximize"


POOL = {
    "workers": "${study.workers}",
    "threads": "${trainer.threads}",
    "timeout": "${study.trial_timeout}",
    "preload": PRELOAD,
}
"""`hydra.launcher` with the pool; other launchers have other keys, so it is not in `conf/`."""
RAY = {
    "num_cpus": "${trainer.threads}",
    "timeout": "${study.trial_timeout}",
    "preload": PRELOAD,
}
"""The same with Ray; how many trials run at once follows from the cluster."""
SLURM = {"cpus_per_task": "${trainer.threads}"}
"""The same with Slurm."""
LAUNCHERS: Mapping[str, tuple[type, Mapping[str, Any]]] = {
    "pool": (PoolConfig, POOL),
    "ray": (RayConfig, RAY),
    "slurm": (SlurmConfig, SLURM),
}


def check(cfg: DictConfig) -> Config:
    """`build`, for a config that is to run on this machine; what `hydra.sweeper.check` names.

    Raises:
        InputError: as `build`, or a file, a package or a program that it needs is not here.
    """
    if importlib.util.find_spec("torch") is None:
        raise InputError(
            "the HRM app trains with PyTorch, which is not installed; run: "
            "pip install 'hrm-sweep[hrm]'"
        )
    config = build(cfg)
    weights = config.model.init_from
    if weights is not None and not Path(weights).is_file():
        removed = why_missing(Path(weights))
        rule = f"was {removed} to free space" if removed else "no such file"
        raise ConfigError("model.init_from", weights, rule, "give a best_model.pth or a checkpoint")
    if isinstance(config.data, PuzzlesConfig):
        from hrm_sweep.hrm.data.folders import check_folders  # NumPy: only where files are read

        check_folders(config.data.folders)
    _check_that_it_is_read(cfg)
    _check_launcher(cfg)
    if config.trainer.compile == "on":
        if lacking := toolchain.missing():
            rule = f"needs {lacking}, not found"
            raise ConfigError("trainer.compile", "on", rule, "try trainer.compile=auto")
        kernel_library.load()
    return config


def _check_that_it_is_read(cfg: DictConfig) -> None:
    """Check that a root key on the command line reaches the group that reads it."""
    for key in _typed_keys(cfg) & READ_BY.keys():
        read = OmegaConf.select(cfg, READ_BY[key])
        if read != cfg[key]:
            has = f"has no effect beside {READ_BY[key]}={read}"
            raise ConfigError(key, cfg[key], has, f"set {READ_BY[key]} alone")


def _check_launcher(cfg: DictConfig) -> None:
    """Check that the launcher does what the study asks of it; only the pool has workers."""
    launcher = cfg.hydra.runtime.choices["hydra/launcher"] if "hydra" in cfg else "pool"
    if launcher == "pool":
        return
    has_no_effect = f"has no effect with hydra/launcher={launcher}"
    if "study.workers" in _typed_keys(cfg):
        own = [key for key in ("n_jobs", "workers", "max_jobs") if key in cfg.hydra.launcher]
        way_out = f"set hydra.launcher.{own[0]}" if own else "take hydra/launcher=pool"
        raise ConfigError("study.workers", cfg.study.workers, has_no_effect, way_out)
    takes_it = "timeout" in LAUNCHERS[launcher][1] if launcher in LAUNCHERS else False
    if cfg.study.trial_timeout is not None and not takes_it:
        has_limit = "timeout_min" in cfg.hydra.launcher
        way_out = "set hydra.launcher.timeout_min" if has_limit else "take hydra/launcher=pool"
        seconds = cfg.study.trial_timeout
        raise ConfigError("study.trial_timeout", seconds, has_no_effect, way_out)


def _typed_keys(cfg: DictConfig) -> set[str]:
    """Return the keys on the command line of a config that has Hydra's own."""
    typed = typed_overrides(cfg.hydra, "task") if "hydra" in cfg else []
    return {text.lstrip("+").partition("=")[0] for text in typed}


def register_resolvers() -> None:
    """Register what `conf/` uses: its resolvers, and the keys that our launchers read.

    A study's name is made once per command.
    """
    new_name = partial(names.new_name, Path("multirun"), Path("multirun", "train"))
    register_resolver("study_name", new_name, use_cache=True)
    register_resolver(
        "first", lambda one: next(iter(one), "") if OmegaConf.is_list(one) else str(one)
    )
    register_resolver(
        "direction_of",
        lambda one: [*map(_direction_of, one)] if OmegaConf.is_list(one) else _direction_of(one),
    )
    register_resolver("usable_cores", process.usable_cores)
    for name, (config, keys) in LAUNCHERS.items():
        launcher = OmegaConf.merge(OmegaConf.structured(config), keys)
        replace_config("hydra/launcher", name, launcher)


def schemas(cfg: DictConfig) -> dict[str, type]:
    """Return the class of each group of a config, by its key; that of the root by an empty one."""
    named = {"model": MODELS, "data": DATA, "optimizer": OPTIMIZERS}
    groups = {group: _named(cfg, group, classes) for group, classes in named.items()}
    own = {"trainer": TrainerConfig, "study": StudyConfig, "tracking": TrackingConfig}
    return {"": RootConfig, **groups, **own}


def _named(cfg: DictConfig, group: str, classes: Mapping[str, type]) -> type:
    name = cfg[group].name
    if name not in classes:
        raise ConfigError(f"{group}.name", name, f"must be one of {', '.join(classes)}")
    return classes[name]


def _typed(cfg: DictConfig, group: str, schema: type) -> Any:
    """Return a group as an instance of its class; `""` is the root."""
    prefix = f"{group}." if group else ""
    try:
        node = cfg[group] if group else OmegaConf.masked_copy(cfg, [*RootConfig.__annotations__])
        plain = OmegaConf.to_container(node, resolve=True)
        return copy.deepcopy(_checked(schema, pickle.dumps(plain)))
    except ConfigError as error:
        key = _typed_as(cfg, prefix + error.key)
        came = OmegaConf.select(cfg, key)
        rule, way_out = (
            _with_typed_keys(cfg, prefix, schema, text) for text in (error.rule, error.way_out)
        )
        raise ConfigError(key, error.value if came is None else came, rule, way_out) from None
    except ValidationError as error:
        key = prefix + (error.full_key or "")
        came, typed = OmegaConf.select(cfg, key), _typed_as(cfg, key)
        rule, example = _type_rule(error, came)
        way_out = f"such as {typed}={example}" if example else ""
        if isinstance(came, ListConfig):
            way_out = f"to try several, write -m {typed}={','.join(map(str, came))}"
        raise ConfigError(typed, "null" if came is None else came, rule, way_out) from None
    except ConfigKeyError as error:
        known = [prefix + field.name for field in fields(schema)]
        key = prefix + str(error.full_key)
        near = formatting.did_you_mean(key, known) or "see --help for all keys"
        came = OmegaConf.select(cfg, key)
        raise ConfigError(key, came, "no key of that name", near) from None
    except MissingMandatoryValue as error:
        name = str(error).splitlines()[0].rpartition(" ")[2]
        raise ConfigError(
            prefix + name, "???", "is needed", "it was deleted or left open"
        ) from None


@lru_cache(maxsize=256)
def _checked(schema: type, plain: bytes) -> Any:
    """Return an instance of a class, cached: points of a grid have most groups in common."""
    return OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(schema), pickle.loads(plain)))


def _typed_as(cfg: DictConfig, key: str) -> str:
    """`optimizer.lr: ${lr}` is typed as `lr`."""
    parent, _, name = key.rpartition(".")
    node = OmegaConf.select(cfg, parent) if parent else cfg
    text = unresolved(node, name) if isinstance(node, DictConfig) and name in node else None
    if isinstance(text, str) and text.startswith("${") and text[2:-1] in cfg:
        return text[2:-1]
    return key


def _with_typed_keys(cfg: DictConfig, prefix: str, schema: type, text: str) -> str:
    """Return the text with keys as the user types them: `model.num_heads=4` for `num_heads=4`."""
    names = "|".join(field.name for field in fields(schema))
    return re.sub(rf"\b({names})=", lambda match: f"{_typed_as(cfg, prefix + match[1])}=", text)


def _type_rule(error: ValidationError, came: object) -> tuple[str, str]:
    """Return the rule that a value of the wrong type breaks, and an example."""
    whole = "4"
    if isinstance(came, float) and came.is_integer():
        whole = f"{came:.0f}, or in a search int(interval(...))"
    kinds = {
        "Integer|'int'": ("must be a whole number", whole),
        "Float|'float'": ("must be a number", "1e-3"),
        "Boolean|'bool'": ("must be true or false", "true"),
    }
    first = str(error).splitlines()[0]
    return next((rule for kind, rule in kinds.items() if re.search(kind, first)), (first, ""))
