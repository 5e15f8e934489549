"""`python -m tests.chaos`: throw faults at studies until there were enough of them.

The folder keeps the outcome of each study in `episodes.jsonl`, so the same command continues a run
that was stopped, and the folder of each study that did not come out clean.
"""

from __future__ import annotations

import argparse
import json
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.chaos.episode import Episode, Runner, possible_faults
from tests.chaos.scenarios import Scenario
from tests.chaos.snapshot import Snapshot
from tests.chaos.table import markdown


def main() -> None:
    """Run what the command line asks for; exit with 1 if anything was lost, doubled or wrong."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--faults", type=int, default=100, help="how many to throw")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", default="", help="part of the names of the faults to throw")
    parser.add_argument("--jobs", type=int, default=2, help="studies at once")
    parser.add_argument("--folder", type=Path, default=Path("chaos"))
    parser.add_argument("--table", type=Path, help="a Markdown file that gets the table")
    arguments = parser.parse_args()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    log = arguments.folder.absolute() / "episodes.jsonl"
    episodes = [Episode(**json.loads(line)) for line in _lines(log)]
    faults, missing = possible_faults(arguments.only)
    for text in missing:
        print(f"left out: {text}")
    done = {(episode.seed, episode.number) for episode in episodes}
    lock, numbers = threading.Lock(), iter(range(1 << 30))
    references: dict[Scenario, Snapshot] = {}
    shared = references, threading.Lock()

    def work(job: int) -> None:
        runner = Runner(log.parent / f"job-{job}", references=shared)
        try:
            while True:
                with lock:
                    if sum(episode.num_faults for episode in episodes) >= arguments.faults:
                        return
                    number = next(n for n in numbers if (arguments.seed, n) not in done)
                episode = runner.run(arguments.seed, number, faults[number % len(faults)])
                with lock:
                    episodes.append(episode)
                    with log.open("a") as file:
                        file.write(f"{episode.to_json()}\n")
                    print(_line(episode, sum(each.num_faults for each in episodes)), flush=True)
        finally:
            runner.close()

    with ThreadPoolExecutor(arguments.jobs) as pool:
        for future in [pool.submit(work, job) for job in range(arguments.jobs)]:
            future.result()
    table = markdown(episodes)
    print(f"\n{table}")
    if arguments.table:
        arguments.table.write_text(table)
    sys.exit(0 if all(episode.is_clean for episode in episodes) else 1)


def _lines(path: Path) -> Iterator[str]:
    if path.exists():
        yield from path.read_text().splitlines()


def _line(episode: Episode, num_faults: int) -> str:
    head = f"{num_faults:5}  {episode.number:4}  {episode.fault} ({episode.num_faults} times"
    parts = [f"{head}; {episode.scenario})  {episode.seconds:.0f} s"]
    for name in ("lost", "doubled", "wrong", "left"):
        parts += [f"        {name}: {text[:400]}" for text in getattr(episode, name)]
    return "\n".join(parts)


if __name__ == "__main__":
    main()
