"""Opening of a study: Optuna's storage, the study's folder, its lease, its trial queue."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna

from hrm_sweep.engine.attributes import FOLDER
from hrm_sweep.engine.plugin_config import SweeperConfig
from hrm_sweep.engine.progress import TrialProgress
from hrm_sweep.engine.state import StudyState
from hrm_sweep.engine.study_dir import StudyDir
from hrm_sweep.engine.study_recipe import agree_on_recipe
from hrm_sweep.engine.trial_queue import TrialQueue, finished_trials
from hrm_sweep.search.objectives import Objectives
from hrm_sweep.search.samplers import make_sampler
from hrm_sweep.search.space import Space
from hrm_sweep.storage.leases import Lease
from hrm_sweep.storage.optuna_storage import SharedStorage, existing_study


@dataclass(frozen=True, kw_only=True)
class OpenStudy:
    """Study that this sweep works on, and what belongs to it."""

    config: SweeperConfig
    space: Space
    objectives: Objectives
    storage: SharedStorage
    study: optuna.Study
    queue: TrialQueue
    lease: Lease
    folder_of: Callable[[int, list[str]], Path]
    """Folder of a trial, from its number and overrides."""
    sampler: str = ""
    """What proposes the trials, for the user."""
    has_pruner: bool = False

    def state(self) -> StudyState:
        """Return the state of the study before this sweep has done anything."""
        known = map(TrialProgress.from_finished, finished_trials(self.study))
        return StudyState(
            name=self.study.study_name,
            objectives=self.objectives,
            num_trials=self.queue.num_trials,
            num_added=self.queue.num_added(),
            ended={trial.number: trial for trial in known},
        )


def find_study(config: SweeperConfig) -> optuna.Study | None:
    """Return the Optuna study that a sweep was asked to resume; None if there is none."""
    if config.study_name is None:
        return None
    return existing_study(config.storage, config.study_name)


def open_study(
    name: str,
    config: SweeperConfig,
    space: Space,
    objectives: Objectives,
    study_dir: StudyDir,
    *,
    pruner: Any,
    ignored_keys: Collection[str],
) -> OpenStudy:
    """Open a study, or create it with its folder.

    Args:
        pruner: Optuna's; None: no trial is pruned.
        ignored_keys: top-level config keys that cannot change a result.

    Raises:
        StudyError: the study is about something else, or another one works in the folder.
        DatabaseAway: the database does not answer.
    """
    storage = SharedStorage(config.storage)
    study = storage.open_study(name, objectives.directions)
    with storage.exclusive_transaction():
        # of sweeps that start a study together, one creates its folder
        if agree_on_recipe(
            study, space, objectives, repeats=config.repeats, ignored_keys=ignored_keys
        ):
            study_dir.clear()
            study.set_user_attr(FOLDER, str(study_dir.path))
        study_dir.path.mkdir(parents=True, exist_ok=True)
        lease = Lease(study_dir.path)
    study_dir.write_config()
    num_known = len(study.get_trials(deepcopy=False))
    study.sampler, sampler = sampler_of(config, space, objectives, num_known=num_known)
    if pruner is not None:
        study.pruner = pruner  # samplers ask it
    return OpenStudy(
        config=config,
        space=space,
        objectives=objectives,
        storage=storage,
        study=study,
        queue=TrialQueue(storage, study, space, num_trials=config.n_trials),
        lease=lease,
        folder_of=study_dir.of_trial,
        sampler=sampler,
        has_pruner=pruner is not None,
    )


def sampler_of(
    config: SweeperConfig, space: Space, objectives: Objectives, *, num_known: int
) -> tuple[Any, str]:
    """Return the sampler of a study with so many trials, and its description for the user.

    Raises:
        StudyError: the sampler cannot be used for this space.
    """
    return make_sampler(
        config.sampler,
        space,
        objectives,
        num_trials=config.n_trials,
        num_known=num_known,
        seed=config.seed,
    )
