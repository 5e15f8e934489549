"""The exporter process beside faults: kills, hanging servers, other processes, many trials."""

from __future__ import annotations

import itertools
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from studies import is_gone, until
from truth import Truth, fresh_database

from hrm_sweep.runs.export_state import Backlog, waiting
from hrm_sweep.runs.record import Record
from hrm_sweep.tracking.exporter_process import ExporterProcess, sync
from hrm_sweep.tracking.exporter_thread import PATIENCE_SECONDS

PARENT = """
import sys, time
from pathlib import Path
from hrm_sweep.tracking.exporter_process import ExporterProcess
from hrm_sweep.runs.record import Record
root = Path(sys.argv[1])
study, trial = Record(root), Record(root / "0")
study.append("started", name="study")
process = ExporterProcess(root, sys.argv[2], "hrm_sweep")
trial.append("started", name="trial")
for step in range(1, int(sys.argv[3]) + 1):
    trial.metrics(step, {"x": step})
print(process._process.pid, flush=True)
time.sleep(600)
"""


def parent(root: Path, uri: str, steps: int) -> tuple[subprocess.Popen[str], int]:
    """A process that studies and exports, and the process id of its exporter."""
    process = subprocess.Popen(
        [sys.executable, "-c", PARENT, str(root), uri, str(steps)],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    return process, int(process.stdout.readline())


@pytest.fixture
def uri(tmp_path: Path) -> str:
    return fresh_database(tmp_path / "mlruns")


@pytest.fixture
def truth(uri: str) -> Truth:
    return Truth(uri)


@pytest.fixture
def silent_server() -> Iterator[socket.socket]:
    """Takes connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(180)
        yield server


def test_it_sends_the_rest_and_the_truth_when_its_parent_is_killed(tmp_path, uri, truth):
    """`kill -9` with 500 measurements waiting: all arrive, and no run stays RUNNING."""
    process, pid = parent(tmp_path / "study", uri, steps=500)
    until(truth.runs)  # it has imported MLflow; from here it has seconds, and needs less than one
    process.kill()
    process.wait()
    until(lambda: is_gone(pid))
    assert waiting(tmp_path / "study") == Backlog()
    assert [row[1:3] for row in truth.metrics("trial")] == [(n, float(n)) for n in range(1, 501)]
    assert truth.run("trial").info.status == "KILLED"
    assert truth.run("study").info.status == "KILLED"


def test_a_server_that_is_down_is_left_alone_soon_and_told_without_its_password(tmp_path):
    with Record(tmp_path / "run") as record:
        record.append("started", name="run")
        exporter = ExporterProcess(tmp_path / "run", "http://me:c4n4ry@127.0.0.1:9", "hrm_sweep")
        arguments = subprocess.run(
            ["ps", "-o", "args=", "-p", str(exporter._process.pid)],
            capture_output=True,
            text=True,
            check=True,
        )
        assert "hrm_sweep.tracking.exporter_process" in arguments.stdout
        assert "c4n4ry" not in arguments.stdout
        record.metrics(1, {"x": 1.0})
        begin = time.monotonic()
        record.append("finished", outcome="complete", artifacts=["config.yaml"])
    backlog = exporter.close()
    assert time.monotonic() - begin < PATIENCE_SECONDS
    assert str(backlog) == (
        "1 measurement and 1 file of 1 run not in MLflow yet "
        "(http://me:***@127.0.0.1:9: connection refused)"
    )


class TestWithoutItsParent:
    """Whatever the exporter does when its parent is killed, it is gone long before a timeout."""

    SECONDS = PATIENCE_SECONDS / 2

    def test_it_does_not_wait_for_a_server_that_hangs(self, tmp_path, silent_server):
        uri = f"http://127.0.0.1:{silent_server.getsockname()[1]}"
        process, pid = parent(tmp_path / "study", uri, steps=1)
        connection, _ = silent_server.accept()
        process.kill()
        process.wait()
        until(lambda: is_gone(pid), seconds=self.SECONDS)
        connection.close()

    def test_it_does_not_follow_runs_of_others(self, tmp_path, uri, truth):
        process, pid = parent(tmp_path / "study", uri, steps=1)
        with Record(tmp_path / "study" / "1") as record:
            record.append("started", name="of another process")
            until(lambda: len(truth.runs()) == 3)
            process.kill()
            process.wait()
            steps = itertools.count(1)

            def is_gone_though_there_is_more_to_send() -> bool:
                record.metrics(next(steps), {"x": 1.0})
                return is_gone(pid)

            until(is_gone_though_there_is_more_to_send, seconds=self.SECONDS)

    def test_it_does_nothing_if_that_died_before_it_said_anything(self, tmp_path):
        done = subprocess.run(
            [
                *(sys.executable, "-m", "hrm_sweep.tracking.exporter_process", str(tmp_path)),
                *("--experiment", "hrm_sweep", "--state-file", "mlflow.json"),
            ],
            cwd=tmp_path,
            stdin=subprocess.DEVNULL,
            check=False,
        )
        assert done.returncode == 0
        assert list(tmp_path.iterdir()) == []


class TestTheEnd:
    def test_may_be_left_to_sync(self, tmp_path, uri, truth):
        with Record(tmp_path / "run") as record:
            record.append("started", name="run")
            record.append("finished", outcome="complete")
        exporter = ExporterProcess(tmp_path / "run", uri, "hrm_sweep")
        backlog = exporter.close(timeout=0.1)
        assert str(backlog) == ("1 run not in MLflow yet (it takes too long)")
        assert is_gone(exporter._process.pid)
        assert sync(tmp_path / "run", uri, "hrm_sweep").runs == 0
        assert truth.run("run").info.status == "FINISHED"

    def test_comes_soon_if_a_server_hangs(self, tmp_path, silent_server):
        with Record(tmp_path / "run") as record:
            record.append("started", name="run")
            record.append("finished", outcome="complete")
        uri = f"http://me:c4n4ry@127.0.0.1:{silent_server.getsockname()[1]}"
        exporter = ExporterProcess(tmp_path / "run", uri, "hrm_sweep")
        connection, _ = silent_server.accept()
        begin = time.monotonic()
        backlog = exporter.close()
        assert time.monotonic() - begin < PATIENCE_SECONDS
        connection.close()
        assert (backlog.runs, backlog.reason.partition(": ")[2]) == (1, "no answer in time")

    def test_of_an_exporter_is_no_end_of_exporting(self, tmp_path, uri, truth):
        with Record(tmp_path / "run") as record:
            record.append("started", name="run")
            exporter = ExporterProcess(tmp_path / "run", uri, "hrm_sweep")
            for step in range(1, 101):
                record.metrics(step, {"x": step})
                if step in (30, 60):
                    exporter._process.kill()
                    exporter._process.wait()
                    exporter.tick()
                time.sleep(0.05)
            record.append("finished", outcome="complete")
        assert exporter.close().runs == 0
        assert [row[1] for row in truth.metrics("run")] == list(range(1, 101))
        assert len(truth.runs()) == 1

    @pytest.mark.parametrize("seen", [0, 2, 11, 38])
    def test_by_a_kill_anywhere_loses_and_doubles_nothing(self, tmp_path, uri, truth, seen):
        """The kill comes as soon as MLflow has that many runs."""
        root = tmp_path / "study"
        process, pid = parent(root, uri, steps=200)
        for number in range(1, 40):
            with Record(root / str(number)) as record:
                record.append("started", name=f"trial {number}", params={"n": number})
                record.metrics(1, {"x": 1.0})
                record.append("finished", outcome="complete", artifacts=["record.jsonl"])
        count = "SELECT COUNT(*) FROM runs"
        until(lambda: truth.select(count)[0][0] >= seen)
        os.kill(pid, signal.SIGKILL)
        process.kill()
        process.wait()
        assert sync(root, uri, "hrm_sweep").runs == 0
        assert [row[1] for row in truth.metrics("trial")] == list(range(1, 201))
        statuses = {run.info.run_name: run.info.status for run in truth.runs()}
        assert statuses == {
            "study": "KILLED",
            "trial": "KILLED",
            **{f"trial {number}": "FINISHED" for number in range(1, 40)},
        }
        counts = truth.select("SELECT run_uuid, COUNT(*) FROM metrics GROUP BY 1 ORDER BY 2 DESC")
        assert [count for _, count in counts] == [200] + [1] * 39


class TestSync:
    def test_sends_a_study_that_nobody_sent(self, tmp_path, uri, truth):
        died = (
            "import sys; from pathlib import Path; from hrm_sweep.runs.record import Record\n"
            "record = Record(Path(sys.argv[1])); record.append('started', name='run')\n"
            "record.metrics(1, {'x': 1.0})"
        )
        subprocess.run([sys.executable, "-c", died, str(tmp_path / "run")], check=True)
        assert sync(tmp_path / "run", uri, "hrm_sweep") == Backlog(sent=1)
        assert truth.run("run").info.status == "KILLED"
        assert str(sync(tmp_path / "run", uri, "hrm_sweep")) == "everything is in MLflow"

    def test_sends_everything_again_after_the_database_was_thrown_away(self, tmp_path, uri):
        with Record(tmp_path / "run") as record:
            record.append("started", name="run")
            record.metrics(1, {"x": 1.0})
            record.append("finished", outcome="complete")
        sync(tmp_path / "run", uri, "hrm_sweep")
        shutil.rmtree(tmp_path / "mlruns")
        assert sync(tmp_path / "run", uri, "hrm_sweep") == Backlog(sent=1)
        assert len(Truth(uri).metrics("run")) == 1

    def test_leaves_a_study_to_the_process_that_sends_it(self, tmp_path, uri):
        process, pid = parent(tmp_path / "study", uri, steps=1)
        until((tmp_path / "study" / ".mlflow.lock").exists)
        with Record(tmp_path / "study" / "1") as record:
            record.append("started", name="never sent, because its line is not whole")
        os.kill(pid, signal.SIGSTOP)
        with Record(tmp_path / "study" / "1") as record:
            record.metrics(1, {"x": 1.0})
        backlog = sync(tmp_path / "study", uri, "hrm_sweep")
        os.kill(pid, signal.SIGCONT)
        process.kill()
        process.wait()
        assert "another process is sending these runs" in backlog.reason
        until(lambda: is_gone(pid))


def test_two_thousand_finished_trials_cost_little(tmp_path, uri, truth):
    root = tmp_path / "study"
    with Record(root / "0") as record:
        record.append("started", name="0")
        record.append("finished", outcome="complete")
    with Record(root) as study:
        study.append("started", name="study")
        assert sync(root, uri, "hrm_sweep").runs == 0
        for number in range(1, 2000):  # sent as well, says their cursor
            shutil.copytree(root / "0", root / str(number))
        exporter = ExporterProcess(root, uri, "hrm_sweep")
        with Record(root / "2000") as record:
            record.append("started", name="the last")
            until(lambda: len(truth.runs()) == 3)
            pid = exporter._process.pid
            begin = cpu_seconds(pid)
            assert begin < 3 * cpu_seconds_of_an_import()
            time.sleep(5)
            assert cpu_seconds(pid) - begin < begin / 4
            record.metrics(1, {"x": 1.0})
            until(lambda: truth.metrics("the last"))
            with Record(root / "1234") as again:
                again.append("started", name="1234")
                until(lambda: truth.run("0").info.status == "RUNNING")
                again.append("finished", outcome="failed")
            record.append("finished", outcome="complete")
        study.append("finished", outcome="complete")
    assert exporter.close().runs == 0


def cpu_seconds(pid: int) -> float:
    used = psutil.Process(pid).cpu_times()
    return used.user + used.system


def cpu_seconds_of_an_import() -> float:
    """What the process needs before it can look at anything: a measure of the machine's speed."""
    script = "import time, hrm_sweep.tracking.exporter; print(time.process_time())"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True)
    return float(done.stdout)
