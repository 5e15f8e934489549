"""Opening of a study: Optuna's storage, the study's folder, its lease, its trial queue."""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna

from hrm_sweep.compat.optuna import fixed_params
from hrm_sweep.engine.damage import reopen, set_aside, undone_trials
from hrm_sweep.engine.identity import (
    check_identity,
    new_id,
    recorded_study,
    register,
    study_id,
)
from hrm_sweep.engine.plugin_config import SweeperConfig
from hrm_sweep.engine.progress import TrialProgress
from hrm_sweep.engine.rebuild import lacking_trials
from hrm_sweep.engine.resuming import check_resume
from hrm_sweep.engine.run_again import run_again, trials_to_run_again
from hrm_sweep.engine.state import StudyState
from hrm_sweep.engine.study_dir import StudyDir
from hrm_sweep.engine.study_recipe import agree_on_recipe
from hrm_sweep.engine.trial_queue import TrialQueue, finished_trials
from hrm_sweep.errors import StudyError
from hrm_sweep.runs.study import Study
from hrm_sweep.runs.writers import take_over
from hrm_sweep.search.budget import Budget
from hrm_sweep.search.objectives import Objectives
from hrm_sweep.search.samplers import make_sampler
from hrm_sweep.search.space import Space
from hrm_sweep.search.untried import Untried
from hrm_sweep.storage.leases import Lease, give_up
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
    num_rebuilt: int = 0
    """Trials that Optuna lacked and got from the study's folder."""
    notes: tuple[str, ...] = ()
    """What the user should know of damaged records."""

    @property
    def id(self) -> str:
        """The study's id."""
        return study_id(self.study)

    @property
    def enqueued(self) -> dict[str, dict[str, Any]]:
        """Parameters of the trials that were enqueued, by their number as text."""
        trials = self.study.get_trials(deepcopy=False)
        return {str(each.number): fixed for each in trials if (fixed := fixed_params(each))}

    @property
    def tags(self) -> dict[str, str]:
        """Tags that all runs of the study have."""
        return {"hrm_sweep.study": self.study.study_name, "hrm_sweep.study_id": self.id}

    def state(self) -> StudyState:
        """Return the state of the study before this sweep has done anything."""
        return StudyState(
            name=self.study.study_name,
            objectives=self.objectives,
            num_trials=self.queue.num_trials,
            num_added=self.queue.num_added(),
            ended={trial.number: trial for trial in self.finished()},
        )

    def finished(self, *, besides: Container[int] = ()) -> list[TrialProgress]:
        """Return the finished trials of all sweeps, but for those with some numbers."""
        trials = [each for each in finished_trials(self.study) if each.number not in besides]
        found = [TrialProgress.from_finished(trial, self.space) for trial in trials]
        for trial in found:
            if not trial.folder.exists():  # the study's folder was moved, or it ran elsewhere
                folder = self.folder_of(trial.number, self.space.overrides(trial.params))
                trial.folder = folder if folder.exists() else trial.folder
        return found


def find_study(config: SweeperConfig) -> optuna.Study | None:
    """Return the Optuna study that a sweep was asked to resume; None if there is none."""
    if config.study_name is None:
        return None
    return existing_study(config.storage, config.study_name)


def open_study(
    name: str,
    config: SweeperConfig,
    budget: Budget,
    objectives: Objectives,
    study_dir: StudyDir,
    *,
    recipe: Mapping[str, Any],
    pruner: Any,
) -> OpenStudy:
    """Open a study, or create it with its folder. What Optuna lacks is taken from the folder.

    Args:
        recipe: see `recipe_of`.
        pruner: Optuna's; None: no trial is pruned.

    Raises:
        StudyError: the study is about something else, or another one works in the folder.
        DatabaseAway: the database does not answer.
    """
    storage, space = SharedStorage(config.storage), budget.space
    study = storage.open_study(name, objectives.directions)
    num_rebuilt, notes = 0, list[str]()
    with storage.exclusive_transaction(name):
        if not storage.has_study(name):
            raise StudyError(
                f"hydra.sweeper.study_name={name}: was deleted while it was opened; start again"
            )
        # of sweeps that start a study together, one creates its folder
        recorded = recorded_study(study_dir.path, name)
        is_new = agree_on_recipe(study, recipe, recorded.recipe if recorded else None)
        check_resume(config, reference=name, exists=not is_new or recorded is not None)
        if recorded is None and is_new:
            study_dir.clear()
        if recorded is not None:
            check_identity(study, recorded, config.storage)
            if is_new:
                study_dir.check_is_free()
            num_rebuilt = _rebuild(storage, study, recorded, space, objectives, config)
            known = study.get_trials(deepcopy=False)
            reopen(storage, recorded, undone_trials(known, recorded, objectives))
            notes += set_aside(known, recorded)
        if config.run_again is not None:
            again = trials_to_run_again(study.get_trials(deepcopy=False), config.run_again)
            run_again(storage, again)
        study_dir.path.mkdir(parents=True, exist_ok=True)
        the_id = study_id(study) or (recorded and recorded.id) or new_id()
        register(study, the_id, study_dir.path, config.storage)
        lease = Lease(study_dir.path)
    if config.take_from:
        take_over(study_dir.path, config.take_from)
        give_up(study_dir.path, config.take_from)
    study_dir.write_config()
    num_known = len(study.get_trials(deepcopy=False))
    study.sampler, sampler = sampler_of(config, budget, objectives, num_known=num_known)
    if space.is_finite:
        study.sampler = Untried(study.sampler, space, study)
    if pruner is not None:
        study.pruner = pruner  # samplers ask it
    return OpenStudy(
        config=config,
        space=space,
        objectives=objectives,
        storage=storage,
        study=study,
        queue=TrialQueue(storage, study, budget),
        lease=lease,
        folder_of=study_dir.of_trial,
        sampler=sampler,
        has_pruner=pruner is not None,
        num_rebuilt=num_rebuilt,
        notes=tuple(notes),
    )


def _rebuild(
    storage: SharedStorage,
    study: optuna.Study,
    recorded: Study,
    space: Space,
    objectives: Objectives,
    config: SweeperConfig,
) -> int:
    """Give Optuna the trials of the study's folder that it lacks, and return their number."""
    known = study.get_trials(deepcopy=False)
    found = lacking_trials(known, recorded, space, objectives, max_attempts=config.max_attempts)
    if known and found and space.is_finite:
        storage.widen(study, space.distributions)
    study.add_trials(found)
    return len(found)


def sampler_of(
    config: SweeperConfig, budget: Budget, objectives: Objectives, *, num_known: int
) -> tuple[Any, str]:
    """Return the sampler of a study with so many trials, and its description for the user.

    Raises:
        StudyError: the sampler cannot be used for this space.
    """
    return make_sampler(config.sampler, budget, objectives, num_known=num_known, seed=config.seed)
