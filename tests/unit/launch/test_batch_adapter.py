"""Stock launchers under the scheduler: what they are given, and what becomes of a batch."""

import threading

import pytest

from hrm_sweep.errors import BatchLost, Interrupted
from hrm_sweep.launch.batch_adapter import BatchAdapter, batch_width
from hrm_sweep.system.process import usable_cores


class StockLauncher:
    """Takes a batch and returns one result a job; raises for batches with a bad job."""

    def __init__(self, *, bad: int | None = None) -> None:
        self.batches: list[list[int]] = []
        self._bad = bad

    def launch(self, job_overrides, initial_job_idx):
        numbers = [initial_job_idx + place for place in range(len(job_overrides))]
        self.batches.append(numbers)
        assert [overrides[0] for overrides in job_overrides] == [f"x={n}" for n in numbers]
        if self._bad in numbers:
            raise ValueError("no such job")
        return [f"returned {number}" for number in numbers]


def nothing() -> None:
    pass


def submit(adapter: BatchAdapter, *numbers: int) -> list:
    return [adapter.submit([f"x={number}"], number) for number in numbers]


def test_jobs_are_launched_together_when_they_are_flushed():
    launcher = StockLauncher()
    adapter = BatchAdapter(launcher, num_slots=3)
    futures = submit(adapter, 4, 5, 6)
    assert launcher.batches == []
    adapter.flush(nothing)
    assert launcher.batches == [[4, 5, 6]]
    assert [future.result() for future in futures] == ["returned 4", "returned 5", "returned 6"]
    adapter.flush(nothing)  # nothing was submitted since
    assert launcher.batches == [[4, 5, 6]]


def test_numbers_that_do_not_follow_each_other_are_batches_of_their_own():
    launcher = StockLauncher()
    adapter = BatchAdapter(launcher, num_slots=5)
    submit(adapter, 0, 1, 5, 7, 8)
    adapter.flush(nothing)
    assert launcher.batches == [[0, 1], [5], [7, 8]]


def test_after_a_lost_batch_jobs_are_launched_alone_and_then_in_growing_batches():
    adapter = BatchAdapter(StockLauncher(bad=1), num_slots=4)
    futures = submit(adapter, 0, 1, 2, 3)
    adapter.flush(nothing)
    for future in futures:
        with pytest.raises(BatchLost, match="the launcher raised ValueError: no such job"):
            future.result()
    assert adapter.num_slots == 1
    (alone,) = submit(adapter, 1)
    adapter.flush(nothing)
    with pytest.raises(ValueError, match="no such job"):  # now it is clear whose error that is
        alone.result()
    sizes = []
    for number in (2, 3, 4):
        submit(adapter, number)
        adapter.flush(nothing)
        sizes.append(adapter.num_slots)
    assert sizes == [2, 4, 4]


def test_jobs_that_were_not_launched_are_interrupted_by_a_stop():
    launcher = StockLauncher()
    adapter = BatchAdapter(launcher, num_slots=2)
    futures = submit(adapter, 0, 1)
    adapter.ask_to_stop()
    adapter.flush(nothing)
    assert launcher.batches == []
    for future in futures:
        with pytest.raises(Interrupted):
            future.result()


def test_ctrl_c_in_a_batch_interrupts_the_batches_after_it():
    class Stopped(StockLauncher):
        def launch(self, *_):
            raise KeyboardInterrupt

    adapter = BatchAdapter(Stopped(), num_slots=3)
    futures = submit(adapter, 0, 1, 5)
    with pytest.raises(KeyboardInterrupt):
        adapter.flush(nothing)
    assert all(isinstance(future.exception(), Interrupted) for future in futures)


def test_it_is_watched_from_another_thread_as_long_as_the_launcher_works():
    looked = threading.Event()
    threads = set()

    class Working(StockLauncher):
        def launch(self, job_overrides, initial_job_idx):
            assert looked.wait(60)
            return super().launch(job_overrides, initial_job_idx)

    def watch() -> None:
        threads.add(threading.current_thread())
        looked.set()
        raise ValueError("the launcher is not to be disturbed")

    adapter = BatchAdapter(Working(), num_slots=2)
    futures = submit(adapter, 0, 1)
    adapter.flush(watch)
    assert [future.result() for future in futures] == ["returned 0", "returned 1"]
    (thread,) = threads
    assert thread is not threading.main_thread()
    assert not thread.is_alive()


@pytest.mark.parametrize(
    ("config", "width"),
    [
        pytest.param({}, 1, id="basic"),
        pytest.param({"n_jobs": 3}, 3, id="joblib"),
        pytest.param({"n_jobs": -1}, usable_cores(), id="joblib, all cores"),
        pytest.param({"n_jobs": -1000}, 1, id="joblib, all cores but many"),
        pytest.param({"cpus_per_task": None, "array_parallelism": 256}, 256, id="submitit_slurm"),
        pytest.param({"cpus_per_task": None}, usable_cores(), id="submitit_local"),
        pytest.param({"cpus_per_task": 1000}, 1, id="submitit_local, large tasks"),
    ],
)
def test_a_batch_is_as_wide_as_the_launcher(config, width):
    assert batch_width(config) == width
