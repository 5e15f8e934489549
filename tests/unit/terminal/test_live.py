"""The live view, on a console that only records and a clock that does not wait."""

import re
from collections import Counter
from io import StringIO
from pathlib import Path

import pytest
from fakes import FakeClock
from rich.console import Console

from hrm_sweep.engine.progress import TrialProgress
from hrm_sweep.engine.state import StudyState
from hrm_sweep.formatting import MetricFormat
from hrm_sweep.runs.outcomes import Outcome
from hrm_sweep.search.objectives import parse_objectives
from hrm_sweep.system.writers import LeaseState
from hrm_sweep.terminal.live import LiveView
from hrm_sweep.terminal.study_tables import MetricColumns

HEAD = ["Study brisk-otter · lr 3 · minimize loss", "Grid of 3, every point once · 2 workers"]


class Shown:
    """A view of a study that is made of lists."""

    def __init__(self, *, on_terminal: bool = False, width: int = 100, **fields) -> None:
        self.console = Console(
            file=StringIO(), width=width, height=24, force_terminal=on_terminal,
            color_system=None, legacy_windows=False, highlight=False, markup=False,
        )  # fmt: skip
        if not on_terminal:
            self.console.soft_wrap = True
        self.clock = FakeClock()
        objectives = fields.pop("objectives", parse_objectives("loss", "minimize"))
        self.state = StudyState(
            name="brisk-otter", objectives=objectives, num_trials=3, num_slots=2, **fields
        )
        self.view = LiveView(
            self.console,
            self.clock,
            head=HEAD,
            columns=MetricColumns([], MetricFormat()),
            describe_others=lambda others: [f"Others run {others.total()}"] if others else [],
        )
        self.view.begin(self.state)

    def new_lines(self) -> list[str]:
        """What was printed since the last call, without empty lines."""
        text = self.console.file.getvalue()
        self.console.file.seek(0)
        self.console.file.truncate()
        return [line.rstrip() for line in text.splitlines() if line.strip()]

    def end(self, trial: TrialProgress, outcome: str, **fields) -> None:
        trial.outcome = Outcome.named(outcome)
        for name, value in fields.items():
            setattr(trial, name, value)
        self.state.in_flight.pop(trial.number, None)
        self.state.ended[trial.number] = trial
        self.view.trial_ended(trial)


def running(number: int, lr: float, **fields) -> TrialProgress:
    return TrialProgress(number, {"opt.lr": lr}, Path(str(number)), has_begun=True, **fields)


def test_a_pipe_gets_a_line_for_each_tenth_and_each_end():
    shown = Shown()
    assert shown.new_lines() == HEAD
    trial = running(0, 0.001, num_steps=20, seconds_per_step=3.0)
    shown.state.in_flight[0] = trial
    lines = []
    for step in range(1, 21):
        trial.step, trial.values = step, {"loss": 1 / step}
        shown.view.tick()
        lines += shown.new_lines()
    assert len(lines) == 9  # 2/20, 4/20, … 18/20
    assert lines[0] == "trial 0  opt.lr=1e-3  step 2/20  loss 0.5  54 s left"
    assert lines[-1] == "trial 0  opt.lr=1e-3  step 18/20  loss 0.05556  6 s left"
    shown.end(trial, "complete", seconds=61.0)
    assert shown.new_lines() == ["trial 0  opt.lr=1e-3  step 20/20  loss 0.05  done in 1 min 1 s"]


def test_a_pipe_gets_the_end_of_a_trial_once_though_its_batch_has_not_ended():
    shown = Shown()
    shown.new_lines()
    trial = running(0, 0.001, outcome=Outcome.COMPLETE, seconds=2.0)
    shown.state.in_flight[0] = trial
    for _ in range(2):
        shown.view.tick()
    assert shown.new_lines() == ["trial 0  opt.lr=1e-3  done in 2 s"]
    shown.end(trial, "complete")
    assert shown.new_lines() == []
    trial.attempt = 2
    shown.end(trial, "failed", reason="KeyError: 'x'")
    assert shown.new_lines() == ["trial 0  opt.lr=1e-3  failed: KeyError: 'x', attempt 2"]


def test_a_pipe_gets_the_status_of_a_trial_before_its_first_step():
    shown = Shown()
    shown.new_lines()
    shown.state.in_flight[1] = running(1, 0.01, status="loading data")
    for _ in range(3):
        shown.view.tick()
    assert shown.new_lines() == ["trial 1  opt.lr=0.01  loading data"]


