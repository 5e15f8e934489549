"""The README is true: its commands run, its answers to mistakes are word for word."""

import re
import shlex
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from composed import IN_SECONDS
from paths import ROOT

from hrm_sweep import commands

README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.M | re.S)


def console() -> list[tuple[str, str]]:
    """Every command of the README and what is shown below it; the session is a picture of one."""
    found: list[tuple[str, str]] = []
    for block in blocks("console"):
        for part in re.split(r"^\$ ", block, flags=re.M)[1:]:
            line, _, shown = part.partition("\n")
            found.append((line.split("  #")[0].strip(), shown.strip()))
    return found


def run(line: str, folder: Path) -> subprocess.CompletedProcess[str]:
    words = shlex.split(line)
    assert words[0] == "python"
    return subprocess.run(
        [sys.executable, *words[1:]], cwd=folder, capture_output=True, text=True, check=False
    )


OURS = [(line, shown) for line, shown in console() if line.startswith("python -m hrm_sweep")]
MISTAKES = [pair for pair in OURS if pair[1] and "\n" not in pair[1]]
TOUR = [line for line, shown in OURS if not shown]


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("readme")


def test_the_readme_shows_what_it_promises():
    assert len(MISTAKES) >= 3
    assert len(TOUR) >= 5


@pytest.mark.parametrize("line", TOUR)
def test_the_tour_runs(line, folder):
    trains = shlex.split(line)[3:4] in ([], ["-m"])
    done = run(" ".join([line, *IN_SECONDS]) if trains else line, folder)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(("line", "shown"), MISTAKES)
def test_a_mistake_is_answered_as_shown(line, shown, tmp_path):
    done = run(line, tmp_path)
    assert (done.returncode, done.stderr.strip()) == (2, shown)


def test_the_app_of_ones_own_runs_and_imports_no_torch(tmp_path):
    (app,) = blocks("python")
    (tmp_path / "app.py").write_text(
        app + "    import sys\n    assert 'torch' not in sys.modules\n"
    )
    (line,) = (line for line, _ in console() if line.startswith("python app.py"))
    done = run(line + " hydra.sweeper.tracking.name=off", tmp_path)
    assert done.returncode == 0, done.stderr
    assert "once more   python app.py +x=2" in done.stdout


def test_every_command_of_ours_is_explained():
    page = (ROOT / "docs" / "commands.md").read_text(encoding="utf-8")
    assert [name for name in commands.COMMANDS if f"python -m hrm_sweep {name}" not in page] == []


def test_the_file_map_names_what_is_there():
    (file_map,) = blocks("text")
    for line in file_map.splitlines():
        assert (ROOT / line.split()[0]).exists(), line


PAGES = [
    *(ROOT / name for name in ("README.md", "CHANGELOG.md", "CONTRIBUTING.md")),
    *sorted((ROOT / "docs").glob("*.md")),
    *sorted((ROOT / "tests" / "benchmarks").glob("*.md")),
]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_of_a_page_lead_somewhere(page):
    """Files alone: `mkdocs build --strict` checks the headings that links name."""
    targets = re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8"))
    paths = [urlsplit(target).path for target in targets if not urlsplit(target).scheme]
    assert [path for path in paths if not (page.parent / path).exists()] == []
