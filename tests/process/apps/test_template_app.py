"""An unchanged app in the structure of a template, through every command, from another folder.

Its results lie outside multirun/, its search is a config that makes every start a study, its seed
is null, it has a key `trainer.epochs`, and it only returns a value.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from paths import TESTS
from studies import PATIENCE_SECONDS

EXTRA = "# @package _global_\nmodel:\n  optimizer:\n    lr: 0.125\n"


def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=folder, capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=False,
    )  # fmt: skip


@pytest.fixture(scope="module")
def project(tmp_path_factory) -> Path:
    """The app with a finished study of four trials."""
    project = tmp_path_factory.mktemp("project")
    shutil.copytree(TESTS / "apps" / "template", project, dirs_exist_ok=True)
    done = run(
        project,
        *("src/train.py", "hparams_search=line_optuna", "hydra/launcher=pool", "seed=1"),
        *("hydra.launcher.workers=1", "hydra.sweeper.study_name=lines"),
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "maximize val/acc_best" in done.stdout
    assert "seed=1 hydra.mode=RUN\n" in done.stdout
    return project


@pytest.fixture(scope="module")
def study(project) -> str:
    (folder,) = (project / "logs/train/multiruns").iterdir()
    return str(folder)


@pytest.mark.parametrize(
    ("words", "printed"),
    [
        pytest.param(["best"], "hydra.sweeper.repeats=3 would show", id="best"),
        pytest.param(["best", "--json"], '"hydra.mode=RUN"', id="best as JSON"),
        pytest.param(["show"], "run again   cd ", id="show"),
        pytest.param(["report"], "report.html", id="report"),
        pytest.param(["export"], "4 rows", id="export"),
        pytest.param(["sync"], "everything is in MLflow", id="sync"),
        pytest.param(["resume", "--yes"], "nothing is left to run", id="resume"),
        pytest.param(["reproduce", "--yes"], "1 of 1 values are identical", id="reproduce"),
    ],
)
def test_a_command_works_from_another_folder(words, printed, project, study, tmp_path):
    command, *flags = words
    done = run(tmp_path, "-m", "hrm_sweep", command, study, *flags)
    assert done.returncode == 0, done.stdout + done.stderr
    assert printed in done.stdout
    assert "HRM" not in done.stdout
    assert not (tmp_path / "mlruns").exists()


def test_what_best_says_to_run_again_runs_once(project, study, tmp_path):
    said = run(tmp_path, "-m", "hrm_sweep", "best", study).stdout
    (line,) = (line for line in said.splitlines() if "run again" in line)
    once = line.split(maxsplit=2)[2]
    runs = project / "logs/train/runs"
    before = set(runs.iterdir()) if runs.exists() else set()
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    done = subprocess.run(
        once, shell=True, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert len(set(runs.iterdir()) - before) == 1


class TestConfigsOfTheUsersOwn:
    """Flags say where configs are; whatever runs again needs them too."""

    @pytest.fixture(scope="class")
    def flagged(self, tmp_path_factory) -> Path:
        project = tmp_path_factory.mktemp("flagged")
        shutil.copytree(TESTS / "apps" / "template", project, dirs_exist_ok=True)
        (project / "mine/experiment").mkdir(parents=True)
        (project / "mine/experiment/fast.yaml").write_text(EXTRA)
        shutil.copy(project / "configs/train.yaml", project / "configs/other.yaml")
        done = run(
            project,
            *("src/train.py", "--config-dir", "mine", "-cn", "other", "-m"),
            *("hydra/sweeper=hrm_sweep", "experiment=fast", "trainer.epochs=2,3", "seed=1"),
            *("optimized_metric=val/loss", "hydra.sweeper.study_name=flagged"),
            "hydra.sweep.dir=multirun/flagged",
        )
        assert done.returncode == 0, done.stdout + done.stderr
        again = f"src/train.py --config-dir {project}/mine --config-name other experiment=fast"
        assert f"once more   python {again} trainer.epochs=3 seed=1" in done.stdout
        return project

    @pytest.mark.parametrize(
        ("command", "printed"),
        [("reproduce", "identical, bit for bit"), ("resume", "nothing is left to run")],
    )
    def test_they_are_in_what_runs_again(self, command, printed, flagged, tmp_path):
        folder = str(flagged / "multirun/flagged")
        done = run(tmp_path, "-m", "hrm_sweep", command, folder, "--yes")
        assert done.returncode == 0, done.stdout + done.stderr
        assert printed in done.stdout
        assert f"--config-dir {flagged}/mine --config-name other -m " in done.stdout

    def test_a_project_that_was_moved_runs_where_it_is(self, flagged, tmp_path):
        moved = tmp_path / "moved"
        shutil.copytree(flagged, moved)
        said = run(tmp_path, "-m", "hrm_sweep", "show", str(moved / "multirun/flagged")).stdout
        assert f"cd {moved} && python src/train.py" in said


def test_the_shipped_app_keeps_them_too(tmp_path):
    (tmp_path / "mine/experiment").mkdir(parents=True)
    (tmp_path / "mine/experiment/tiny.yaml").write_text("# @package _global_\nepochs: 1\n")
    tiny = ("model.num_heads=1", "data.num_puzzles=8", "study.name=tiny", "tracking=off")
    flags = ("-m", "hrm_sweep", "--config-dir", "mine", "-m", "experiment=tiny")
    done = run(tmp_path, *flags, "hidden_dim=16,8", "study.workers=1", *tiny)
    assert done.returncode == 0, done.stdout + done.stderr
    again = f"python -m hrm_sweep --config-dir {tmp_path}/mine experiment=tiny hidden_dim="
    assert f"once more   {again}" in done.stdout
    for command, printed in (("resume", "nothing is left to run"), ("reproduce", "bit for bit")):
        again = run(tmp_path, "-m", "hrm_sweep", command, "tiny", "--yes")
        assert again.returncode == 0, again.stdout + again.stderr
        assert printed in again.stdout


def test_a_single_run_of_the_shipped_app_has_its_flags_too(tmp_path):
    (tmp_path / "mine/experiment").mkdir(parents=True)
    (tmp_path / "mine/experiment/tiny.yaml").write_text("# @package _global_\nepochs: 1\n")
    words = ("experiment=tiny", "data.num_puzzles=8", "study.name=tiny", "tracking=off")
    done = run(tmp_path, "-m", "hrm_sweep", "--config-dir", "mine", *words)
    assert done.returncode == 0, done.stdout + done.stderr
    again = run(tmp_path, "-m", "hrm_sweep", "reproduce", "tiny", "--yes")
    assert again.returncode == 0, again.stdout + again.stderr
    assert "final weights are identical, bit for bit" in again.stdout
    resumed = run(tmp_path, "-m", "hrm_sweep", "resume", "tiny")
    assert resumed.returncode == 2
    assert resumed.stderr == "tiny: is complete, see multirun/train/tiny\n"


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--config-dir", "nosuch"], "--config-dir=nosuch: there is no such folder\n"),
        (["-cn", "nosuch"], "Cannot find primary config 'nosuch'."),
    ],
)
def test_a_flag_that_names_nothing_is_one_line(words, told, tmp_path):
    done = run(tmp_path, "-m", "hrm_sweep", *words)
    assert done.returncode == 2
    assert done.stderr.startswith(told)
    assert len(done.stderr.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


def test_repeats_need_more_than_a_seed_that_is_null(project):
    done = run(project, "src/train.py", "hparams_search=line_optuna", "hydra.sweeper.repeats=2")
    assert done.returncode == 2
    assert "the config has seed=null; set seed=0" in done.stderr
