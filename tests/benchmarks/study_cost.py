"""What a study costs beside its training: `python tests/benchmarks/study_cost.py`.

Cost of a trial: wall time of a study of many trials that only log, less that of a study of a few,
by the trials between; everything is in Optuna and MLflow at the end. The usual stack (Hydra 1.4's
release candidate with its Optuna sweeper, the joblib launcher, MLflow on SQLite) gets an
environment of its own. Busy: share of two workers' time inside a trial, from the first trial's
begin until the last one was begun. Waits: from the end of a worker's job to the begin of its next.
Memory: resident, of the larger worker, in a study that only logs and in one that trains HRM. Prints
markdown; runs for several minutes and wants two cores for itself.
"""

from __future__ import annotations

import argparse
import itertools
import os
import statistics
import subprocess
import sys
import tempfile
import time
import venv
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil

from hrm_sweep.runs import record
from hrm_sweep.system import environment

HERE = Path(__file__).parent
OURS = [
    *("-m", "hydra/sweeper=hrm_sweep", "hydra/launcher=pool", "hydra.launcher.workers=2"),
    *("hydra.sweep.dir=multirun/study", "hydra.sweeper.study_name=study"),
]
JOBLIB = [
    *("-m", "hydra/sweeper=hrm_sweep", "hydra/launcher=joblib", "hydra.launcher.n_jobs=2"),
    *("hydra.sweep.dir=multirun/study", "hydra.sweeper.study_name=study"),
]
UNTRACKED = "hydra.sweeper.tracking.name=off"
PEER = [
    *("-m", "hydra/sweeper=optuna", "hydra/launcher=joblib", "hydra.launcher.n_jobs=2"),
    *("hydra.sweeper.storage=sqlite:///optuna.db", "hydra.sweeper.study_name=study"),
    *("hydra.sweeper.n_jobs=2", "hydra/sweeper/sampler=grid"),
]
QUARTERS = 4
KINDS = ("sweeper", "worker", "exporter")
MAKE_DATABASE = """
import mlflow
mlflow.set_tracking_uri("sqlite:///mlruns/mlflow.db")
mlflow.set_experiment("peer")
"""
PEER_PACKAGES = [
    *("hydra-core==1.4.0rc3", "hydra-optuna-sweeper==1.4.0rc3", "hydra-joblib-launcher==1.4.0rc3"),
    "mlflow>=3.17.2",
]


def seconds(
    command: list[str], folder: Path, watch: Callable[[subprocess.Popen[bytes]], None] | None = None
) -> float:
    """How long it takes; its folder is new, but for MLflow's database: two workers of the usual
    stack that open a fresh one at once destroy it."""
    (folder / "mlruns").mkdir(parents=True)
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(HERE)}
    if Path(command[1]).name.startswith("peer"):
        subprocess.run([command[0], "-c", MAKE_DATABASE], cwd=folder, env=environment, check=True)
    begin = time.monotonic()
    with (folder / "printed.log").open("wb") as log:
        process = subprocess.Popen(command, cwd=folder, env=environment, stdout=log, stderr=log)
        if watch is not None:
            watch(process)
        code = process.wait()
    took = time.monotonic() - begin
    if code:
        sys.exit((folder / "printed.log").read_text()[-3000:])
    return took


def cost(start: list[str], numbers: tuple[int, int], folder: Path, *, trials: str = "") -> float:
    """Milliseconds for each further trial."""
    few, many = numbers
    took = {}
    for number in numbers:
        space = [f"+x=range(0,{number})", *([f"{trials}={number}"] if trials else [])]
        took[number] = seconds([*start, *space], folder / str(number))
    return 1000 * (took[many] - took[few]) / (many - few)


def ours(app: str, *overrides: str) -> list[str]:
    return [sys.executable, str(HERE / app), *OURS, *overrides]


def logging_study(trials: int) -> list[str]:
    return ours("logger.py", f"+x=range(0,{trials})", "hydra.launcher.preload=[waits]")


def training_study(trials: int) -> list[str]:
    """Short trainings of the default model."""
    short = ["epochs=1", "data.num_puzzles=32", "data.num_eval_puzzles=8"]
    study = ["study.name=study", "study.workers=2", f"seed=range(0,{trials})"]
    return [sys.executable, "-m", "hrm_sweep", "-m", *study, *short]


def peer_python(folder: Path, *more: str) -> str:
    """The interpreter of an environment with the usual stack in it, and what more it needs."""
    if not (folder / "bin" / "python").exists():
        venv.create(folder, with_pip=True)
        pip = [str(folder / "bin" / "python"), "-m", "pip", "install", "--quiet"]
        subprocess.run([*pip, *PEER_PACKAGES, *more], check=True)
    return str(folder / "bin" / "python")


def spans(study: Path) -> list[tuple[float, float]]:
    """When each trial began and ended, in seconds, by their begin."""
    found = []
    for folder in study.glob("[0-9]*"):
        entries = record.read(folder)
        found.append((entries[0].time_ms / 1000, entries[-1].time_ms / 1000))
    return sorted(found)


