"""What a trial costs the driver does not grow with the trials that have ended or are in flight."""

from pathlib import Path
from typing import NamedTuple

import optuna
import pytest
import sqlalchemy
from fakes import FakeClock, FakeLauncher, Job, Watcher, empty_study, open_in, space_of

from hrm_sweep.engine.attributes import FOLDER
from hrm_sweep.engine.scheduler import Scheduler
from hrm_sweep.runs.record import RecordReader

NUM_MORE = 24
COUNTED = range(3, 7)
"""Ends of trials between which is counted: neither the beginning nor the end of the study."""


class Cost(NamedTuple):
    """Counted over some turns of the loop."""

    statements: int
    parameters: int
    """Of all statements; Optuna names the trials that it reads in them."""
    reads: int
    """Of records."""


class CountingWatcher(Watcher):
    """Counts from the end of one trial to that of another."""

    def __init__(self, engine: sqlalchemy.Engine) -> None:
        super().__init__()
        self.statements = self.parameters = self.reads = 0
        self.marks: list[Cost] = []
        sqlalchemy.event.listen(engine, "before_cursor_execute", self._count)

    def _count(self, _, __, statement, parameters, *___) -> None:
        self.statements += 1
        self.parameters += len(parameters)

    def trial_ended(self, trial) -> None:
        super().trial_ended(trial)
        if len(self.ended_trials) in (COUNTED.start, COUNTED.stop):
            self.marks.append(Cost(self.statements, self.parameters, self.reads))

    @property
    def cost(self) -> Cost:
        first, last = self.marks
        return Cost(*(end - begin for begin, end in zip(first, last, strict=True)))


def cost_of(
    folder: Path, monkeypatch, *, num_ended: int, num_slots: int = 4, space: str, **options
) -> Cost:
    """What the driver does for some trials of a study in which others have ended before."""
    folder.mkdir()
    total = num_ended + NUM_MORE
    x = space_of(space := space.format(total=total)).distributions["x"]
    study = empty_study(folder)
    study.add_trials(
        optuna.trial.create_trial(
            value=place,
            params={"x": place},
            distributions={"x": x},
            user_attrs={FOLDER: str(folder), "outcome": "complete", "values": {"objective": place}},
        )
        for place in range(num_ended)
    )
    opened = open_in(folder, space, n_trials=total, **options)
    opened.study.sampler = optuna.samplers.TPESampler(seed=1)
    clock, watcher = FakeClock(), CountingWatcher(opened.storage.engine)
    new_entries = RecordReader.new_entries

    def counted(reader: RecordReader):
        watcher.reads += 1
        return new_entries(reader)

    monkeypatch.setattr(RecordReader, "new_entries", counted)

    def one_after_the_other(number: int, _: int) -> Job:
        return Job(seconds=0.3 + 0.01 * (number - num_ended))

    launcher = FakeLauncher(clock, folder / "study", one_after_the_other, num_slots=num_slots)
    Scheduler(opened, opened.state(), launcher, [watcher], clock).run()
    monkeypatch.undo()
    assert len(watcher.ended_trials) == NUM_MORE
    return watcher.cost


@pytest.mark.parametrize(
    ("space", "options"),
    [
        pytest.param(
            "x=interval(0,10000)", {"patience": 10_000, "max_failure_rate": 0.5}, id="a search"
        ),
        pytest.param("x=range(0,{total})", {}, id="a grid"),
    ],
)
def test_a_trial_costs_the_same_after_few_and_after_many(tmp_path, monkeypatch, space, options):
    few, many = (
        cost_of(tmp_path / str(n), monkeypatch, num_ended=n, space=space, **options)
        for n in (12, 60)
    )
    assert few == many


def test_a_trial_costs_the_same_with_few_and_with_many_in_flight(tmp_path, monkeypatch):
    few, many = (
        cost_of(
            tmp_path / str(n), monkeypatch, num_ended=12, num_slots=n, space="x=interval(0,10000)"
        )
        for n in (4, 16)
    )
    assert many.statements <= few.statements
    assert many.parameters <= few.parameters * 1.5
