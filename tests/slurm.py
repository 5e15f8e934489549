"""A Slurm for tests: Debian's on one node where it is installed, and a fake of its commands."""

from __future__ import annotations

import getpass
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from studies import until

FAKE = Path(__file__).parent / "fake_slurm.py"
PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch")
SBIN = ":/usr/sbin:/sbin"
CONFIG = """
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
AuthInfo=socket={folder}/munge/socket
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
SlurmdParameters=config_overrides
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
MailProg=/bin/true
ReturnToService=2
SchedulerParameters=sched_interval=1,bf_interval=1,batch_sched_delay=0
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
KillWait=10
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/none
NodeName=n1 NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[1]} CPUs=4 RealMemory=1000
PartitionName=normal Nodes=n1 Default=YES PriorityTier=1 GraceTime=60 MaxTime=INFINITE
PartitionName=urgent Nodes=n1 PriorityTier=2 MaxTime=INFINITE
"""


class Cluster:
    """A queue, by the commands of Slurm on the path of this process."""

    _old = 0
    """The last job before this test: Slurm remembers jobs that have ended."""

    def begin(self) -> None:
        """Counts only jobs that are submitted from now on."""
        self._old = max(map(int, self.states()), default=self._old)

    def states(self) -> dict[str, str]:
        """State of each job by its id."""
        return dict(line.split("|")[:2] for line in self._squeue())

    def number_of(self, job: str) -> int:
        """The trial that a job is for."""
        name = next(line.split("|")[2] for line in self._squeue() if line.startswith(f"{job}|"))
        return int(name.split(".")[1])

    def job_of(self, number: int) -> str:
        """The last job of a trial."""
        jobs = [line.split("|") for line in self._squeue()]
        return next(job for job, _, name in reversed(jobs) if name.split(".")[1] == str(number))

    def running(self) -> list[str]:
        return [job for job, state in self.states().items() if state == "RUNNING"]

    def cancel(self, *words: str) -> None:
        _run("scancel", *words)

    def clear(self) -> None:
        """Ends all jobs."""
        left = [job for job, state in self.states().items() if state in ("PENDING", "RUNNING")]
        for signal in ("--signal=KILL", "--quiet"):
            if left:
                self.cancel(signal, *left)

    def _squeue(self) -> list[str]:
        form = ["--noheader", "--states=all", "--format=%i|%T|%j"]
        lines = {int(line.split("|")[0]): line for line in _run("squeue", *form).splitlines()}
        return [lines[job] for job in sorted(lines) if job > self._old]


class Fake(Cluster):
    """Commands that run jobs as processes of this machine."""

    is_real = False

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "fake-slurm"
        commands = self.folder / "bin"
        commands.mkdir(parents=True)
        for name in ("sbatch", "squeue", "scancel", "srun"):
            (commands / name).write_text(f'#!/bin/sh\nexec {sys.executable} {FAKE} {name} "$@"\n')
            (commands / name).chmod(0o755)
        path = f"{commands}:{os.environ['PATH']}"
        self.environment = {"FAKE_SLURM": str(self.folder), "PATH": path}

    def hold(self) -> None:
        """Lets no further job begin, by a file without content: it is never read half-written."""
        (self.folder / "held").touch()

    def release(self) -> None:
        (self.folder / "held").unlink(missing_ok=True)


class Real(Cluster):
    """Slurm on one node."""

    is_real = True

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for name in ("munge", "state", "spool"):
            (folder / name).mkdir(mode=0o700)
        (folder / "munge/key").write_bytes(os.urandom(64))
        (folder / "munge/key").chmod(0o600)
        host = socket.gethostname().partition(".")[0]
        content = CONFIG.format(
            host=host, ports=_free_ports(2), folder=folder, user=getpass.getuser()
        )
        (folder / "slurm.conf").write_text(content)
        path = os.environ["PATH"] + SBIN
        self.environment = {"SLURM_CONF": str(folder / "slurm.conf"), "PATH": path}

    @contextmanager
    def runs(self) -> Iterator[None]:
        """Starts its three services, and ends them."""
        munge = self.folder / "munge"
        files = {"socket": "socket", "key-file": "key", "pid-file": "pid", "log-file": "log"}
        where = [f"--{option}={munge / name}" for option, name in files.items()]
        services = [
            self._start("munged", "--foreground", "--force", *where, f"--seed-file={munge}/seed"),
        ]
        try:
            until((munge / "socket").exists)
            services.append(self._start("slurmctld", "-D", "-c"))
            services.append(self._start("slurmd", "-D", "-N", "n1"))
            until(lambda: "idle" in _run("sinfo", "--noheader", env=self._all(), check=False))
            yield
        finally:
            for service in reversed(services):
                service.terminate()
                service.wait()

    def hold(self) -> None:
        """Lets no further job begin."""
        _run("scontrol", "update", "partition=normal", "state=down")

    def release(self) -> None:
        _run("scontrol", "update", "partition=normal", "state=up")

    def _start(self, *words: str) -> subprocess.Popen[bytes]:
        with (self.folder / f"{words[0]}.out").open("wb") as printed:
            return subprocess.Popen(words, stdout=printed, stderr=printed, env=self._all())

    def _all(self) -> dict[str, str]:
        return {**os.environ, **self.environment}


def why_not_real() -> str:
    """Why there cannot be a real Slurm here; "": there can."""
    path = os.environ["PATH"] + SBIN
    lacking = [name for name in PROGRAMS if shutil.which(name, path=path) is None]
    if lacking:
        return f"needs {', '.join(lacking)}: apt install slurmctld slurmd munge slurm-client"
    return "" if os.geteuid() == 0 else "slurmd needs root"


def _free_ports(number: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(number)]
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


def _run(*words: str, env: dict[str, str] | None = None, check: bool = True) -> str:
    done = subprocess.run(words, capture_output=True, text=True, env=env, check=False)
    assert not check or done.returncode == 0, done.stderr
    return done.stdout
