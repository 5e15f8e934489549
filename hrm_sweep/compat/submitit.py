"""Private names of submitit, read in 1.5.4.

tests/unit/compat/test_submitit_canary.py holds each function to what is read here. The jobs of
submitit itself are not used: a job whose process dies ends for it only where `sacct` works.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

TIME_IS_UP = "SIGUSR2"
"""Signal that a job gets `signal_delay_s` seconds before its time limit."""


def batch_script(command: str, folder: Path, options: Mapping[str, Any]) -> str:
    """Return a script for `sbatch` that runs a command of the shell by `srun`.

    Its output goes to `output_of` its job.

    Args:
        options: those of `sbatch` by name, and `setup`, `srun_args`, `signal_delay_s`,
            `additional_parameters` of submitit; None leaves one out.
    """
    from submitit.slurm import slurm

    given = {name: value for name, value in options.items() if value is not None}
    # in a file name %j stands for the job; % of a folder is written twice
    script: str = slurm._make_sbatch_string(
        command, str(folder).replace("%", "%%"), stderr_to_stdout=True, **given
    )
    return script


def output_of(folder: Path, job_id: str) -> Path:
    """Return the file that a job's output goes to."""
    return folder / f"{job_id}_0_log.out"


def is_installed() -> bool:
    """Return whether submitit can be imported."""
    from importlib.util import find_spec

    return find_spec("submitit") is not None
