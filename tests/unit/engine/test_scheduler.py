"""The scheduler with a launcher that runs nothing and a clock that does not wait.

What happens when is worked out by hand from the script's durations; the database is real.
"""

from functools import partial
from pathlib import Path

import pytest
from fakes import Database, FakeClock, FakeLauncher, Job, Watcher, dies, open_in
from optuna.pruners import ThresholdPruner
from optuna.samplers import RandomSampler

from hrm_sweep.engine.attributes import ATTEMPT
from hrm_sweep.engine.scheduler import Scheduler
from hrm_sweep.engine.study_sync import StudySync
from hrm_sweep.errors import BatchLost, DatabaseAway, Hopeless, StudyError, TimedOut
from hrm_sweep.runs.record import Record, read
from hrm_sweep.storage.leases import Lease


class Run:
    """A study of which a scheduler runs what a script says."""

    def __init__(self, folder: Path, *overrides: str, script=None, launcher=None, **options):
        self.folder = folder / "study"
        self.opened = open_in(folder, *overrides, **options)
        self.clock, self.watcher = FakeClock(), Watcher()
        self.launcher = FakeLauncher(
            self.clock, self.folder, script or (lambda *_: Job()), **(launcher or {})
        )
        self.state = self.opened.state()
        self.scheduler = Scheduler(
            self.opened, self.state, self.launcher, [self.watcher], self.clock
        )

    def run(self) -> "Run":
        self.scheduler.run()
        return self

    def optuna_states(self) -> list[str]:
        return [trial.state.name for trial in self.opened.study.get_trials()]

    def interrupt_at(self, *seconds: float) -> None:
        def interrupt() -> None:
            raise KeyboardInterrupt

        for second in seconds:
            self.clock.at(second, interrupt)


def lasting(*seconds: float):
    return lambda number, _: Job(seconds[number])


def test_a_free_slot_takes_the_next_trial_at_once(tmp_path):
    done = Run(tmp_path, "x=0,1,2,3,4", script=lasting(30, 15, 12, 20, 11)).run()
    assert done.launcher.begun == [(0, 0), (0, 1), (15, 2), (27, 3), (30, 4)]
    assert done.launcher.most_outstanding == 2
    assert done.optuna_states() == ["COMPLETE"] * 5
    assert [trial.value for trial in done.opened.study.get_trials()] == [0, 1, 2, 3, 4]
    assert sorted(done.scheduler.jobs) == [0, 1, 2, 3, 4]


@pytest.mark.parametrize(
    ("overrides", "seconds", "most"),
    [
        pytest.param(["x=1,2,3,4,5,6,7,8"], 2.0, 5, id="short trials of a grid are taken ahead"),
        pytest.param(["x=1,2,3,4,5,6,7,8"], 12.0, 2, id="long ones are not"),
        pytest.param(["x=interval(0,1)"], 2.0, 2, id="a search waits for results"),
    ],
)
def test_trials_are_taken_ahead(tmp_path, overrides, seconds, most):
    launcher = {"num_slots": 2, "num_ahead": 3}
    script = lasting(*[seconds] * 8)
    done = Run(tmp_path, *overrides, script=script, launcher=launcher, n_trials=8).run()
    assert done.launcher.most_outstanding == most
    assert sorted(done.launcher.submitted) == [*range(8)]
    assert done.optuna_states() == ["COMPLETE"] * 8


def test_observers_are_called_in_order_and_share_one_state(tmp_path):
    done = Run(tmp_path, "x=1,2", launcher={"num_slots": 1}).run()
    calls = done.watcher.calls
    assert [call for call in calls if call != "tick"] == ["begin", *["trial_ended"] * 2, "end"]
    assert done.watcher.state is done.state
    assert len(done.state.ended) == 2
    assert not done.state.in_flight
    assert done.launcher.calls[-1] == "close"


