"""Studies whose trials run on nodes that share nothing with the driver but a pipe.

The nodes are local processes, and the folder of the study is hidden from them under an empty disk:
see `tests/cluster/hydra_plugins/nodes.py`.
"""

import shlex
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
from paths import TESTS
from studies import (
    PATIENCE_SECONDS,
    STUDY,
    command,
    endings,
    is_gone,
    steps,
    study,
    until,
    written,
)

PARABOLA, WAITS = Path("parabola.py"), Path("on_nodes.py")
ON_NODES = "hydra/launcher=nodes"
HIDE = """unshare -m sh -c 'mount -t tmpfs tmpfs "{folder}" && exec "$@"' sh"""
PASSWORD = "postgres-password-7261"


@pytest.fixture(autouse=True)
def project(tmp_path, monkeypatch) -> Path:
    """The folder of a project, which nodes do not see."""
    folder, hide = tmp_path / "project", HIDE.format(folder=tmp_path / "project")
    folder.mkdir()
    if subprocess.run([*shlex.split(hide), "true"], check=False, capture_output=True).returncode:
        pytest.skip("a folder cannot be hidden here")
    for app in (PARABOLA, WAITS):
        (folder / app).write_text((TESTS / "apps" / app).read_text())
    monkeypatch.chdir(folder)
    (tmp_path / "scratch").mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "scratch"))  # killed nodes leave folders there
    monkeypatch.setenv("PYTHONPATH", str(TESTS / "cluster"))
    monkeypatch.setenv("NODES_BEFORE", hide)
    return folder


@pytest.fixture
def kept(tmp_path, monkeypatch) -> Path:
    """A folder in which nodes leave theirs."""
    folder = tmp_path / "kept"
    folder.mkdir()
    monkeypatch.setenv("NODES_KEPT", str(folder))
    return folder


@pytest.fixture
def waiting(start):
    """A trial on a node that has come to its second step, and its weights are at home."""

    def begin(*overrides: str, weights: str = "weights.pth"):
        sweep = start("+x=1", "+waits=true", ON_NODES, *overrides, app=WAITS)
        until(lambda: steps(0)[:3] == [1, 2, 2] and (STUDY / "0" / weights).exists())
        until(beginnings)
        return sweep

    return begin


def run(*overrides: str, app: Path = PARABOLA) -> subprocess.CompletedProcess[str]:
    typed, seconds = command(*overrides, app=app), PATIENCE_SECONDS
    return subprocess.run(typed, capture_output=True, text=True, timeout=seconds, check=False)


