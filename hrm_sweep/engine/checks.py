"""Checks of a sweep before anything is created: a mistake is met now and not at night."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Callable
from typing import Any

import optuna
from omegaconf import DictConfig

from hrm_sweep.engine.open_study import find_study, sampler_of
from hrm_sweep.engine.other_sweeps import check_take_from, running_of_others
from hrm_sweep.engine.plugin_config import SweeperConfig
from hrm_sweep.engine.shared_settings import Compose, SharedSettings
from hrm_sweep.engine.study_dir import StudyDir
from hrm_sweep.errors import StudyError
from hrm_sweep.search.budget import Budget
from hrm_sweep.search.objectives import Objectives
from hrm_sweep.search.parts import imported
from hrm_sweep.search.samplers import check_sampler
from hrm_sweep.storage.leases import sweeps_in
from hrm_sweep.tracking import store

CORNERS = 64
"""Points that are composed and checked, if the space has that many."""


def check_sweep(
    config: SweeperConfig,
    budget: Budget,
    objectives: Objectives,
    study_dir: StudyDir,
    known: optuna.Study | None,
    compose: Compose,
    shared: SharedSettings,
) -> list[str]:
    """Check everything about a sweep that can be wrong without a trial.

    Args:
        known: the study, if it exists.
        compose: makes the config of a job from its overrides.
        shared: what no point of the space may change.

    Returns:
        What the app's own check warns of, each once.

    Raises:
        InputError: something cannot be used; the message says what and why.
        HydraException: a point of the space cannot be composed.
    """
    space = budget.space
    whole = [each for each in budget.enqueued if each.keys() == space.distributions.keys()]
    corners = space.corners(at_most=CORNERS)
    points = [space.overrides(point) for point in (*corners, *whole)]
    own_check = imported("hydra.sweeper.check", config.check) if config.check else None
    warned: dict[str, None] = {}
    for overrides in points:
        job = compose(overrides)
        shared.check(overrides, job, compose)
        warned |= _check_config(config, job, own_check)
    study_dir.check(points)
    sampler = sampler_of(config, budget, objectives, num_known=0)
    proposed = check_sampler(*sampler, budget, objectives)
    if space.custom is not None:
        _check_config(config, compose(space.overrides(proposed)), own_check)
    if config.take_from:
        others = running_of_others(known) if known else Counter()
        check_take_from(config.take_from, others, study_dir.path)
    if any(sweeps_in(study_dir.path)) and find_study(config) is None:  # asked again: it may be new
        study_dir.check_is_free()
    if config.is_tracked:
        store.check(store.resolve_uri(config.tracking_uri))
    return [*warned]


def _check_config(
    config: SweeperConfig, job: DictConfig, own_check: Callable[[DictConfig], Any] | None
) -> dict[str, None]:
    """Check the config of a trial, also by the app's own function; return what that warns of."""
    if config.repeats > 1 and not isinstance(seed := job.get("seed"), int):
        has = f"seed={'null' if seed is None else seed}" if "seed" in job else "no key seed"
        raise StudyError(
            f"hydra.sweeper.repeats={config.repeats}: repeats run with seed, seed + 1, …, and the "
            f"config has {has}; set {'' if 'seed' in job else '+'}seed=0"
        )
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        if own_check is not None:
            own_check(job)
    own = (each for each in caught if each.category is UserWarning)
    return dict.fromkeys(" ".join(str(each.message).split()) for each in own)
