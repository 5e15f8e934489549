"""The plan: which point a free worker tries next, in this process or another on the same study."""

from __future__ import annotations

import socket
import warnings
from collections import Counter, deque
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import optuna
from optuna.exceptions import ExperimentalWarning
from optuna.trial import FrozenTrial, TrialState

from hrm_sweep.errors import StudyError
from hrm_sweep.runs.outcomes import Outcome
from hrm_sweep.runs.recipe import is_of_the_recipe
from hrm_sweep.search.objectives import Objectives
from hrm_sweep.search.space import Space, Value
from hrm_sweep.storage.leases import LeaseState, lease_state
from hrm_sweep.storage.optuna_storage import SharedStorage

RECIPE = "recipe"
"""Study attribute: what may not change when a study goes on."""
OWNER = "owner"
"""Trial attribute: the sweep that runs it."""
FOLDER = "folder"
"""Attribute of a study and of its trials: where they run. A trial that somebody added by Optuna's
own means has none."""
ATTEMPT = "attempt"
"""Trial attribute: how often it was handed out, interruptions not counted."""

UNSTARTED = optuna.trial.create_trial(state=TrialState.RUNNING)
"""Of Hyperband, TPE asks in which bracket each trial is; it knows that when it has judged one."""


class TrialQueue:
    """Hands out trials until there is nothing left to try.

    A grid's points are written down before the first trial, in Hydra's order, so that trial number,
    job number and place in the grid are one. A search asks the study's sampler until the study has
    `num_trials`. What was put back waits beside them and goes first.

    What hands out and takes back is called inside `SharedStorage.exclusive`.
    """

    def __init__(
        self, ledger: SharedStorage, study: optuna.Study, space: Space, *, num_trials: int
    ) -> None:
        self._ledger, self._study, self._space = ledger, study, space
        self._distributions = space.distributions
        self._waiting: deque[int] = deque()
        """Ids of trials that waited when it was looked last: each look costs time for each."""
        with ledger.exclusive():
            if space.is_finite:
                self._enqueue_missing_points()
                num_trials = len(self._trials())
        self.num_trials = num_trials
        """How many trials the study has when the plan is done."""

    def next(self) -> optuna.Trial | None:
        """The next trial; None when there is nothing left."""
        return self._take_a_waiting_one() or self._propose()

    def put_back(self, trial: optuna.Trial | FrozenTrial) -> None:
        """The trial waits again, and is handed out next."""
        self._ledger.put_back(trial)
        self._waiting.appendleft(trial._trial_id)

    def recover(
        self, owner: Mapping[str, str], *, take_from: str | None = None
    ) -> list[optuna.Trial]:
        """Takes over trials that a dead process has left running, and those of the machine
        `take_from` as far as nobody here can tell whether they do."""
        lost = []
        for trial in self._trials(TrialState.RUNNING):
            told = trial.user_attrs.get(OWNER, {})
            if not told:  # somebody runs it by Optuna's own means
                continue
            seen = lease_state(told)
            is_given_up = seen is LeaseState.UNKNOWN and told["host"] == take_from
            if seen is LeaseState.EXPIRED or is_given_up:
                lost.append(optuna.Trial(self._study, trial._trial_id))
                self._ledger.note(lost[-1], {OWNER: owner})
        return lost

    def running_of(self, owner: Mapping[str, str]) -> list[optuna.Trial]:
        """The trials that run as those of one sweep."""
        running = self._trials(TrialState.RUNNING)
        ids = [trial._trial_id for trial in running if trial.user_attrs.get(OWNER) == owner]
        return [optuna.Trial(self._study, trial_id) for trial_id in ids]

    def look_again(self) -> None:
        """Forgets which trials waited when it was looked last."""
        self._waiting.clear()

    def num_added(self) -> int:
        """How many finished trials no sweep has run: somebody added them by Optuna's own means."""
        ended = (trial for trial in self._trials() if trial.state.is_finished())
        return sum(FOLDER not in trial.user_attrs for trial in ended)

    def _take_a_waiting_one(self) -> optuna.Trial | None:
        if not self._waiting:
            self._waiting.extend(trial._trial_id for trial in self._trials(TrialState.WAITING))
        while self._waiting:
            trial = self._ledger.take(self._study, self._waiting.popleft())
            if trial is not None and self._is_filled_in(trial):
                return trial
        return None

    def _is_filled_in(self, trial: optuna.Trial) -> bool:
        """A trial that was enqueued by Optuna's own means has only the parameters that somebody
        fixed: the sampler gives the others, as in `Study.ask`. One that has a value which the space
        does not know fails."""
        try:
            for name in self._distributions.keys() - trial.params.keys():
                trial._suggest(name, self._distributions[name])
        except ValueError as error:
            self._ledger.note(trial, {"outcome": Outcome.FAILED.word, "reason": str(error)})
            self._study.tell(trial, state=TrialState.FAIL)
            return False
        return True

    def _propose(self) -> optuna.Trial | None:
        if self._space.is_finite or len(self._trials()) >= self.num_trials:
            return None
        self._study.pruner.prune(self._study, UNSTARTED)
        return self._study.ask(self._distributions)

    def _enqueue_missing_points(self) -> None:
        missing = _missing_points(self._space, self._trials())
        if missing:
            self._ledger.widen(self._study, self._distributions)
        for point in missing:
            waiting = optuna.trial.create_trial(
                state=TrialState.WAITING, params=point, distributions=self._distributions
            )
            self._study.add_trial(waiting)

    def _trials(self, *states: TrialState) -> list[FrozenTrial]:
        return self._study.get_trials(deepcopy=False, states=states or None)


