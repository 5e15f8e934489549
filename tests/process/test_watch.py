"""`watch` in a process of its own beside a study that runs, has ended or has died."""

import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from studies import PATIENCE_SECONDS, STUDY, Sweep, awaiting, command, endings, steps, until

from hrm_sweep.runs import record

TYPED = [sys.executable, "-m", "hrm_sweep", "watch"]


def watch(*arguments: str) -> subprocess.CompletedProcess[str]:
    """`watch` from its start to its end."""
    return subprocess.run(
        [*TYPED, *arguments],
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=False,
    )


@pytest.fixture
def watching():
    """Starts `watch`; none is left behind."""
    started: list[Sweep] = []

    def begin(*arguments: str) -> Sweep:
        started.append(Sweep([*TYPED, *arguments], Path("watch.log").absolute()))
        return started[-1]

    yield begin
    for each in started:
        each.kill()


@pytest.fixture(scope="module")
def ended(tmp_path_factory):
    """A folder with a complete study, what its sweep has printed, and what `watch` has beside it.

    The second of its two trials runs from its start to its end between two looks.
    """
    folder = tmp_path_factory.mktemp("ended")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        typed = command("+x=1,3", awaiting("go", [1]), "hydra.launcher.workers=1")
        running, watched = Sweep(typed, Path("sweep.log")), None
        try:
            until(lambda: steps(0) == [1, 2])
            watched = Sweep([*TYPED, "study"], Path("watch.log"))
            until(lambda: "trial 0  x=1  step 2/10" in watched.printed)
            Path("go").touch()
            assert (running.ends(), watched.ends()) == (0, 0)
        finally:
            for each in filter(None, (running, watched)):
                each.kill()
        return folder, running.printed, watched.printed


def test_a_running_study_is_shown_until_it_ends(ended):
    _, of_sweep, shown = ended
    assert "Study study · x 1, 3 · minimize objective\nRuns for " in shown
    assert re.search(r"trial 1 .* done in ", shown)
    assert re.search(r"Finished in .*: 2 complete\n\n +trial +x +objective +time\n", shown)
    assert of_sweep.partition("2 complete\n")[2].partition("  report")[0] in shown


@pytest.mark.slow
def test_ctrl_c_ends_the_view_alone(in_a_folder_of_its_own, start, watching):
    running = start("+x=1", awaiting("go", [1]))
    until(lambda: steps(0) == [1, 2])
    watched = watching()
    until(lambda: "step 2/10" in watched.printed)
    watched.signal(signal.SIGINT)
    assert watched.ends() == 130
    assert "study continues; watch it again with: " in watched.printed
    Path("go").touch()
    assert running.ends() == 0


@pytest.mark.slow
def test_a_study_whose_sweep_is_killed_can_be_resumed(in_a_folder_of_its_own, start, watching):
    running = start("+x=1,3", awaiting("go", [1, 3]))
    until(lambda: steps(0) == [1, 2])
    watched = watching("study")
    until(lambda: "step 2/10" in watched.printed)
    running.kill()
    assert watched.ends() == 1
    assert "Nothing runs: its sweep is gone" in watched.printed
    assert "resume      python -m hrm_sweep resume study\n" in watched.printed
    later = watch("study")
    assert later.returncode == 1
    assert "Nothing runs: its sweep is gone" in later.stdout


@pytest.mark.slow
def test_a_stopped_and_resumed_study_is_shown_to_its_end(in_a_folder_of_its_own, start, watching):
    first = start("+x=1,3", awaiting("go", [1, 3]), "hydra.launcher.workers=1")
    until(lambda: steps(0) == [1, 2])
    first.signal(signal.SIGINT)
    assert first.ends() == 130
    stopped = watch("study")
    assert stopped.returncode == 1
    assert "Stopped just now: nothing runs" in stopped.stdout
    assert "resume study" in stopped.stdout
    again = start("+x=1,3", awaiting("go", [1, 3]), "hydra.launcher.workers=1")
    until(lambda: len(endings(0)) == 1 and record.is_held(STUDY / "0"))
    watched = watching("study")
    until(lambda: "Runs for" in watched.printed)
    Path("go").touch()
    assert (again.ends(), watched.ends()) == (0, 0)
    assert ": 2 complete\n" in watched.printed


def test_a_study_that_has_ended_says_so(ended, monkeypatch):
    monkeypatch.chdir(ended[0])
    done = watch()
    assert done.returncode == 0
    assert "Ended just now: nothing runs\n" in done.stdout
    assert re.search(r"Finished in .*: 2 complete\n\n +trial +x +objective +time\n", done.stdout)
    assert "report      multirun/study/report.html" in done.stdout
    assert "resume" not in done.stdout


def test_one_trial_is_shown_by_its_steps(ended, monkeypatch):
    monkeypatch.chdir(ended[0])
    done = watch("study/1")
    assert done.returncode == 0
    assert re.fullmatch(
        r"Run study/1 · started (just now|\d+ minutes? ago)\nstep 10/10  objective 1.1\n\n"
        r"Complete: objective 1\n",
        done.stdout,
    )


@pytest.mark.slow
def test_a_damaged_trial_is_left_out(ended, tmp_path, monkeypatch):
    shutil.copytree(ended[0], tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    lines = (STUDY / "1" / "record.jsonl").read_text().splitlines()
    (STUDY / "1" / "record.jsonl").write_text("\n".join([lines[0], *lines[2:], ""]))
    done = watch(str(STUDY))
    assert "Traceback" not in done.stderr
    assert "left out: multirun/study/1/record.jsonl" in done.stderr
    assert ": 1 complete\n" in done.stdout


@pytest.mark.slow
def test_what_is_not_there_is_refused(ended, monkeypatch):
    monkeypatch.chdir(ended[0])
    done = watch("stdy")
    assert done.returncode == 2
    assert "did you mean study?" in done.stderr
