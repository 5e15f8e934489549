"""Recipe of a study: what it is about, kept in Optuna and compared when the study is resumed."""

from __future__ import annotations

import warnings
from collections.abc import Collection, Mapping
from typing import Any

import optuna
from optuna.exceptions import ExperimentalWarning

from hrm_sweep.engine.attributes import RECIPE
from hrm_sweep.engine.plugin_config import SweeperConfig
from hrm_sweep.errors import StudyError
from hrm_sweep.runs.recipe import is_of_the_recipe
from hrm_sweep.search.objectives import Objectives
from hrm_sweep.search.space import Space


def recipe_of(
    space: Space, objectives: Objectives, *, repeats: int, ignored_keys: Collection[str]
) -> dict[str, Any]:
    """Return the recipe of a study.

    Args:
        ignored_keys: top-level config keys that cannot change a result.
    """
    fixed = [part for part in space.parts if isinstance(part, str)]
    return {
        "objective": list(objectives.names),
        "constraints": [str(constraint) for constraint in objectives.constraints],
        "fixed": [part for part in fixed if is_of_the_recipe(part, ignored_keys)],
        "repeats": repeats,
        "space": space.in_words(),
    }


def directions_of(config: SweeperConfig, known: optuna.Study | None) -> Any:
    """Return the directions that were named, or else those that the study has; None: neither."""
    if config.direction is not None or known is None:
        return config.direction
    return [direction.name.lower() for direction in known.directions]


def agree_on_recipe(
    study: optuna.Study, recipe: Mapping[str, Any], recorded: Mapping[str, Any] | None = None
) -> bool:
    """Keep the recipe of a new study, or check that of a known one.

    A longer list of values and a larger number of trials are no difference: they extend the study.

    Args:
        recorded: the recipe in the study's folder, for a study that is new in Optuna only.

    Returns:
        Whether the study is new in Optuna.

    Raises:
        StudyError: the recipe differs; the message names the first difference.
    """
    kept = study.user_attrs.get(RECIPE)
    check_recipe(study.study_name, kept or recorded, recipe)
    study.set_user_attr(RECIPE, recipe)
    if kept is None:
        with warnings.catch_warnings():  # Optuna calls it experimental; the dashboard reads it
            warnings.simplefilter("ignore", ExperimentalWarning)
            study.set_metric_names(list(recipe["objective"]))
    return kept is None


def check_recipe(name: str, kept: Mapping[str, Any] | None, recipe: Mapping[str, Any]) -> None:
    """Check that a study may be resumed with a recipe; None fits any.

    Raises:
        StudyError: the recipe differs; the message names the first difference.
    """
    if kept is not None and (difference := _difference(kept, recipe)):
        raise StudyError(
            f"hydra.sweeper.study_name={name}: it was made with {difference}; "
            "keep to that, or take another hydra.sweeper.study_name"
        )


def _difference(kept: Mapping[str, Any], recipe: Mapping[str, Any]) -> str:
    for key in ("objective", "constraints"):
        if kept[key] != recipe[key]:
            before, now = (_joined(each[key], "none") for each in (kept, recipe))
            return f"hydra.sweeper.{key}={before}, not {now}"
    if kept.get("repeats", recipe["repeats"]) != recipe["repeats"]:  # older studies do not keep it
        return f"hydra.sweeper.repeats={kept['repeats']}, not {recipe['repeats']}"
    if sorted(kept["fixed"]) != sorted(recipe["fixed"]):
        return f"{_joined(kept['fixed'])}, not {_joined(recipe['fixed'])}"
    if kept["space"].keys() != recipe["space"].keys():
        return f"a search over {_joined(kept['space'])}, not {_joined(recipe['space'])}"
    for name, before in kept["space"].items():
        now = recipe["space"][name]
        is_longer = isinstance(before, list) and isinstance(now, list) and set(before) <= set(now)
        if before != now and not is_longer:
            return f"{name}={_format_choices(before)}, not {_format_choices(now)}"
    return ""


def _joined(names: Any, nothing: str = "nothing else set") -> str:
    return " ".join(names) or nothing


def _format_choices(choices: Any) -> str:
    return ",".join(choices) if isinstance(choices, list) else str(choices)