@pytest.mark.parametrize(
    ("seconds", "seen"),
    [pytest.param(0.1, [2, 2, 2], id="at once"), pytest.param(20.0, [2, 3, 3], id="taking long")],
)
def test_what_other_sweeps_end_is_read_again_after_an_observer_that_takes_long_to_end(
    tmp_path, monkeypatch, seconds, seen
):
    class Ending(Watcher):
        def end(self) -> None:
            ended.append(len(self.state.ended))
            run.clock.sleep(seconds)
            if len(ended) == 1:
                other.scheduler.run()

    ended: list[int] = []
    other = Run(tmp_path, "x=0,1,2", script=lasting(1, 1, 1))
    run = Run(tmp_path, "x=0,1,2", script=lasting(1, 1, 1), timeout=1)
    watchers = [Ending(), Ending(), Ending()]
    scheduler = Scheduler(run.opened, run.state, run.launcher, watchers, run.clock)
    scheduler.run()
    assert ended == seen


@pytest.mark.parametrize("call", ["begin", "tick", "trial_ended", "end"])
def test_an_observer_that_fails_is_named_once_and_the_study_continues(
    tmp_path, monkeypatch, capsys, call
):
    def fail(*_: object) -> None:
        raise UnicodeEncodeError("ascii", "é", 0, 1, "password=otter")

    run = Run(tmp_path, "x=1,2,3", launcher={"num_slots": 1})
    monkeypatch.setattr(run.watcher, call, fail)
    done = run.run()
    assert done.optuna_states() == ["COMPLETE"] * 3
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("Watcher failed (UnicodeEncodeError('ascii'")
    assert line.endswith("the study continues")
    assert "otter" not in line


@pytest.mark.parametrize(
    ("deaths", "attempts", "state"),
    [
        pytest.param(1, 2, "COMPLETE", id="once"),
        pytest.param(2, 3, "COMPLETE", id="twice"),
        pytest.param(9, 3, "FAIL", id="always"),
    ],
)
@pytest.mark.parametrize("begins", [True, False], ids=["with a record", "before its record"])
def test_a_trial_whose_process_dies_is_started_again(tmp_path, deaths, attempts, state, begins):
    def script(number, attempt):
        return dies(begins=begins) if attempt <= deaths and number == 1 else Job()

    done = Run(tmp_path, "x=0,1,2", script=script, max_attempts=3).run()
    assert done.launcher.submitted.count(1) == attempts
    assert done.optuna_states() == ["COMPLETE", state, "COMPLETE"]
    assert done.opened.study.get_trials()[1].user_attrs[ATTEMPT] == attempts
    ends = [end for end in done.watcher.ended_trials if end[0] == 1]
    words = ["killed"] * min(deaths, 3) + (["complete"] if state == "COMPLETE" else [])
    assert ends == [(1, word, attempt) for attempt, word in enumerate(words, start=1)]
    assert len(done.state.ended) == 3
    written = [
        each.fields["outcome"] for each in read(done.folder / "1") if each.event == "finished"
    ]
    assert written == words


@pytest.mark.parametrize(
    ("job", "word", "submitted"),
    [
        pytest.param(Job(error=TimedOut("it took longer")), "timed_out", 2, id="too long"),
        pytest.param(Job(error=BatchLost("it raised")), "killed", 2, id="its batch, it had begun"),
        pytest.param(Job(error=OSError("no")), "killed", 2, id="the launcher, it had begun"),
        pytest.param(Job(error=OSError("no"), begins=False), "failed", 1, id="the launcher"),
        pytest.param(Job(begins=False), "failed", 1, id="it left no record"),
        pytest.param(Job(outcome="interrupted"), "failed", 1, id="it raised Interrupted itself"),
        pytest.param(Job(outcome="diverged"), "diverged", 1, id="diverged"),
        pytest.param(Job(outcome="pruned"), "pruned", 1, id="pruned"),
    ],
)
def test_what_becomes_of_a_job_is_an_outcome(tmp_path, job, word, submitted):
    done = Run(tmp_path, "x=0", script=lambda *_: job, max_attempts=2).run()
    assert [end[1] for end in done.watcher.ended_trials] == [word] * submitted
    assert done.launcher.submitted == [0] * submitted
    assert done.opened.study.get_trials()[0].user_attrs["outcome"] == word
    assert read(done.folder / "0")[-1].event == "finished"


def test_trials_of_a_lost_batch_that_had_not_begun_are_submitted_again_uncounted(tmp_path):
    def script(number, attempt):
        return Job(error=BatchLost("it raised"), begins=False) if attempt <= 5 else Job()

    done = Run(tmp_path, "x=0,1", script=script, max_attempts=2).run()
    assert sorted(done.launcher.submitted) == [0] * 6 + [1] * 6
    assert sorted(done.watcher.ended_trials) == [(0, "complete", 1), (1, "complete", 1)]


