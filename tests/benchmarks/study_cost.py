"""What a study costs beside its training: `python tests/benchmarks/study_cost.py`.

Cost of a trial: wall time of a study of many trials that only log, less that of a study of a few,
by the trials between; everything is in Optuna and MLflow at the end. The usual stack (Hydra 1.4's
release candidate with its Optuna sweeper, the joblib launcher, MLflow on SQLite) gets an
environment of its own. Busy: share of two workers' time inside a trial, from the first trial's
begin until the last one was begun. Prints markdown; runs for several minutes and wants two cores
for itself.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
import venv
from pathlib import Path

from hrm_sweep import runtime
from hrm_sweep.tracking import record

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
MAKE_DATABASE = """
import mlflow
mlflow.set_tracking_uri("sqlite:///mlruns/mlflow.db")
mlflow.set_experiment("peer")
"""
PEER_PACKAGES = [
    *("hydra-core==1.4.0rc3", "hydra-optuna-sweeper==1.4.0rc3", "hydra-joblib-launcher==1.4.0rc3"),
    "mlflow>=3.17.2",
]


def seconds(command: list[str], folder: Path) -> float:
    """How long it takes; its folder is new, but for MLflow's database: two workers of the usual
    stack that open a fresh one at once destroy it."""
    (folder / "mlruns").mkdir(parents=True)
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    if Path(command[1]).name.startswith("peer"):
        subprocess.run([command[0], "-c", MAKE_DATABASE], cwd=folder, env=environment, check=True)
    begin = time.monotonic()
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, check=False)
    took = time.monotonic() - begin
    if done.returncode:
        sys.exit(done.stderr.decode()[-3000:])
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


def flatness(study: Path, parts: int) -> list[float]:
    """Milliseconds a trial, for each part of the study."""
    begins = [begin for begin, _ in spans(study)]
    size = len(begins) // parts
    return [
        1000 * (begins[(part + 1) * size - 1] - begins[part * size]) / (size - 1)
        for part in range(parts)
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=100, help="trials of a study that only logs")
    parser.add_argument("--long", type=int, default=2000, help="trials of the long study; 0: none")
    parser.add_argument("--peer", type=Path, default=None, help="environment of the usual stack")
    arguments = parser.parse_args()
    machine = runtime.environment()
    print(
        f"{machine['cpu']}, {machine['cores']} cores, load {os.getloadavg()[0]:.1f} at the begin\n"
    )
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
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
        if arguments.long:
            space = f"+x=range(0,{arguments.long})"
            seconds(ours("logger.py", space), folder / "long")
            parts = flatness(folder / "long/multirun/study", 4)
            shown = ", ".join(f"{part:.0f}" for part in parts)
            print(f"\n{arguments.long} trials, milliseconds a trial by quarters: {shown}")


if __name__ == "__main__":
    main()
