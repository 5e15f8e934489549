"""Commands that are printed: each can be typed as it stands."""

import sys
from pathlib import Path

import pytest

from hrm_sweep.runs.app import App
from hrm_sweep.system import process
from hrm_sweep.terminal import hints

SHIPPED = App(
    name="hrm_sweep",
    command=("hrm_sweep",),
    code_keys=("study.on_end",),
    has_commands=True,
    keys={"hydra.sweeper.study_name": "study.name"},
)
HERE = Path("multirun/otter")


@pytest.mark.parametrize(
    ("typed", "folder", "expected"),
    [
        pytest.param("-m lr=1,2", HERE, "resume otter", id="resume knows the rest"),
        pytest.param(
            "-m lr=1,2 study.on_end=a.b study.name=old", HERE,
            "-m lr=1,2 study.on_end=a.b study.name=otter hydra.sweep.dir=multirun/otter",
            id="resume would not run code that a record names",
        ),
    ],
)  # fmt: skip
def test_how_to_continue(typed, folder, expected, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["hrm_sweep", *typed.split()])
    command = hints.how_to_continue("otter", folder, SHIPPED)
    assert command.endswith(f" {expected}")


@pytest.mark.parametrize(
    ("number", "threads", "words"),
    [
        pytest.param(1, 1, "1 worker", id="one"),
        pytest.param(2, 0, "2 workers", id="elsewhere"),
        pytest.param(2, 2, "2 workers", id="as many threads as cores"),
        pytest.param(3, 2, "3 workers of 2 threads on 4 cores", id="more threads than cores"),
        pytest.param(5, 1, "5 workers on 4 cores", id="more workers than cores"),
    ],
)
def test_more_threads_than_cores_are_said(monkeypatch, number, threads, words):
    monkeypatch.setattr(process, "usable_cores", lambda: 4)
    assert hints.workers(number, threads=threads) == words
