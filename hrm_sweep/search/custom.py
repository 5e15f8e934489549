"""`hydra.sweeper.custom_search_space`: a function of the user that adds parameters to each trial.

It is called with the config of the command and Optuna's trial, whose searched keys have values, and
adds keys by `trial.suggest_float` and the like: conditional ones, or ones whose bounds depend on
others. A name with a `+` in front is a key that the config does not have.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig

from hrm_sweep.errors import ConfigError, StudyError
from hrm_sweep.search.parts import imported

if TYPE_CHECKING:
    from optuna.trial import BaseTrial

KEY = "hydra.sweeper.custom_search_space"


@dataclass(frozen=True)
class CustomSpace:
    """Such a function and what it is called with."""

    path: str
    """`module.function`"""
    function: Callable[[DictConfig, BaseTrial], Any]
    config: DictConfig

    @classmethod
    def load(cls, path: str | None, config: DictConfig) -> CustomSpace | None:
        """Return the function at a dotted path; None for None.

        Raises:
            ConfigError: there is none.
        """
        if path is None:
            return None
        function = imported(KEY, path)
        if not callable(function):
            raise ConfigError(KEY, path, "must be a function of the config and a trial")
        return cls(path, function, config)

    def extend(self, trial: BaseTrial) -> None:
        """Let the function add its parameters.

        Raises:
            StudyError: it raises; the message names the line.
        """
        try:
            self.function(self.config, trial)
        except Exception as error:
            where = traceback.extract_tb(error.__traceback__)[1:2]
            line = "".join(f" ({Path(each.filename).name}:{each.lineno})" for each in where)
            reason = " ".join(str(error).split())
            raise StudyError(
                f"{KEY}={self.path}: raised {type(error).__name__}: {reason}{line}"
            ) from error
