"""Proposals of samplers: made outside of transactions, the same as Optuna's own, for one trial."""

import warnings
from contextlib import contextmanager

import optuna
import pytest
import sqlalchemy
from fakes import exclusive, open_in
from optuna.distributions import FloatDistribution, IntDistribution
from optuna.samplers import (
    CmaEsSampler,
    GPSampler,
    NSGAIISampler,
    QMCSampler,
    RandomSampler,
    TPESampler,
)
from optuna.trial import TrialState

from hrm_sweep.engine.open_study import OpenStudy
from hrm_sweep.engine.study_sync import InFlightTrial, StudySync
from hrm_sweep.runs.outcomes import Outcome
from hrm_sweep.storage import database
from hrm_sweep.storage.optuna_storage import SharedStorage

SPACE = {"x": FloatDistribution(0, 1), "y": FloatDistribution(0, 1), "n": IntDistribution(1, 8)}
OVERRIDES = ("x=interval(0,1)", "y=interval(0,1)", "n=int(interval(1,8))")
FIVE = tuple(f"{name}=interval(0,1)" for name in "abcde")


def search(tmp_path, *overrides: str, n_trials: int, sampler=None, pruner=None) -> OpenStudy:
    opened = open_in(tmp_path, *overrides, n_trials=n_trials)
    if sampler is not None:
        opened.study.sampler = sampler
    if pruner is not None:
        opened.study.pruner = pruner
    return opened


def take(sync: StudySync, *ended: InFlightTrial, wanted: int = 1) -> list[InFlightTrial]:
    return sync.commit(reporting=[], ended=ended, known=ended, wanted=wanted)


def end(flight: InFlightTrial, value: float) -> InFlightTrial:
    flight.progress.has_begun, flight.progress.outcome = True, Outcome.COMPLETE
    flight.progress.values = {"objective": value}
    return flight


def value_of(params: dict) -> float:
    return (params["x"] - 0.3) ** 2 + params["y"] + params["n"] / 8


@contextmanager
def statements(storage: SharedStorage):
    """What the database is asked for in the block."""
    asked: list[str] = []

    def note(_conn, _cursor, statement, *_):
        asked.append(statement)

    sqlalchemy.event.listen(storage.engine, "before_cursor_execute", note)
    yield asked
    sqlalchemy.event.remove(storage.engine, "before_cursor_execute", note)


@pytest.mark.parametrize(
    "make",
    [
        pytest.param(lambda: RandomSampler(seed=3), id="random"),
        pytest.param(lambda: TPESampler(seed=3, n_startup_trials=4), id="TPE"),
        pytest.param(
            lambda: TPESampler(seed=3, n_startup_trials=4, multivariate=True, group=True),
            id="TPE, multivariate",
        ),
        pytest.param(lambda: CmaEsSampler(seed=3, n_startup_trials=2, popsize=4), id="CMA-ES"),
        pytest.param(lambda: NSGAIISampler(seed=3, population_size=4), id="NSGA-II"),
        pytest.param(lambda: QMCSampler(seed=3, scramble=True), id="QMC"),
        pytest.param(lambda: GPSampler(seed=3, n_startup_trials=4), id="GP"),
    ],
)
@pytest.mark.parametrize("pruner", [optuna.pruners.NopPruner, optuna.pruners.HyperbandPruner])
def test_one_worker_gets_what_optuna_proposes_itself(tmp_path, make, pruner):
    warnings.simplefilter("ignore")
    num = 12
    plain = optuna.create_study(study_name="study", sampler=make(), pruner=pruner())
    for _ in range(num):
        plain.pruner.prune(plain, optuna.trial.create_trial(state=TrialState.RUNNING))
        trial = plain.ask(SPACE)
        plain.tell(trial, value_of(trial.params))
    opened = search(tmp_path, *OVERRIDES, n_trials=num, sampler=make(), pruner=pruner())
    sync, ended = StudySync(opened), []
    while taken := take(sync, *ended):
        ended = [end(taken[0], value_of(taken[0].progress.params))]
    trials = opened.study.get_trials()
    assert [trial.params for trial in trials] == [trial.params for trial in plain.get_trials()]
    assert [list(trial.params) for trial in trials] == [list(SPACE)] * num
    assert [trial.state for trial in trials] == [TrialState.COMPLETE] * num


def test_a_take_is_ten_statements_at_most(tmp_path):
    opened = search(tmp_path, *FIVE, n_trials=40, sampler=TPESampler(seed=0))
    sync = StudySync(opened)
    flights = take(sync, wanted=25)
    take(sync, *(end(flight, flight.progress.number) for flight in flights[5:]), wanted=0)
    take(sync)
    with statements(opened.storage) as asked:
        (flight,) = take(sync)
    assert len(asked) <= 10, asked
    kept = opened.study.get_trials()[flight.progress.number]
    assert kept.params == flight.progress.params
    assert kept.user_attrs["attempt"] == 1


