"""--help of the app that ships with us: its keys and groups, all or one of them, its metrics."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from string import Template

from hydra.errors import HydraException
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from hrm_sweep.commands import COMMANDS
from hrm_sweep.errors import InputError
from hrm_sweep.hrm import config
from hrm_sweep.hrm.description import APP
from hrm_sweep.hrm.training.metrics import EVAL_METRICS, TASK_METRICS
from hrm_sweep.keys import text as keys_text
from hrm_sweep.keys.explain import Explainer
from hrm_sweep.keys.sources import Sources
from hrm_sweep.keys.tree import keys_of
from hrm_sweep.runs.configs import to_plain
from hrm_sweep.system import process

Composer = Callable[[list[str]], DictConfig]


def text(typed: Sequence[str], compose: Composer, *, resolve: bool) -> str:
    """Return what --help prints.

    Args:
        typed: overrides, and names of keys, groups and topics that are to be explained.
        compose: returns the config with overrides; Hydra is initialized.
        resolve: show values instead of interpolations.

    Raises:
        InputError: there is nothing of a name.
    """
    names = [each for each in typed if "=" not in each and not each.startswith(("~", "+"))]
    overrides = [each for each in typed if each not in names]
    if not names:
        return _everything(compose(overrides), resolve=resolve)
    return "\n\n".join(_about(name, overrides, compose) for name in names)


def explainer(compose: Composer) -> Explainer:
    """Return what explains keys of this app."""

    def runs(overrides: list[str]) -> bool:
        try:
            config.build(compose(overrides))
        except (InputError, HydraException, OmegaConfBaseException):
            return False
        return True

    return Explainer(
        compose=compose,
        schemas=schemas,
        runs=runs,
        is_swept=lambda key: key.partition(".")[0] not in (*APP.ignored_keys, "hydra"),
        command=process.hrm_sweep_command(),
    )


def completions(cfg: DictConfig) -> dict[str, str]:
    """Return overrides as far as they can be completed, and what they mean."""
    return keys_text.completions(cfg, keys_of(cfg, schemas(cfg)))


def schemas(cfg: DictConfig) -> dict[str, type]:
    """Return the classes of a config's keys; none of a config that is not ours."""
    try:
        return config.schemas(cfg)
    except (InputError, AttributeError):
        return {}


def _about(name: str, overrides: list[str], compose: Composer) -> str:
    if name == "metrics":
        return _metrics(compose(overrides))
    return explainer(compose).explain(name, overrides)


def _everything(cfg: DictConfig, *, resolve: bool) -> str:
    sources = Sources(cfg)
    commands = [(command.name, command.summary) for command in COMMANDS.values()]
    groups = [(f"{group}:", ", ".join(sources.options(group))) for group in sources.groups()]
    words = {
        "COMMANDS": keys_text.table(commands),
        "APP_CONFIG_GROUPS": keys_text.table(groups),
        "CONFIG": keys_text.sections(cfg, keys_of(cfg, schemas(cfg)), resolve=resolve),
    }
    return Template(cfg.hydra.help.template).safe_substitute(words)


def _metrics(cfg: DictConfig) -> str:
    """Return the metrics that a run of this config has, and what is done with them."""
    known = {**EVAL_METRICS, **TASK_METRICS}
    named = [*EVAL_METRICS, *config.build(cfg).data.metric_names()]
    rows = [(name, known.get(name) or _of_a_pattern(name)) for name in named]
    return "\n".join(
        [
            f"Metrics of data={cfg.data.name}, measured at each evaluation",
            "",
            keys_text.table(rows),
            "",
            f"study.objective={to_plain(cfg.study).get('objective')}: what trials are judged by",
            f"trainer.monitor={cfg.trainer.monitor}: what the best epoch is selected by",
        ]
    )


def _of_a_pattern(name: str) -> str:
    metric, _, pattern = name.rpartition("/")
    return f"{metric} of the puzzles of {pattern}"
