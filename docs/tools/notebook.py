"""Make docs/notebook.ipynb: `python docs/tools/notebook.py` writes its cells and executes them.

The study is run in a temporary folder, and takes half a minute on two cores.
"""

from __future__ import annotations

import re
import sys
import tempfile
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

NOTEBOOK = Path(__file__).parents[1] / "notebook.ipynb"
SECONDS = 300
"""Most that a cell may take."""

CELLS = (
    """
# A study in a notebook

The same study as on the command line (`python -m hrm_sweep -m lr=1e-4,5e-4,1e-3`), with its folder,
its record and its pages: whatever is made here is found by the commands, and the other way round.
""",
    """
import hrm_sweep

study = hrm_sweep.sweep(["lr=1e-4,5e-4,1e-3", "study.name=notebook"])
""",
    "While it runs, the output above is a live table. *Interrupt* stops the study as Ctrl-C does: "
    "trials are saved, and the same call resumes it.",
    "study",
    "`trials` is a pandas DataFrame, with a row for each trial:",
    'study.trials[["trial", "params.lr", "eval/exact_match", "eval/loss", "seconds"]]',
    "Figures are Matplotlib's:",
    "study.plot.curves()",
    "study.plot.history()",
    """
## The best model

`best.load()` gives the model with its best weights, and its task.
""",
    """
run = study.best.load()
puzzle = run.task.eval.all()
print(run.task.picture(puzzle.inputs[0]))
print(run.task.picture(run.predict(puzzle)[0]))
""",
    "A study or a run that is there already is loaded by the name that commands take:",
    """
again = hrm_sweep.load_study("notebook")
model, task = hrm_sweep.load_run("notebook/0")
print(again, sum(each.numel() for each in model.parameters()), "parameters")
""",
)
"""Text, or code."""


def built() -> Any:
    """Return the notebook without outputs."""
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    cells = [_cell(number, text.strip()) for number, text in enumerate(CELLS)]
    return new_notebook(cells=cells, metadata=kernel)


def executed(folder: Path) -> Any:
    """Return the notebook with its outputs, executed in a folder; a cell that raises ends it."""
    notebook = built()
    NotebookClient(
        notebook,
        timeout=SECONDS,
        kernel_name="python3",
        coalesce_streams=True,
        resources={"metadata": {"path": folder}},
    ).execute()
    for cell in notebook.cells:
        cell.metadata.clear()  # when each cell was executed
    return notebook


def _cell(number: int, text: str) -> Any:
    is_text = text[0] in "#`" or re.match(r"[A-Z]", text)
    make = new_markdown_cell if is_text else new_code_cell
    return make(text, id=f"cell-{number}")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        nbformat.write(executed(Path(folder)), NOTEBOOK)
    sys.stdout.write(f"{NOTEBOOK}: {NOTEBOOK.stat().st_size / 1e3:.0f} kB\n")
