"""Options of `hydra/sweeper/sampler` and `hydra/sweeper/pruner`: Optuna's classes by short names.

Nothing is imported here: every Hydra app reads this at its start.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Option = Mapping[str, Any]


def _sampler(name: str) -> Option:
    return {"_target_": f"optuna.samplers.{name}Sampler"}


def _pruner(name: str, **needed: Any) -> Option:
    return {"_target_": f"optuna.pruners.{name}Pruner", **needed}


GROUPS: Mapping[str, Mapping[str, Option]] = {
    "hydra/sweeper/sampler": {
        "auto": {"_target_": "hrm_sweep.search.samplers.Auto"},
        "tpe": _sampler("TPE"),
        "random": _sampler("Random"),
        "cmaes": _sampler("CmaEs"),
        "nsgaii": _sampler("NSGAII"),
        "nsgaiii": _sampler("NSGAIII"),
        "motpe": _sampler("MOTPE"),  # refused by a line that names another one
        "gp": _sampler("GP"),
        "qmc": _sampler("QMC"),
        "grid": _sampler("Grid"),
        "bruteforce": _sampler("BruteForce"),
    },
    "hydra/sweeper/pruner": {
        "none": _pruner("Nop"),
        "median": _pruner("Median"),
        "percentile": _pruner("Percentile", percentile=25.0),
        "hyperband": _pruner("Hyperband"),
        "sha": _pruner("SuccessiveHalving"),
        "patient": {
            "defaults": ["_self_", {"/hydra/sweeper/pruner@wrapped_pruner": None}],
            **_pruner("Patient", wrapped_pruner=None, patience=5),
        },
        "threshold": _pruner("Threshold"),
        "wilcoxon": _pruner("Wilcoxon"),
    },
}
"""Group -> option -> config. It takes any further argument of its class, and no other key."""
