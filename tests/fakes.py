"""A clock that does not wait and a launcher that runs nothing, for tests of the scheduler.

Everything else in those tests is real: Optuna's storage on SQLite, records, the trial queue.
"""

from __future__ import annotations

import functools
import heapq
import itertools
import tempfile
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import Future
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import optuna
import sqlalchemy
from hydra.core.override_parser.overrides_parser import OverridesParser

from hrm_sweep.engine.open_study import OpenStudy
from hrm_sweep.engine.plugin_config import SweeperConfig
from hrm_sweep.engine.progress import TrialProgress
from hrm_sweep.engine.state import StudyState
from hrm_sweep.engine.trial_queue import TrialQueue
from hrm_sweep.errors import DatabaseAway, Interrupted, WorkerDied
from hrm_sweep.runs.questions import Questions
from hrm_sweep.runs.record import Record
from hrm_sweep.search.budget import Budget
from hrm_sweep.search.enqueued import parse_enqueued
from hrm_sweep.search.objectives import parse_objectives
from hrm_sweep.search.parsing import parse_space
from hrm_sweep.search.space import Space
from hrm_sweep.search.untried import Untried
from hrm_sweep.storage.leases import Lease
from hrm_sweep.storage.optuna_storage import SharedStorage

END_OF_TIME = 100_000.0


class FakeClock:
    """Time passes while the code under test waits, as far as the next event."""

    def __init__(self) -> None:
        self.now = 0.0
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()

    def at(self, time: float, act: Callable[[], None]) -> None:
        heapq.heappush(self._events, (time, next(self._order), act))

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self._pass(self.now + seconds, lambda: False)

    def wait(self, futures: Collection[Future[Any]], timeout: float) -> set[Future[Any]]:
        def done() -> set[Future[Any]]:
            return {future for future in futures if future.done()}

        self._pass(self.now + timeout, lambda: bool(done()))
        return done()

    def _pass(self, end: float, is_enough: Callable[[], bool]) -> None:
        assert end < END_OF_TIME, "the loop does not end"
        while not is_enough():
            if not self._events or self._events[0][0] > end:
                self.now = end
                return
            self.now, _, act = heapq.heappop(self._events)
            act()


@dataclass
class Job:
    """What becomes of one attempt of a trial."""

    seconds: float = 10.0
    outcome: str = "complete"
    values: dict[str, float] | None = None
    """Final values of a complete trial; None: `objective` is the trial's number."""
    error: Exception | None = None
    """What the future raises; the record stays without an end then."""
    begins: bool = True
    """Whether it comes as far as a record."""


class FakeLauncher:
    """Slots whose jobs follow a script, on the fake clock.

    Args:
        folder: of the study.
        script: what becomes of a trial, by number and attempt.
        obeys: whether running jobs end when they are asked to.
    """

    def __init__(
        self,
        clock: FakeClock,
        folder: Path,
        script: Callable[[int, int], Job] = lambda *_: Job(),
        *,
        num_slots: int = 2,
        num_ahead: int = 0,
        obeys: bool = True,
    ) -> None:
        self.num_slots, self.num_ahead = num_slots, num_ahead
        self.questions = Questions()
        self.answers: list[tuple[int, int, str]] = []
        """Number, step and reason to prune of each answer."""
        self.submitted: list[int] = []
        self.begun: list[tuple[float, int]] = []
        """Time and number of each attempt."""
        self.most_outstanding = 0
        self.calls: list[str] = []
        self._clock, self._folder, self._script, self._obeys = clock, folder, script, obeys
        self._attempts: Counter[int] = Counter()
        self._waiting: list[tuple[int, Future[Any]]] = []
        self._running: dict[int, tuple[Job, Future[Any]]] = {}

    def submit(self, overrides: Sequence[str], job_idx: int) -> Future[Any]:
        future: Future[Any] = Future()
        self.submitted.append(job_idx)
        self._waiting.append((job_idx, future))
        self.most_outstanding = max(self.most_outstanding, len(self._waiting) + len(self._running))
        self._begin_next()
        return future

    def flush(self, watch: Callable[[], None]) -> None:
        self.calls.append("flush")

    def answer(self, number: int, step: int, prune: str) -> None:
        self.answers.append((number, step, prune))

    def ask_to_stop(self) -> None:
        self.calls.append("ask_to_stop")
        for _, future in self._waiting:
            future.set_exception(Interrupted("stopped before it began"))
        self._waiting = []
        if self._obeys:
            for number, (job, future) in list(self._running.items()):
                job.outcome, job.error = "interrupted", None
                self._end(number, job, future)

    def close(self) -> None:
        self.calls.append("close")
        self._waiting, self._running = [], {}

    def _begin_next(self) -> None:
        while self._waiting and len(self._running) < self.num_slots:
            number, future = self._waiting.pop(0)
            self._attempts[number] += 1
            job = self._script(number, self._attempts[number])
            self._running[number] = job, future
            self.begun.append((self._clock.now, number))
            if job.begins:
                with Record(self._folder / str(number)) as record:
                    record.append("started", kind="trial")
                    record.metrics(1, {"objective": number + 0.5})
            self._clock.at(self._clock.now + job.seconds, partial(self._end, number, job, future))

    def _end(self, number: int, job: Job, future: Future[Any]) -> None:
        if future.done() or number not in self._running:
            return
        del self._running[number]
        if job.error is not None:
            future.set_exception(job.error)
        else:
            if job.begins:
                self._finish(number, job)
            future.set_result(SimpleNamespace(return_value=job.values))
        self._begin_next()

    def _finish(self, number: int, job: Job) -> None:
        is_complete = job.outcome == "complete"
        values = {"objective": float(number)} if job.values is None else job.values
        with Record(self._folder / str(number)) as record:
            record.append(
                "finished",
                outcome=job.outcome,
                best=values if is_complete else {},
                reason="" if is_complete else "as the script has it",
                seconds=job.seconds,
            )


