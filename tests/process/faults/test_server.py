"""Whatever a tracking server and the way to it do: nothing is lost and nothing is doubled."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
from faulty_proxy import FaultyProxy
from studies import until
from tracking_server import TrackingServer

from hrm_sweep.runs.export_state import Backlog, waiting
from hrm_sweep.runs.record import Record
from hrm_sweep.tracking.exporter import Exporter
from hrm_sweep.tracking.exporter_process import ExporterProcess, sync
from hrm_sweep.tracking.exporter_thread import PATIENCE_SECONDS

TRIALS = ("0", "1")
STEPS = 20


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TrackingServer]:
    server = TrackingServer(tmp_path_factory.mktemp("server"))
    try:
        server.wait()
        yield server
    finally:
        server.stop()


@pytest.fixture
def proxy(server: TrackingServer) -> Iterator[FaultyProxy]:
    proxy = FaultyProxy(server.port)
    proxy.up()
    yield proxy
    proxy.down()


def write_study(root: Path, *, trials: Sequence[str] = TRIALS) -> None:
    with Record(root) as study:
        study.append("started", name=f"{root.name} study", kind="study")
        for number in trials:
            with Record(root / number) as record:
                record.append("started", name=f"{root.name} {number}", params={"lr": 0.1})
                record.append("dataset", name="d", train_size=1, eval_size=1, digest="d")
                for step in range(1, STEPS + 1):
                    record.metrics(step, {"a": step, "b": step / 7})
                (root / number / "big.bin").write_bytes(number.encode() * 300_000)
                record.append("finished", outcome="complete", artifacts=["big.bin"])
        study.append("finished", outcome="complete")


def export(root: Path, uri: str, *, experiment: str, seconds: float = 180) -> Backlog:
    exporting = Exporter(root, tracking_uri=uri, experiment=experiment)
    end = time.monotonic() + seconds
    try:
        while True:
            begin = time.monotonic()
            backlog = exporting.step()
            assert time.monotonic() - begin < 60
            if not (backlog.runs or exporting.reason) or time.monotonic() > end:
                return backlog
            time.sleep(0.05)
    finally:
        exporting.close()


def check(server: TrackingServer, root: Path, *, trials: Sequence[str] = TRIALS) -> None:
    """Everything is in MLflow once: runs, values, files, statuses."""
    runs = [run for run in server.runs() if run.info.run_name.startswith(f"{root.name} ")]
    assert Counter(run.info.run_name for run in runs) == {
        f"{root.name} {name}": 1 for name in ("study", *trials)
    }
    assert {run.info.status for run in runs} == {"FINISHED"}
    for number in trials:
        name = f"{root.name} {number}"
        assert [row[:3] for row in server.metrics(name)] == [
            *(("a", step, float(step)) for step in range(1, STEPS + 1)),
            *(("b", step, step / 7) for step in range(1, STEPS + 1)),
        ]
        assert len(server.run(name).inputs.dataset_inputs) == 1
        run_id = server.run(name).info.run_id
        (path,) = server.root.rglob(f"{run_id}/artifacts/big.bin")
        assert path.read_bytes() == number.encode() * 300_000
    assert waiting(root) == Backlog()


def each_once(fault: str, *parts: str) -> Callable[[str, str, bytes], str]:
    """The fault for every different request whose path has one of the parts, the first time."""
    met = set()

    def choose(method: str, path: str, body: bytes) -> str:
        request = (method, path, body)
        if request in met or not any(part in path for part in parts):
            return "pass"
        met.add(request)
        return fault

    return choose


@pytest.mark.parametrize("fault", ["pass", "500", "429", "reset", "lost"])
def test_every_request_fails_once(tmp_path, server, proxy, fault, monkeypatch):
    monkeypatch.setattr("hrm_sweep.tracking.exporter.MAX_DELAY_SECONDS", 0.25)
    root = tmp_path / f"once-{fault}"
    write_study(root, trials=["0"])
    proxy.choose = each_once(fault, "")
    assert export(root, proxy.uri, experiment=root.name).sent == STEPS
    assert fault == "pass" or len(proxy.faults) > 15
    check(server, root, trials=["0"])


@pytest.mark.parametrize(
    ("fault", "part"),
    [("hang", "runs/create"), ("hang", "log-batch"), ("hang", "mlflow-artifacts")],
)
def test_answers_that_do_not_come(tmp_path, server, proxy, fault, part):
    root = tmp_path / f"{fault}-{part.replace('/', '-')}"
    write_study(root, trials=["0"])
    proxy.choose = each_once(fault, part)
    export(root, proxy.uri, experiment=root.name)
    assert proxy.faults
    check(server, root, trials=["0"])


def test_a_run_that_is_created_after_its_creation_was_given_up(tmp_path, server, proxy):
    root = tmp_path / "late"
    write_study(root, trials=["0"])
    proxy.choose = each_once("late", "runs/create")
    export(root, proxy.uri, experiment=root.name)
    check(server, root, trials=["0"])
    proxy.release.set()
    until(lambda: sum("late " in run.info.run_name for run in server.runs()) == 4)
    sync(root, proxy.uri, root.name)
    check(server, root, trials=["0"])


def test_half_an_upload_is_never_a_whole_file(tmp_path, server, proxy):
    root = tmp_path / "half"
    write_study(root)
    seen: list[bytes] = []
    half = each_once("half", "mlflow-artifacts")

    def choose(method: str, path: str, body: bytes) -> str:
        seen.extend(file.read_bytes() for file in server.root.rglob("*/big.bin"))
        return half(method, path, body)

    proxy.choose = choose
    export(root, proxy.uri, experiment=root.name)
    assert len(proxy.faults) == len(TRIALS)
    assert {len(content) for content in seen} <= {300_000}
    check(server, root)


def test_a_server_that_is_down_before_the_start_and_again_later(tmp_path, server, proxy):
    root = tmp_path / "down"
    proxy.down()
    exporter = ExporterProcess(root, proxy.uri, root.name)
    write_study(root)
    time.sleep(4)
    proxy.up()
    until(lambda: any(run.info.run_name == "down 1" for run in server.runs()))
    proxy.down()
    with Record(root / "0") as record:
        record.append("started", name="down 0")
        record.append("finished", outcome="complete", artifacts=["big.bin"])
    time.sleep(3)
    proxy.up()
    until(lambda: waiting(root) == Backlog())
    assert exporter.close().runs == 0
    check(server, root)


def test_a_server_that_is_down_to_the_end_gets_all_by_sync(tmp_path, server, proxy):
    root = tmp_path / "end"
    proxy.down()
    exporter = ExporterProcess(root, proxy.uri, root.name)
    write_study(root)
    begin = time.monotonic()
    backlog = exporter.close()
    assert time.monotonic() - begin < PATIENCE_SECONDS
    assert str(backlog) == (
        f"{len(TRIALS) * STEPS} measurements and 2 files of 3 runs not in MLflow yet "
        f"({proxy.uri}: connection refused)"
    )
    proxy.up()
    assert sync(root, proxy.uri, root.name) == Backlog(sent=len(TRIALS) * STEPS)
    check(server, root)


def test_a_killed_exporter_between_the_faults(tmp_path, server, proxy):
    """Answers get lost, and the process is killed after some of them."""
    root = tmp_path / "killed"
    write_study(root)
    proxy.choose = each_once("lost", "")
    for faults in (6, 13, 20):
        exporter = ExporterProcess(root, proxy.uri, root.name)
        until(lambda faults=faults: len(proxy.faults) >= faults or waiting(root) == Backlog())
        exporter._process.kill()
        exporter._process.wait()
    while sync(root, proxy.uri, root.name).runs:
        pass
    assert len(proxy.faults) > 10
    check(server, root)
