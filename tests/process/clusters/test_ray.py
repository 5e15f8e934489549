"""Studies on a Ray cluster: nodes that see nothing of the study, and what dies meanwhile."""

import json
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
from composed import IN_SECONDS
from paths import ROOT
from ray_cluster import RayCluster, below, raylet_of
from studies import (
    APP,
    PATIENCE_SECONDS,
    STUDY,
    UNTRACKED,
    Sweep,
    awaiting,
    complete,
    endings,
    steps,
    study,
    sweep,
    until,
    written,
)

RAY = "hydra/launcher=ray"
MARK = "TEST_OF_RAY"
"""Variable that tells the processes of a test from all others."""


@pytest.fixture(autouse=True)
def project(tmp_path, monkeypatch) -> Path:
    """The folder of the project, which nodes do not see."""
    (tmp_path / "project").mkdir()
    monkeypatch.chdir(tmp_path / "project")
    return tmp_path / "project"


@pytest.fixture
def shared() -> Iterator[Path]:
    """A folder that tests and trials see, for the files that they wait for."""
    folder = Path(tempfile.mkdtemp(prefix="shared"))
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def cluster() -> Iterator[RayCluster]:
    """A head without CPUs."""
    if subprocess.run(["unshare", "--mount", "true"], check=False).returncode:
        pytest.skip("nodes that see other files than this process cannot be made here")
    cluster = RayCluster()
    yield cluster
    cluster.close()


@pytest.fixture
def started(cluster, project, start) -> Callable[..., Sweep]:
    """Starts a sweep on the cluster."""
    return lambda *overrides: start(RAY, f"hydra.launcher.address={cluster.address}", *overrides)


def hosts(number: int) -> str:
    return json.loads((STUDY / str(number) / "environment.json").read_text())["host"]


def attempts(number: int) -> int:
    return sum(entry.event == "started" for entry in written(STUDY / str(number)))


def records(shared: Path, number: int) -> list[bytes]:
    """What the attempts of a trial wrote on their nodes, the last one last."""
    return sorted((path.read_bytes() for path in shared.glob(f"{number}-*")), key=len)