def ran(*overrides: str, app: Path = PARABOLA) -> str:
    """What a study has printed that ended well."""
    done = run(*overrides, app=app)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def printed(*arguments: str) -> str:
    line = [sys.executable, "-m", "hrm_sweep", *arguments]
    done = subprocess.run(line, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def everything_of(sweep) -> list[psutil.Process]:
    return psutil.Process(sweep.process.pid).children(recursive=True)


def are_gone(processes: list[psutil.Process]) -> bool:
    return all(is_gone(each.pid) for each in processes)


def objective() -> list[int]:
    """The steps of the first trial's objective."""
    measured = [entry for entry in written(STUDY / "0") if entry.event == "metrics"]
    return [entry.fields["step"] for entry in measured if "objective" in entry.fields["values"]]


def beginnings() -> list[str]:
    log = STUDY / "0" / "run.log"
    lines = log.read_text().splitlines() if log.exists() else []
    return [line for line in lines if line.startswith("begins with step")]


def went_on() -> bool:
    """Whether the second attempt had weights of the first one: of its last step, or one before."""
    first, second = beginnings()
    return first[-1] == "1" and second[-1] in ("2", "3")


def test_a_study_on_nodes_is_one_like_any_other(kept):
    ran("+x=range(0,4)", "+seed=1", "+noise=0.5", "hydra.sweeper.repeats=2", ON_NODES)
    on_nodes = sorted(path.read_bytes() for path in kept.rglob("record.jsonl"))
    at_home = sorted(path.read_bytes() for path in STUDY.glob("[0-9]*/**/record.jsonl"))
    assert at_home == on_nodes
    assert len(at_home) == 4 * (1 + 2)
    for number in range(4):
        folder = STUDY / str(number)
        names = {path.relative_to(folder).as_posix() for path in folder.rglob("*.*")}
        recipe = {"config.yaml", "overrides.yaml", "environment.json", "result.json"}
        assert {*recipe, *(f"1/{name}" for name in recipe), "run.log"} <= names
        tags = written(folder)[0].fields["tags"]
        assert tags["hrm_sweep.folder"] == str(folder.absolute())
        assert tags["hrm_sweep.study"] == "study"
    assert study().best_trial.params == {"x": 2}
    assert "x=2" in printed("best", "study")
    assert "4 complete" in printed("list")
    assert "complete" in printed("show", str(STUDY / "2"))


def test_trials_are_pruned_as_in_the_pool():
    pruner = ("hydra/sweeper/pruner=median", "hydra.sweeper.pruner.n_startup_trials=1")
    ran("+x=2,1,5,4", *pruner, ON_NODES, "hydra.launcher.nodes=1")
    on_nodes = [(trial.state, trial.intermediate_values) for trial in study().get_trials()]
    Path("multirun").rename("on-nodes")
    ran("+x=2,1,5,4", *pruner, "hydra.launcher.workers=1")
    assert [(trial.state, trial.intermediate_values) for trial in study().get_trials()] == on_nodes
    assert [state.name for state, _ in on_nodes].count("PRUNED") > 1


@pytest.mark.parametrize("max_file_mb", [100, 0.01], ids=["travels", "is kept elsewhere"])
def test_a_node_that_dies_costs_an_attempt_and_nothing_measured(waiting, tmp_path, max_file_mb):
    large = tmp_path / "large"
    sweep = waiting(
        *(f"hydra.launcher.max_file_mb={max_file_mb}", f"hydra.launcher.artifacts={large}"),
        weights="weights.pth" if max_file_mb == 100 else "weights.pth.elsewhere.json",
    )
    nodes = [each for each in everything_of(sweep) if "nodes.serve" in " ".join(each.cmdline())]
    (node,) = (each for each in nodes if each.children())
    worker = node.children()
    node.kill()
    assert sweep.ends() == 0, sweep.printed
    until(lambda: are_gone([node, *worker]))
    assert endings(0) == ["killed", "complete"]
    assert objective() == [1, 2, 3, 4]
    assert went_on()
    assert large.exists() is (max_file_mb == 0.01)


def test_a_driver_that_is_killed_resumes_with_what_had_come_home(waiting, start):
    sweep = waiting()
    running = everything_of(sweep)
    sweep.process.kill()
    sweep.process.wait()
    until(lambda: are_gone(running))
    assert "killed" in printed("list")
    again = start("+x=1", "+waits=true", ON_NODES, app=WAITS)
    assert again.ends() == 0, again.printed
    assert endings(0) == ["killed", "complete"]
    assert objective() == [1, 2, 3, 4]
    assert went_on()


def test_the_trial_of_a_living_driver_is_not_taken(waiting):
    sweep = waiting()
    assert "1 running" in printed("list")
    writer = written(STUDY / "0")[0].fields["writer"]
    assert writer["pid"] == str(sweep.process.pid)
    ran("+x=1", "+waits=true", ON_NODES, app=WAITS)
    assert endings(0) == []


def test_ctrl_c_ends_a_trial_at_its_next_report_and_a_second_start_continues_it(waiting, start):
    sweep = waiting()
    running = everything_of(sweep)
    sweep.signal(signal.SIGINT)
    assert sweep.ends() == 130, sweep.printed
    until(lambda: are_gone(running))
    assert endings(0) == ["interrupted"]
    again = start("+x=1", "+waits=true", ON_NODES, app=WAITS)
    assert again.ends() == 0, again.printed
    assert endings(0) == ["interrupted", "complete"]
    assert objective() == [1, 2, 3, 4]


def test_a_trial_that_takes_too_long_is_ended_and_what_it_measured_is_kept(kept):
    limits = ("hydra.launcher.timeout=3", "hydra.sweeper.max_attempts=1")
    done = run("+x=1", "+waits=true", ON_NODES, *limits, app=WAITS)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "it took longer than 3.0 s" in done.stdout
    assert endings(0) == ["timed_out"]
    at_home = (STUDY / "0" / "record.jsonl").read_bytes()
    for on_node in kept.rglob("record.jsonl"):  # a slow machine has none after three seconds
        assert at_home.startswith(on_node.read_bytes())
        assert at_home.count(b"\n") == on_node.read_bytes().count(b"\n") + 1


def test_a_file_that_is_too_large_is_said_once_and_stands_in_each_log():
    shown = ran("+x=1,2,3", ON_NODES, "hydra.launcher.max_file_mb=0.01", app=WAITS)
    line = "weights.pth: has 0.1 MB, more than hydra.launcher.max_file_mb=0.01"
    assert shown.count(line) == 1
    for number in range(3):
        assert line in (STUDY / str(number) / "run.log").read_text()
        assert not (STUDY / str(number) / "weights.pth").exists()


def test_nodes_that_cannot_import_the_app_end_the_study_in_one_line(project):
    (project / "helper.py").write_text("def objective(x): return x\n")
    lines = PARABOLA.read_text().replace("height = ", "height = helper.objective(0) + ")
    PARABOLA.write_text("import helper\n" + lines)
    done = run("+x=range(0,4)", ON_NODES)
    assert done.returncode == 1, done.stdout + done.stderr
    assert done.stderr.strip().endswith(
        "no worker can start: its process ended with exit code 1: "
        "ModuleNotFoundError: No module named 'helper'"
    )


def test_no_password_of_the_driver_reaches_a_node(kept, project):
    address = f"sqlite:///{project}/a.db?password={PASSWORD}"
    (project / "conf.yaml").write_text(
        f"""
        study: {{storage: "{address}"}}
        hydra: {{sweeper: {{storage: "${{study.storage}}"}}}}
        """
    )
    flags = ("--config-dir", str(project), "--config-name", "conf")
    ran("+x=1", ON_NODES, *flags, app=WAITS)
    texts = [path.read_text() for path in kept.rglob("*") if path.is_file()]
    assert any("a.db?password=***" in text for text in texts)
    assert not [text for text in texts if address in text]


def test_a_run_whose_recipe_is_complete_is_not_run_again():
    repeats = ("+noise=0.5", "hydra.sweeper.repeats=2", ON_NODES, "hydra.launcher.nodes=1")
    ran("+x=1", "+seed=0,1", *repeats)  # seeds 0 and 1, then 1 and 2
    first, second = (written(STUDY / name)[-1].fields for name in ("0/1", "1/0"))
    assert second["facts"] == {"taken_from": "../../0/1"}
    assert second["best"] == first["best"]
    assert written(STUDY / "1" / "1")[-1].fields["facts"] == {}


@pytest.mark.parametrize("subdir", ["../out/${hydra.job.num}", "/tmp/${hydra.job.num}"])
def test_a_folder_out_of_the_study_is_refused_before_anything_is_made(subdir):
    done = run("+x=1,2", ON_NODES, f"hydra.sweep.subdir={subdir}")
    assert done.returncode == 2
    assert done.stderr.startswith(f"hydra.sweep.subdir={subdir}: leads out of hydra.sweep.dir, and")
    assert len(done.stderr.splitlines()) == 1
    assert not Path("multirun").exists()
