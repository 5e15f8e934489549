"""Studies of an app that was not written for us: its own names, types and return values."""

import re
import subprocess
import sys
from itertools import product
from pathlib import Path

import optuna
import pytest
from omegaconf import OmegaConf
from paths import TESTS
from studies import PATIENCE_SECONDS
from truth import Truth

from hrm_sweep.hrm.description import APP as SHIPPED
from hrm_sweep.runs import record
from hrm_sweep.runs.recipe import is_of_the_recipe

APP = TESTS / "apps" / "detector.py"

SUBDIR = "hydra.sweep.subdir="

pytestmark = pytest.mark.usefixtures("in_a_folder_of_its_own")


def run(*overrides: str) -> subprocess.CompletedProcess[str]:
    """Runs an untracked study of the app in one process."""
    flags = [
        *("-m", "hydra/sweeper=hrm_sweep", "hydra/launcher=pool", "hydra.launcher.workers=1"),
        *("hydra.sweep.dir=multirun/study", "hydra.sweeper.study_name=study"),
        "hydra.sweeper.tracking.name=off",
    ]
    return subprocess.run(
        [sys.executable, str(APP), *flags, *overrides],
        capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=False,
    )  # fmt: skip


def sweep(*overrides: str) -> str:
    """Runs one that ends well; what it printed."""
    done = run(*overrides)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def trials() -> list[optuna.trial.FrozenTrial]:
    storage = "sqlite:///multirun/optuna.db"
    return optuna.load_study(study_name="study", storage=storage).get_trials()


def test_keys_that_are_called_like_ours_are_settings_like_any_other():
    printed = sweep(
        "tracking.iou=0.9,0.3", "study.depth=2,1", "tracking_weight=10,20", "hydration=100,200"
    )
    points = product((0.9, 0.3), (2, 1), (10, 20), (100, 200))
    assert [trial.value for trial in trials()] == pytest.approx([sum(point) for point in points])
    best = "tracking.iou=0.3 study.depth=1 tracking_weight=10 hydration=100"
    assert f"once more   python {APP} {best}" in printed
    told = subprocess.run(
        [sys.executable, "-m", "hrm_sweep", "show"], capture_output=True, text=True, check=True
    )
    assert best in told.stdout
    resumed = subprocess.run(
        [sys.executable, "-m", "hrm_sweep", "resume"], capture_output=True, text=True, check=False
    )
    assert resumed.returncode == 2
    assert f"study: was made by {APP.name}\n  runs python {APP} -m " in resumed.stdout
    assert resumed.stderr == "study: there is no terminal to confirm at; add --yes\n"


def test_whatever_is_a_number_may_be_returned():
    sweep("returns=float,np.float32,np.int64,'0-d array',tensor,'with a note',text,array")
    values = {trial.params["returns"]: trial.value for trial in trials()}
    assert values == {
        "float": 3.5,
        "np.float32": 3.5,
        "np.int64": 3.0,
        "0-d array": 3.5,
        "tensor": 3.5,
        "with a note": 3.5,
        "text": None,
        "array": None,
    }
    reasons = [trial.user_attrs["reason"] for trial in trials()[-2:]]
    assert reasons[0].startswith("the task returned '3.5'; it must return objective: a number")
    assert reasons[1].startswith("the task returned array([3.5, 3.5]); it must return objective")


def test_more_values_than_objectives_are_refused_as_too_few_are():
    printed = sweep("returns=pair")
    assert "1 unjudged" in printed
    assert "the task returned 2 values, (3.5, 1.0), and the study names 1: objective; " in printed
    assert trials()[0].state.name == "FAIL"


def test_values_of_any_type_are_recorded_and_nobody_reads_what_cannot_be_resolved():
    sweep("colour=RED,BLUE", "data=/a,/b", "returns=optional")
    assert [trial.value for trial in trials()] == [3.5] * 4
    params = [record.read(Path(f"multirun/study/{n}"))[0].fields["params"] for n in range(4)]
    told = [(each["colour"], each["data"]) for each in params]
    assert told == [("RED", "/a"), ("RED", "/b"), ("BLUE", "/a"), ("BLUE", "/b")]
    kept = OmegaConf.load("multirun/study/3/config.yaml")
    assert (kept.colour, kept.data) == ("BLUE", "/b")
    assert OmegaConf.to_container(kept)["unset"] == "${oc.env:SET_NOWHERE}"
    assert OmegaConf.is_missing(kept, "open")
    assert params[3]["listed"] == '["BLUE", "${unset}", 0]'


