"""How long a study takes to begin: seconds from Enter to the first training step.

    python tests/benchmarks/start.py [ROUNDS]

The study is that of README with more puzzles. It runs in a new folder, where databases are created,
and once more there. A first step begins when the trial's record says how many are expected, which
is the last entry before it. PYTHONPATH selects another checkout to compare with.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from machine import described

from hrm_sweep.runs import record

STUDY = ["lr=1e-4,5e-4,1e-3", "data.num_puzzles=200", "data.num_eval_puzzles=128"]
CASES = {"a new folder": "first", "a folder with databases": "second"}


def main() -> None:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    print("\n".join(described()))
    print("\n| | first step begins | last line |\n|---|---|---|")
    found: dict[str, list[tuple[float, float]]] = {case: [] for case in CASES}
    for _ in range(rounds):
        with tempfile.TemporaryDirectory() as folder:
            for case, name in CASES.items():
                found[case].append(run(Path(folder), name))
    for case, seconds in found.items():
        begins, ends = (statistics.median(column) for column in zip(*seconds, strict=True))
        print(f"| {case} | {begins:.2f} s | {ends:.1f} s |")


def run(folder: Path, name: str) -> tuple[float, float]:
    """Return the seconds until a first step begins and until the command ends."""
    environment = {key: value for key, value in os.environ.items()
                   if key != "PYTHONDONTWRITEBYTECODE"}  # fmt: skip
    typed = [sys.executable, "-m", "hrm_sweep", "-m", *STUDY, f"study.name={name}"]
    start = time.time()
    subprocess.run(typed, cwd=folder, env=environment, check=True, capture_output=True)
    ends = time.time() - start
    entries = [
        entry
        for trial in (folder / "multirun" / name).glob("*/record.jsonl")
        for entry in record.read(trial.parent)
        if entry.event == "expected"
    ]
    return min(entry.time_ms for entry in entries) / 1000 - start, ends


if __name__ == "__main__":
    main()
