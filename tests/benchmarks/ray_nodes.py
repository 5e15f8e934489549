"""How busy two nodes of a Ray cluster are with trials of unequal length.

`python tests/benchmarks/ray_nodes.py` runs 12 trials of 4 to 15 seconds on two nodes of one CPU,
under a head without CPUs, with the study's folder hidden from the nodes.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from ray_cluster import RayCluster

APP = Path(__file__).with_name("unequal.py")
NUM_NODES, NUM_TRIALS = 2, 12
LENGTHS = "9,5,12,4,15,7,10,6,13,8,11,14"


def main() -> None:
    """Print when each trial ran, the share of the time in which nodes had one, and the gaps."""
    folder = Path(tempfile.mkdtemp(prefix="ray_nodes"))
    cluster = RayCluster()
    for _ in range(NUM_NODES):
        cluster.add_node(hidden=folder)
    flags = [
        *("-m", "hydra/sweeper=hrm_sweep", "hydra/launcher=ray", f"+seconds={LENGTHS}"),
        *("+x=0", f"hydra.launcher.address={cluster.address}", "hydra.sweep.dir=multirun/study"),
        "hydra.sweeper.tracking.name=off",
    ]
    try:
        subprocess.run([sys.executable, str(APP), *flags], cwd=folder, check=True)
    finally:
        cluster.close()
    spans = sorted(_span(path) for path in folder.glob("multirun/study/*/record.jsonl"))
    first, last = spans[0][0], max(end for _, end in spans)
    worked = sum(end - begin for begin, end in spans)
    latest_begin = spans[-1][0]
    full = sum(max(0.0, min(end, latest_begin) - begin) for begin, end in spans)
    print(
        f"{len(spans)} trials, {worked:.1f} s of work in {last - first:.1f} s on {NUM_NODES} nodes"
    )
    print(f"busy from the first start to the last end: {worked / (last - first) / NUM_NODES:.1%}")
    print(f"busy until no trial was left to start: {full / (latest_begin - first) / NUM_NODES:.1%}")
    starts, ends = [begin for begin, _ in spans][NUM_NODES:], sorted(end for _, end in spans)
    gaps = [start - end for start, end in zip(starts, ends, strict=False)]
    print(f"from a trial's end to the next one's start: {min(gaps):.2f} to {max(gaps):.2f} s")


def _span(path: Path) -> tuple[float, float]:
    """Return when a trial started and when it ended, in seconds."""
    entries = [json.loads(line) for line in path.read_text().splitlines()]
    return entries[0]["time"] / 1000, entries[-1]["time"] / 1000


if __name__ == "__main__":
    main()
