"""Workers that are forked: as good as new interpreters, and spawned where a fork would not be."""

import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
from studies import Sweep, command, endings, steps, until

from hrm_sweep.hrm import PRELOAD, config
from hrm_sweep.launch import fork_server
from hrm_sweep.runs import record

APP = """
import os, random, sys, time
from pathlib import Path
import hydra, numpy
from hrm_sweep import trial

@hydra.main(version_base=None, config_path=None)
def main(cfg):
    trial.current().log({"height": cfg.x}, step=1)
    begun = trial.current().folder / "begun"
    if not begun.exists():
        begun.touch()
        exec(cfg.get("first", ""))
    while not Path("go").exists():
        time.sleep(0.01)
    os.write(1, b"by C code")
    of_process = os.getpid(), os.getppid(), os.getpgrp(), os.environ["LATE"], *sys.argv
    drawn = numpy.random.rand(), random.random()
    Path(f"seen{cfg.x}").write_text("|".join(map(str, [*drawn, *of_process])))
    return cfg.x

if __name__ == "__main__":
    os.environ["LATE"] = "set by the app"
    main()
"""
NUMPY = "hydra.launcher.preload=[numpy]"

pytestmark = pytest.mark.skipif(not fork_server.can_fork(), reason="a fork server needs Linux")


@pytest.fixture(autouse=True)
def _app(in_a_folder_of_its_own, monkeypatch):
    Path("app.py").write_text(APP)
    Path("modules").mkdir()
    monkeypatch.setenv("PYTHONPATH", str(Path("modules").absolute()))


def begin(*overrides: str) -> Sweep:
    return Sweep(command(*overrides, app=Path("app.py")), Path("printed.log"))


def seen(x: int) -> list[str]:
    return Path(f"seen{x}").read_text().split("|")


def servers(sweep: Sweep) -> list[psutil.Process]:
    return [each for each in psutil.Process(sweep.process.pid).children() if each.children()]


def test_forks_are_what_new_interpreters_are():
    sweep = begin("+x=1,2", "hydra.launcher.workers=2", NUMPY)
    until(lambda: steps(0) == steps(1) == [1])
    (server,) = servers(sweep)
    Path("go").touch()
    assert sweep.ends() == 0, sweep.printed
    for drawn, other in zip(seen(1)[:2], seen(2)[:2], strict=True):
        assert drawn != other
    for x in (1, 2):
        pid, parent, group, *late_and_arguments = seen(x)[2:]
        assert (parent, group) == (str(server.pid), pid)
        assert late_and_arguments[:2] == ["set by the app", "app.py"]
        assert "by C code" in Path(f"multirun/study/{x - 1}/run.log").read_text()


@pytest.mark.parametrize(
    ("module", "setting"),
    [
        pytest.param("", "hydra.launcher.start_method=spawn", id="asked for"),
        pytest.param(
            "import threading, time\n"
            "threading.Thread(target=time.sleep, args=(600,), daemon=True).start()",
            "hydra.launcher.start_method=auto",
            id="a thread",
        ),
    ],
)
def test_workers_are_spawned_where_a_fork_is_not_safe(module, setting):
    Path("modules/own.py").write_text(module)
    Path("go").touch()
    sweep = begin("+x=1", "hydra.launcher.preload=[own]", setting)
    assert sweep.ends() == 0, sweep.printed
    assert seen(1)[3] == str(sweep.process.pid)


@pytest.mark.parametrize(
    ("death", "words"),
    [
        pytest.param("os._exit(5)", "its process ended with exit code 5", id="exit code"),
        pytest.param("os.kill(os.getpid(), 9)", "its process was killed by SIGKILL", id="killed"),
    ],
)
def test_a_fork_that_dies_is_replaced_and_says_how_it_died(death, words):
    Path("go").touch()
    sweep = begin("+x=1,2", f"+first='{death}'", "hydra.launcher.workers=1", NUMPY)
    assert sweep.ends() == 0, sweep.printed
    for number in (0, 1):
        (died, *_) = [each for each in record.read(Path(f"multirun/study/{number}")) if
                      each.event == "finished"]  # fmt: skip
        assert words in died.fields["reason"]
        assert endings(number)[-1] == "complete"


def test_after_the_death_of_the_server_workers_are_spawned():
    sweep = begin("+x=1", "hydra.launcher.workers=1", NUMPY)
    until(lambda: steps(0) == [1])
    (server,) = servers(sweep)
    (worker,) = server.children()
    server.kill()
    worker.kill()
    Path("go").touch()
    assert sweep.ends() == 0, sweep.printed
    assert seen(1)[3] == str(sweep.process.pid)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT], ids=["killed", "Ctrl-C"])
def test_nothing_outlives_the_sweep(number):
    sweep = begin("+x=1,2", "hydra.launcher.workers=2", NUMPY)
    until(lambda: steps(0) == steps(1) == [1])
    children = psutil.Process(sweep.process.pid).children(recursive=True)
    sweep.process.send_signal(number)
    if number == signal.SIGINT:
        until(lambda: "Stopping: " in sweep.printed)
        sweep.process.send_signal(number)
    sweep.ends()
    until(lambda: not any(child.is_running() for child in children))


@pytest.mark.parametrize(
    ("typed", "starts"),
    [
        pytest.param(["-m", "lr=1,2"], True, id="a study"),
        pytest.param(["lr=1,2", "--multirun"], True, id="the long flag"),
        pytest.param(["lr=1"], False, id="a single run"),
        pytest.param(["-m", "lr=1,2", "--cfg", "job"], False, id="only shows"),
        pytest.param(["-m", "lr=1,2", "hydra/launcher=ray"], False, id="another launcher"),
    ],
)
def test_it_starts_before_the_sweep_has_imported_what_it_needs(monkeypatch, typed, starts):
    started = []
    monkeypatch.setattr(fork_server, "ForkServer", lambda *how: started.append(how))
    monkeypatch.setattr(fork_server.atexit, "register", lambda _: None)
    monkeypatch.setattr(fork_server, "_early", [])
    fork_server.start_early(typed, PRELOAD)
    assert bool(started) is starts
    assert config.POOL["preload"] == PRELOAD


def test_a_mistake_leaves_no_process():
    Path("only").mkdir()
    done = subprocess.run(
        [sys.executable, "-m", "hrm_sweep", "-m", "model.hiden_dim=3,4"],
        cwd="only", capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert done.stderr.startswith("model.hiden_dim=3,4: no key of that name")
    folders = [each.info["cwd"] for each in psutil.process_iter(["cwd"])]
    assert str(Path("only").resolve()) not in folders
