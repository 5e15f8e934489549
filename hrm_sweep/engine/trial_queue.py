"""Trial queue: the points that wait to be run, by this process or another one on the same study."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

import optuna
from optuna.trial import FrozenTrial, TrialState

from hrm_sweep.compat.optuna import (
    enqueued_attrs,
    fixed_params,
    suggest,
    trial_id,
)
from hrm_sweep.engine.attributes import FOLDER, OWNER
from hrm_sweep.engine.other_sweeps import has_lost_sweep, who_runs
from hrm_sweep.runs.outcomes import Outcome
from hrm_sweep.search.budget import Budget
from hrm_sweep.search.enqueued import Point
from hrm_sweep.search.grid import Grid
from hrm_sweep.search.values import Value
from hrm_sweep.storage.drafts import Drafts
from hrm_sweep.storage.optuna_storage import SharedStorage
from hrm_sweep.system.writers import LeaseState

JobT = TypeVar("JobT")


class TrialQueue:
    """Source of trials until nothing is left to try.

    The points of a grid are enqueued before the first trial, in Hydra's order, so that trial
    number, job number and place in the grid are one. A search asks the study's sampler until the
    study has `num_trials`. Points that the user enqueued come before that, and trials that were put
    back come first in either case.

    Proposals are made by `prepare`, outside of any transaction: a sampler may take long, and other
    sweeps on the study do not wait for it. Only where another sweep has added trials since, and
    the sampler had counted on their number, `next` makes them again.

    `next`, `put_back`, `adopt`, `recover` and `running_of` are called inside
    `SharedStorage.exclusive_transaction`.

    Attributes:
        num_trials: trials that the study has when the queue is empty.
        is_grid: whether every point is run, so that none depends on a result.
    """

    def __init__(self, storage: SharedStorage, study: optuna.Study, budget: Budget) -> None:
        self._storage, self._study, self._budget = storage, study, budget
        self.is_grid = budget.is_grid
        self._distributions = budget.space.distributions
        self._first = {_key(point): place for place, point in enumerate(budget.first())}
        """Places of the points that go before others that wait, as some have waited for longer."""
        self._drafts = Drafts(storage, study)
        self._waiting: deque[int] = deque()
        """Ids of waiting trials as of the last query, which costs time for each of them."""
        with storage.exclusive_transaction(study.study_name):
            known = self._trials()
            if budget.space.is_finite and known:
                storage.widen(study, self._distributions)
            if budget.is_grid:
                missing = _missing_points(budget.points(), known)
                storage.add_waiting(study, missing, self._distributions)
            study.add_trials(enqueued_trials(budget, known))
            known = self._trials()
        self.num_trials = len(known) + _num_new(budget, known)

    def has(self, num: int) -> bool:
        """Return whether `num` trials can be taken without a proposal."""
        return self.is_grid or num <= len(self._waiting) + len(self._drafts)

    def prepare(self, num: int) -> bool:
        """Propose a trial for one of the next `num` calls of `next`, unless each has one.

        Returns:
            Whether it has proposed one.
        """
        if self.is_grid or num <= len(self._drafts):
            return False
        self._drafts.refresh()
        num_waiting = len(self._waiting_trials())
        if num <= len(self._drafts) + num_waiting or not self._num_new():
            return False
        self._drafts.propose(self._fill)
        return True

    def next(self) -> optuna.Trial | FrozenTrial | None:
        """Take the next trial, which runs from now on; None if nothing is left."""
        if trial := self._take_waiting():
            return trial
        self._drafts.refresh()
        self._waiting.extend(map(trial_id, sorted(self._waiting_trials(), key=self._place)))
        return self._take_waiting() or self._take_draft()

    def put_back(self, trial: optuna.Trial | FrozenTrial) -> None:
        """Make a running trial wait again; it comes next."""
        self._storage.requeue(trial)
        self._waiting.appendleft(trial_id(trial))

    def recover(
        self, owner: Mapping[str, str], *, take_from: str | None = None
    ) -> list[FrozenTrial]:
        """Take over the running trials of sweeps that have died, and return them as they were.

        Args:
            owner: lease that gets the trials.
            take_from: a machine whose trials are taken as well if nothing is seen of them here.
        """
        lost = []
        for trial in self._trials(TrialState.RUNNING):
            if not trial.user_attrs.get(OWNER):  # run by Optuna's own means
                continue
            machine, state = who_runs(trial)
            is_given_up = state is LeaseState.UNKNOWN and machine == take_from
            if state is LeaseState.EXPIRED or is_given_up:
                lost.append(trial)
                self._storage.set_user_attrs(trial, {OWNER: owner})
        return lost

    def adopt(
        self,
        owner: Mapping[str, str],
        job_of: Callable[[int], JobT | None],
        *,
        take_from: str | None = None,
    ) -> list[tuple[optuna.Trial, JobT]]:
        """Take over the running trials of dead sweeps in this folder whose jobs are known.

        Args:
            owner: lease that gets the trials.
            job_of: returns the job that runs a trial, by its number.
            take_from: see `recover`.
        """
        adopted = []
        for trial in self._trials(TrialState.RUNNING):
            if not has_lost_sweep(trial, take_from=take_from):
                continue
            is_here = Path(trial.user_attrs[OWNER]["lock"]).parent == Path(owner["lock"]).parent
            if is_here and (job := job_of(trial.number)) is not None:
                self._storage.set_user_attrs(trial, {OWNER: owner})
                adopted.append((optuna.Trial(self._study, trial_id(trial)), job))
        return adopted

    def running_of(self, owner: Mapping[str, str]) -> list[optuna.Trial]:
        """Return the running trials of the sweep with this lease."""
        running = self._trials(TrialState.RUNNING)
        ours = [trial for trial in running if trial.user_attrs.get(OWNER) == owner]
        return [optuna.Trial(self._study, trial_id(trial)) for trial in ours]

    def refresh(self) -> None:
        """Forget what the database had at the last query."""
        self._waiting.clear()
        self._drafts.clear()

    def num_added(self) -> int:
        """Return how many finished trials no sweep has run: they were added by Optuna's means."""
        ended = (trial for trial in self._trials() if trial.state.is_finished())
        return sum(FOLDER not in trial.user_attrs for trial in ended)

    def _take_waiting(self) -> optuna.Trial | None:
        while self._waiting:
            trial = self._storage.start(self._study, self._waiting.popleft())
            if trial is not None and self._complete_params(trial):
                self._budget.space.extend(trial)
                return trial
        return None

    def _waiting_trials(self) -> list[FrozenTrial]:
        return [each for each in self._drafts.trials if each.state is TrialState.WAITING]

    def _place(self, trial: FrozenTrial) -> int:
        return self._first.get(_key(trial.params), len(self._first)) if self._first else 0

    def _complete_params(self, trial: optuna.Trial) -> bool:
        """Let the sampler propose the parameters that an enqueued trial lacks, as `Study.ask` does.

        A trial with a value that the space does not have fails.

        Returns:
            Whether the trial can be run.
        """
        try:
            for name, distribution in self._distributions.items():
                if name not in trial.params:
                    suggest(trial, name, distribution)
        except ValueError as error:
            self._storage.set_user_attrs(
                trial, {"outcome": Outcome.FAILED.word, "reason": str(error)}
            )
            self._study.tell(trial, state=TrialState.FAIL)
            return False
        return True

    def _take_draft(self) -> FrozenTrial | None:
        if self.is_grid:
            return None
        counts = self._budget.space.is_finite or self._drafts.know_study
        is_full = len(self._drafts.trials) > self._budget.num_trials
        if self._drafts.are_late and (counts or is_full):
            self._drafts.drop()
        if not self._drafts and self._num_new():
            self._drafts.propose(self._fill)
        return self._drafts.take() if self._drafts else None

    def _fill(self, trial: optuna.Trial) -> None:
        for name, distribution in self._distributions.items():
            suggest(trial, name, distribution)
        self._budget.space.extend(trial)

    def _num_new(self) -> int:
        """Return how many trials are still to be added, besides the drafts."""
        return _num_new(self._budget, self._drafts.trials)

    def _trials(self, *states: TrialState) -> list[FrozenTrial]:
        return self._study.get_trials(deepcopy=False, states=states or None)