def dies(seconds: float = 10.0, *, begins: bool = True) -> Job:
    """A job whose process is killed."""
    return Job(seconds, error=WorkerDied("its process was killed by SIGKILL"), begins=begins)


class Watcher:
    """Observer that keeps what it was called with."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.ended_trials: list[tuple[int, str, int]] = []
        """Number, outcome and attempt, in the order of the ends."""
        self.database_errors: list[str] = []

    def begin(self, state: StudyState) -> None:
        self.state = state
        self.calls.append("begin")

    def tick(self) -> None:
        if self.calls[-1] != "tick":
            self.calls.append("tick")
        if self.database_errors[-1:] != [self.state.database_error]:
            self.database_errors.append(self.state.database_error)

    def trial_ended(self, trial: TrialProgress) -> None:
        assert trial.outcome is not None
        self.calls.append("trial_ended")
        self.ended_trials.append((trial.number, trial.outcome.word, trial.attempt))

    def end(self) -> None:
        self.calls.append("end")


def space_of(*overrides: str) -> Space:
    """The search space of some overrides."""
    return parse_space(OverridesParser.create().parse_overrides(list(overrides)))


@functools.cache
def _empty_database() -> bytes:
    """Optuna's tables: they take longer to make than a test does."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "optuna.db")
        SharedStorage(f"sqlite:///{path}").engine.dispose()
        return path.read_bytes()


def _do_not_flush(connection: Any, _: Any) -> None:
    """No test cuts the power."""
    connection.execute("PRAGMA synchronous=OFF")


def exclusive(opened: OpenStudy) -> AbstractContextManager[None]:
    """A transaction of a study that `open_in` has opened."""
    return opened.storage.exclusive_transaction(opened.study.study_name)


def empty_study(folder: Path) -> optuna.Study:
    """The study that `open_in` opens, before it has a trial."""
    return _study_in(folder, f"sqlite:///{folder}/optuna.db", ["minimize"])[0]


def _study_in(
    folder: Path, url: str, directions: Sequence[str]
) -> tuple[optuna.Study, SharedStorage]:
    database = folder / "optuna.db"
    if not database.exists():
        database.write_bytes(_empty_database())
    storage = SharedStorage(url)
    sqlalchemy.event.listen(storage.engine, "connect", _do_not_flush)
    return storage.open_study("study", directions), storage


def open_in(folder: Path, *overrides: str, **options: Any) -> OpenStudy:
    """A study in an SQLite database in `folder`; trial 3 runs in its folder `study/3`."""
    enqueued = parse_enqueued(options.get("enqueue"), space_of(*overrides))
    options = {"tracking": {"name": "off"}, "storage": f"sqlite:///{folder}/optuna.db"} | options
    config = SweeperConfig(**options)
    space = space_of(*overrides)
    objectives = parse_objectives(
        config.objective, config.direction, config.constraints, tie_breaker=config.tie_breaker
    )
    study, storage = _study_in(folder, config.storage, objectives.directions)
    if space.is_finite:
        study.sampler = Untried(study.sampler, space, study)
    return OpenStudy(
        config=config,
        space=space,
        objectives=objectives,
        storage=storage,
        study=study,
        queue=TrialQueue(storage, study, Budget(space, config.n_trials, enqueued)),
        lease=Lease(folder / "study"),
        folder_of=lambda number, _: folder / "study" / str(number),
    )


class Database:
    """Faults of a study's database, injected where SQLAlchemy begins and commits."""

    def __init__(self, opened: OpenStudy) -> None:
        self.is_away = False
        self._confirmed = 0
        """Commits until one is made but not confirmed; 0: all are confirmed."""
        engine = opened.storage.engine
        sqlalchemy.event.listen(engine, "begin", self._begin, insert=True)
        commit = engine.dialect.do_commit

        def commit_then_break(connection: Any) -> None:
            commit(connection)
            self._confirmed = max(0, self._confirmed - 1)
            if self._confirmed == 1:
                raise DatabaseAway("sqlite", "the connection broke")

        engine.dialect.do_commit = commit_then_break

    def _begin(self, _: sqlalchemy.Connection) -> None:
        if self.is_away:
            raise DatabaseAway("sqlite", "stopped")

    def leave(self) -> None:
        self.is_away = True

    def come_back(self) -> None:
        self.is_away = False

    def lose_confirmation(self, *, of_commit: int = 1) -> None:
        """The first commit from now, or a later one, is made, but its answer is lost."""
        self._confirmed = of_commit + 1
