"""The app that ships with us, as Hydra runs it: one training, or with -m a study of them."""

from __future__ import annotations

import os
import sys
from argparse import Namespace
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from hrm_sweep.compat.hydra import VERSION_BASE, config_flags, parse_arguments
from hrm_sweep.errors import ConfigError, StudyError
from hrm_sweep.hrm import config, help_text, single_run, unread
from hrm_sweep.hrm.description import APP
from hrm_sweep.launch.job import Job
from hrm_sweep.runs import layout, record
from hrm_sweep.runs.app import FinalTags
from hrm_sweep.runs.compare import changed_config
from hrm_sweep.runs.outcomes import Outcome
from hrm_sweep.runs.recipe import flatten, signature
from hrm_sweep.system import files, process
from hrm_sweep.system.redact import check_no_secrets
from hrm_sweep.tracking import store


def run(
    tags: Mapping[str, str] | None = None,
    *,
    last_step: int | None = None,
    final_tags: FinalTags | None = None,
) -> None:
    """Run what the arguments of the process ask Hydra for.

    Args:
        tags: for the run in MLflow, beside those it has anyway.
        last_step: ends a single run after this step; None lets it go to its end.
        final_tags: returns further tags of a single run when it ends.

    Raises:
        InputError: the config cannot run; nothing has been created.
    """
    arguments: Namespace = parse_arguments()[0]
    shows = arguments.help or arguments.hydra_help or arguments.cfg or arguments.info
    if not (shows or arguments.multirun or arguments.shell_completion):
        _check_single_run(arguments)
    if arguments.help:
        with initialized() as composer:
            print(help_text.text(arguments.overrides, composer, resolve=arguments.resolve))
        return
    app = hydra.main(**VERSION_BASE, config_path=str(config.CONF), config_name="config")
    try:
        task = _Task(last_step, final_tags)
        started_as = replace(
            APP,
            command=tuple(process.launch_command()),
            flags=config_flags(),
            folder=str(Path.cwd()),
        )
        app(Job(task, started_as, tags=dict(tags or {})))()
    finally:
        single_run.end()


def compose(overrides: list[str]) -> DictConfig:
    """Return the config of a single run with these overrides, as Hydra hands it to the task.

    Flags of this process, such as `--config-dir`, say where configs are besides our own.

    Raises:
        ConfigError: there is no such folder.
    """
    with initialized() as composer:
        return composer(overrides)


def completions() -> dict[str, str]:
    """Return overrides as far as they can be completed, and what they mean."""
    with initialized() as composer:
        return help_text.completions(composer([]))


@contextmanager
def initialized() -> Iterator[Callable[[list[str]], DictConfig]]:
    """Yield a function that does what `compose` does; in the block, Hydra stays initialized."""
    arguments: Namespace = parse_arguments()[0]
    search = []
    if arguments.config_dir:
        also = Path(arguments.config_dir).absolute()
        if not also.is_dir():
            raise ConfigError("--config-dir", arguments.config_dir, "there is no such folder")
        search = [f"hydra.searchpath=[file://{also}]"]
    folder, name = Path(config.CONF, arguments.config_path or ""), arguments.config_name
    with hydra.initialize_config_dir(str(folder), **VERSION_BASE):
        yield lambda overrides: hydra.compose(
            name or "config", [*overrides, *search], return_hydra_config=True
        )


def flat(cfg: DictConfig) -> dict[str, Any]:
    """Return a config as flat keys, resolved, without Hydra's own."""
    tree = OmegaConf.to_container(
        OmegaConf.masked_copy(cfg, [str(key) for key in cfg if key != "hydra"]), resolve=True
    )
    assert isinstance(tree, dict)
    return flatten({str(key): value for key, value in tree.items()})


class _Task:
    """The task function; a single run prints its progress, a trial of a study does not."""

    def __init__(self, last_step: int | None, final_tags: FinalTags | None) -> None:
        self._last_step, self._facts = last_step, final_tags

    def __call__(self, cfg: DictConfig) -> dict[str, float]:
        hydra_config = HydraConfig.get()
        if hydra_config.mode == RunMode.RUN:
            return single_run.train(
                cfg,
                os.path.relpath(hydra_config.runtime.output_dir, hydra_config.runtime.cwd),
                columns=hydra_config.sweeper.columns,
                last_step=self._last_step,
                final_tags=self._facts,
            )
        from hrm_sweep.hrm.train import task  # torch: only where something is trained

        return task(cfg)


def _check_single_run(arguments: Namespace) -> None:
    """Hydra makes the output folder before the task sees its config; look at it before that."""
    check_no_secrets(arguments.overrides)
    cfg = compose(arguments.overrides)
    config.check(cfg)
    if cfg.study.dry_run:
        raise ConfigError(
            "study.dry_run", True, "it prints the plan of a study", "put -m before it"
        )
    for line in unread.describe_unread(cfg):
        print(line, file=sys.stderr)
    files.check_writable(Path(cfg.hydra.run.dir))
    if cfg.tracking.name != "off":
        store.check(store.resolve_uri(cfg.tracking.uri))
    _check_resumable(cfg)
    process.limit_threads(cfg.trainer.threads)


def _typed(value: Any) -> Any:
    return "null" if value is None else value


def _check_resumable(cfg: DictConfig) -> None:
    """Refuse a run folder that is complete or has another recipe; any other run is resumed."""
    folder = Path(cfg.hydra.run.dir)
    if not (folder / layout.RECORD).exists():
        return
    entries = record.read(folder)
    made = next(entry.fields for entry in reversed(entries) if entry.event == "started")
    asked = flat(cfg)
    if made["tags"]["hrm_sweep.signature"] != signature(asked, APP.ignored_keys):
        recorded = dict.fromkeys(asked) | made["params"]
        differing = (
            f"that run has {key}={_typed(value)}, not {_typed(asked.get(key))}"
            for key, value in sorted(changed_config(recorded, asked, APP.ignored_keys).items())
        )
        raise StudyError(
            f"study.name={cfg.study.name}: {next(differing, 'that run has another recipe')}; "
            "use its recipe to resume it, or another study.name"
        )
    if entries[-1].fields.get("outcome") == Outcome.COMPLETE.word:
        raise StudyError(
            f"study.name={cfg.study.name}: that run is complete, see {folder}; "
            "take another study.name to run its recipe again"
        )
