"""`sbatch`, `squeue`, `scancel` and `srun` without a cluster: jobs are processes of this machine.

One program under four names. A job has a file in the folder that FAKE_SLURM names, and a keeper
process that waits for a free place, runs the script, and writes how it ended. As in Slurm signals
reach what `srun` has started and not the script, and a job that has ended is remembered.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil

FOLDER = Path(os.environ["FAKE_SLURM"])
PLACES = 4
SECONDS_TO_KILL = 10.0
ENDED = ("COMPLETED", "FAILED", "CANCELLED")


def read(job: str) -> dict:
    return json.loads((FOLDER / f"{job}.json").read_text())


@contextlib.contextmanager
def locked():
    with (FOLDER / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def update(job: str, **fields) -> dict:
    path = FOLDER / f"{job}.json"
    known = (read(job) if path.exists() else {}) | fields
    path.with_suffix(".new").write_text(json.dumps(known))
    path.with_suffix(".new").rename(path)
    return known


def jobs() -> list[dict]:
    return [read(path.stem) for path in sorted(FOLDER.glob("*.json"), key=lambda p: int(p.stem))]


def sbatch(*options: str) -> None:
    script = sys.stdin.read()
    given = dict(re.findall(r"^#SBATCH --([\w-]+)=(.*)$", script, re.M))
    if given.get("partition", "normal") != "normal":
        sys.exit("sbatch: error: invalid partition specified: " + given["partition"])
    if "--test-only" in options:
        return
    if (FOLDER / "refuses").exists():
        sys.exit("sbatch: error: Batch job submission failed: Unable to contact slurm controller")
    with locked():
        job = str(len([*FOLDER.glob("*.sh")]) + 1)
        (FOLDER / f"{job}.sh").write_text(script)
    output = given["output"].replace("%j", job)
    with Path(os.devnull).open("w") as nothing, Path(output).open("ab") as log:
        keeper = [sys.executable, __file__, "keeper", job, given["job-name"]]
        subprocess.Popen(
            keeper, stdin=subprocess.DEVNULL, stdout=log, stderr=nothing, start_new_session=True
        )
    while not (FOLDER / f"{job}.json").exists():
        time.sleep(0.01)
    print(job)


def keeper(job: str, name: str) -> None:
    """Make the job known and run it: a job that is seen runs, even if `sbatch` is killed."""
    with locked():
        update(job, id=job, name=name, state="PENDING")
    while not _begins(job):
        if read(job)["state"] == "CANCELLED":
            return
        time.sleep(0.05)
    environment = {**os.environ, "SLURM_JOB_ID": job}
    script = ["bash", str(FOLDER / f"{job}.sh")]
    running = subprocess.Popen(
        script, env=environment, stderr=subprocess.STDOUT, start_new_session=True
    )
    with locked():
        update(job, pid=running.pid)
    code = running.wait()
    with locked():
        is_cancelled = read(job).get("is_cancelled")
        update(job, state="CANCELLED" if is_cancelled else "FAILED" if code else "COMPLETED")


def _begins(job: str) -> bool:
    if (FOLDER / "held").exists():
        return False
    with locked():
        known = jobs()
        before = [each for each in known if each["state"] == "PENDING"]
        running = [each for each in known if each["state"] in ("RUNNING", "COMPLETING")]
        is_next = before and before[0]["id"] == job and len(running) < PLACES
        if is_next:
            update(job, state="RUNNING")
    return bool(is_next)


def squeue(*_: str) -> None:
    if (FOLDER / "silent").exists():
        sys.exit("squeue: error: Unable to contact slurm controller (connect failure)")
    for job in jobs():
        print(f"{job['id']}|{job['state']}|{job['name']}")


def scancel(*words: str) -> None:
    number = next((w.partition("=")[2] for w in words if w.startswith("--signal=")), "")
    for job in (word for word in words if word.isdigit()):
        with locked():
            known = read(job)
            if known["state"] in ENDED:
                continue
            if not number and known["state"] == "PENDING":
                update(job, state="CANCELLED")
            elif not number:
                known = update(job, state="COMPLETING", is_cancelled=True)
        while known["state"] not in ("PENDING", *ENDED) and "pid" not in known:
            known = read(job)
        if "pid" in known:
            _signal(known["pid"], number or "TERM")
            if not number:
                killer = [sys.executable, __file__, "killer", str(known["pid"])]
                subprocess.Popen(killer, start_new_session=True)


def killer(pid: str) -> None:
    end = time.monotonic() + SECONDS_TO_KILL
    while psutil.pid_exists(int(pid)) and time.monotonic() < end:
        time.sleep(0.05)
    _signal(int(pid), "KILL")


def _signal(script: int, name: str) -> None:
    """To what the script of a job has started; it has to be there to be met."""
    with contextlib.suppress(psutil.NoSuchProcess):
        for process in psutil.Process(script).children(recursive=True):
            with contextlib.suppress(psutil.NoSuchProcess):
                process.send_signal(signal.Signals[f"SIG{name}"])


def srun(*words: str) -> None:
    command = [*words]
    while command[0].startswith("-"):
        del command[: 2 if command[0] in ("--output", "--error") else 1]
    os.execvp(command[0], command)


if __name__ == "__main__":
    globals()[sys.argv[1]](*sys.argv[2:])