def finished(study: optuna.Study) -> list[FrozenTrial]:
    """The trials that a sweep has run to their end."""
    trials = study.get_trials(deepcopy=False)
    return [each for each in trials if each.state.is_finished() and FOLDER in each.user_attrs]


def num_to_run(space: Space, known: Sequence[FrozenTrial], *, num_trials: int) -> int:
    """How many trials have not ended when a plan begins, those included that other sweeps run.

    Args:
        known: all trials of the study so far.
        num_trials: how many a search has in total.
    """
    begun = sum(not trial.state.is_finished() for trial in known)
    if space.is_finite:
        return begun + len(_missing_points(space, known))
    return begun + max(0, num_trials - len(known))


Others = Counter[tuple[str, LeaseState]]
"""Trials that run, by the machine of their sweep and what can be seen of that."""


def running_of_others(study: optuna.Study, *, besides: Mapping[str, str] | None = None) -> Others:
    """The trials of all sweeps that run now, but one."""
    running = study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
    told = [trial.user_attrs.get(OWNER, {}) for trial in running]
    return Counter(
        (each.get("host", "?"), lease_state(each)) for each in told if each and each != besides
    )


def check_take_from(machine: str, others: Others) -> None:
    """Makes sure that trials may be taken from a machine, and that it has some.

    Raises:
        StudyError: it has none, or its sweep is seen to live.
    """
    if others[machine, LeaseState.UNKNOWN]:
        return
    if others[machine, LeaseState.ALIVE]:
        why = "its sweep is alive, it holds its lock; stop it there"
    elif machine == socket.gethostname():
        why = "this is that machine, and what died on it is taken over anyway; leave it out"
    else:
        known = sorted({name for name, seen in others if seen is LeaseState.UNKNOWN})
        there = f"some run on {' and '.join(known)}" if known else "none runs on another machine"
        why = f"no trial of the study runs there; {there}"
    raise StudyError(f"take_from={machine}: {why}")


def agree_on_recipe(
    study: optuna.Study,
    space: Space,
    objectives: Objectives,
    *,
    repeats: int,
    aside: Collection[str],
) -> bool:
    """Writes down what the study is about, or checks that it is still about that.

    A longer list and a larger total are welcome: they extend the study.

    Args:
        aside: top-level keys that cannot change a result.

    Returns:
        Whether the study is new.

    Raises:
        StudyError: something else than the study's recipe was asked for; the difference is named.
    """
    fixed = [part for part in space.parts if isinstance(part, str)]
    asked = {
        "objective": list(objectives.names),
        "constraints": [str(constraint) for constraint in objectives.constraints],
        "fixed": [part for part in fixed if is_of_the_recipe(part, aside)],
        "repeats": repeats,
        "space": space.in_words(),
    }
    made = study.user_attrs.get(RECIPE)
    if made is None:
        study.set_user_attr(RECIPE, asked)
        with warnings.catch_warnings():  # Optuna calls it experimental; the dashboard reads it
            warnings.simplefilter("ignore", ExperimentalWarning)
            study.set_metric_names(list(objectives.names))
        return True
    if difference := _difference(made, asked):
        raise StudyError(
            f"study.name={study.study_name}: it was made with {difference}; "
            "keep to that, or take another study.name"
        )
    study.set_user_attr(RECIPE, asked)
    return False


def _difference(made: dict[str, Any], asked: dict[str, Any]) -> str:
    for key in ("objective", "constraints"):
        if made[key] != asked[key]:
            return f"study.{key}={_listed(made[key], 'none')}, not {_listed(asked[key], 'none')}"
    if made.get("repeats", asked["repeats"]) != asked["repeats"]:  # it was not always written down
        return f"study.repeats={made['repeats']}, not {asked['repeats']}"
    if sorted(made["fixed"]) != sorted(asked["fixed"]):
        return f"{_listed(made['fixed'])}, not {_listed(asked['fixed'])}"
    if made["space"].keys() != asked["space"].keys():
        return f"a search over {_listed(made['space'])}, not {_listed(asked['space'])}"
    for name, before in made["space"].items():
        now = asked["space"][name]
        grown = isinstance(before, list) and isinstance(now, list) and set(before) <= set(now)
        if before != now and not grown:
            return f"{name}={_shown(before)}, not {_shown(now)}"
    return ""


def _listed(names: Any, nothing: str = "nothing else set") -> str:
    return " ".join(names) or nothing


def _shown(choices: Any) -> str:
    return ",".join(choices) if isinstance(choices, list) else choices


def _missing_points(space: Space, known: Sequence[FrozenTrial]) -> list[dict[str, Value]]:
    """The points of a grid that are no trial yet."""
    there = {_key(trial.params) for trial in known}
    return [point for point in space.points() if _key(point) not in there]


def _key(point: dict[str, Value]) -> frozenset[tuple[str, Value]]:
    """Equal for equal points; 1 and 1.0 are equal."""
    return frozenset(point.items())