def finished_trials(study: optuna.Study) -> list[FrozenTrial]:
    """Return the finished trials that a sweep has run."""
    trials = study.get_trials(deepcopy=False)
    return [each for each in trials if each.state.is_finished() and FOLDER in each.user_attrs]


def enqueued_trials(budget: Budget, known: Sequence[FrozenTrial]) -> list[FrozenTrial]:
    """Return the enqueued points of a search that are no trial yet, as trials that wait.

    On a grid each point is enqueued anyway.
    """
    had = [fixed_params(trial) or trial.params for trial in known]
    new = [] if budget.is_grid else [point for point in budget.enqueued if point not in had]
    waiting = TrialState.WAITING
    return [
        optuna.trial.create_trial(state=waiting, system_attrs=enqueued_attrs(each)) for each in new
    ]


def num_to_run(budget: Budget, known: Sequence[FrozenTrial]) -> int:
    """Return how many trials have yet to end, those that other sweeps run included.

    Args:
        known: all trials of the study so far.
    """
    return sum(not trial.state.is_finished() for trial in known) + _num_new(budget, known)


def _num_new(budget: Budget, known: Sequence[FrozenTrial]) -> int:
    """Return how many trials are still to be added."""
    num_untried = 0
    if budget.space.is_finite:
        grid = Grid(budget.space)
        num_untried = budget.space.size - len(grid.places_of(trial.params for trial in known))
    return budget.num_new(len(known), num_untried)


def _missing_points(points: Iterable[Point], known: Sequence[FrozenTrial]) -> list[Point]:
    """Return the points of a grid that are no trial yet."""
    present = {_key(trial.params) for trial in known}
    return [point for point in points if _key(point) not in present]


def _key(point: Point) -> frozenset[tuple[str, Value]]:
    """Return what is equal for equal points; 1 and 1.0 are equal."""
    return frozenset(point.items())