def busy(study: Path, workers: int) -> float:
    """Share of the workers' time that lies in trials, while there were trials to begin."""
    known = spans(study)
    first, last = known[0][0], known[-1][0]
    inside = sum(min(end, last) - begin for begin, end in known if begin < last)
    return inside / (workers * (last - first))


def long_study(command: list[str], trials: int, folder: Path) -> Iterator[str]:
    """A table of what a trial costs and the processes hold, by quarters of a long study."""
    held: list[dict[str, float]] = []
    study = folder / "multirun" / "study"

    def watch(process: subprocess.Popen[bytes]) -> None:
        while process.poll() is None:
            begun = len(list(study.iterdir())) if study.exists() else 0
            if begun >= (len(held) + 1) * trials / QUARTERS and len(held) < QUARTERS:
                held.append(memory(process.pid))
            time.sleep(0.2)

    seconds(command, folder, watch)
    begins = [begin for begin, _ in spans(study)]
    size = trials // QUARTERS
    yield (
        f"| {trials} trials, by quarters | ms a trial | "
        + " | ".join(f"{kind}, MB" for kind in KINDS)
        + " |"
    )
    yield "|---" * (2 + len(KINDS)) + "|"
    for part, memories in enumerate(held):
        first, last = begins[part * size], begins[(part + 1) * size - 1]
        numbers = [1000 * (last - first) / (size - 1), *(memories[kind] for kind in KINDS)]
        yield f"| {part + 1} | " + " | ".join(f"{number:.0f}" for number in numbers) + " |"
    if waited := sorted(waits(folder)):
        usual, long = statistics.median(waited), waited[int(0.95 * len(waited))]
        yield f"\nA worker waits {1000 * usual:.1f} ms for its next trial (median; 19 of 20 times"
        yield f"less than {1000 * long:.1f} ms)."


def memory(sweeper: int) -> dict[str, float]:
    """Megabytes that each kind of process holds; of several workers the largest."""
    held = {"sweeper": psutil.Process(sweeper).memory_info().rss / 1e6}
    for child in psutil.Process(sweeper).children(recursive=True):
        line = " ".join(child.cmdline())
        kind = (
            "exporter"
            if "exporter" in line
            else "worker"
            if "hrm_sweep.launch." in line
            else "other"
        )
        held[kind] = max(held.get(kind, 0), child.memory_info().rss / 1e6)
    return held


def waits(folder: Path) -> Iterator[float]:
    """Seconds between two jobs of a worker."""
    for notes in folder.glob("*.jobs"):
        jobs = [tuple(map(float, line.split())) for line in notes.read_text().splitlines()]
        for (_, end), (begin, _) in itertools.pairwise(jobs):
            yield begin - end


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--trials", type=int, default=100, help="trials of a study that only logs; 0: none"
    )
    parser.add_argument("--long", type=int, default=2000, help="trials of the long study; 0: none")
    parser.add_argument("--train", type=int, default=500, help="trials that train HRM; 0: none")
    parser.add_argument("--peer", type=Path, default=None, help="environment of the usual stack")
    arguments = parser.parse_args()
    machine = environment.environment()
    print(
        f"{machine['cpu']}, {machine['cores']} cores, load {os.getloadavg()[0]:.1f} at the begin\n"
    )
    # MLflow may still be told of the last trials when a study's folder goes
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name:
        folder = Path(name)
        for study, trials in ((logging_study, arguments.long), (training_study, arguments.train)):
            if trials:
                lines = long_study(study(trials), trials, folder / study.__name__)
                print("\n".join(lines) + "\n", flush=True)
        if not arguments.trials:
            return
        numbers = (arguments.trials // 10, arguments.trials)
        tracked = cost(ours("logger.py"), numbers, folder / "tracked")
        untracked = cost(ours("logger.py", UNTRACKED), numbers, folder / "untracked")
        python = peer_python(arguments.peer or folder / "environment")
        usual = [python, str(HERE / "peer.py"), *PEER]
        peers = cost(usual, numbers, folder / "peer", trials="hydra.sweeper.n_trials")
        print("| a trial that logs 20 epochs, two workers | ms |\n|---|---|")
        print(f"| hrm_sweep, in Optuna and MLflow | {tracked:.0f} |")
        print(f"| hrm_sweep, tracking off | {untracked:.0f} |")
        print(f"| the usual stack | {peers:.0f} |\n")
        print("| 24 trials of 0.5 to 4 s, two workers | busy |\n|---|---|")
        window = ours("unequal.py", UNTRACKED, "+x=range(0,24)")
        seconds(window, folder / "window")
        print(f"| rolling window | {busy(folder / 'window/multirun/study', 2):.1%} |")
        batches = [*JOBLIB, "hydra.sweeper.max_batch_size=2", UNTRACKED, "+x=range(0,24)"]
        seconds([sys.executable, str(HERE / "unequal.py"), *batches], folder / "batches")
        print(f"| batches of two | {busy(folder / 'batches/multirun/study', 2):.1%} |")


if __name__ == "__main__":
    main()
