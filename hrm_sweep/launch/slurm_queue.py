"""Slurm's queue, by its commands: `sbatch`, `squeue` and `scancel`. `sacct` is not needed.

Slurm remembers a job that has ended for some minutes (`MinJobAge`), in which `squeue` tells how.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Collection, Mapping
from typing import NamedTuple

from hrm_sweep.errors import HrmSweepError

COMMANDS = ("sbatch", "squeue", "scancel")
ENDED = frozenset(
    "COMPLETED FAILED CANCELLED TIMEOUT DEADLINE PREEMPTED NODE_FAIL BOOT_FAIL OUT_OF_MEMORY "
    "REVOKED".split()
)
"""States in which a job has no process any more. One that is COMPLETING has."""
SECONDS_OF_A_COMMAND = 60.0
KEPT = ("SLURM_CONF",)
NOT_FOR_JOBS = ("SLURM_", "SRUN_", "SUBMITIT_", "HRM_SWEEP_STORAGE")
"""Beginnings of variables that a driver which is a job itself has, and `srun` in another job would
follow; and the address of the database, which no job needs."""


class SlurmError(HrmSweepError):
    """A command of Slurm failed, or did not answer."""


class JobState(NamedTuple):
    """A job as the queue has it."""

    id: str
    state: str

    @property
    def has_ended(self) -> bool:
        """Whether no process of it is left."""
        return self.state in ENDED


def missing() -> list[str]:
    """Return the commands that are not installed here."""
    return [name for name in COMMANDS if shutil.which(name) is None]


def check(script: str) -> None:
    """Let Slurm check a script, which is not submitted.

    Raises:
        SlurmError: it would be refused.
    """
    _run("sbatch", "--test-only", script=script)


def submit(script: str, variables: Mapping[str, str]) -> str:
    """Submit a job, and return its id.

    Args:
        variables: of its environment, beside those of this process.

    Raises:
        SlurmError: it was refused; or it may be in the queue, if there was no answer.
    """
    return _run("sbatch", "--parsable", script=script, variables=variables).strip().split(";")[0]


def jobs() -> dict[str, JobState]:
    """Return this user's jobs by name, also those that Slurm remembers; of several the newest.

    Raises:
        SlurmError: the queue cannot be seen.
    """
    form = "--format=%i|%T|%j"
    lines = _run("squeue", "--noheader", "--states=all", f"--user={os.getuid()}", form)
    parts = (line.strip().split("|", 2) for line in lines.splitlines() if line.count("|") > 1)
    found = [(name, JobState(job_id, state)) for job_id, state, name in parts]
    return dict(sorted(found, key=lambda job: (len(job[1].id), job[1].id)))


def cancel(job_ids: Collection[str], *, signal: str = "") -> None:
    """Cancel jobs; with a signal, send it to their processes instead.

    Raises:
        SlurmError: it failed. Jobs that have ended are no failure.
    """
    if job_ids:
        _run("scancel", "--quiet", *([f"--signal={signal}"] if signal else []), *job_ids)


def _run(*words: str, script: str = "", variables: Mapping[str, str] | None = None) -> str:
    environment = {
        name: value
        for name, value in os.environ.items()
        if name in KEPT or not name.startswith(NOT_FOR_JOBS)
    }
    try:
        done = subprocess.run(
            words,
            input=script,
            capture_output=True,
            text=True,
            env=environment | dict(variables or {}),
            timeout=SECONDS_OF_A_COMMAND,
            check=False,
            start_new_session=True,  # the terminal's Ctrl-C is the sweep's
        )
    except subprocess.TimeoutExpired:
        raise SlurmError(f"{words[0]}: no answer in {SECONDS_OF_A_COMMAND:.0f} s") from None
    except OSError as error:
        raise SlurmError(f"{words[0]}: {error.strerror}") from error
    if done.returncode != 0:
        said = " ".join(done.stderr.split()) or f"exit code {done.returncode}"
        raise SlurmError(said if words[0] in said else f"{words[0]}: {said}")
    return done.stdout
