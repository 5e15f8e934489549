"""`hydra/sweeper=hrm_sweep`: a sweep is an Optuna study, tracked in MLflow."""

import sys
from typing import Any

from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf

from hrm_sweep.compat.hydra import active_config, store_once
from hrm_sweep.engine.plugin_config import SweeperConfig
from hrm_sweep.keys import hydra_help
from hrm_sweep.search import grammar
from hrm_sweep.search.options import GROUPS

grammar.extend_for(SweeperConfig._target_)

store_once("hydra/sweeper", "hrm_sweep", SweeperConfig)
store_once("hydra/help", "hrm_sweep", hydra_help.CONFIG)
hydra_help.register()
for group, options in GROUPS.items():
    for name, option in options.items():
        store_once(group, name, OmegaConf.create(dict(option), flags={"struct": False}))


class HrmSweeper(Sweeper):
    """Entry point to `hrm_sweep.one_sweep`, imported when a sweep begins."""

    def __init__(self, **config: Any) -> None:
        self._config = SweeperConfig(**config)

    def setup(
        self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig
    ) -> None:
        """Keep what Hydra hands over."""
        grammar.extend()  # the search space in the config may use it
        self._app = hydra_context, task_function, config

    def sweep(self, arguments: list[str]) -> Any:
        """Run the study.

        Returns:
            Batches of JobReturn in the order of the trials, as Hydra's own sweepers return them.

        Raises:
            SystemExit: bad input (2), no result (1), Ctrl-C (130), SIGTERM (143), SIGHUP (129); the
                message has been printed. `hrm_sweep.sweep` gets the exceptions themselves.
        """
        from hrm_sweep.commands.input_errors import input_errors
        from hrm_sweep.errors import HrmSweepError, InputError
        from hrm_sweep.runs.own_keys import in_own_keys, own_keys
        from hrm_sweep.system import call
        from hrm_sweep.system.output import printable
        from hrm_sweep.system.process import exit_code, stop_signals

        try:
            with stop_signals(), active_config(self._app[2]), input_errors(self._app[2]):
                from hrm_sweep.one_sweep import Sweep  # takes a second, in which Ctrl-C may come

                return Sweep(*self._app, self._config, arguments).run()
        except HrmSweepError as error:
            words = in_own_keys(str(error), own_keys(self._app[2]))
            if call.current():
                raise (InputError if isinstance(error, InputError) else HrmSweepError)(
                    words
                ) from error
            print(printable(words), file=sys.stderr)
            raise SystemExit(2 if isinstance(error, InputError) else 1) from error
        except KeyboardInterrupt as error:
            if call.current():
                raise
            raise SystemExit(exit_code(error)) from None
