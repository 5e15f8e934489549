"""What follows from a study's trials, made of lists: no process, no database, no clock."""

import random
from pathlib import Path

import pytest

from hrm_sweep.engine.progress import TrialProgress
from hrm_sweep.engine.state import StudyState
from hrm_sweep.runs.outcomes import Outcome
from hrm_sweep.search.objectives import parse_objectives


def trial(number: int, outcome: str = "", **fields) -> TrialProgress:
    ended = Outcome.named(outcome) if outcome else None
    return TrialProgress(number, {}, Path(str(number)), has_begun=True, outcome=ended, **fields)


def state_of(*ended: TrialProgress, num_trials: int = 10, **fields) -> StudyState:
    objectives = fields.pop("objectives", parse_objectives("loss", "minimize"))
    by_number = {each.number: each for each in ended}
    return StudyState(
        name="study", objectives=objectives, num_trials=num_trials, ended=by_number, **fields
    )


def test_outcomes_are_counted_in_the_order_of_their_table():
    words = ["killed", "complete", "failed", "pruned", "complete", "timed_out", "diverged"]
    state = state_of(*(trial(n, word) for n, word in enumerate(words)))
    counts = {outcome.word: number for outcome, number in state.outcomes().items()}
    assert list(counts.items()) == [
        ("complete", 2),
        ("pruned", 1),
        ("diverged", 1),
        ("failed", 1),
        ("killed", 1),
        ("timed_out", 1),
    ]
    assert state.num_failed == 3  # killed, failed, timed out
    assert state.num_left == 3


@pytest.mark.parametrize(
    ("ended", "fields", "stopped", "left_to_others"),
    [
        pytest.param([], {}, False, True, id="others run all of it"),
        pytest.param([], {"is_closed": True}, True, False, id="time is up"),
        pytest.param(["complete"] * 10, {"is_closed": True}, False, False, id="up, but done"),
        pytest.param(["complete"] * 9, {"num_added": 1}, False, False, id="one was added"),
        pytest.param(["complete"] * 11, {}, False, False, id="more than were asked for"),
        pytest.param(["interrupted"] + ["complete"] * 9, {}, True, False, id="Ctrl-C"),
        pytest.param(["complete"] * 10, {"is_abandoned": True}, True, False, id="no database"),
        pytest.param(
            ["complete"] * 9,
            {"is_closed": True, "is_out_of_patience": True},
            *(False, False),
            id="no patience left",
        ),
    ],
)
def test_a_study_is_stopped_or_left_to_others(ended, fields, stopped, left_to_others):
    state = state_of(*(trial(n, word) for n, word in enumerate(ended)), **fields)
    assert (state.is_stopped, state.is_left_to_others) == (stopped, left_to_others)


@pytest.mark.parametrize(
    ("ended", "fields", "has_result"),
    [
        pytest.param(["complete"], {}, True, id="a best trial"),
        pytest.param(["failed"] * 10, {}, False, id="all failed"),
        pytest.param(["failed"], {}, True, id="others run the rest"),
        pytest.param(["failed"], {"is_closed": True}, False, id="stopped"),
        pytest.param(["unjudged"] * 10, {}, True, id="no task returned an objective"),
        pytest.param(["unjudged"] * 9 + ["failed"], {}, False, id="one failed"),
    ],
)
def test_a_study_has_a_result_or_not(ended, fields, has_result):
    trials = (trial(n, word, values={"loss": 1.0}) for n, word in enumerate(ended))
    assert state_of(*trials, **fields).has_result == has_result


@pytest.mark.parametrize("seed", range(20))
def test_the_best_trial_does_not_depend_on_the_order_of_the_ends(seed):
    """Truth: the lowest loss, then the lowest tie breaker, then the lowest number."""
    chance = random.Random(seed)
    values = [{"loss": chance.randrange(4), "tie": chance.randrange(3)} for _ in range(30)]
    best = min(range(30), key=lambda n: (values[n]["loss"], values[n]["tie"], n))
    trials = [trial(n, "complete", values=values[n]) for n in range(30)]
    chance.shuffle(trials)
    objectives = parse_objectives("loss", "minimize", tie_breaker="tie")
    state = state_of(objectives=objectives, num_trials=30)
    assert state.best is None
    for each in trials:
        state.ended[each.number] = each
        _ = state.front  # looked at after each end, as the live view does
    assert state.best is not None
    assert state.best.number == best
    assert state.ranked()[0].number == best


@pytest.mark.parametrize("seed", range(20))
def test_the_pareto_front_does_not_depend_on_the_order_of_the_ends(seed):
    """Truth: those that no other is as good as in both and better in one."""
    chance = random.Random(seed)
    points = [(chance.randrange(6), chance.randrange(6)) for _ in range(30)]
    truth = [
        n
        for n, (a, b) in enumerate(points)
        if not any(x <= a and y <= b and (x, y) != (a, b) for x, y in points)
    ]
    objectives = parse_objectives(["a", "b"], ["minimize", "minimize"])
    state = state_of(objectives=objectives, num_trials=30)
    for n in chance.sample(range(30), 30):
        a, b = points[n]
        state.ended[n] = trial(n, "complete", values={"a": a, "b": b})
        _ = state.front
    assert sorted(each.number for each in state.front) == truth
    ordered = [points[each.number] for each in state.front]
    assert ordered == sorted(ordered)


