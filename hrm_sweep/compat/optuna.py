"""Private names of Optuna, as of 5.0.

`pyproject.toml` bounds the version from above; tests/unit/compat holds each name to what is read
here.
"""

from __future__ import annotations

from typing import Any

import optuna
from optuna.distributions import BaseDistribution
from optuna.trial import FrozenTrial


def study_id(study: optuna.Study) -> int:
    """Return the id of a study in its storage."""
    return int(study._study_id)


def trial_id(trial: optuna.Trial | FrozenTrial) -> int:
    """Return the id of a trial in its storage; its number counts within the study only."""
    return int(trial._trial_id)


def suggest(trial: optuna.Trial, name: str, distribution: BaseDistribution) -> Any:
    """Return the value of a parameter: the enqueued one, or else the sampler's proposal.

    The public `suggest_*` methods take no distribution.

    Raises:
        ValueError: the enqueued value is not in the distribution.
    """
    return trial._suggest(name, distribution)