def test_nodes_that_do_not_see_the_study_run_its_trials(cluster, project, shared, started):
    for _ in range(2):
        cluster.add_node(hidden=project)
    running = started("+x=range(0,6)", "+checkpoint_every=3", f"+kept={shared}")
    assert running.ends() == 0, running.printed
    assert "2 workers" in running.printed
    assert sorted(complete()) == [*range(6)]
    for number in range(6):
        assert steps(number) == [*range(1, 11)]
        home = STUDY / str(number)
        assert records(shared, number) == [(home / "record.jsonl").read_bytes()]
        assert (home / "run.log").read_text().count("step 7\n") == 1
        assert (home / "checkpoint").read_text() == "9"
    best = subprocess.run(
        [sys.executable, "-m", "hrm_sweep", "best", "study"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert best.returncode == 0, best.stderr
    assert "x=2" in best.stdout


def test_the_trial_of_a_dead_node_continues_elsewhere_from_its_checkpoint(
    cluster, project, shared, started
):
    lost = cluster.add_node(hidden=project)
    go = shared / "go"
    running = started("+x=1", "+checkpoint_every=1", awaiting(str(go), [1]), f"+kept={shared}")
    until(lambda: (STUDY / "0" / "checkpoint").exists() and steps(0) == [1, 2])
    cluster.add_node(hidden=project)
    raylet_of(lost).kill()
    until(lambda: attempts(0) == 2)
    go.touch()
    assert running.ends() == 0, running.printed
    assert steps(0) == [*range(1, 11)]
    assert endings(0)[-1] == "complete"
    assert list(complete()) == [0]
    last = records(shared, 0)[-1]
    assert (STUDY / "0" / "record.jsonl").read_bytes() == last


def test_a_node_that_joins_gets_trials_at_once(cluster, project, shared, started):
    cluster.add_node(hidden=project)
    go = shared / "go"
    running = started("+x=1,3", awaiting(str(go), [1, 3]))
    until(lambda: steps(0) == [1, 2])
    cluster.add_node(hidden=project)
    until(lambda: steps(1) == [1, 2])
    go.touch()
    assert running.ends() == 0, running.printed


def test_a_killed_driver_leaves_no_task_and_loses_nothing(cluster, project, shared, started):
    node = cluster.add_node(hidden=project)
    go = shared / "go"
    overrides = ["+x=1,2", awaiting(str(go), [1]), "+checkpoint_every=1", f"+kept={shared}"]
    running = started(*overrides)
    until(lambda: steps(0) == [1, 2])
    running.process.send_signal(signal.SIGKILL)
    running.ends()
    until(lambda: not workers_below(node))
    go.touch()
    again = started(*overrides)
    assert again.ends() == 0, again.printed
    assert sorted(complete()) == [0, 1]
    assert steps(0) == [*range(1, 11)]
    assert endings(0) == ["killed", "complete"]


def workers_below(node: subprocess.Popen[str]) -> list[psutil.Process]:
    """The processes of ours that run in a node."""
    return [each for each in below(node) if "hrm_sweep.launch.worker" in command_of(each)]


def command_of(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.Error:  # it has just ended
        return ""


def test_ctrl_c_leaves_nothing_behind(project, shared, start):
    running = start(RAY, "+x=1,2,3", awaiting(str(shared / "never"), [1]), **{MARK: str(shared)})
    until(lambda: steps(0) == [1, 2])
    running.signal(signal.SIGINT)
    assert running.ends() == 130, running.printed
    until(lambda: not marked(shared))
    assert endings(0) == ["interrupted"]
    assert study().trials[0].state.name == "WAITING"
    assert "Stopped. Continue with: " in running.printed


def test_a_second_ctrl_c_does_not_wait(project, shared, start):
    running = start(RAY, "+x=1", "+returns=late", **{MARK: str(shared)})
    until(lambda: Path("returning").exists() and endings(0))
    running.signal(signal.SIGINT)
    until(Path("stopping").exists)  # and it sleeps for ten minutes
    running.signal(signal.SIGINT)
    assert running.ends() == 130, running.printed
    until(lambda: not marked(shared))


def test_a_lost_mailbox_costs_no_trial(project, shared, start):
    go = shared / "go"
    running = start(
        RAY, "+x=1,2", awaiting(str(go), [1]), "hydra/sweeper/pruner=median",
        **{MARK: str(shared)},
    )  # fmt: skip
    until(lambda: steps(0) == [1, 2])
    (boxes,) = [each for each in psutil.process_iter() if "_Boxes" in command_of(each)
                and each.environ().get(MARK) == str(shared)]  # fmt: skip
    boxes.kill()
    go.touch()
    assert running.ends() == 0, running.printed
    assert sorted(complete()) == [0, 1]
    assert attempts(0) == 1


def test_nodes_that_cannot_import_us_end_the_study_with_a_reason(cluster, started):
    cluster.add_node(hidden=ROOT)
    running = started("+x=1,2")
    assert running.ends() == 1, running.printed
    assert "no worker can start: ModuleNotFoundError: No module named 'hrm_sweep" in running.printed
    assert "killed" not in running.printed
    assert {trial.state.name for trial in study().trials} == {"WAITING"}


def marked(folder: Path) -> list[str]:
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get(MARK) == str(folder) and process.status() != "zombie":
                found.append(process.name())
        except psutil.Error:
            continue
    return found


PRUNED = [
    *("hydra/sweeper/sampler=random", "hydra.sweeper.seed=1", "hydra/sweeper/pruner=median"),
    *("hydra.sweeper.pruner.n_startup_trials=2", "hydra.launcher.workers=1"),
    *("+x=interval(-8,8)", "hydra.sweeper.n_trials=10"),
]


def test_the_same_trials_are_pruned_as_in_the_pool(tmp_path, monkeypatch):
    found = []
    for launcher in ("hydra/launcher=pool", RAY):
        (tmp_path / launcher[-3:]).mkdir()
        monkeypatch.chdir(tmp_path / launcher[-3:])
        done = sweep(launcher, *PRUNED)
        assert done.returncode == 0, done.stdout + done.stderr
        trials = study().get_trials()
        found.append([(each.state.name, each.params, each.intermediate_values) for each in trials])
    assert found[0] == found[1]
    assert "PRUNED" in {state for state, *_ in found[0]}


DEMANDS = {
    "gpus": (
        ["hydra.launcher.num_gpus=8"],
        "hydra.launcher.num_gpus=8: no node of this machine's own cluster has that much; "
        "hydra.launcher.workers=N waits for one that has",
    ),
    "a resource": (["+hydra.launcher.resources.TPU=1"], "hydra.launcher.resources.TPU=1: no node"),
    "no cluster": (
        ["hydra.launcher.address=127.0.0.1:1"],
        "hydra.launcher.address=127.0.0.1:1: no Ray cluster answers there",
    ),
    "a wrong number": (["hydra.launcher.num_cpus=0"], "hydra.launcher.num_cpus=0.0: must be"),
    "a place for files": (
        ["hydra.launcher.artifacts=nowhere://x"],
        "hydra.launcher.artifacts=nowhere://x: must be a folder's path or URL (Protocol not known",
    ),
    "a folder elsewhere": (
        ["hydra.sweep.subdir=../${hydra.job.num}"],
        "hydra.sweep.subdir=../${hydra.job.num}: leads out of hydra.sweep.dir",
    ),
}


def test_modules_beside_the_script_travel_by_working_dir(cluster, project, start):
    cluster.add_node(hidden=project)
    Path("beside.py").write_text("def height(x):\n    return float(x * x)\n")
    Path("app.py").write_text(
        "import hydra\nfrom beside import height\n\n"
        "@hydra.main(version_base=None, config_path=None)\ndef main(cfg):\n"
        "    return height(cfg.x)\n\n"
        "if __name__ == '__main__':\n    main()\n"
    )
    where = f"hydra.launcher.address={cluster.address}"
    without = start(RAY, where, "+x=1,2", app=Path("app.py"))
    assert without.ends() == 1, without.printed
    assert "no worker can start" in without.printed
    assert "No module named 'beside'" in without.printed
    sent = "+hydra.launcher.runtime_env.working_dir=."
    running = start(RAY, where, sent, "+x=1,2", app=Path("app.py"))
    assert running.ends() == 0, running.printed
    assert sorted(complete()) == [0, 1]


@pytest.mark.parametrize("name", DEMANDS)
def test_a_demand_that_nobody_can_meet_is_refused_before_anything_is_made(name, project):
    overrides, words = DEMANDS[name]
    done = sweep(RAY, "+x=1,2", *overrides)
    assert done.returncode == 2, done.stdout + done.stderr
    assert words in done.stderr
    assert done.stderr.count("\n") == 1
    assert not list(project.iterdir())


def test_a_cluster_that_wants_a_token_says_so(project):
    cluster = RayCluster(RAY_AUTH_MODE="token", RAY_AUTH_TOKEN="0" * 64)
    try:
        done = sweep(RAY, "+x=1,2", f"hydra.launcher.address={cluster.address}")
    finally:
        cluster.close()
    assert done.returncode == 2, done.stdout + done.stderr
    assert "wants a token that this process does not send; set RAY_AUTH_MODE=token" in done.stderr
    assert not list(project.iterdir())


def test_without_ray_one_line_says_what_to_install(project):
    run_it = f"import runpy; runpy.run_path({str(APP)!r}, run_name='__main__')"
    program = f"import sys; sys.modules['ray'] = None; {run_it}"
    typed = ["-m", "hydra/sweeper=hrm_sweep", RAY, UNTRACKED, "+x=1,2"]
    done = subprocess.run(
        [sys.executable, "-c", program, *typed], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2, done.stderr
    assert "hydra/launcher=ray: Ray is not installed; pip install 'hrm-sweep[ray]'" in done.stderr


def test_a_trial_whose_process_dies_is_put_back_and_fails_in_the_end(project):
    done = sweep(RAY, "+x=1,2", "+end=die", "hydra.sweeper.max_attempts=2")
    assert done.returncode == 1, done.stdout + done.stderr
    assert endings(0) == ["killed", "killed"]
    assert "SIGKILL" in done.stdout


def test_a_trial_that_takes_too_long_is_ended(project, shared):
    done = sweep(
        RAY, "+x=1,2", awaiting(str(shared / "never"), [1]), "hydra.launcher.timeout=5",
        "hydra.sweeper.max_attempts=1",
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert endings(0) == ["timed_out"]
    assert "it took longer than 5" in done.stdout


def test_the_shipped_app_trains_on_ray(project):
    typed = ["-m", RAY, "lr=1e-3,1e-4", *IN_SECONDS, "study.name=s", "tracking=off"]
    done = subprocess.run(
        [sys.executable, "-m", "hrm_sweep", *typed],
        capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert ": 2 complete" in done.stdout
    assert not re.search(r"raylet|Traceback|WARNING", done.stdout + done.stderr)


def test_a_node_that_is_lost_with_all_its_processes(cluster, project, shared, started):
    lost, go = cluster.add_node(hidden=project), shared / "go"
    running = started("+x=1", awaiting(str(go), [1]))
    until(lambda: steps(0) == [1, 2])
    cluster.add_node(hidden=project)
    cluster.remove(lost)
    until(lambda: attempts(0) == 2)
    go.touch()
    assert running.ends() == 0, running.printed
    assert "raylet" not in running.printed