def test_a_repeat_is_shown_with_its_steps():
    shown = Shown()
    shown.new_lines()
    repeat = running(1, 0.01, step=4, num_steps=10, values={"loss": 2.0}, seconds_per_step=1.0)
    trial = running(1, 0.01, step=1, num_steps=3, status="repeat 2/3", current_repeat=repeat)
    shown.state.in_flight[1] = trial
    shown.view.tick()
    # 1.4 of 3 repeats, ten seconds each
    assert shown.new_lines() == ["trial 1  opt.lr=0.01  repeat 2/3  step 4/10  loss 2  16 s left"]


def test_values_stand_below_their_own_names_whatever_the_order_of_a_trials_parameters():
    shown = Shown()
    for number, params in enumerate(({"x": 1, "k": 70}, {"k": 80, "x": 2}, {"x": 3})):
        trial = TrialProgress(number, params, Path(str(number)), has_begun=True)
        shown.end(trial, "complete", values={"loss": float(number)}, seconds=3.0)
    shown.new_lines()
    shown.view.end()
    lines = [line.split() for line in shown.new_lines()]
    head = next(index for index, line in enumerate(lines) if line[0] == "trial")
    assert lines[head] == ["trial", "x", "k", "loss", "time"]
    settings = [line[-5:-3] for line in lines[head + 1 : head + 4]]
    assert settings == [["1", "70"], ["2", "80"], ["3", "-"]]


def test_the_end_of_a_study_in_a_pipe():
    shown = Shown()
    shown.end(running(0, 0.1, step=2), "complete", values={"loss": 0.5}, seconds=3.0)
    shown.end(running(1, 0.2), "failed", reason="ValueError: \n no")
    shown.end(running(2, 0.3, attempt=2), "complete", values={"loss": 0.25}, seconds=4.0)
    shown.clock.now = 90.0
    shown.new_lines()
    shown.view.end()
    lines = [" ".join(line.split()) for line in shown.new_lines()]
    assert lines == [
        "Finished in 1 min 30 s: 2 complete, 1 failed",
        "trial lr loss time",
        "* 2 0.3 0.25 4 s",
        "0 0.1 0.5 3 s",
        "trial 1 opt.lr=0.2 failed: ValueError: no",
        "trial 2 opt.lr=0.3 done in 4 s, attempt 2",
    ]


def test_what_a_stopped_study_says_of_its_database_and_of_others():
    others = Counter({("node7", LeaseState.ALIVE): 2})
    shown = Shown(is_closed=True, num_pending_tells=1, others=others)
    shown.end(running(0, 0.1), "interrupted", reason="stopped after step 3")
    shown.new_lines()
    shown.view.end()
    assert shown.new_lines() == [
        "Stopped after 0 s: 1 interrupted",
        "Not in the database yet: 1 trial, kept in the study's folder",
        "Others run 2",
        "No trial is complete, so there is no best one.",
        "trial 0  opt.lr=0.1  interrupted: stopped after step 3",
    ]


@pytest.mark.parametrize(
    ("closed", "sentence"),
    [
        pytest.param(False, "No trial is complete yet.", id="others run the rest"),
        pytest.param(True, "No trial is complete, so there is no best one.", id="stopped"),
    ],
)
def test_a_study_without_a_complete_trial(closed, sentence):
    shown = Shown(is_closed=closed)
    shown.new_lines()
    shown.view.end()
    assert shown.new_lines() == [sentence]


def test_a_database_that_is_away_is_announced_once_and_its_return_too():
    shown = Shown()
    shown.new_lines()
    for error in ["", "locked", "locked", "disk full", "", ""]:
        shown.state.database_error = error
        shown.view.tick()
    assert shown.new_lines() == [
        "The study's database does not answer (locked); trials continue, trying again",
        "The study's database answers again",
    ]


def test_a_broken_constraint_is_named():
    objectives = parse_objectives("loss", "minimize", {"size": "<= 5"})
    shown = Shown(objectives=objectives)
    shown.new_lines()
    shown.end(running(0, 0.1), "complete", values={"loss": 1.0, "size": 6.0}, seconds=1.0)
    (line,) = shown.new_lines()
    assert line == "trial 0  opt.lr=0.1  loss 1  size 6  done in 1 s, breaks size <= 5"


