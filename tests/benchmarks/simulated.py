"""A sweep on simulated workers, which `driver.py` measures.

    python tests/benchmarks/simulated.py -m '+x=range(0,1000)' hydra.launcher.workers=512 …

The workers of the pool are simulated in this process: they write real records on a clock of their
own and compute nothing. Everything else is the real sweep: Hydra, Optuna's database, the loop, the
live view, the study's record, the exporter in its process, the report. The clock goes on by what
the sweep itself takes; where it waits, the clock jumps to the next event; what the workers write
takes no time. So they keep the driver as busy as as many machines would. What was measured is in
`figures.json` of the working folder.
"""

from __future__ import annotations

import heapq
import itertools
import json
import os
import pickle
import random
import time
from collections import deque
from collections.abc import Callable, Collection, Generator, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import hydra
import psutil
from hydra.core.utils import JobReturn, JobStatus
from hydra.types import HydraContext
from omegaconf import DictConfig

from hrm_sweep import one_sweep as sweep
from hrm_sweep.engine.interfaces import SystemClock
from hrm_sweep.launch import pool
from hrm_sweep.launch.job import Job
from hrm_sweep.launch.job_returns import PackedFuture
from hrm_sweep.runs.questions import Questions
from hrm_sweep.runs.record import Record
from hrm_sweep.runs.study import id_of

SECONDS = float(os.environ.get("SIMULATED_SECONDS", "10"))
"""Duration of a trial; each takes half of that to one and a half."""
STEPS = int(os.environ.get("SIMULATED_STEPS", "10"))
MARKS = (0, 500, 1000, 1400, 2000, 5000, 9400)
"""Numbers of ended trials at which figures are noted."""

Life = Generator[float | None, str | None, None]
"""A trial; it yields the seconds to its next act, or None to be sent the driver's answer."""


class SimulatedClock(SystemClock):
    """Time of this process without that of the simulation, and with waits that are skipped."""

    def __init__(self) -> None:
        self.outside_seconds = self.outside_cpu_seconds = self.skipped_seconds = 0.0
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()

    def monotonic(self) -> float:
        return self.worked + self.skipped_seconds

    @property
    def worked(self) -> float:
        """Seconds that this process has worked for the sweep."""
        return time.perf_counter() - self.outside_seconds

    @property
    def cpu(self) -> float:
        """Seconds of CPU time of this process for the sweep."""
        return time.process_time() - self.outside_cpu_seconds

    def sleep(self, seconds: float) -> None:
        self._skip(seconds, ())

    def wait(self, futures: Collection[Future[Any]], timeout: float) -> set[Future[Any]]:
        self._skip(timeout, futures)
        return super().wait(futures, 0)

    def at(self, moment: float, act: Callable[[], None]) -> None:
        heapq.heappush(self._events, (moment, next(self._order), act))

    @contextmanager
    def outside(self) -> Iterator[None]:
        """Leave out the time of a block."""
        begin, begin_cpu = time.perf_counter(), time.process_time()
        yield
        self.outside_seconds += time.perf_counter() - begin
        self.outside_cpu_seconds += time.process_time() - begin_cpu

    def _skip(self, seconds: float, futures: Collection[Future[Any]]) -> None:
        """Play what has happened by now, and then until the wait is over or a future is done."""
        now = moment = self.monotonic()
        with self.outside():
            while self._events and self._events[0][0] <= now + seconds:
                if self._events[0][0] > moment:
                    if any(future.done() for future in futures):
                        break
                    moment = self._events[0][0]
                heapq.heappop(self._events)[2]()
            else:
                moment = now + seconds
        self.skipped_seconds += moment - now


CLOCK = SimulatedClock()