def test_no_trial_is_started_after_the_time_limit(tmp_path):
    script = lasting(10, 10, 10, 10, 10)
    done = Run(tmp_path, "x=0,1,2,3,4", script=script, timeout=15, launcher={"num_slots": 1}).run()
    assert done.launcher.begun == [(0, 0), (10, 1)]  # at 20 s it is too late
    assert done.optuna_states() == ["COMPLETE"] * 2 + ["WAITING"] * 3
    assert done.state.is_stopped
    assert done.state.num_left == 3


def losses(*values: float):
    return lambda number, _: Job(values={"objective": values[number]})


def test_a_study_without_a_new_best_ends_and_lets_running_trials_end(tmp_path):
    def run(**options) -> Run:
        space, script = ("x=0,1,2,3,4,5,6",), losses(1, 0, 2, 3, 4, 5, 6)
        return Run(tmp_path, *space, script=script, **options).run()

    done = run(patience=2)
    assert done.launcher.submitted == [0, 1, 2, 3, 4]  # 4 was running when 3 ended
    assert done.optuna_states() == ["COMPLETE"] * 5 + ["WAITING"] * 2
    assert done.state.is_out_of_patience
    assert not done.state.is_stopped
    assert run(patience=3).launcher.submitted == []
    assert run(patience=4, launcher={"num_slots": 1}).launcher.submitted == [5]
    rest = run()
    assert rest.launcher.submitted == [6]
    assert not rest.state.is_out_of_patience


def test_patience_counts_the_trials_of_other_sweeps(tmp_path):
    space, script = ("x=0,1,2,3,4,5,6,7",), losses(5, 4, 9, 9, 9, 9, 9, 9)
    alone = {"num_slots": 1}
    other = Run(tmp_path, *space, script=script, launcher=alone, patience=2)
    run = Run(tmp_path, *space, script=script, launcher=alone, patience=3)
    run.clock.at(25.0, other.scheduler.run)
    run.run()
    assert other.launcher.submitted == [3, 4]
    assert run.launcher.submitted == [0, 1, 2]
    assert run.state.is_out_of_patience


def test_a_study_whose_trials_fail_is_given_up(tmp_path):
    def script(number, attempt):
        return Job(outcome="failed" if number != 1 else "complete")

    run = Run(tmp_path, "x=0,1,2,3,4,5,6", script=script, max_failure_rate=0.5)
    with pytest.raises(
        Hopeless, match=r"3 of 4 trials failed, more than hydra.sweeper.max_failure_rate=0\.5"
    ):
        run.run()
    assert "ask_to_stop" in run.launcher.calls
    states = run.optuna_states()
    assert states[:4] == ["FAIL", "COMPLETE", "FAIL", "FAIL"]
    assert set(states[4:]) == {"WAITING"}
    assert run.watcher.calls[-1] == "end"


@pytest.mark.parametrize(
    ("rate", "failures"),
    [
        pytest.param(0.5, 2, id="as many as allowed"),
        pytest.param(None, 4, id="no limit"),
        pytest.param(1.0, 4, id="all of them"),
    ],
)
def test_a_study_continues_as_long_as_its_failure_rate_is_allowed(tmp_path, rate, failures):
    def script(number, attempt):
        return Job(outcome="failed" if number >= 4 - failures else "complete")

    done = Run(tmp_path, "x=0,1,2,3", script=script, max_failure_rate=rate).run()
    assert done.optuna_states().count("FAIL") == failures


def test_where_no_trial_may_fail_the_first_failure_ends_the_study(tmp_path):
    run = Run(tmp_path, "x=0,1,2", script=lambda *_: Job(outcome="failed"), max_failure_rate=0.0)
    with pytest.raises(Hopeless, match=r"1 of 1 trials failed, more than .*max_failure_rate=0\.0"):
        run.run()


def test_the_study_continues_while_its_database_is_away(tmp_path):
    run = Run(tmp_path, "x=0,1,2", script=lasting(10, 20, 10))
    database = Database(run.opened)
    run.clock.at(5, database.leave)
    run.clock.at(40, database.come_back)
    run.run()
    assert run.watcher.database_errors == ["", "stopped", ""]
    assert run.optuna_states() == ["COMPLETE"] * 3
    times = {number: time for time, number in run.launcher.begun}
    assert times[2] >= 40  # there was none to take before
    assert run.state.num_pending_tells == 0
    assert run.launcher.submitted == [0, 1, 2]


