"""The driver's side of an attempt elsewhere: what its messages and its loss mean for the trial."""

import errno
import pickle
from concurrent.futures import Future
from pathlib import Path

import pytest

from hrm_sweep.errors import ConfigError, Interrupted, NoWorkers, RecordError, WorkerDied
from hrm_sweep.launch.attempt import Attempt
from hrm_sweep.launch.large_files import Limits, check_artifacts
from hrm_sweep.launch.messages import Appended, Asked, Done, Notice, Part, pack
from hrm_sweep.launch.remote import RemoteJob
from hrm_sweep.launch.remote_jobs import MOST_STARTS, RemoteJobs
from hrm_sweep.runs import record
from hrm_sweep.runs.questions import Questions
from hrm_sweep.runs.record import Record


@pytest.fixture
def jobs(monkeypatch) -> RemoteJobs:
    """What all attempts share, without a config to compose."""
    jobs = RemoteJobs.__new__(RemoteJobs)
    jobs.questions, jobs._shown, jobs._failed_starts = Questions(), set(), []
    return jobs


@pytest.fixture
def home(tmp_path) -> Path:
    return tmp_path / "study" / "7"


@pytest.fixture
def attempt(jobs, home):
    attempt = Attempt(remote_job(), home, jobs, print)
    yield attempt
    attempt.end(WorkerDied("the test has ended"))


def remote_job() -> RemoteJob:
    return RemoteJob(7, b"", "7", "study/7", (), Limits(100), threads=1, timeout=None)


@pytest.fixture
def started(tmp_path) -> Appended:
    """The first line of a record on a node."""
    with Record(tmp_path / "node") as written:
        written.append("started", kind="trial", tags={})
    return Appended("record.jsonl", 0, pack((tmp_path / "node" / "record.jsonl").read_bytes()))


def test_the_result_is_there_when_the_record_is_free(attempt, home, started):
    was_held: list[bool] = []
    attempt.future.add_done_callback(lambda _: was_held.append(record.is_held(home)))
    attempt.receive(started)
    assert record.is_held(home)
    attempt.receive(Done(pickle.dumps("what the job returned")))
    assert was_held == [False]
    assert attempt.future.result() == "what the job returned"


def test_a_question_is_put_after_the_lines_before_it_are_on_disk(attempt, home, jobs, started):
    attempt.receive(started)
    attempt.receive(Asked(3))
    assert record.has_begun(home)
    assert jobs.questions.take({}) == {7: 3}


def test_messages_that_do_not_fit_cost_the_attempt_and_never_the_record(attempt, home, started):
    attempt.receive(started)
    attempt.receive(started)
    error = attempt.future.exception()
    assert isinstance(error, WorkerDied)
    assert str(error).startswith("what came from its node cannot be used: record.jsonl: bytes from")
    assert len(record.read(home)) == 1
    assert record.write_end(home, has_ended=True)


def test_a_full_disk_of_the_driver_is_no_death_of_the_node(attempt, home, monkeypatch):
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("hrm_sweep.launch.inbox.Inbox.write", full)
    attempt.receive(Part("model.pth", 0, pack(b""), 0))
    error = attempt.future.exception()
    assert isinstance(error, OSError)
    assert error.errno == errno.ENOSPC


def test_what_comes_after_the_end_changes_nothing(attempt, home, jobs, started):
    attempt.end(WorkerDied("its node is gone"))
    attempt.receive(started)
    attempt.receive(Asked(1))
    attempt.receive(Done(b""))
    attempt.end(WorkerDied("again"))
    assert str(attempt.future.exception()) == "its node is gone"
    assert not record.has_begun(home)
    assert jobs.questions.take({}) == {}
    assert [path.name for path in home.iterdir()] == []


def test_a_run_that_another_driver_has_is_refused(attempt, home, jobs, started):
    attempt.receive(started)
    with pytest.raises(RecordError, match="another process is writing it"):
        Attempt(remote_job(), home, jobs, print)


def test_a_notice_is_shown_once_for_all_trials(attempt, capsys):
    for _ in range(2):
        attempt.receive(Notice("model.pth", "model.pth: has 300 MB"))
    attempt.receive(Notice("other.pth", "other.pth: has 300 MB"))
    assert capsys.readouterr().out == "model.pth: has 300 MB\nother.pth: has 300 MB\n"


def test_nodes_that_can_start_no_process_in_a_row_end_the_study(jobs, tmp_path):
    def fails(number: int) -> Future:
        attempt = Attempt(remote_job(), tmp_path / str(number), jobs, print)
        attempt.receive(Done(NoWorkers("ModuleNotFoundError: No module named 'app'")))
        return attempt.future

    for number in range(MOST_STARTS - 1):
        assert isinstance(fails(number).exception(), Interrupted)
    jobs.check()
    jobs.counted(b"a job that ran")
    for number in range(MOST_STARTS):
        jobs.check()
        fails(number)
    with pytest.raises(NoWorkers, match="no worker can start: ModuleNotFoundError"):
        jobs.check()


@pytest.mark.parametrize(
    ("artifacts", "words"),
    [
        ("", r"artifacts=: must be a folder's path or URL; such as s3://"),
        (
            "nowhere://x",
            r"artifacts=nowhere://x: must be a folder's path or URL \(Protocol not known",
        ),
        ("dropbox://x", r"artifacts=dropbox://x: needs a package \("),
    ],
)
def test_a_place_for_large_files_that_is_none_is_refused(artifacts, words):
    with pytest.raises(ConfigError, match=words):
        check_artifacts(artifacts)


@pytest.mark.parametrize("artifacts", [None, "folder", "/shared", "file:///shared"])
def test_a_place_for_large_files_is_a_path_or_an_url(artifacts):
    check_artifacts(artifacts)
