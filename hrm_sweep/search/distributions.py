"""Optuna's distributions of a search space as text, as the record of a study keeps them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution


def write_distributions(distributions: Mapping[str, BaseDistribution]) -> dict[str, str]:
    """Return each distribution as Optuna's own JSON, by parameter name."""
    from optuna.distributions import distribution_to_json

    return {name: distribution_to_json(each) for name, each in distributions.items()}


def read_distributions(texts: Mapping[str, str]) -> dict[str, BaseDistribution]:
    """Return what `write_distributions` was given."""
    from optuna.distributions import json_to_distribution

    return {name: json_to_distribution(text) for name, text in texts.items()}


def searched_log(distribution: BaseDistribution | None) -> bool | None:
    """Return whether numbers are searched on a logarithmic scale; None for anything else."""
    return getattr(distribution, "log", None)
