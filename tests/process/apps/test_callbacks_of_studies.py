"""Functions and commands that run when a trial or a study ends."""

import signal
import subprocess
from pathlib import Path

import pytest
from studies import PATIENCE_SECONDS, STUDY, Sweep, command, study, until

APP = """
import hydra
from pathlib import Path

def tell(end):
    with Path("told").open("a") as file:
        values = dict(end.values) if end.outcome == "complete" else end.reason
        file.write(f"{end.study} {end.number} {end.outcome} {values} {dict(end.params)}\\n")

def tell_the_end(end):
    from hrm_sweep import load_study
    best = [(trial.number, trial.values["objective"]) for trial in end.best]
    rows = len(load_study(end.folder).trials)
    text = f"{end.study} {end.outcome} {dict(end.counts)} {best} {rows}\\n"
    with Path("ended").open("a") as file:
        file.write(text)

def fail(end):
    raise RuntimeError(f"no answer for {end.folder.name}")

def takes_nothing():
    pass

@hydra.main(version_base=None, config_path=None)
def main(cfg):
    if cfg.x > 2 and not Path("mended").exists():
        raise ValueError("too far")
    return float(cfg.x)

if __name__ == "__main__":
    main()
"""
TRIAL_END, END = "hydra.sweeper.on_trial_end", "hydra.sweeper.on_end"
ONE = "hydra.launcher.workers=1"

pytestmark = pytest.mark.usefixtures("in_a_folder_of_its_own")


def sweep(*overrides: str) -> subprocess.CompletedProcess[str]:
    Path("app.py").write_text(APP)
    return subprocess.run(
        command(*overrides, ONE, app=Path("app.py")),
        capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=False,
    )  # fmt: skip


def test_functions_are_told_of_each_end_once():
    told = (f"{TRIAL_END}=app.tell", f"{END}=app.tell_the_end")
    done = sweep("+x=2,1,3", *told)
    assert done.returncode == 0, done.stderr
    first = [
        "study 0 complete {'objective': 2.0} {'x': 2}",
        "study 1 complete {'objective': 1.0} {'x': 1}",
        "study 2 failed ValueError: too far {'x': 3}",
    ]
    assert Path("told").read_text().splitlines() == first
    end = "study complete {'complete': 2, 'failed': 1} [(1, 1.0)] 3\n"
    assert Path("ended").read_text() == end
    again = sweep("+x=2,1,3", *told)
    assert again.returncode == 0, again.stderr
    assert Path("ended").read_text() == end  # nothing has ended since
    more = sweep("+x=2,1,3,0", *told)
    assert more.returncode == 0, more.stderr
    fourth = "study 3 complete {'objective': 0.0} {'x': 0}"
    assert Path("told").read_text().splitlines() == [*first, fourth]
    assert len(Path("ended").read_text().splitlines()) == 2


def test_commands_are_told_by_their_environment():
    line = "echo $HRM_SWEEP_STUDY $HRM_SWEEP_TRIAL $HRM_SWEEP_OUTCOME $HRM_SWEEP_VALUE >> told"
    words = f"[sh,-c,'echo $HRM_SWEEP_FOLDER $HRM_SWEEP_TRIAL $HRM_SWEEP_VALUE; {line}']"
    done = sweep("+x=2,1,3", f'{TRIAL_END}="{line}"', f'{END}="{words}"'.replace('"', ""))
    assert done.returncode == 0, done.stderr
    assert Path("told").read_text().splitlines() == [
        "study 0 complete 2.0",
        "study 1 complete 1.0",
        "study 2 failed",
        "study 1 complete 1.0",
    ]
    assert f"\n{STUDY.absolute()} 1 1.0\n" in done.stdout


def test_one_that_fails_is_one_line_and_costs_no_trial():
    done = sweep("+x=0,1", f"{TRIAL_END}=app.fail", f"{END}='echo a; echo b; exit 4'")
    assert done.returncode == 0, done.stderr
    for number in (0, 1):
        said = f"RuntimeError: no answer for {number} (app.py:19)"
        assert f"\non_trial_end of trial {number} failed: {said}\n" in done.stdout
    assert "\non_end failed: exit code 4: b\n" in done.stdout
    assert [trial.state.name for trial in study().get_trials()] == ["COMPLETE"] * 2
    assert "Traceback" not in done.stdout + done.stderr


def test_what_cannot_be_called_is_refused_before_anything_is_created(tmp_path):
    done = sweep("+x=0,1", f"{TRIAL_END}=app.takes_nothing")
    assert done.returncode == 2, done.stdout
    (line,) = done.stderr.strip().splitlines()
    assert line.startswith(f"{TRIAL_END}=app.takes_nothing: is no function that can be called with")
    assert {path.name for path in tmp_path.iterdir()} <= {"app.py", "__pycache__"}


def test_ctrl_c_ends_the_wait_for_a_callback_and_the_study_is_complete(tmp_path):
    typed = command("+x=0,1", ONE, f"{END}='touch begun; sleep 600'", app=Path("app.py"))
    Path("app.py").write_text(APP)
    running = Sweep(typed, tmp_path / "log")
    try:
        until(lambda: "Waits for on_trial_end and on_end" in running.printed)
        running.signal(signal.SIGINT)
        assert running.ends() == 0, running.printed
    finally:
        running.kill()
    assert Path("begun").exists()
    assert "What is left of on_trial_end and on_end is given up" in running.printed
    assert "  once more   " in running.printed
    assert "Stopped" not in running.printed
