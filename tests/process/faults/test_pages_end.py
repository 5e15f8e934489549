"""The pages that a command serves end with it, however it ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
from studies import command, is_gone, until

PROGRAM = """
import subprocess, sys, time
from pathlib import Path
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
Path("pids").write_text(str(child.pid))
time.sleep(600)
"""
PARENT = """
import sys, time
from pathlib import Path
from hrm_sweep.system import companion
with Path("said").open("wb") as said:
    process = companion.start([sys.executable, "-c", sys.argv[1]], said=said)
    Path("companion").write_text(str(process.pid))
    sys.stdin.readline()
    companion.end(process)
"""


@pytest.fixture
def parent(tmp_path: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", PARENT, PROGRAM],
        cwd=tmp_path,
        stdin=subprocess.PIPE,
        text=True,
    )


@pytest.mark.parametrize("end", ["well", "kill", "of the companion"])
def test_a_companion_and_what_it_started_end_with_the_parent(parent, tmp_path, end):
    pids = [tmp_path / "pids", tmp_path / "companion"]
    until(lambda: all(pid.exists() and pid.read_text() for pid in pids))
    started, companion = (int(pid.read_text()) for pid in pids)
    if end == "kill":
        parent.kill()
    elif end == "of the companion":
        os.kill(companion, signal.SIGKILL)
    if end != "kill":
        parent.communicate("goodbye\n")
    parent.wait()
    until(lambda: is_gone(started) and is_gone(companion))


@pytest.mark.parametrize("page", ["ui", "dashboard"])
def test_a_page_is_gone_after_kill_9(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    tracked = f"hydra.sweeper.tracking.name={'mlflow' if page == 'ui' else 'off'}"
    subprocess.run(command("+x=1", tracked), check=True, capture_output=True)
    served = subprocess.Popen(
        [sys.executable, "-m", "hrm_sweep", page], stdout=subprocess.PIPE, text=True
    )
    assert served.stdout is not None
    assert "http://127.0.0.1:" in served.stdout.readline()
    processes = psutil.Process(served.pid).children(recursive=True)
    served.kill()
    served.wait()
    until(lambda: not any(process.is_running() for process in processes))