def test_passwords_of_a_config_are_in_no_file_of_ours():
    sweep("seed=0,1", "hydra.output_subdir=null")
    kept = OmegaConf.load("multirun/study/1/config.yaml")
    assert (kept.password, kept.servers) == ("***", [{"token": 1, "api_key": "***"}])
    for path in Path("multirun").rglob("*"):
        text = path.read_bytes() if path.is_file() else b""
        assert not any(part in text for part in (b"s3cret", b"Part2", b"Part3", b"12345678")), path


def test_trials_in_folders_with_names_are_tracked_too():
    tracked = ("hydra.sweeper.tracking.name=mlflow", "hydra.sweeper.repeats=2")
    printed = sweep("seed=0", "colour=RED,BLUE", SUBDIR + "${hydra.job.override_dirname}", *tracked)
    assert "not in MLflow" not in printed
    assert Path("multirun/study/colour=RED,seed=0/1/result.json").exists()
    sent = Truth("sqlite:///mlruns/mlflow.db").runs()
    assert len(sent) == 1 + 2 * (1 + 2)  # the study, its trials, their repeats
    ids = {run.info.run_id for run in sent}
    known = {trial.user_attrs.get("mlflow_run_id") for trial in trials()}
    assert known - {None} <= ids  # Optuna is told without it where MLflow takes its time


@pytest.mark.parametrize(
    ("subdir", "rule"),
    [
        pytest.param("${now:%H-%M-%S}-${hydra.job.num}", "is another one each time", id="time"),
        pytest.param("all", "several trials would have one folder", id="one for all"),
        pytest.param("${colour}", "several trials would have one folder", id="not all that varies"),
    ],
)
def test_trials_without_a_folder_of_their_own_are_refused(subdir, rule):
    done = run("seed=0,1", "colour=RED,BLUE", SUBDIR + subdir)
    assert done.returncode == 2
    assert done.stderr.startswith(f"hydra.sweep.subdir={subdir}: {rule}")
    assert "; put ${hydra.job.num} into it" in done.stderr
    assert list(Path().iterdir()) == []


@pytest.mark.parametrize(
    "setting", [f"hydra.sweep.dir=multirun/{'n' * 300}", SUBDIR + "n" * 300 + "${hydra.job.num}"]
)
def test_a_folder_with_a_name_that_is_too_long_is_refused(setting):
    done = run("seed=0,1", setting)
    assert done.returncode == 2
    assert re.search(
        r"^hydra\.sweep\..*: has a name of 30\d bytes; a folder's may have 244$", done.stderr
    )
    assert list(Path().iterdir()) == []


def test_repeats_have_means_of_the_values_that_all_of_them_have():
    sweep("returns=optional", "hydra.sweeper.repeats=3")
    (trial,) = trials()
    assert trial.user_attrs["values"] == {"objective": 4.5, "objective/std": 1.0}


@pytest.mark.parametrize(
    ("override", "ignored_keys", "expected"),
    [
        pytest.param("tracking.uri=x", SHIPPED.ignored_keys, False, id="a key of ours"),
        pytest.param("study/pruner=median", SHIPPED.ignored_keys, False, id="a group of ours"),
        pytest.param("tracking=off", SHIPPED.ignored_keys, False, id="an option of ours"),
        pytest.param("+study@here=x", SHIPPED.ignored_keys, False, id="a package"),
        pytest.param("~tracking", SHIPPED.ignored_keys, False, id="a deletion"),
        pytest.param(
            "tracking_weight=1", SHIPPED.ignored_keys, True, id="begins like a key of ours"
        ),
        pytest.param("hydration=1", SHIPPED.ignored_keys, True, id="begins like Hydra's"),
        pytest.param("model.study=1", SHIPPED.ignored_keys, True, id="a later part of a key"),
        pytest.param("hydra.job.name=x", (), False, id="Hydra's, in any app"),
        pytest.param("study.depth=1", (), True, id="another app's"),
    ],
)
def test_what_can_change_a_result(override, ignored_keys, expected):
    assert is_of_the_recipe(override, ignored_keys) is expected
