"""`report --watch`: the page follows a study, ends with it, and stays when the user has enough."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest
from studies import STUDY, awaiting, begun, expect_signals, steps, until

PAGE = STUDY / "report.html"
FOLLOWS = '<meta http-equiv="refresh"'


def page() -> str:
    return PAGE.read_text("utf-8") if PAGE.exists() else ""


def watch(log: Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "hrm_sweep", "report", "study", "--watch"]
    with log.open("w") as printed:
        return subprocess.Popen(command, stdout=printed, stderr=printed, preexec_fn=expect_signals)


@pytest.fixture
def running(in_a_folder_of_its_own, start):
    """A study whose second trial waits for the file `go`."""
    sweep = start("+x=1,2", awaiting("go", [2]), "hydra.launcher.workers=1")
    until(lambda: len(begun()) == 2 and len(steps(1)) == 2)
    return sweep


def test_the_page_follows_a_study_and_ends_with_it(running):
    log = Path("watch.log")
    following = watch(log)
    try:
        until(lambda: "1 complete, 1 running" in page() and FOLLOWS in page())
        Path("go").touch()
        assert running.ends() == 0
        assert following.wait(timeout=180) == 0
    finally:
        following.kill()
    assert "2 complete" in page()
    assert FOLLOWS not in page()
    assert "1 complete, 1 running\n" in log.read_text()
    assert log.read_text().splitlines()[-1].endswith("2 complete")


def test_ctrl_c_leaves_a_page_that_stays_and_the_study_running(running):
    log = Path("watch.log")
    following = watch(log)
    try:
        until(lambda: FOLLOWS in page())
        following.send_signal(signal.SIGINT)
        assert following.wait(timeout=180) == 0
    finally:
        following.kill()
    assert "1 complete, 1 running" in page()
    assert FOLLOWS not in page()
    assert log.read_text().splitlines()[-1] == "  the page stays as it is; what runs continues"
    assert "Traceback" not in log.read_text()
    Path("go").touch()
    assert running.ends() == 0