class WritesElsewhere(RandomSampler):
    """Another process writes to the database while this one samples."""

    def __init__(self, url: str) -> None:
        super().__init__()
        self._other, self.num_written = SharedStorage(url), 0

    def sample_independent(self, *args):
        with self._other.exclusive_transaction("study"):
            self.num_written += 1
        return super().sample_independent(*args)


def test_other_sweeps_do_not_wait_for_a_sampler(tmp_path, monkeypatch):
    monkeypatch.setattr(database, "SECONDS_FOR_A_WRITER", 0)
    opened = search(tmp_path, *FIVE, n_trials=2)
    opened.study.sampler = sampler = WritesElsewhere(opened.storage.url)
    assert len(take(StudySync(opened), wanted=3)) == 2
    assert sampler.num_written == 10


def test_trials_proposed_ahead_do_not_exceed_the_total(tmp_path):
    one, other = (search(tmp_path, *FIVE, n_trials=4) for _ in range(2))
    while one.queue.prepare(3):
        pass
    assert len(take(StudySync(other), wanted=2)) == 2
    assert [flight.progress.number for flight in take(StudySync(one), wanted=3)] == [2, 3]
    assert take(StudySync(other)) == []


def test_a_point_that_another_sweep_has_taken_meanwhile_is_not_tried_twice(tmp_path):
    one, other = (search(tmp_path, "x=1,2,3,4,5,6", n_trials=5) for _ in range(2))
    for opened in (one, other):
        while opened.queue.prepare(2):
            pass
    for opened in (one, other, one):
        take(StudySync(opened), wanted=2)
    points = [trial.params["x"] for trial in one.study.get_trials()]
    assert len(points) == len(set(points)) == 5


def test_sweeps_share_the_sequence_of_a_sampler_that_counts(tmp_path):
    one, other = (
        search(tmp_path, *FIVE, n_trials=8, sampler=QMCSampler(seed=1, scramble=True))
        for _ in range(2)
    )
    for opened in (one, other):
        opened.queue.prepare(1)
    for opened in (one, other, one, other):
        take(StudySync(opened), wanted=2)
    points = [tuple(trial.params.values()) for trial in one.study.get_trials()]
    assert len(points) == len(set(points)) == 8


def test_a_proposal_sees_those_before_it_that_no_database_has_yet(tmp_path):
    seen = []

    class Looks(RandomSampler):
        def infer_relative_search_space(self, study, trial):
            seen.append([(each.number, len(each.params)) for each in study.get_trials()])
            assert study.get_trials()[-1].number == trial.number
            return {}

    opened = search(tmp_path, *FIVE, n_trials=3, sampler=Looks())
    while opened.queue.prepare(3):
        pass
    assert seen == [[(0, 0)], [(0, 5), (1, 0)], [(0, 5), (1, 5), (2, 0)]]
    assert opened.study.get_trials() == []
    with exclusive(opened):
        assert [opened.queue.next().number for _ in range(3)] == [0, 1, 2]


def test_parameters_of_a_trial_that_runs_by_optunas_own_means_are_seen(tmp_path):
    seen = {}

    class Looks(RandomSampler):
        def infer_relative_search_space(self, study, trial):
            seen.update(study.get_trials()[0].params)
            return {}

    opened = search(tmp_path, "x=interval(0,1)", n_trials=3, sampler=Looks())
    foreign = opened.study.ask()
    sync = StudySync(opened)
    take(sync)
    foreign.suggest_float("x", 0, 1)
    take(sync)
    assert seen == foreign.params


def test_a_sampler_sees_what_the_database_has(tmp_path):
    """Whatever this process and another one do between two proposals."""
    seen = []

    class Looks(RandomSampler):
        def infer_relative_search_space(self, study, trial):
            trials = study.get_trials()[: trial.number]
            seen[:] = [(each.number, each.state, each.params, each.values) for each in trials]
            return {}

    x = {"x": FloatDistribution(0, 1)}
    opened = search(tmp_path, "x=interval(0,1)", n_trials=100, sampler=Looks())
    here = opened.study
    there = optuna.load_study(study_name="study", storage=opened.storage.url)
    waiting = optuna.trial.create_trial(
        state=TrialState.WAITING, params={"x": 0.5}, distributions=x
    )

    def tell_first_running(study: optuna.Study) -> None:
        study.tell(study.get_trials(states=(TrialState.RUNNING,))[0].number, 1.0)

    acts = [
        *([lambda: here.ask(x)] * 3),
        lambda: there.ask(x),
        lambda: tell_first_running(here),
        lambda: tell_first_running(there),
        lambda: there.add_trial(waiting),
        lambda: there.ask(),
        lambda: there.tell(there.ask(x), 2.0),
        lambda: here.tell(here.ask(x), state=TrialState.FAIL),
        lambda: here.ask(x),
    ]
    for act in acts:
        act()
        fresh = optuna.load_study(study_name="study", storage=opened.storage.url).get_trials()
        opened.queue.prepare(100)
        assert seen[: len(fresh)] == [
            (each.number, each.state, each.params, each.values) for each in fresh
        ]
        with exclusive(opened):
            opened.queue.next()
