"""The command line: Hydra's, with mistakes told in one line.

Exit codes: 0 done, 1 nothing came out (the run failed, no trial is complete), 2 bad input,
130 interrupted.
"""

from __future__ import annotations

import os
import sys
from argparse import Namespace
from pathlib import Path
from typing import Any, NoReturn, cast

import hydra
from hydra._internal.utils import get_args_parser
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from hrm_sweep import config, files, recipe, runtime, solo
from hrm_sweep.commands import COMMANDS, Command
from hrm_sweep.errors import HrmSweepError, InputError
from hrm_sweep.launch.job import Job
from hrm_sweep.mistakes import explained
from hrm_sweep.redact import check_no_secrets

VERSION_BASE = "1.3"


def main() -> None:
    """`python -m hrm_sweep` and `hrm-sweep`."""
    config.register_resolvers()
    wants_tracebacks = os.environ.get("HYDRA_FULL_ERROR") == "1"
    os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra raises instead of printing: the words are ours
    try:
        if sys.argv[1:2] and sys.argv[1] in COMMANDS:
            _run_command(COMMANDS[sys.argv[1]])
        _run()
    except (InputError, HydraException, OmegaConfBaseException) as error:
        if wants_tracebacks:
            raise
        _exit(2, str(error) if isinstance(error, InputError) else _explained(error))
    except HrmSweepError as error:
        _exit(1, str(error))
    except KeyboardInterrupt:
        _exit(130)


def _run_command(command: Command) -> None:
    """Runs a command of ours; one that has arguments for Hydra goes on as if they were typed."""
    for_hydra = command.run(command.parse(sys.argv[2:]))
    if for_hydra is None:
        _exit(0)
    sys.argv[1:] = for_hydra


def _run() -> None:
    arguments: Namespace = get_args_parser().parse_known_args()[0]
    shows = arguments.help or arguments.hydra_help or arguments.cfg or arguments.info
    if not (shows or arguments.multirun or arguments.shell_completion):
        _check_single_run(arguments)
    app = hydra.main(version_base=VERSION_BASE, config_path=str(config.CONF), config_name="config")
    try:
        app(Job(_task, [], runtime.command()))()
    finally:
        solo.end()


def _task(cfg: DictConfig) -> dict[str, float]:
    hydra_config = HydraConfig.get()
    if hydra_config.mode == RunMode.RUN:
        return solo.train(cfg, columns=hydra_config.sweeper.columns)
    from hrm_sweep.run import task  # torch: only where something is trained

    return task(cfg)


def _check_single_run(arguments: Namespace) -> None:
    """Hydra makes the output folder before the task sees its config; look at it before that."""
    check_no_secrets(arguments.overrides)
    with hydra.initialize_config_dir(str(config.CONF), version_base=VERSION_BASE):
        cfg = hydra.compose("config", arguments.overrides, return_hydra_config=True)
        config.check(cfg)
        files.check_writable(Path(cfg.hydra.run.dir))
        runtime.limit_threads(cfg.trainer.threads)


def _explained(error: Exception) -> str:
    overrides = get_args_parser().parse_known_args()[0].overrides
    with hydra.initialize_config_dir(str(config.CONF), version_base=VERSION_BASE):
        tree = OmegaConf.to_container(hydra.compose("config"))
    keys = recipe.flatten(cast("dict[str, Any]", tree))
    return explained(
        error, command=runtime.command(), overrides=overrides, keys=keys, commands=COMMANDS
    )


def _exit(code: int, words: str = "") -> NoReturn:
    if words:
        print(words, file=sys.stderr)
    sys.exit(code)
