from pathlib import Path

import pytest

from hrm_sweep.compat import submitit
from hrm_sweep.launch.slurm_config import SlurmConfig

submitit_slurm = pytest.importorskip("submitit.slurm.slurm")


def test_a_script_has_the_options_and_runs_the_command_by_srun():
    options = {
        **{"job_name": "study.3", "time": 5, "mem": "512M", "partition": None},
        **{"setup": ["module load cuda"], "signal_delay_s": 90},
        "additional_parameters": {"no-requeue": True, "nice": 100},
    }
    lines = submitit.batch_script("python -c x", Path("/shared/100%"), options).splitlines()
    assert lines[0] == "#!/bin/bash"
    flags = {line for line in lines if line.startswith("#SBATCH")}
    assert flags >= {
        *("#SBATCH --job-name=study.3", "#SBATCH --time=5", "#SBATCH --mem=512M"),
        *("#SBATCH --no-requeue", "#SBATCH --nice=100", "#SBATCH --open-mode=append"),
        *("#SBATCH --signal=USR2@90", "#SBATCH --output=/shared/100%%/%j_0_log.out"),
    }
    assert not any("partition" in flag or "error" in flag for flag in flags)
    srun = "srun --unbuffered --output /shared/100%%/%j_%t_log.out python -c x"
    assert lines.index("module load cuda") < lines.index(srun)


def test_the_output_of_a_job_is_where_its_script_says():
    assert submitit.output_of(Path("/shared"), "12") == Path("/shared/12_0_log.out")


def test_each_option_of_the_launcher_is_one_of_submitit():
    assert {*SlurmConfig().options("name")} <= {*submitit_slurm._get_default_parameters()}


def test_the_signal_before_the_time_limit_is_that_of_the_script():
    assert f"SIG{submitit_slurm.SlurmJobEnvironment.USR_SIG}" == submitit.TIME_IS_UP
