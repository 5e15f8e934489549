"""Callbacks: which ends they are called for, in which order, and how long the study waits."""

import re
import threading
from pathlib import Path

import pytest

from hrm_sweep.engine.callback import CommandCallback, FunctionCallback, parse_callback
from hrm_sweep.engine.callbacks import Callbacks
from hrm_sweep.engine.progress import TrialProgress
from hrm_sweep.engine.state import StudyState
from hrm_sweep.errors import StudyError
from hrm_sweep.runs.outcomes import Outcome
from hrm_sweep.search.objectives import parse_objectives


def begun(folder: Path, **callbacks) -> Callbacks:
    state = StudyState(name="study", objectives=parse_objectives("loss", "minimize"), num_trials=9)
    made = Callbacks(folder, **({"on_trial_end": None, "on_end": None} | callbacks))
    made.begin(state)
    return made


def ended(number: int, outcome: str = "complete", **fields) -> TrialProgress:
    return TrialProgress(
        number,
        {"x": number},
        Path(str(number)),
        outcome=Outcome.named(outcome),
        values={"loss": float(number)},
        **fields,
    )


def test_calls_come_one_at_a_time_in_the_order_of_the_ends(tmp_path):
    numbers, running = [], []

    def tell(end):
        running.append(end.number)
        numbers.append((end.number, len(running)))
        running.remove(end.number)

    callbacks = begun(tmp_path, on_trial_end=FunctionCallback(tell))
    for number in (3, 1, 2):
        callbacks.trial_ended(ended(number))
    callbacks.end()
    assert numbers == [(3, 1), (1, 1), (2, 1)]


def test_what_is_told_does_not_change_with_the_trial_and_cannot_be_changed(tmp_path):
    told = []
    callbacks = begun(tmp_path, on_trial_end=FunctionCallback(told.append))
    trial = ended(1)
    callbacks.trial_ended(trial)
    trial.values["loss"] = 7.0
    callbacks.end()
    (end,) = told
    assert dict(end.values) == {"loss": 1.0}
    with pytest.raises(TypeError):
        end.params["x"] = 2
    with pytest.raises(AttributeError):
        end.number = 2


def test_an_attempt_that_is_made_again_is_no_end(tmp_path):
    told = []
    both = {"on_trial_end": FunctionCallback(told.append), "on_end": FunctionCallback(told.append)}
    callbacks = begun(tmp_path, **both)
    callbacks.trial_ended(ended(1, "killed", goes_back=True))
    callbacks.trial_ended(ended(1, "killed"))
    callbacks.end()
    assert [end.outcome for end in told] == ["killed", "failed"]


def test_the_end_of_a_sweep_without_a_trial_is_not_told(tmp_path):
    told = []
    begun(tmp_path, on_end=FunctionCallback(told.append)).end()
    assert told == []


def test_the_study_does_not_wait_for_a_function_for_ever(tmp_path, capsys):
    begins, never = threading.Event(), threading.Event()

    def hang(_):
        begins.set()
        never.wait()

    hangs = FunctionCallback(hang)
    callbacks = begun(tmp_path, on_trial_end=hangs, on_end=hangs, seconds_to_end=0.01)
    callbacks.trial_ended(ended(1))
    begins.wait()
    callbacks.end()
    never.set()
    assert "What is left of on_trial_end and on_end is given up" in capsys.readouterr().out


def test_a_command_that_takes_too_long_is_ended(tmp_path):
    mark = tmp_path / "mark"
    command = parse_callback("key", f"touch {mark}; sleep 600")
    assert isinstance(command, CommandCallback)
    callbacks = begun(tmp_path, on_trial_end=command, seconds_to_end=0.01)
    callbacks.trial_ended(ended(1))
    while not mark.exists():
        pass
    callbacks.end()
    assert command._process is not None
    assert command._process.poll() is not None


def test_passwords_are_not_printed(tmp_path, capsys):
    def fail(_):
        raise ValueError("cannot reach postgresql://me:s3cret@host/db")

    line = "echo postgresql://me:s3cret@host/db"
    for callback in (FunctionCallback(fail), parse_callback("key", line)):
        callbacks = begun(tmp_path, on_trial_end=callback)
        callbacks.trial_ended(ended(1))
        callbacks.end()
    printed = capsys.readouterr().out
    assert "s3cret" not in printed
    assert printed.count("postgresql://me:***@host/db") == 2


def leave(_):
    raise SystemExit(3)


@pytest.mark.parametrize(
    ("callback", "said"),
    [
        pytest.param(FunctionCallback(leave), "SystemExit: 3 (test_callbacks.py:", id="it exits"),
        pytest.param(["sh", "-c", "kill -9 $$"], "exit code 137\n", id="it is killed"),
        pytest.param(CommandCallback(["a\0b"]), "ValueError: embedded null", id="it cannot begin"),
        pytest.param("(echo a; exit 3)", "exit code 3: a\n", id="a line for the shell"),
    ],
)
def test_one_that_fails_is_a_line(callback, said, tmp_path, capsys):
    made = callback if callable(callback) else parse_callback("key", callback)
    callbacks = begun(tmp_path, on_trial_end=made)
    callbacks.trial_ended(ended(1))
    callbacks.end()
    assert capsys.readouterr().out.startswith(f"on_trial_end of trial 1 failed: {said}")


@pytest.mark.parametrize(
    ("value", "said"),
    [
        pytest.param("os.nothing", "is no function that can be called with one", id="no name"),
        pytest.param("nowhere.tell", "No module named 'nowhere'", id="no module"),
        pytest.param("os.getpid", "TypeError", id="no argument"),
        pytest.param("os.sep", "is no function", id="no function"),
        pytest.param(["no-such-program", 1], "is no program no-such-program", id="words"),
        pytest.param("no-such-program 1", "is no program no-such-program", id="a line"),
        pytest.param(
            "A=1 no-such-program", "is no program no-such-program", id="behind a variable"
        ),
        pytest.param('echo "a', "the shell cannot read it", id="a quote is missing"),
        pytest.param(5, "must be module.function", id="a number"),
        pytest.param("", "must be module.function", id="nothing"),
        pytest.param([], "must be module.function", id="no words"),
        pytest.param({"a": "b"}, "must be module.function", id="a mapping"),
    ],
)
def test_what_cannot_be_called_is_refused(value, said):
    with pytest.raises(StudyError, match=rf"^hydra\.sweeper\.on_end=.*{re.escape(said)}"):
        parse_callback("hydra.sweeper.on_end", value)


@pytest.mark.parametrize("value", ["os.fspath", ["true"], "if true; then :; fi"])
def test_what_can_be_called_is_taken(value):
    assert parse_callback("hydra.sweeper.on_end", value) is not None
    assert parse_callback("hydra.sweeper.on_end", None) is None
