"""Swept keys that feed the sweep's own settings are refused; the others may be swept."""

import subprocess
import sys
from pathlib import Path

import pytest
from paths import TESTS
from studies import PATIENCE_SECONDS

FOREIGN = [
    str(TESTS / "apps" / "detector.py"),
    *("-m", "hydra/sweeper=hrm_sweep", "hydra/launcher=pool", "hydra.sweep.dir=multirun/study"),
    *("hydra.sweeper.study_name=study", "hydra.sweeper.tracking.name=off"),
]
SHIPPED = ["-m", "study.name=study", "tracking=off", "trainer=smoke"]
FILES = {
    "sweeps": "hydra: {sweeper: {params: {lr: '1e-3,1e-4'}}}",
    "workers": "hydra: {launcher: {workers: 77}}",
    "threefold": "study: {repeats: 2}",
    "plain": "lr: 5e-4",
}

pytestmark = pytest.mark.usefixtures("in_a_folder_of_its_own")


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments],
        capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=False,
    )  # fmt: skip


def assert_refused(done: subprocess.CompletedProcess[str], override: str, setting: str) -> None:
    assert done.returncode == 2, done.stdout + done.stderr
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"{override}: changes {setting.removeprefix('hydra.')}")
    assert (
        "of Hydra's config, which is one setting for all trials of a study; give it one value"
        in line
    )
    assert not Path("multirun/study").exists()


@pytest.mark.parametrize(
    ("swept", "override", "setting"),
    [
        pytest.param("study.repeats=1,2", "study.repeats=2", "sweeper.repeats", id="repeats"),
        pytest.param("study.workers=78,77", "study.workers=78", "launcher.workers", id="workers"),
        pytest.param(
            "tracking=off,mlflow", "tracking=mlflow batch_size=4", "sweeper.tracking",
            id="what was typed before",
        ),
        pytest.param(
            "study/pruner=none,median", "study/pruner=median", "sweeper.pruner", id="pruner"
        ),
        pytest.param(
            "study.max_attempts=range(2,5)", "study.max_attempts=2", "sweeper.max_attempts",
            id="range",
        ),
        pytest.param(
            "study.timeout=interval(1,5)", "study.timeout=1.0", "sweeper.timeout", id="interval"
        ),
        pytest.param("study.name=a,b", "study.name=a", "", id="name, and the folder by it"),
        pytest.param(
            "experiment=plain,sweeps", "experiment=sweeps", "sweeper.params", id="a file's space"
        ),
        pytest.param(
            "experiment=threefold,plain", "experiment=threefold", "sweeper.repeats",
            id="a file's setting",
        ),
        pytest.param(
            "experiment=workers,plain", "experiment=workers", "launcher.workers",
            id="a file's launcher",
        ),
    ],
)  # fmt: skip
def test_the_shipped_app_names_its_own_key(swept, override, setting):
    folder = Path("conf/experiment")
    folder.mkdir(parents=True)
    for name, text in FILES.items():
        (folder / f"{name}.yaml").write_text(f"# @package _global_\n{text}\n")
    files = ("-m", "hrm_sweep", "--config-dir", str(folder.parent.absolute()))
    done = run(*files, *SHIPPED, swept, "batch_size=4,8")
    assert_refused(done, override, f"hydra.{setting}" if setting else "hydra.")


@pytest.mark.parametrize(
    ("overrides", "override", "setting"),
    [
        pytest.param(
            ["hydra.sweeper.max_failure_rate=${hydration}", "hydration=0,0.5"], "hydration=0.5",
            "hydra.sweeper.max_failure_rate", id="a key that the task reads too",
        ),
        pytest.param(
            ["hydra.sweep.dir=multirun/${returns}", "returns=float,text"], "returns=text",
            "hydra.sweep.dir", id="the study's folder",
        ),
        pytest.param(
            ["+hydra.sweeper.params={hydra.sweep.subdir: 'a,b'}"], "hydra.sweep.subdir=a",
            "hydra.sweep.subdir", id="a trial's folder",
        ),
        pytest.param(
            ["+hydra.sweeper.params={hydra.run.dir: 'a,b'}"], "hydra.run.dir=a",
            "hydra.run.dir", id="the folder of a single run",
        ),
        pytest.param(
            ["+hydra.sweeper.params={hydra.launcher.workers: 2}", "seed=0,1"],
            "hydra.launcher.workers=2", "hydra.launcher.workers", id="one value, in params",
        ),
    ],
)  # fmt: skip
def test_in_another_app_whatever_feeds_a_setting_is_named(overrides, override, setting):
    assert_refused(run(*FOREIGN, *overrides), override, setting)


def test_seeds_are_those_of_a_trial():
    done = run(*FOREIGN, "hydra.sweeper.seed=${seed}", "seed=1,2", "hydra.sweeper.repeats=2")
    assert done.returncode == 0, done.stderr
    assert "2 complete" in done.stdout


def test_a_fixed_override_may_name_what_only_a_trial_has():
    done = run(*FOREIGN, "+x=1,3", "+told=no-${x}", "hydra.sweeper.dry_run=true")
    assert done.returncode == 0, done.stderr
    assert "+x=3 '+told=no-${x}'" in done.stdout or "+x=3 +told=no-${x}" in done.stdout
