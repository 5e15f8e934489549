"""Studies under Hydra's own launcher and its plugins, which take trials in batches."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from composed import IN_SECONDS
from studies import PATIENCE_SECONDS, awaiting, endings, sweep, until

pytestmark = pytest.mark.usefixtures("in_a_folder_of_its_own")


def test_trials_are_printed_as_they_end_while_their_batch_runs(start):
    running = start("hydra/launcher=basic", "+x=1,2", awaiting("go", [2]))
    until(lambda: "trial 0  x=1" in running.printed and "done in" in running.printed)
    assert endings(1) == []
    Path("go").touch()
    assert running.ends() == 0, running.printed
    lines = re.findall(r"^trial (\d)  .*done in", running.printed, re.M)
    assert lines == ["0", "1"]
    assert "· in batches of 2: hydra/launcher=basic" in running.printed


LAUNCHERS = [
    pytest.param(["hydra/launcher=basic"], "one at a time: hydra/launcher=basic", id="basic"),
    pytest.param(
        ["hydra/launcher=joblib", "hydra.launcher.n_jobs=2"],
        "in batches of 2: hydra/launcher=joblib",
        id="joblib",
        marks=pytest.mark.slow,
    ),
    pytest.param(
        ["hydra/launcher=submitit_local", "hydra.launcher.cpus_per_task=1000"],
        "one at a time: hydra/launcher=submitit_local",
        id="submitit_local",
        marks=pytest.mark.slow,
    ),
    pytest.param(
        ["hydra/launcher=submitit_local", "hydra.sweeper.max_batch_size=3"],
        "in batches of 3: hydra/launcher=submitit_local",
        id="a batch size",
        marks=pytest.mark.slow,
    ),
]


@pytest.mark.parametrize(("launcher", "words"), LAUNCHERS)
def test_a_search_runs_in_batches_as_wide_as_the_launcher(launcher, words):
    done = sweep(*launcher, "+x=interval(0,4)", "hydra.sweeper.n_trials=3")
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"Search of 3 trials, proposed by TPESampler · {words}\n" in done.stdout
    logs = sorted(str(path.parent.name) for path in Path("multirun/study").glob("*/run.log"))
    assert logs == ["0", "1", "2"]


@pytest.mark.slow
@pytest.mark.parametrize(
    "launcher",
    [
        pytest.param(["hydra/launcher=basic"], id="basic"),
        pytest.param(["hydra/launcher=joblib", "hydra.launcher.n_jobs=2"], id="joblib"),
        pytest.param(["hydra/launcher=submitit_local"], id="submitit_local"),
    ],
)
def test_the_shipped_app_trains_under_them(launcher):
    typed = ["-m", "lr=1e-3,5e-4", *IN_SECONDS, "tracking=off", "study.name=s", *launcher]
    done = subprocess.run(
        [sys.executable, "-m", "hrm_sweep", *typed],
        capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"Grid of 2, every point once · in batches of 2: {launcher[0]}\n" in done.stdout
    assert ": 2 complete" in done.stdout
    assert len([*Path("multirun/s").glob("*/run.log")]) == 2