def frame(shown: Shown) -> list[str]:
    """The picture that is drawn now, words apart by single blanks."""
    shown.clock.now += 1.0
    shown.new_lines()
    shown.view.tick()
    return [" ".join(_plain(line).split()) for line in shown.new_lines() if _plain(line).strip()]


def _plain(line: str) -> str:
    return re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", line)


def test_a_terminal_gets_a_table_of_running_and_ended_trials():
    shown = Shown(on_terminal=True)
    shown.end(
        running(0, 0.1, step=10, num_steps=10), "complete", values={"loss": 0.5}, seconds=30.0
    )
    half = running(1, 0.2, step=5, num_steps=10, seconds_per_step=2.0, values={"loss": 0.75})
    shown.state.in_flight = {1: half, 2: TrialProgress(2, {"opt.lr": 0.3}, Path("2"))}
    assert frame(shown) == [
        "trial lr step loss left",
        "0 0.1 10/10 0.5 done 30 s",
        "> 1 0.2 5/10 0.75 10 s left",
        "1 of 3 done · best 0.5 (trial 0) · about 20 s left",  # (10 + 30) / 2 workers
    ]
    shown.view.end()


def test_a_trial_that_waits_for_its_second_attempt_stays_in_the_table():
    shown = Shown(on_terminal=True)
    again = TrialProgress(0, {"opt.lr": 0.1}, Path("0"), attempt=2, step=3)
    shown.state.in_flight = {0: again}
    assert frame(shown)[1] == "0 0.1 3 waits again"
    shown.view.end()


def test_the_table_keeps_running_trials_and_as_many_ended_ones_as_fit():
    shown = Shown(on_terminal=True)
    for number in range(30):
        shown.end(running(number, 0.1), "complete", values={"loss": 1.0}, seconds=1.0)
    shown.state.in_flight = {30: running(30, 0.2), 31: running(31, 0.3)}
    rows = [line.lstrip("> ").split()[0] for line in frame(shown)[1:-1]]
    assert rows == [str(number) for number in range(20, 32)]  # twelve rows
    shown.view.end()


def test_the_table_is_drawn_four_times_a_second_at_most():
    shown = Shown(on_terminal=True)
    assert frame(shown)
    shown.clock.now += 0.1
    shown.view.tick()
    assert shown.new_lines() == []
    shown.view.end()


def test_a_front_is_counted_where_there_are_several_objectives():
    objectives = parse_objectives(["a", "b"], ["minimize", "minimize"])
    shown = Shown(on_terminal=True, objectives=objectives)
    for number, (a, b) in enumerate([(1.0, 2.0), (2.0, 1.0), (3.0, 3.0)]):
        shown.end(running(number, 0.1), "complete", values={"a": a, "b": b}, seconds=1.0)
    assert "3 of 3 done · 2 trials on the front" in frame(shown)[-1]
    shown.view.end()


@pytest.mark.parametrize(
    ("numbers", "words"),
    [
        pytest.param([], "Stopping", id="none runs"),
        pytest.param([4], "trial 4 ends at its next report", id="one"),
        pytest.param([1, 2, 5], "trials 1, 2 and 5 end at their next report", id="some"),
        pytest.param(range(16), "16 trials end at their next report", id="many"),
    ],
)
@pytest.mark.parametrize("on_terminal", [False, True], ids=["pipe", "terminal"])
def test_a_stop_is_acknowledged_once_and_at_once(numbers, words, on_terminal):
    shown = Shown(on_terminal=on_terminal)
    for number in numbers:
        shown.state.in_flight[number] = running(number, 0.1, step=1, num_steps=3)
    shown.state.is_stopping = True
    shown.view.tick()
    shown.view.tick()
    (line,) = [line for line in shown.new_lines() if "Stopping" in line]
    assert words in line
    assert ("(Ctrl-C again: at once)" in line) == bool(numbers)


def test_an_interrupted_trial_is_not_done():
    shown = Shown(on_terminal=True)
    shown.state.in_flight[0] = running(0, 0.1, step=1, outcome=Outcome.INTERRUPTED)
    shown.state.in_flight[1] = running(1, 0.2, step=3, outcome=Outcome.COMPLETE)
    shown.clock.sleep(1)
    shown.view.tick()
    assert any("1 of 3 done" in line for line in shown.new_lines())
