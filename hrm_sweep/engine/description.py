"""Description of a study, as its record keeps it: what is searched, how trials are judged."""

from __future__ import annotations

import os
from typing import Any

from hrm_sweep import formatting
from hrm_sweep.engine.plugin_config import SweeperConfig
from hrm_sweep.search.distributions import write_distributions
from hrm_sweep.search.objectives import Objectives
from hrm_sweep.search.space import Dimension, Space
from hrm_sweep.storage.database import shown
from hrm_sweep.system.redact import redacted


def describe_study(
    config: SweeperConfig, space: Space, objectives: Objectives, *, num_trials: int
) -> dict[str, Any]:
    """Return the fields of a study's record that decide about its trials and what they count."""
    return {
        "num_trials": num_trials,
        "params": {each.name: format_values(each) for each in space.dimensions},
        "distributions": write_distributions(space.distributions),
        "judged": {
            "objectives": list(objectives.names),
            "directions": list(objectives.directions),
            "constraints": [str(constraint) for constraint in objectives.constraints],
            "tie_breaker": config.tie_breaker,
            "columns": list(config.columns),
            "repeats": config.repeats,
            "max_attempts": config.max_attempts,
        },
        "keep_models": config.keep_models,
        "storage": shown(config.storage),
        "tracking": _tracking(config),
    }


def format_values(dimension: Dimension) -> str:
    """Return the values of a dimension: `1e-4, 1e-3`, or `1e-5 to 1e-2 (log)`."""
    if dimension.choices is not None:
        return ", ".join(map(formatting.format_param, dimension.choices))
    distribution: Any = dimension.distribution
    low, high = map(formatting.format_param, (distribution.low, distribution.high))
    return f"{low} to {high}{' (log)' if distribution.log else ''}"


def _tracking(config: SweeperConfig) -> dict[str, str | None]:
    """Return where runs are sent, without passwords; uri None is `mlruns/` beside the study."""
    if not config.is_tracked:
        return {}
    uri = config.tracking_uri or os.environ.get("MLFLOW_TRACKING_URI")
    return {"uri": redacted(uri) if uri else None, "experiment": config.experiment}