def test_a_trial_that_breaks_a_constraint_is_ranked_last_and_never_best():
    objectives = parse_objectives("loss", "minimize", {"size": "<= 5"})
    small = trial(0, "complete", values={"loss": 3.0, "size": 5.0})
    large = trial(1, "complete", values={"loss": 1.0, "size": 6.0})
    assert state_of(large, objectives=objectives).best is None
    state = state_of(large, small, objectives=objectives)
    assert state.best is small
    assert state.ranked() == [small, large]


def test_the_time_left_is_that_of_running_and_waiting_trials_over_all_slots():
    done = [trial(n, "complete", seconds=20.0) for n in range(2)]
    running = trial(2, step=5, num_steps=10, seconds_per_step=2.0)
    fresh = trial(3)
    state = state_of(*done, num_trials=8, num_slots=2)
    state.in_flight = {2: running, 3: fresh}
    # 10 s of the one, 20 s of the other, four more of 20 s each, on two slots
    assert state.seconds_left == (10 + 20 + 4 * 20) / 2
    assert state_of(num_trials=8).seconds_left is None


def test_a_trial_in_flight_runs_when_a_worker_has_begun_it():
    waiting = TrialProgress(1, {}, Path("1"))
    state = state_of()
    state.in_flight = {0: trial(0), 1: waiting}
    assert [each.number for each in state.running] == [0]


def test_a_repeat_counts_as_a_part_of_a_step():
    repeat = trial(0, step=3, num_steps=4, seconds_per_step=5.0)
    whole = trial(0, step=1, num_steps=3, current_repeat=repeat)
    assert whole.steps_done == 1.75
    assert whole.seconds_left == 1.25 * 20  # a repeat takes 4 steps of 5 s


def test_a_trial_that_goes_back_is_not_done():
    state = state_of(
        trial(0, "complete"), trial(1, "interrupted", goes_back=True), num_trials=4, num_added=1
    )
    assert (state.num_done, state.num_to_do, state.num_left) == (1, 3, 2)


def ends(*values: float | None, bound: str = "") -> StudyState:
    """A study whose trials ended in this order, each a second later; None: pruned."""
    objectives = parse_objectives(
        "loss", "minimize", {"size": bound} if bound else None, tie_breaker="tie"
    )
    trials = []
    for number, loss in enumerate(values):
        outcome = "pruned" if loss is None else "complete"
        values_of = {"loss": loss or 0.0, "tie": -float(number), "size": float(number)}
        trials.append(trial(number, outcome, values=values_of, ended_ms=1000 * number))
    return state_of(*trials, objectives=objectives)


@pytest.mark.parametrize(
    ("state", "since_best"),
    [
        pytest.param(ends(), 0, id="none has ended"),
        pytest.param(ends(5, 4, 3), 0, id="the last is the best"),
        pytest.param(ends(3, 4, 5, 2, 6), 1, id="a later best counts anew"),
        pytest.param(ends(3, 3, 3), 2, id="equal ones are no new best, tie breaker or not"),
        pytest.param(ends(3, None, None), 2, id="pruned ones have been judged too"),
        pytest.param(ends(3, 1, 2, bound="<= 0"), 2, id="those that break a constraint"),
        pytest.param(ends(3, 1, 2, bound="<= -1"), 3, id="no trial may be the best"),
    ],
)
def test_trials_since_the_last_new_best_are_counted(state, since_best):
    assert state.num_since_best == since_best


def test_failed_and_interrupted_trials_neither_count_nor_interrupt_the_count():
    state = ends(3, 4, 5)
    for number, word in enumerate(["failed", "diverged", "killed", "interrupted"], start=3):
        state.ended[number] = trial(number, word, ended_ms=1000 * number)
    assert state.num_since_best == 2


def test_with_several_objectives_a_new_trial_on_the_front_counts_anew():
    objectives = parse_objectives(["a", "b"], ["minimize", "minimize"])
    points = [(1, 9), (5, 5), (6, 6), (5, 5), (9, 1), (9, 9)]
    since = []
    for number in range(1, len(points) + 1):
        trials = (
            trial(n, "complete", values={"a": a, "b": b}, ended_ms=n)
            for n, (a, b) in enumerate(points[:number])
        )
        since.append(state_of(*trials, objectives=objectives).num_since_best)
    assert since == [0, 0, 1, 2, 0, 1]


def test_the_order_of_the_ends_counts_and_not_that_of_the_numbers():
    early = trial(7, "complete", values={"loss": 2.0}, ended_ms=1)
    late = trial(3, "complete", values={"loss": 1.0}, ended_ms=2)
    assert state_of(early, late).num_since_best == 0
    assert state_of(late, early).num_since_best == 0
