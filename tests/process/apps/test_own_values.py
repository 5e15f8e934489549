"""What an app logs and returns, and how a study that asks for something else says so."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from studies import PATIENCE_SECONDS

APP = """
import hydra
from hrm_sweep import trial

@hydra.main(version_base=None, config_path=None)
def main(cfg):
    for step in (1, 2):
        values = {"val/acc_best": cfg.x / 10 + step, "val/loss": cfg.x / step}
        trial.current().log(values, step=step)
    ends = {"nothing": None, "number": cfg.x * 100.0, "dict": {"val/f1": 0.5}}
    return ends[cfg.get("end", "nothing")]

if __name__ == "__main__":
    main()
"""

pytestmark = pytest.mark.usefixtures("in_a_folder_of_its_own")


def run(*overrides: str) -> subprocess.CompletedProcess[str]:
    Path("app.py").write_text(APP)
    flags = ("hydra/sweeper=hrm_sweep", "hydra.sweep.dir=multirun/study")
    untracked = ("hydra.sweeper.study_name=study", "hydra.sweeper.tracking.name=off")
    return subprocess.run(
        [sys.executable, "app.py", "-m", *flags, *untracked, *overrides],
        capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=False,
    )  # fmt: skip


def values(number: int) -> dict[str, float]:
    return json.loads(Path(f"multirun/study/{number}/result.json").read_text())["values"]


def test_an_objective_that_is_only_logged_has_its_last_value():
    done = run("+x=1,4", "hydra.sweeper.objective=val/loss")
    assert done.returncode == 0, done.stderr
    assert (values(0), values(1)) == ({"val/loss": 0.5}, {"val/loss": 2.0})
    assert "minimize val/loss" in done.stdout


def test_what_is_returned_counts_more_than_what_is_logged():
    assert run("+x=1", "+end=number", "hydra.sweeper.objective=val/loss").returncode == 0
    assert values(0) == {"val/loss": 100.0}


@pytest.mark.parametrize(
    ("overrides", "complaint"),
    [
        pytest.param(
            ["hydra.sweeper.objective=val/acc"],
            "it must return val/acc: a number, a tuple of numbers or a dict of named numbers, or "
            "log it. It has val/acc_best, val/loss; try hydra.sweeper.objective=val/acc_best",
            id="a name that is nearly right",
        ),
        pytest.param(
            ["+end=dict"],
            "or log it. It has val/f1, val/acc_best, val/loss; try hydra.sweeper.objective=",
            id="the default name, and a dict",
        ),
    ],
)
def test_an_objective_that_is_not_there_is_named_beside_what_is(overrides, complaint):
    done = run("+x=1", *overrides)
    assert done.returncode == 0, done.stderr
    assert complaint in done.stdout


def test_a_metric_that_everybody_maximizes_is_maximized_and_this_is_said():
    done = run("+x=1,4", "hydra.sweeper.objective=val/acc_best")
    assert done.returncode == 0, done.stderr
    said = "val/acc_best: is maximized, by its name; hydra.sweeper.direction=minimize if not"
    assert said in done.stdout
    assert "*  1" in done.stdout
    again = run("+x=1,4,5", "hydra.sweeper.objective=val/acc_best")
    assert "*  2" in again.stdout
    assert "by its name" not in again.stdout


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("hydra.sweeper.n_trials=-5", "hydra.sweeper.n_trials=-5: must be 1 or more"),
        ("hydra.sweeper.repeats=0", "hydra.sweeper.repeats=0: must be 1 or more"),
        ("hydra.sweeper.max_attempts=0", "hydra.sweeper.max_attempts=0: must be 1 or more"),
        ("hydra.sweeper.max_batch_size=0", "hydra.sweeper.max_batch_size=0: must be 1 or more"),
        ("hydra.sweeper.max_failure_rate=7", "max_failure_rate=7.0: must be from 0 to 1; such"),
        ("hydra.sweeper.max_failure_rate=nan", "max_failure_rate=nan: must be from 0 to 1"),
        ("hydra.sweeper.timeout=-1", "hydra.sweeper.timeout=-1: must be more than 0 seconds"),
        ("hydra.sweeper.study_name=a/b", "hydra.sweeper.study_name=a/b: must be one folder's name"),
        ("hydra.sweeper.direction=up", "hydra.sweeper.direction=up: must be maximize or minimize"),
        ("hydra.sweeper.tracking=wandb", "hydra.sweeper.tracking=wandb: must be mlflow or off"),
        ("hydra.sweeper.tracking.name=x", "hydra.sweeper.tracking.name=x: must be mlflow or off"),
        ("hydra.sweeper.check=no.such", "hydra.sweeper.check=no.such: cannot be imported"),
        ("hydra.sweeper.repeats=2", "the config has no key seed; set +seed=0"),
    ],
    ids=lambda text: text.partition(" ")[0],
)
def test_settings_are_checked_before_anything_is_created(setting, words):
    done = run("+x=interval(0,1)", setting)
    assert done.returncode == 2, done.stdout + done.stderr
    assert words in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert [path.name for path in Path().iterdir()] == ["app.py"]


@pytest.mark.parametrize("seed", ["null", "high"])
def test_repeats_need_a_seed_that_is_a_number(seed):
    done = run("+x=1", f"+seed={seed}", "hydra.sweeper.repeats=2")
    assert done.returncode == 2
    assert done.stderr == (
        "hydra.sweeper.repeats=2: repeats run with seed, seed + 1, …, and the config has "
        f"seed={seed}; set seed=0\n"
    )


@pytest.mark.parametrize("setting", ["workers=0", "threads=-1", "timeout=0"])
def test_settings_of_the_pool_are_checked_too(setting):
    done = run("+x=1", "hydra/launcher=pool", f"hydra.launcher.{setting}")
    assert done.returncode == 2
    assert done.stderr.startswith(f"hydra.launcher.{setting.partition('=')[0]}=")
    assert not Path("multirun").exists()
