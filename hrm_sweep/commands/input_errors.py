"""Errors of Hydra and OmegaConf that an app's sweep meets in what the user typed."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

from omegaconf import DictConfig

from hrm_sweep.commands.error_messages import LIBRARY_ERRORS, explain, is_hydra_value_error
from hrm_sweep.compat.hydra import is_main_program, parse_arguments
from hrm_sweep.errors import InputError
from hrm_sweep.runs.configs import to_plain
from hrm_sweep.runs.recipe import flatten
from hrm_sweep.system import process


@contextmanager
def input_errors(config: DictConfig) -> Iterator[None]:
    """Raise what Hydra, OmegaConf and YAML raise in the block as one line for the user.

    A program that calls Hydra gets the exceptions themselves, as does who sets HYDRA_FULL_ERROR.

    Args:
        config: Of the whole command.

    Raises:
        InputError: the input, the rule and a way out.
    """
    try:
        yield
    except (*LIBRARY_ERRORS, ValueError) as error:
        is_theirs = isinstance(error, LIBRARY_ERRORS)
        wants_tracebacks = os.environ.get("HYDRA_FULL_ERROR") == "1"
        if wants_tracebacks or not (is_theirs or is_hydra_value_error(error)):
            raise
        if not is_main_program():
            raise
        plain = to_plain(config)
        keys = flatten(plain) if isinstance(plain, dict) else {}
        words = explain(
            error,
            command=process.launch_command(),
            overrides=parse_arguments()[0].overrides,
            keys=keys,
            commands=(),
        )
        raise InputError(words) from error
