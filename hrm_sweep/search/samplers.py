"""Who proposes the trials of a search: the sampler that was asked for, or the one that suits.

`study/sampler=auto` follows Optuna's own advice (its table of samplers, and its AutoSampler): a
Gaussian process while trials are few and dear, TPE where choices without an order are among them,
the evolutionary ones once there are trials enough for generations of them.
"""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

import optuna
from optuna.distributions import CategoricalDistribution

from hrm_sweep.compat.optuna_cmaes import restrict_unpickling
from hrm_sweep.errors import StudyError
from hrm_sweep.search.budget import Budget
from hrm_sweep.search.objectives import Objectives
from hrm_sweep.search.parts import Config, class_name, instantiate_part, part_config, takes
from hrm_sweep.search.space import Space
from hrm_sweep.search.values import Value

FEW = 250
"""Optuna's AutoSampler leaves the Gaussian process here; it costs the cube of the trials."""
MANY = 1000
"""From here on generations of some tens are many: what CMA-ES and NSGA-II need."""
PACKAGES = {
    "CmaEsSampler": ("cmaes",),
    "GPSampler": ("scipy", "torch"),
    "QMCSampler": ("scipy",),
}
"""What Optuna imports when such a sampler first proposes a trial, in the middle of a study."""
DEFAULT = "TPESampler"
"""The sampler of a study for which none is asked."""
ENUMERATING = ("GridSampler", "BruteForceSampler")
"""Samplers whose whole work is what a grid is here: every point once. With fewer trials than points
theirs are a random choice of them."""


class Auto:
    """`_target_` of `hydra/sweeper/sampler=auto`: a choice that is made when the study is known."""

    def __init__(self, *, seed: int | None = None) -> None:
        self._seed = seed

    def choose(self, space: Space, objectives: Objectives, *, num_trials: int) -> tuple[Any, str]:
        """Return the sampler and the reason for it."""
        name, reason = _suitable(space, objectives, num_trials)
        if package := _missing_package(name):
            name, reason = DEFAULT, f"{name} needs the package {package}, which is not installed"
        return getattr(optuna.samplers, name)(seed=self._seed), reason


def make_sampler(
    config: Any,
    budget: Budget,
    objectives: Objectives,
    *,
    num_known: int,
    seed: int | None,
) -> tuple[Any, str]:
    """Return the sampler of a study and its name for the user; on a grid, of one asked for in vain.

    A grid needs none: its points are enqueued, and the sampler completes what the user enqueues.

    Args:
        config: `hydra.sweeper.sampler`, see `part_config`; a seed of its own goes before `seed`.
        num_known: trials that exist already. A sampler seeded by `seed` alone would propose its
            first trials again when the study is resumed.

    Raises:
        StudyError: `config` names no sampler, or a package that the sampler needs is missing.
    """
    restrict_unpickling()
    config = part_config("sampler", config) or {"_target_": f"optuna.samplers.{DEFAULT}"}
    name = class_name(config)
    own: int | None = config.get("seed")
    seed = _seeded(seed if own is None else own, num_known)
    is_enumerating = name in ENUMERATING and "search_space" not in config
    if is_enumerating:
        _check_enumerable(config, budget.space)
    if budget.is_grid or is_enumerating:
        is_expected = budget.is_grid and name in (DEFAULT, *ENUMERATING)
        return optuna.samplers.RandomSampler(seed=seed), "" if is_expected else name
    arguments = {"seed": seed} if takes(config, "seed") else {}
    sampler = instantiate_part("sampler", config, **arguments)
    return choose_sampler(sampler, budget.space, objectives, num_trials=budget.num_trials)


def _check_enumerable(config: Config, space: Space) -> None:
    if space.custom is not None:
        raise StudyError(
            f"hydra/sweeper/sampler: {class_name(config)} runs the points of a grid, and a custom "
            "search space has none that are known; take another sampler"
        )
    for each in space.dimensions:
        if each.choices is None:
            raise StudyError(
                f"hydra/sweeper/sampler: {class_name(config)} runs the points of a grid, and "
                f"{each.key} has an interval; take range(...) or choice(...) for it, or another "
                "sampler"
            )


def check_sampler(
    sampler: Any, name: str, budget: Budget, objectives: Objectives
) -> dict[str, Value]:
    """Check that a sampler can propose a trial, by a study that is kept nowhere, and return it.

    Raises:
        StudyError: it cannot; the message has the sampler's reason.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    directions: Any = list(objectives.directions)
    study = optuna.create_study(directions=directions, sampler=sampler)
    try:
        trial = study.ask({each.name: each.distribution for each in budget.space.dimensions})
    except ValueError as error:
        reason = " ".join(str(error).split())
        raise StudyError(
            f"hydra/sweeper/sampler: {name} cannot propose a trial of this study ({reason}); "
            "take hydra/sweeper/sampler=tpe"
        ) from error
    budget.space.extend(trial)
    return budget.space.in_order(trial.params)


def _seeded(seed: int | None, num_known: int) -> int | None:
    """Return the seed of a sampler; NumPy takes 32 bits."""
    return None if seed is None else (seed + num_known) % 2**32


def _missing_package(sampler: str) -> str:
    """Return a package that Optuna's sampler needs and that is not installed; "": none."""
    return next((each for each in PACKAGES.get(sampler, ()) if find_spec(each) is None), "")


def choose_sampler(
    sampler: Any, space: Space, objectives: Objectives, *, num_trials: int
) -> tuple[Any, str]:
    """Return the sampler to use and its name for the user.

    Raises:
        StudyError: a package that the sampler needs is not installed.
    """
    reason = ""
    if isinstance(sampler, Auto):
        sampler, why = sampler.choose(space, objectives, num_trials=num_trials)
        reason = f" (auto: {why})"
    name = type(sampler).__name__
    if package := _missing_package(name):
        raise StudyError(
            f"hydra/sweeper/sampler: {name} needs the package {package}, which is not "
            f"installed; pip install {package}, or take hydra/sweeper/sampler=tpe"
        )
    return sampler, f"{name}{reason}"


def _suitable(space: Space, objectives: Objectives, num_trials: int) -> tuple[str, str]:
    unordered = [
        name
        for name, distribution in space.distributions.items()
        if isinstance(distribution, CategoricalDistribution)
    ]
    if num_trials >= MANY and objectives.is_multi_objective:
        return "NSGAIISampler", f"several objectives, {num_trials} trials"
    if (
        num_trials >= MANY
        and not unordered
        and not objectives.constraints
        and len(space.dimensions) > 1
    ):
        return "CmaEsSampler", f"numbers only, {num_trials} trials"
    if unordered:
        return "TPESampler", f"{', '.join(unordered)} has no order"
    if num_trials <= FEW:
        return "GPSampler", f"numbers only, {num_trials} trials are few"
    return "TPESampler", f"{num_trials} trials are too many for a Gaussian process"
