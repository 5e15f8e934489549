"""Private names of Optuna, read in 5.0.0.

tests/unit/compat/test_optuna_canary.py holds each function to what is read here. The tables of the
relational storage are in `optuna_tables`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import optuna
from optuna.distributions import BaseDistribution
from optuna.storages import BaseStorage, RDBStorage, get_storage
from optuna.study._frozen import FrozenStudy as FrozenStudy
from optuna.trial import FixedTrial, FrozenTrial

READS = tuple(
    """
    get_study_id_from_name get_study_name_from_id get_study_directions get_study_user_attrs
    get_study_system_attrs get_all_studies get_trial get_all_trials get_trial_user_attrs
    get_trial_system_attrs get_trial_param get_trial_id_from_study_id_trial_number get_best_trial
    _get_trials _get_best_trial_id
    """.split()
)
"""Methods of RDBStorage that ask the database and change nothing in it."""
LAST_ID = 2**31 - 1
"""Of a trial, in PostgreSQL."""


def study_id(study: optuna.Study) -> int:
    """Return the id of a study in its storage."""
    return int(study._study_id)


def trial_id(trial: optuna.Trial | FrozenTrial) -> int:
    """Return the id of a trial in its storage; its number counts within the study only."""
    return int(trial._trial_id)


def all_trials(study: optuna.Study) -> list[FrozenTrial]:
    """Return all trials of a study of which a pruner may show a sampler a part."""
    return study._storage.get_all_trials(study._study_id, deepcopy=False)


def read_trials(storage: RDBStorage, study_id: int, trial_ids: set[int]) -> list[FrozenTrial]:
    """Return trials with some ids, in few statements; Optuna's public methods read all or one."""
    return storage._get_trials(study_id, None, trial_ids, LAST_ID)


def suggest(trial: optuna.Trial | FixedTrial, name: str, distribution: BaseDistribution) -> Any:
    """Return the value of a parameter: the enqueued one, or else the sampler's proposal.

    The public `suggest_*` methods take no distribution.

    Raises:
        ValueError: the enqueued value is not in the distribution.
    """
    return trial._suggest(name, distribution)


def fixed_params(trial: FrozenTrial) -> dict[str, Any]:
    """Return the parameters that a trial was enqueued with."""
    return dict(trial.system_attrs.get("fixed_params", {}))


def enqueued_attrs(point: Mapping[str, Any]) -> dict[str, Any]:
    """Return the system attributes of a trial that is enqueued with some parameters."""
    return {"fixed_params": dict(point)}


def with_trial_cache(storage: RDBStorage) -> BaseStorage:
    """Return the storage behind a cache of finished trials, as Optuna wraps it itself.

    `get_storage` is public by name and documented as internal.
    """
    return get_storage(storage)


def clear_trial_cache(cache: BaseStorage, storage: RDBStorage) -> None:
    """Empty a cache that `with_trial_cache` made of `storage`; studies that use it keep it."""
    vars(cache).update(vars(get_storage(storage)))
