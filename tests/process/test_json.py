"""The keys of docs/json.md are those that the commands print, all of them and no others."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from paths import ROOT

PAGE = (ROOT / "docs/json.md").read_text()
ANY_NAME = re.compile(r"params\..+|objective(/std)?")
"""Columns of an exported table that bear names of the study's own."""

pytestmark = pytest.mark.usefixtures("in_studies_folder")


def documented(heading: str, table: int = 0) -> set[str]:
    """Return the keys in a table below a heading of the page."""
    text = PAGE.split(f"\n## {heading}\n")[1].split("\n## ")[0]
    tables = text.split("| key | value |\n|---|---|\n")[1:]
    return set(re.findall(r"^\| `(\w+)` \|", tables[table], re.MULTILINE))


def strict(text: str) -> Any:
    """Return what a JSON text says; what only Python takes for JSON is refused."""
    return json.loads(text, parse_constant=pytest.fail)


@pytest.mark.parametrize("name", ["grid", "grid/1", "repeated", "repeated/1/2"])
def test_show_prints_a_run_and_its_curves(name, typed):
    shown = strict(typed("show", name, "--json")[1])
    assert shown.keys() == documented("A run") | documented("A run", 1)


def test_best_prints_the_same_object_as_show(typed):
    best = strict(typed("best", "grid", "--json")[1])
    assert best.keys() == documented("A run")
    assert {**strict(typed("show", "grid", "--json")[1]), "curves": {}} == {**best, "curves": {}}
    (only,) = strict(typed("best", "grid", "--pareto", "--json")[1])
    assert only == best
    assert best["name"] == "grid/4"


def test_compare_prints_its_keys(typed):
    found = strict(typed("compare", "grid", "repeated/1", "grid/1", "--json")[1])
    assert found.keys() == documented("compare")
    assert all(run.keys() == documented("A run") for run in found["runs"].values())
    assert list(found["runs"]) == ["grid", "repeated/1", "grid/1"]
    assert (found["best"], found["next_best"]) == ("grid", "repeated/1")
    assert found["config"]["x"] == {"grid": 2, "repeated/1": 4, "grid/1": 3}
    assert found["config"]["end"] == {"grid": "well", "grid/1": "raise"}
    assert not Path("multirun/comparison.png").exists()


def test_export_prints_the_rows_of_its_table(typed):
    rows = strict(typed("export", "grid", "--json")[1])
    for row in rows:
        assert {key for key in row if not ANY_NAME.fullmatch(key)} == documented("export")
    assert [row["trial"] for row in rows] == list(range(6))


def test_list_prints_its_keys(typed):
    for found in strict(typed("list", "--json")[1]):
        assert found.keys() == documented("list") - {"bytes"}


def test_reproduce_prints_its_verdict_alone_on_standard_output(tmp_path, studies_folder):
    shutil.copytree(studies_folder / "multirun", tmp_path / "multirun")
    done = subprocess.run(
        [sys.executable, "-m", "hrm_sweep", "reproduce", "grid/0", "--yes", "--json"],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = strict(done.stdout)
    assert found.keys() == documented("reproduce")
    assert found["original"].keys() == found["again"].keys() == documented("A run")
    assert (found["verdict"], found["first_difference"]) == ("identical", None)
    assert "Reproduced: 11 of 11 values are identical" in done.stderr


def test_a_difference_has_its_keys():
    from hrm_sweep.commands.reproduction import as_json
    from hrm_sweep.runs.compare import Drift

    assert as_json(Drift(3, "loss", 1.0, None)).keys() == documented("reproduce", 1)
