"""What all pages share: the templates, the figures and pictures in them, and the files written."""

from __future__ import annotations

import base64
import time
from collections.abc import Iterator, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader
from matplotlib.figure import Figure

from hrm_sweep.report.facts import moment
from hrm_sweep.report.svg import save_png, svg_of
from hrm_sweep.runs import layout, pictures
from hrm_sweep.runs.app import trusted_pictures
from hrm_sweep.runs.run import Run
from hrm_sweep.system import files

REFRESH_SECONDS = 5
"""After which a page loads itself again that follows what runs."""
MOST_PICTURES, MOST_BYTES = 4, 1_500_000
"""Pictures of a run that a page takes in."""

_REFRESH = f'<meta http-equiv="refresh" content="{REFRESH_SECONDS}">\n'


def write_page(
    folder: Path, template: str, figures: Mapping[str, tuple[str, Figure]], *, follows: bool,
    **values: Any,
) -> list[str]:  # fmt: skip
    """Write `report.html` and `figures/*.png` into a folder.

    Args:
        figures: title and figure, by file name.
        follows: whether the page loads itself again every few seconds.
        values: what the template shows.

    Returns:
        The names of the files, below the folder.
    """
    files.make_folder(folder / layout.FIGURES)
    shown = []
    for name, (title, figure) in figures.items():
        save_png(figure, folder / layout.FIGURES / f"{name}.png")
        shown.append((title, svg_of(figure, name)))
    page = _environment().get_template(template)
    values |= {"figures": shown, "refresh": _REFRESH if follows else ""}
    values |= {"written": moment(1000 * time.time()), "version": version("hrm-sweep")}
    files.write_text(folder / layout.REPORT, page.render(values))
    return [layout.REPORT, *(f"{layout.FIGURES}/{name}.png" for name in figures)]


def stop_following(folder: Path) -> None:
    """Let the page in a folder stay as it is."""
    page = folder / layout.REPORT
    if page.exists():
        files.write_text(page, page.read_text("utf-8").replace(_REFRESH, "", 1))


def pictures_of(run: Run | None) -> Iterator[tuple[str, str]]:
    """Yield the pictures of a run, or of its first repeat, as data for a page."""
    if run is None or run.where:
        return
    folder = (run.repeats[0] if run.repeats else run).trained.folder
    if run.outcome is not None:  # what still runs draws when it ends
        pictures.draw_function(trusted_pictures(run.app))(folder)
    own = (path for path in folder.glob("*.png") if not path.is_symlink())
    paths = sorted(path for path in own if path.stat().st_size <= MOST_BYTES)
    for path in paths[:MOST_PICTURES]:
        data = base64.b64encode(path.read_bytes()).decode()
        yield path.stem.replace("_", " "), f"data:image/png;base64,{data}"


def _environment() -> Environment:
    return Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )
