"""The examples of docs/python.md, in one program, and the notebook beside it."""

import re
import subprocess
import sys
from pathlib import Path

import nbformat
from paths import ROOT

sys.path.insert(0, str(ROOT / "docs" / "tools"))
import notebook

PAGE = ROOT / "docs" / "python.md"
SECONDS = 600.0


def test_the_examples_of_the_page_run_from_top_to_bottom(tmp_path):
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert len(blocks) == 4
    (tmp_path / "examples.py").write_text("\n".join(blocks))
    done = subprocess.run(
        [sys.executable, "examples.py"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "Finished in " in done.stdout
    assert "{'lr': 0.3}" in done.stdout
    assert (tmp_path / "multirun/from-python/report.html").exists()


def kinds(cells: list) -> list[set[str]]:
    """What each cell shows: text on a stream, a table, a picture."""
    return [
        {
            kind
            for output in cell.get("outputs", [])
            for kind in (output.get("data") or {"stream": 0})
        }
        for cell in cells
    ]


def test_the_notebook_runs_and_shows_what_the_kept_one_shows(tmp_path):
    kept = nbformat.read(notebook.NOTEBOOK, as_version=4)
    nbformat.validate(kept)
    assert [cell.source for cell in kept.cells] == [cell.source for cell in notebook.built().cells]
    made = notebook.executed(tmp_path)
    assert kinds(made.cells) == kinds(kept.cells)
    shown = set().union(*kinds(kept.cells))
    assert {"stream", "text/html", "image/png"} <= shown
    text = "".join(
        output.text for output in made.cells[1].outputs if output.output_type == "stream"
    )
    assert re.search(r"Finished in .*: 3 complete\n\n +trial +lr +exact match", text)
    assert "\x1b" not in text
    assert "Warning" not in text
    (live,) = [each for each in made.cells[1].outputs if each.output_type == "display_data"]
    assert live.data == {"text/plain": ""}  # the live table, replaced until it is nothing
    assert Path(notebook.NOTEBOOK).stat().st_size < 100_000
