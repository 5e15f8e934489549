"""What the user sees of a study in MLflow, in a real browser, and the pictures in the README.

    python docs/mlflow_tour.py

runs a small study in a temporary folder, goes through its pages and writes the pictures beside this
file. It needs playwright (in the `test` extra) and Chromium (`apt-get install chromium`).
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from playwright.sync_api import Locator, Page, TimeoutError, sync_playwright

from hrm_sweep.commands.pages import free_port
from hrm_sweep.runs.export_state import ExportState
from hrm_sweep.tracking import store, ui

STUDY = "lr=1e-4,5e-4,1e-3 study.name=example"
PATIENCE_MS = 90_000
SIZE = {"width": 1280, "height": 640}
MODEL_TRAINING = "workflowType=machine_learning"


class Seen(NamedTuple):
    """What was on the pages."""

    note: str
    columns: str
    runs: list[str]
    """Names, in the order of the table."""
    axes: list[str]
    """Of the parallel coordinates."""
    num_points: int
    """In the scatter plot."""
    picture_size: tuple[int, int]


def chromium() -> str | None:
    """Path of the browser, None if there is none on this machine."""
    names = ("chromium", "chromium-browser", "google-chrome")
    return next(filter(None, map(shutil.which, names)), None)


def tour(study: Path, uri: str, pictures: Path) -> Seen:
    """Open a study's page, the table of its trials, a comparison of three and an artifact."""
    port = free_port(5600)
    with ui.serving(store.resolve_uri(uri), port), _browser() as page:
        address = f"http://127.0.0.1:{port}/"
        note = _study(page, address, ExportState.load(study), pictures)
        with page.context.expect_page() as opened:  # a link in a note opens a tab of its own
            _compare_link(page).click()
        columns, runs = _trials(opened.value, pictures)
        axes, num_points = _comparison(opened.value, pictures)
        size = _artifact(page, address, ExportState.load(study / "0"))
    return Seen(note, columns, runs, axes, num_points, size)


@contextmanager
def _browser() -> Iterator[Page]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium(), args=["--no-sandbox"])
        try:
            page = browser.new_page(viewport=SIZE)  # type: ignore[arg-type]
            page.set_default_timeout(PATIENCE_MS)
            yield page
        finally:
            browser.close()


def _study(page: Page, address: str, study: ExportState, pictures: Path) -> str:
    page.goto(f"{address}#/experiments/{study.experiment_id}/runs/{study.run_id}?{MODEL_TRAINING}")
    _compare_link(page).wait_for()
    _close_assistant(page)
    page.screenshot(path=pictures / "mlflow_study.png")
    return page.inner_text("body")


def _trials(page: Page, pictures: Path) -> tuple[str, list[str]]:
    page.locator("[row-index] a").nth(2).wait_for()
    page.screenshot(path=pictures / "mlflow_trials.png")
    columns = page.locator(".ag-header").inner_text()
    return columns, [link.inner_text() for link in page.locator("[row-index] a").all()]


def _comparison(page: Page, pictures: Path) -> tuple[list[str], int]:
    for row in range(3):
        page.locator(f"[row-index='{row}'] .ag-selection-checkbox input").check()
    page.get_by_role("button", name="Compare", exact=True).click()
    axes = page.locator(".parcoords .axis-title")
    axes.first.wait_for()
    page.screenshot(path=pictures / "mlflow_compare.png")
    names = axes.all_text_contents()
    page.get_by_role("tab", name="Scatter Plot").click()
    page.locator(".js-plotly-plot .ytitle").wait_for()
    drawn = "plots => plots.filter(plot => plot.offsetParent).pop().data[0].x.length"
    return names, page.locator(".js-plotly-plot").evaluate_all(drawn)


def _artifact(page: Page, address: str, trial: ExportState) -> tuple[int, int]:
    where = f"{address}#/experiments/{trial.experiment_id}/runs/{trial.run_id}/artifacts"
    page.goto(f"{where}?{MODEL_TRAINING}")
    page.get_by_text("prediction_vs_groundtruth.png").first.click()
    picture = page.locator("img[src^='blob:']").first
    picture.wait_for()
    return tuple(picture.evaluate("picture => [picture.naturalWidth, picture.naturalHeight]"))


def _compare_link(page: Page) -> Locator:
    return page.get_by_role("link", name="compare the trials")


def _close_assistant(page: Page) -> None:
    try:
        page.get_by_role("button", name="Close").first.click(timeout=5000)
    except TimeoutError:  # it was not open
        return


def main() -> None:
    """Run the study and take the pictures."""
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(
            [sys.executable, "-m", "hrm_sweep", "-m", *STUDY.split()], cwd=folder, check=True
        )
        database = f"sqlite:///{folder}/mlruns/mlflow.db"
        print(tour(Path(folder, "multirun/example"), database, Path(__file__).parent))


if __name__ == "__main__":
    main()
