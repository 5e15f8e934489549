"""Options of the sweeper's groups that an app's own config replaces."""

from __future__ import annotations

from collections.abc import Iterable

from omegaconf import DictConfig

from hrm_sweep.compat.omegaconf import unresolved
from hrm_sweep.errors import StudyError

PARTS = ("sampler", "pruner")


def check_choices(config: DictConfig, typed: Iterable[str]) -> None:
    """Check that a typed `hydra/sweeper/sampler=gp` has an effect.

    It has none in an app whose config says `hydra.sweeper.sampler: ${study.sampler}`.

    Args:
        config: of the whole command.
        typed: the overrides of Hydra, as they were typed.

    Raises:
        StudyError: an option is replaced; the message names the one to type.
    """
    for override in typed:
        group, _, option = override.lstrip("+").partition("=")
        part = group.removeprefix("hydra/sweeper/")
        if group == part or part not in PARTS:
            continue
        read = str(unresolved(config.hydra.sweeper, part))
        if read.startswith("${"):
            own = read[2:-1]
            raise StudyError(
                f"{part}={option} of hydra/sweeper: has no effect, as this app takes its {part} "
                f"from {own}; type {own.replace('.', '/')}={option}"
            )