def test_a_database_that_stays_away_is_given_up_with_the_results_in_the_folder(tmp_path):
    run = Run(tmp_path, "x=0,1,2")
    database = Database(run.opened)
    run.clock.at(5, database.leave)
    with pytest.raises(DatabaseAway):
        run.run()
    assert run.clock.now > 300  # storage.retry.PATIENCE_SECONDS, from the end of the last trial
    assert run.state.is_stopped
    assert run.state.num_pending_tells == 2
    assert [read(run.folder / str(n))[-1].fields["outcome"] for n in (0, 1)] == ["complete"] * 2
    assert run.watcher.calls[-1] == "end"


@pytest.mark.parametrize(
    ("second", "commit"),
    [
        pytest.param(0, 2, id="of the first trials"),
        pytest.param(9, 1, id="of a result and the next trial"),
        pytest.param(20, 1, id="of two results and the next trials"),
    ],
)
def test_no_trial_is_lost_or_taken_twice_if_a_commit_is_not_confirmed(tmp_path, second, commit):
    run = Run(tmp_path, "x=0,1,2,3,4", script=lasting(10, 10, 11, 10, 10))
    database = Database(run.opened)
    if second:
        run.clock.at(second, database.lose_confirmation)
    else:
        database.lose_confirmation(of_commit=commit)
    run.run()
    assert "the connection broke" in run.watcher.database_errors
    assert run.watcher.database_errors[-1] == ""
    assert sorted(run.launcher.submitted) == [0, 1, 2, 3, 4]
    assert run.optuna_states() == ["COMPLETE"] * 5


def test_ctrl_c_lets_running_trials_end_and_puts_them_back_uncounted(tmp_path):
    run = Run(tmp_path, "x=0,1,2,3", script=lasting(10, 100, 100, 100))
    run.interrupt_at(25)
    with pytest.raises(KeyboardInterrupt):
        run.run()
    assert run.clock.now < 26
    assert run.optuna_states() == ["COMPLETE"] + ["WAITING"] * 3
    attempts = [trial.user_attrs.get(ATTEMPT) for trial in run.opened.study.get_trials()]
    assert attempts == [1, 0, 0, None]
    assert run.state.is_stopped
    ended = {number: trial.outcome.word for number, trial in run.state.ended.items()}
    assert ended == {0: "complete", 1: "interrupted", 2: "interrupted"}


@pytest.mark.parametrize(
    ("second_at", "until"),
    [
        pytest.param(None, 15.2, id="waits ten seconds for them"),
        pytest.param(7, 7.0, id="a second Ctrl-C does not wait"),
    ],
)
def test_trials_that_do_not_stop_are_interrupted(tmp_path, second_at, until):
    launcher = {"obeys": False, "num_slots": 1, "num_ahead": 1}
    run = Run(tmp_path, "x=0,1", script=lasting(100, 100), launcher=launcher)
    run.interrupt_at(5, *([second_at] if second_at else []))
    with pytest.raises(KeyboardInterrupt):
        run.run()
    assert run.clock.now == pytest.approx(until, abs=0.2)
    assert run.optuna_states() == ["WAITING"] * 2
    last = read(run.folder / "0")[-1].fields
    assert (last["outcome"], last["reason"]) == ("interrupted", "stopped after step 1")


def test_a_stopped_study_is_resumed_where_it_was(tmp_path):
    first = Run(tmp_path, "x=0,1,2,3", script=lasting(10, 100, 100, 100))
    first.interrupt_at(25)
    with pytest.raises(KeyboardInterrupt):
        first.run()
    second = Run(tmp_path, "x=0,1,2,3,4").run()
    assert sorted(second.launcher.submitted) == [1, 2, 3, 4]
    assert second.optuna_states() == ["COMPLETE"] * 5
    assert {n: trial.attempt for n, trial in second.state.ended.items()} == dict.fromkeys(
        range(5), 1
    )


