"""The pruner that a study was asked for, checked against what it has to judge."""

from __future__ import annotations

from typing import Any

from hrm_sweep.errors import StudyError
from hrm_sweep.search.objectives import Objectives
from hrm_sweep.search.parts import instantiate_part, part_config


def make_pruner(config: Any, objectives: Objectives, *, repeats: int) -> Any:
    """Return the Optuna pruner of a study; None if nothing is to be pruned.

    Args:
        config: `study/pruner`, with `_target_`.

    Raises:
        StudyError: `config` names no pruner, or the pruner cannot judge such trials.
    """
    pruner = instantiate_part("pruner", part_config("pruner", config))
    name = type(pruner).__name__
    if pruner is None or name == "NopPruner":
        return None
    if objectives.is_multi_objective:
        raise StudyError(
            f"hydra.sweeper.pruner={name}: a trial with several objectives cannot be judged before "
            "its end; take hydra/sweeper/pruner=none, or one objective and constraints"
        )
    if name == "WilcoxonPruner" and repeats == 1:
        raise StudyError(
            f"hydra.sweeper.pruner={name}: it judges a trial between its repeats, and there is "
            "one; set hydra.sweeper.repeats=5 or more, or take hydra/sweeper/pruner=median"
        )
    return pruner
