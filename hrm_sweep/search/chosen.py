"""The sampler and the pruner that a study was asked for, made of their configs."""

from __future__ import annotations

import warnings
from typing import Any

from hydra.utils import instantiate

from hrm_sweep.errors import StudyError
from hrm_sweep.search.objectives import Objectives
from hrm_sweep.search.pruners import Pruning
from hrm_sweep.search.samplers import make_sampler
from hrm_sweep.search.space import Space
from hrm_sweep.storage.database import absolute


def sampler(
    config: Any,
    space: Space,
    objectives: Objectives,
    *,
    num_trials: int,
    num_known: int,
    seed: int | None,
) -> tuple[Any, str]:
    """The sampler, and its name for a person.

    Args:
        config: of `study/sampler`, with `_target_`.
        num_trials: how many a search has in total.
        num_known: how many there are so far. Seeded by the seed alone it would propose its first
            trials once more when the study goes on.

    Raises:
        StudyError: it is none, or a package that it needs is not installed.
    """
    made = _made("sampler", config, seed=None if seed is None else seed + num_known)
    return make_sampler(made, space, objectives, num_trials=num_trials)


def pruning(
    config: Any, objectives: Objectives, *, repeats: int, storage: str, study: str
) -> Pruning | None:
    """What judges running trials; None if nothing does.

    Args:
        config: of `study/pruner`, with `_target_`.
        storage: the database in which it finds the study of that name.

    Raises:
        StudyError: it is no pruner, or it cannot judge such trials.
    """
    pruner = _made("pruner", config)
    name = type(pruner).__name__
    if pruner is None or name == "NopPruner":
        return None
    if objectives.is_multi_objective:
        raise StudyError(
            f"study.pruner={name}: a trial with several objectives cannot be judged before its "
            "end; take study/pruner=none, or one objective and constraints"
        )
    if name == "WilcoxonPruner" and repeats == 1:
        raise StudyError(
            f"study.pruner={name}: it judges a trial between its repeats, and there is one; "
            "set study.repeats=5 or more, or take study/pruner=median"
        )
    return Pruning(absolute(storage), study, objectives.names[0], pruner)


def _made(what: str, config: Any, **arguments: Any) -> Any:
    if isinstance(config, str):
        raise StudyError(f"study.{what}={config}: is chosen by study/{what}={config}")
    with warnings.catch_warnings():  # who asks for a sampler or pruner knows that it is new
        warnings.filterwarnings("ignore", r"\w+ is experimental")
        return instantiate(config, **arguments)
