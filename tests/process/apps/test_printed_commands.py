"""Each command line that the product prints works when it is pasted.

A situation is a command that ends in some way; whatever it prints is executed where it was printed,
in the order it was printed.
"""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from pasted import SERVERS, commands_in, paste
from paths import TESTS
from studies import APP, PATIENCE_SECONDS

SHIPPED = (sys.executable, "-m", "hrm_sweep")
TINY = (
    *("trainer=smoke", "hidden_dim=16", "model.num_heads=1", "data.num_puzzles=8"),
    *("data.num_eval_puzzles=4", "epochs=2", "trainer.compile=off"),
)
OTHER = (sys.executable, "app.py", "-m", "hydra/sweeper=hrm_sweep", "hydra/launcher=pool")
TEMPLATE = (sys.executable, "src/train.py")

OF_THE_NEWEST = tuple(f" {server}" for server in SERVERS)
"""Ends of lines that open a page of whichever study is the newest: they say nothing of it."""

SITUATIONS = [
    pytest.param([*SHIPPED, *TINY], id="a single run"),
    pytest.param([*SHIPPED, "-m", "lr=1e-3,1e-2", *TINY, "tracking=off"], id="untracked"),
    pytest.param(
        [*SHIPPED, "-m", "lr=1e-3,1e-2,1e-1", *TINY, "study.name=two words", "study.patience=1"],
        id="a name with a space, patience",
    ),
    pytest.param(
        [
            *(*SHIPPED, "-m", "lr=1e-3,1e-2", *TINY, "hydra.sweep.dir=elsewhere/here"),
            "study.objective=[eval/loss,eval/segments]",
        ],
        id="several objectives, elsewhere",
    ),
    pytest.param(
        [*OTHER, "+x=1,2", "+end=raise,well", "+note='with a space'"],
        id="another app, failed trials, a value with a space",
    ),
    pytest.param([*OTHER, "+x=1,2", "hydra.sweep.dir=out/${hydra:job.name}"], id="its own folder"),
    pytest.param(
        [*TEMPLATE, "hparams_search=line_optuna", "seed=0", "hydra.sweeper.n_trials=2"],
        id="a template's search",
    ),
]
"""Each with all that it can have at once: a study takes seconds, and so does each line."""


@pytest.fixture(scope="module")
def served() -> set[str]:
    """The lines that have opened a page."""
    return set()


@pytest.fixture
def project(tmp_path, monkeypatch) -> Path:
    shutil.copy(APP, tmp_path / "app.py")
    shutil.copytree(TESTS / "apps" / "template", tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("words", SITUATIONS)
def test_what_is_printed_can_be_pasted(words, project, served):
    done = subprocess.run(
        words,
        capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    listed = subprocess.run([*SHIPPED, "list"], capture_output=True, text=True, check=True)
    commands = commands_in(done.stdout + listed.stdout)
    assert commands
    for line in commands:
        if line in served:
            continue
        code, printed = paste(line, project)
        assert code == 0, f"{line}\n{printed}"
        if line.endswith(OF_THE_NEWEST):
            served.add(line)


def test_what_a_stopped_study_prints_can_be_pasted(project, start):
    sweep = start("+x=1,2,3,4", "hydra.launcher.workers=1", "+pause=0.2", app=project / "app.py")
    while not (project / "multirun/study/0/record.jsonl").exists():
        assert sweep.process.poll() is None
    sweep.signal(2)
    assert sweep.ends() == 130
    (line,) = [line for line in commands_in(sweep.printed) if "study_name=study" in line]
    code, printed = paste(line, project)
    assert code == 0, printed
    assert "4 complete" in printed