class SimulatedPool:
    """Stands for `hrm_sweep.launch.pool.Pool`."""

    trouble = ""

    def __init__(
        self,
        *,
        workers: int,
        job: tuple[HydraContext, DictConfig, Job],
        questions: Questions,
        **_: Any,
    ) -> None:
        self.num_slots = self._num_free = workers
        _, config, self._job = job
        self._folder, self._questions = Path(config.hydra.sweep.dir), questions
        self._waiting: deque[tuple[Sequence[str], int, Future[Any]]] = deque()
        self._asking: dict[int, tuple[int, Life, Future[Any]]] = {}
        returned = JobReturn(
            cfg=config, hydra_cfg=config, status=JobStatus.COMPLETED, _return_value=0.0
        )
        self._returned = pickle.dumps(returned)
        self._busy_seconds, self._num_ended = 0.0, 0
        self._figures: list[dict[str, float]] = []
        self._note()

    def submit(self, overrides: Sequence[str], job_idx: int) -> Future[Any]:
        future: Future[Any] = PackedFuture()
        self._waiting.append((overrides, job_idx, future))
        with CLOCK.outside():
            self._begin_waiting(CLOCK.monotonic())
        return future

    def answer(self, number: int, prune: str) -> None:
        with CLOCK.outside():
            self._continue(*self._asking.pop(number), CLOCK.monotonic(), prune)

    def ask_to_stop(self) -> None:
        pass

    def close(self) -> None:
        Path("figures.json").write_text(json.dumps(self._figures))

    def _begin_waiting(self, moment: float) -> None:
        while self._num_free and self._waiting:
            self._num_free -= 1
            overrides, number, future = self._waiting.popleft()
            self._continue(number, self._life(overrides, number), future, moment)

    def _continue(
        self,
        number: int,
        life: Life,
        future: Future[Any],
        moment: float,
        answer: str | None = None,
    ) -> None:
        """Let a trial act, and again when it wants to."""
        try:
            seconds = life.send(answer)
        except StopIteration:
            self._end(future, moment)
            return
        if seconds is None:
            self._asking[number] = number, life, future
            self._questions.put(number, 0)
            return
        self._busy_seconds += seconds
        later = moment + seconds
        CLOCK.at(later, partial(self._continue, number, life, future, later))

    def _end(self, future: Future[Any], moment: float) -> None:
        self._num_free += 1
        self._num_ended += 1
        self._note()
        future.set_result(bytes(bytearray(self._returned)))  # each of real jobs has its own
        self._begin_waiting(moment)

    def _life(self, overrides: Sequence[str], number: int) -> Life:
        """Write what a trial writes."""
        draw = random.Random(number)
        seconds, level = SECONDS * draw.uniform(0.5, 1.5), draw.random()
        outcome, reason = "complete", ""
        with Record(self._folder / str(number)) as record:
            record.append("started", **self._described(overrides, number))
            record.append("expected", num_steps=STEPS)
            for step in range(1, STEPS + 1):
                yield seconds / STEPS
                value = level + 1 / step
                record.metrics(step, {"objective": value, "loss": value, "accuracy": 1 - 1 / step})
                if self._job.judged_by and step < STEPS and (reason := (yield None)):
                    outcome = "pruned"
                    break
            best = {} if reason else {"objective": level}
            record.append("finished", outcome=outcome, best=best, reason=reason, seconds=seconds)

    def _described(self, overrides: Sequence[str], number: int) -> dict[str, Any]:
        """Return the fields that a job writes, as far as somebody reads them."""
        params = dict(text.lstrip("+").split("=") for text in overrides)
        folder = (self._folder / str(number)).absolute()
        tags = {"hrm_sweep.trial": str(number), "hrm_sweep.folder": str(folder)}
        return {
            "kind": "trial",
            "name": f"{number} {' '.join(overrides)}",
            "params": params,
            "overrides": [*overrides],
            "searched": [*params],
            "tags": self._tags | tags,
            "description": "",
        }

    @cached_property
    def _tags(self) -> dict[str, str]:
        return {
            "hrm_sweep.study": self._job.study or "",
            "hrm_sweep.study_id": id_of(self._folder),
        }

    def _note(self) -> None:
        if self._num_ended in MARKS:
            self._figures.append(
                {
                    "trials": self._num_ended,
                    "seconds": CLOCK.monotonic(),
                    "worked": CLOCK.worked,
                    "cpu": CLOCK.cpu,
                    "busy": self._busy_seconds,
                    "megabytes": psutil.Process().memory_info().rss / 1e6,
                }
            )


@hydra.main(version_base=None, config_path=None)
def main(cfg: DictConfig) -> float:
    raise AssertionError("the workers are simulated")


if __name__ == "__main__":
    pool.Pool, sweep.SystemClock = SimulatedPool, lambda: CLOCK
    main()
