"""What tracking costs a training, and what is left of it after kill -9; beside mlflow.log_metrics.

    python tests/benchmarks/tracking.py [--write FILE]

Each side trains the same recipe in a process of its own, on one thread, and takes its turn in every
round. `plain` keeps nothing. `record` is tracking=off. `ours` is the record and the exporter that
sends it to MLflow meanwhile. `log_metrics` calls MLflow in the training loop, `async` with its
asynchronous logging. All of a side runs on the cores that this command was given: with
`taskset -c 0` in front, the exporter takes its time from the training.
"""

from __future__ import annotations

import argparse
import json
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from machine import described

from hrm_sweep.compat.hydra import VERSION_BASE
from hrm_sweep.system import process
from hrm_sweep.tracking import store

RECIPE = ("epochs=6", "data.num_puzzles=100", "data.num_eval_puzzles=32")
ROUNDS = 2
KILLED_AT = 4
PLACES = ("SQLite", "server")
TRACKED = [f"{side}, {place}" for side in ("ours", "log_metrics", "async") for place in PLACES]
SIDES = ["plain", "record", *TRACKED]
Log = Callable[[int, Mapping[str, float]], None]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", type=Path, help="also write the tables to this Markdown file")
    parser.add_argument("--side", nargs=3, metavar=("SIDE", "FOLDER", "URI"), help="used by itself")
    arguments = parser.parse_args()
    if arguments.side:
        return train(arguments.side[0], Path(arguments.side[1]), arguments.side[2])
    with tempfile.TemporaryDirectory() as folder:
        lines = [*described(), "", *tables(Path(folder))]
    print("\n".join(lines))
    if arguments.write:
        arguments.write.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return None


def tables(folder: Path) -> Iterator[str]:
    database = folder / "sqlite" / "mlflow.db"
    database.parent.mkdir()
    store.build(database)
    with server(folder / "server") as address:
        uris = {"SQLite": f"sqlite:///{database}", "server": address}
        yield from costs(folder, uris)
        yield ""
        yield from remains(folder, uris)


def costs(folder: Path, uris: Mapping[str, str]) -> Iterator[str]:
    """Of the training loop, from the first step to the last value that it handed over."""
    told: dict[str, list[dict[str, float]]] = {side: [] for side in SIDES}
    for number in range(ROUNDS):
        for side in SIDES:
            process = start(side, folder / f"{side} {number}", uris)
            told[side].append(json.loads(process.communicate()[0].splitlines()[-1]))
    plain = min(turn["seconds"] for turn in told["plain"])
    yield "| side | training | to plain | handing over values | of the training |"
    yield "|---|---|---|---|---|"
    for side, turns in told.items():
        seconds = min(turn["seconds"] for turn in turns)
        logging = statistics.median(turn["logging"] for turn in turns)
        share = statistics.median(turn["logging"] / turn["seconds"] for turn in turns)
        yield (
            f"| {side} | {seconds:.2f} s | {seconds / plain:.3f} | {1000 * logging:.1f} ms "
            f"| {100 * share:.2f} % |"
        )


def remains(folder: Path, uris: Mapping[str, str]) -> Iterator[str]:
    """The process gets SIGKILL as soon as it says that some epoch's values were handed over."""
    from mlflow import MlflowClient

    from hrm_sweep.tracking.exporter_process import sync

    yield "| after kill -9 | epochs handed over | epochs in MLflow | status in MLflow |"
    yield "|---|---|---|---|"
    for side in TRACKED:
        place = folder / f"{side} killed"
        process = start(side, place, uris)
        assert process.stdout is not None
        handed = next(int(line) for line in process.stdout if int(line) == KILLED_AT)
        process.send_signal(signal.SIGKILL)
        process.wait()
        uri = uris[side.partition(", ")[2]]
        if side.startswith("ours"):
            sync(place, uri, side)
        client = MlflowClient(uri)
        experiment = client.get_experiment_by_name(side)
        newest = client.search_runs([experiment.experiment_id], order_by=["start_time DESC"])[0]
        known = client.get_metric_history(newest.info.run_id, "eval/loss")
        yield f"| {side} | {handed} | {len(known)} | {newest.info.status} |"


def start(side: str, folder: Path, uris: Mapping[str, str]) -> subprocess.Popen[str]:
    uri = uris.get(side.partition(", ")[2], "")
    command = [sys.executable, __file__, "--side", side, str(folder), uri]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def train(side: str, folder: Path, uri: str) -> None:
    """One side's process: prints each epoch that was handed over, then what it took."""
    process.limit_threads(1)
    trainer = our_trainer()
    inside = 0.0
    with logger(side, folder, uri) as log:
        begin = time.perf_counter()
        for measurement in trainer.epochs():
            handing = time.perf_counter()
            log(measurement.step, measurement.values)
            inside += time.perf_counter() - handing
            print(measurement.step, flush=True)
        seconds = time.perf_counter() - begin
    print(json.dumps({"seconds": seconds, "logging": inside}))


def our_trainer() -> Any:
    import hydra

    from hrm_sweep.hrm import config
    from hrm_sweep.hrm.data import build_task
    from hrm_sweep.hrm.models.build import build_model
    from hrm_sweep.hrm.training.trainer import Trainer

    config.register_resolvers()
    with hydra.initialize_config_dir(str(config.CONF), **VERSION_BASE):
        made = config.build(hydra.compose("config", list(RECIPE)))
    task = build_task(made.data, seed=0)
    model = build_model(made.model, task)
    return Trainer(model, task, made.optimizer, made.trainer, batch_size=4, seed=0)


@contextmanager
def logger(side: str, folder: Path, uri: str) -> Iterator[Log]:
    if side == "plain":
        yield lambda *_: None
    elif side.startswith(("record", "ours")):
        with ours(side, folder, uri) as log:
            yield log
    else:
        with theirs(side, uri) as log:
            yield log


@contextmanager
def ours(side: str, folder: Path, uri: str) -> Iterator[Log]:
    from hrm_sweep.runs import handle as trial
    from hrm_sweep.tracking.exporter_process import ExporterProcess

    exporter = ExporterProcess(folder, uri, side) if uri else None
    with trial.session(folder, kind="train", name=side, params={}, tags={}) as handle:
        yield lambda step, values: handle.log(values, step=step)
    if exporter:
        assert exporter.close().runs == 0


@contextmanager
def theirs(side: str, uri: str) -> Iterator[Log]:
    import mlflow

    mlflow.set_tracking_uri(uri)
    mlflow.set_experiment(side)
    if side.startswith("async"):
        mlflow.config.enable_async_logging()
    with mlflow.start_run():
        yield lambda step, values: mlflow.log_metrics(dict(values), step=step)


@contextmanager
def server(folder: Path) -> Iterator[str]:
    """A real `mlflow server` on a database of its own."""
    folder.mkdir()
    store.build(folder / "mlflow.db")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "mlflow", "server", "--workers", "1"),
            *("--backend-store-uri", f"sqlite:///{folder}/mlflow.db", "--port", str(port)),
            *("--artifacts-destination", str(folder / "files")),
        ],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    address = f"http://127.0.0.1:{port}"
    try:
        for _ in range(600):
            try:
                urllib.request.urlopen(f"{address}/health", timeout=2).close()
                break
            except OSError:
                time.sleep(0.1)
        yield address
    finally:
        process.terminate()
        process.wait()


if __name__ == "__main__":
    main()
