"""`init` writes an app that works at once."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from paths import ROOT
from studies import PATIENCE_SECONDS

from hrm_sweep.commands import COMMANDS
from hrm_sweep.errors import InputError

TEMPLATE = ROOT / "hrm_sweep" / "template"
FILES = {
    *(".gitignore", "README.md", "app.py", "test_app.py", "conf/config.yaml"),
    *("conf/model/polynomial.yaml", "conf/model/waves.yaml"),
}
PAGES = [TEMPLATE / "README.md", ROOT / "docs" / "your_first_app.md"]

pytestmark = pytest.mark.usefixtures("in_a_folder_of_its_own")


def init(*arguments: str) -> None:
    command = COMMANDS["init"]
    command.run(command.parse(arguments))


def written(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def run(line: str, folder: Path) -> str:
    """Run a command line, with this interpreter and without MLflow in sweeps; what it printed."""
    program, *words = shlex.split(line)
    assert program in ("python", "pytest"), line
    start = [sys.executable, *(["-m", "pytest"] if program == "pytest" else [])]
    tracking = ["hydra.sweeper.tracking.name=off"] if "app.py" in words and "-m" in words else []
    done = subprocess.run(
        [*start, *words, *tracking],
        cwd=folder, capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=False,
    )  # fmt: skip
    assert done.returncode == 0, f"{line}\n{done.stdout}{done.stderr}"
    return done.stdout


@pytest.mark.parametrize("folder", ["my_app", "studies/curves", "a folder", "."])
def test_it_writes_the_app(folder, capsys):
    init(folder)
    assert written(Path(folder)) == FILES
    said = capsys.readouterr().out
    assert ("cd " in said) == (folder != ".")
    if folder != ".":
        assert f"  cd {shlex.quote(folder)}" in said


@pytest.mark.parametrize("there", ["app.py", "conf/config.yaml", ".gitignore", "conf", "README.md"])
def test_it_overwrites_nothing(there):
    path = Path("mine", there)
    path.parent.mkdir(parents=True)
    path.write_text("mine")
    with pytest.raises(InputError, match=rf"^mine: has {there} already; name a new folder"):
        init("mine")
    assert written(Path("mine")) == {there}
    assert path.read_text() == "mine"


def test_a_link_that_leads_nowhere_is_not_followed():
    Path("mine").mkdir()
    Path("mine/app.py").symlink_to("elsewhere.py")
    with pytest.raises(InputError, match=r"has app\.py already"):
        init("mine")
    assert not Path("elsewhere.py").exists()


def test_files_beside_it_stay():
    Path("notes.txt").write_text("mine")
    init(".")
    assert written(Path()) == {*FILES, "notes.txt"}


def test_a_folder_below_a_file_is_refused():
    Path("file").touch()
    with pytest.raises(InputError, match="cannot be written"):
        init("file/app")


@pytest.mark.slow
def test_what_it_prints_can_be_pasted(capsys):
    init()
    said = capsys.readouterr().out
    lines = re.findall(r"^  ((?:python|cd) \S.*?)(?:  .*)?$", said, re.M)
    assert lines[0] == "cd my_app"
    printed = [run(line, Path("my_app")) for line in lines[1:]]
    assert "learning rate" in printed[1]
    assert "3 complete" in printed[2]
    assert printed[3].startswith("Trial ")


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_the_commands_of_a_page_run(page):
    init("my_app")
    lines = re.findall(r"^\$ (.*?)(?:  +#.*)?$", page.read_text(encoding="utf-8"), re.M)
    run_here = [line for line in lines if re.match(r"python|pytest", line)]
    served = ("hrm_sweep ui", "hrm_sweep dashboard", "hrm_sweep init")
    for line in run_here:
        if not line.startswith(tuple(f"python -m {each}" for each in served)):
            run(line, Path("my_app"))


@pytest.mark.slow  # runs a study
def test_its_own_test_passes():
    init("my_app")
    run("pytest -q -p no:cacheprovider", Path("my_app"))


def test_its_help_explains_its_keys_and_those_of_an_option():
    init("my_app")
    said = run("python app.py --help model=waves", Path("my_app"))
    assert "  lr=0.1         learning rate\n" in said
    assert "  model.num_waves=3  number of frequencies\n" in said
    assert "== model=waves ==\n  A sum of waves.\n" in said
