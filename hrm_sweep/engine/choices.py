"""Settings of the sweeper that other parts of the config have a say in."""

from __future__ import annotations

from collections.abc import Iterable

from omegaconf import DictConfig, read_write

from hrm_sweep.compat.omegaconf import unresolved
from hrm_sweep.errors import StudyError

PARTS = ("sampler", "pruner")
AT_ONCE = ("workers", "max_jobs")
"""Keys of launchers for how many jobs run at once."""


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


def set_workers(launcher: DictConfig, *, n_jobs: int | None) -> list[str]:
    """Let a launcher run `hydra.sweeper.n_jobs` jobs at once, unless it is to run another number.

    Args:
        launcher: `hydra.launcher`; one that cannot say how many gets batches of that size.

    Returns:
        What the user should know, if anything.
    """
    key = next((key for key in AT_ONCE if key in launcher), None)
    if n_jobs is None or key is None:
        return []
    if launcher[key] not in (None, n_jobs):
        counts = f"hydra.launcher.{key}={launcher[key]}"
        return [f"hydra.sweeper.n_jobs={n_jobs}: has no effect beside {counts}"]
    with read_write(launcher):
        launcher[key] = n_jobs
    return []
