"""Questions by files in a trial's folder: an answer, and a driver that gives none."""

from __future__ import annotations

import threading

import pytest

from hrm_sweep.runs import channel
from hrm_sweep.runs.channel import ANSWER, QUESTION, FolderChannel
from hrm_sweep.runs.questions import FolderQuestions, Questions


@pytest.fixture
def driver(tmp_path):
    """Answers each question with the step as the reason, until the test ends."""
    questions, ends = FolderQuestions(), threading.Event()
    taken = []

    def serve():
        while not ends.wait(0.001):
            for number, step in questions.take({7: tmp_path}).items():
                taken.append(step)
                questions.answer(number, f"pruned after step {step}" if step > 1 else "")

    thread = threading.Thread(target=serve)
    thread.start()
    yield taken
    ends.set()
    thread.join()


def test_each_question_is_taken_once_and_leaves_no_file(tmp_path, driver):
    trial = FolderChannel(tmp_path)
    assert [trial.ask(1), trial.ask(2), trial.ask(3)] == [
        "",
        "pruned after step 2",
        "pruned after step 3",
    ]
    assert driver == [1, 2, 3]
    assert not list(tmp_path.iterdir())


def test_without_a_driver_only_the_first_question_is_waited_for(tmp_path, monkeypatch):
    trial = FolderChannel(tmp_path)
    monkeypatch.setattr(channel, "PATIENCE_SECONDS", 0.05)
    assert trial.ask(1) == ""
    monkeypatch.setattr(channel, "PATIENCE_SECONDS", 1e9)
    assert [trial.ask(2), trial.ask(3)] == ["", ""]

    questions = FolderQuestions()
    assert questions.take({0: tmp_path}) == {0: 3}
    assert questions.take({0: tmp_path}) == {}
    questions.answer(0, "pruned after step 3")
    assert (tmp_path / ANSWER).exists()
    results = []
    thread = threading.Thread(target=lambda: results.append(trial.ask(4)))  # is waited for again
    thread.start()
    while not (steps := questions.take({0: tmp_path})):
        pass
    assert steps == {0: 4}
    questions.answer(0, "pruned after step 4")
    thread.join()
    assert results == ["pruned after step 4"]


def test_what_a_killed_attempt_has_left_is_no_question_of_the_next(tmp_path):
    (tmp_path / QUESTION).write_text('{"name": "old", "step": 3}')
    FolderChannel(tmp_path)
    assert FolderQuestions().take({0: tmp_path}) == {}


@pytest.mark.parametrize("text", ["", "{", "[1]", "3"])
def test_a_file_that_is_no_question_is_none(tmp_path, text):
    (tmp_path / QUESTION).write_text(text)
    assert FolderQuestions().take({0: tmp_path}) == {}


def test_questions_wake_who_waits_for_them():
    questions = Questions()
    before = questions.has_some
    questions.put(3, 10)
    questions.put(4, 20)
    assert before.done()
    assert questions.take({}) == {3: 10, 4: 20}
    assert not questions.has_some.done()
    assert questions.take({}) == {}