@pytest.mark.parametrize(
    ("end", "attempt"),
    [
        pytest.param(lambda lease: lease._lock.release(), 2, id="without a word, as by a kill"),
        pytest.param(Lease.release, 1, id="because it had to stop, as for a full disk"),
    ],
)
def test_trials_of_a_sweep_that_has_ended_are_taken_over(tmp_path, end, attempt):
    """Trial 0 had ended in its record, trial 1 had not; Optuna knew of neither end."""
    dead = open_in(tmp_path, "x=0,1,2")
    taken = StudySync(dead).commit(reporting=[], ended=[], known=[], wanted=2)
    for flight in taken:
        with Record(flight.progress.folder) as record:
            record.append("started", kind="trial")
            if flight.progress.number == 0:
                best = {"objective": 7.0}
                record.append("finished", outcome="complete", best=best, reason="")
    end(dead.lease)

    heir = Run(tmp_path, "x=0,1,2").run()
    assert sorted(heir.launcher.submitted) == [1, 2]
    assert [trial.value for trial in heir.opened.study.get_trials()] == [7.0, 1.0, 2.0]
    assert heir.opened.study.get_trials()[1].user_attrs[ATTEMPT] == attempt
    outcomes = [
        each.fields["outcome"] for each in read(tmp_path / "study/1") if each.event == "finished"
    ]
    assert outcomes == ["killed", "complete"]


def test_curves_of_running_trials_are_reported_while_they_run(tmp_path):
    run = Run(tmp_path, "x=0", script=lasting(10))
    seen = []
    run.clock.at(5, lambda: seen.append(run.opened.study.get_trials()[0].intermediate_values))
    run.run()
    assert seen == [{1: 0.5}]


class TestTrialsThatAskWhetherTheyGoOn:
    """`objective` of trial n is n + 0.5 at step 1; the pruner's limit lies between 0 and 1."""

    def judged(self, tmp_path, pruner):
        run = Run(tmp_path, "x=0,1", script=lasting(10, 10))
        run.opened.study.pruner = pruner
        for number in (0, 1):
            run.clock.at(1 + number, partial(run.launcher.questions.put, number, 1))
        return run

    def test_are_judged_by_what_their_records_say_by_then(self, tmp_path):
        run = self.judged(tmp_path, ThresholdPruner(upper=1.0))
        run.run()
        assert run.launcher.answers == [(0, 1, ""), (1, 1, "pruned after step 1")]

    def test_continue_while_the_database_is_away(self, tmp_path):
        run = self.judged(tmp_path, ThresholdPruner(upper=1.0))
        database = Database(run.opened)
        run.clock.at(0.5, database.leave)
        run.clock.at(5, database.come_back)
        run.run()
        assert run.launcher.answers == [(0, 1, ""), (1, 1, "")]
        curves = [trial.intermediate_values for trial in run.opened.study.get_trials()]
        assert curves == [{1: 0.5}, {1: 1.5}]

    def test_get_an_answer_though_the_pruner_raises(self, tmp_path):
        class Raises(ThresholdPruner):
            def prune(self, study, trial):
                raise ValueError("no such percentile")

        run = self.judged(tmp_path, Raises(upper=1.0))
        words = "hydra/sweeper/pruner: Raises raised ValueError: no such percentile; take another"
        with pytest.raises(StudyError, match=words):
            run.run()
        assert run.launcher.answers == [(0, 1, "")]
        assert run.launcher.calls.count("ask_to_stop") == 1


@pytest.mark.parametrize(
    ("num_slots", "known"),
    [
        pytest.param(2, [0, 0, 1, 2, 3, 4], id="two slots: a proposal knows every result"),
        pytest.param(16, [0] * 18 + [1, 2], id="sixteen: two proposals are made while all run"),
    ],
)
def test_proposals_are_made_ahead_where_there_are_many_slots(tmp_path, num_slots, known):
    seen = []

    class Looks(RandomSampler):
        def infer_relative_search_space(self, study, trial):
            seen.append(sum(each.state.is_finished() for each in study.get_trials()))
            return {}

    done = Run(
        tmp_path, "x=interval(0,1)", n_trials=len(known), launcher={"num_slots": num_slots},
        script=lambda number, _: Job(20.0 + number),
    )  # fmt: skip
    done.opened.study.sampler = Looks()
    done.run()
    assert seen == known
    assert done.optuna_states() == ["COMPLETE"] * len(known)
