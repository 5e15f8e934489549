"""The pictures of a first study: its terminal, its report, and its page in Optuna's dashboard.

    python docs/tools/pictures.py

runs the study in a temporary folder and writes docs/pictures/. It needs tmux, playwright (in the
`test` extra) and Chromium. Those of MLflow are made by docs/mlflow_tour.py.
"""

from __future__ import annotations

import io
import re
import signal
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from shutil import which

from playwright.sync_api import Browser, sync_playwright
from rich.console import Console
from rich.text import Text

PICTURES = Path(__file__).parents[1] / "pictures"
COMMAND = "python -m hrm_sweep -m lr=1e-4,5e-4,1e-3 study.name=first"
COLUMNS, LINES = 96, 40
FONTS = re.compile(r"@font-face \{.*?\}", re.DOTALL)


def main() -> None:
    """Run the study and take the pictures."""
    PICTURES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        screen = _typed(f"PATH={Path(sys.executable).parent}:$PATH {COMMAND}", folder)
        (PICTURES / "terminal.svg").write_text(_svg(screen), encoding="utf-8")
        browser = playwright.chromium.launch(executable_path=which("chromium"))
        report = Path(folder, "multirun/first/report.html").as_uri()
        figures = "h2:has-text('Figures')"
        _photograph(browser, report, PICTURES / "report.png", awaited=figures, top=figures)
        with _served("dashboard", folder) as page:
            importance = "text=Hyperparameter Importance"
            _photograph(browser, page, PICTURES / "dashboard.png", awaited=importance, top="body")
        browser.close()


def _typed(line: str, folder: str) -> str:
    """Return the screen of a terminal, with its colours, in which a line was executed."""
    name = f"pictures-{uuid.uuid4().hex[:8]}"
    tmux = ["tmux", "-L", name]
    size = ["-x", str(COLUMNS), "-y", str(LINES)]
    shell = f"{line}; tmux -L {name} wait-for -S done; read -r"
    subprocess.run(
        [*tmux, "new-session", "-d", *size, "-c", folder, "bash", "-c", shell], check=True
    )
    try:
        subprocess.run([*tmux, "wait-for", "done"], check=True)
        captured = [*tmux, "capture-pane", "-p", "-e", "-S", "-"]
        return subprocess.run(captured, capture_output=True, text=True, check=True).stdout.rstrip()
    finally:
        subprocess.run([*tmux, "kill-server"], check=False)


def _svg(screen: str) -> str:
    console = Console(record=True, width=COLUMNS, file=io.StringIO())
    console.print(Text.from_ansi(f"$ {COMMAND}\n{screen}\n"))
    return FONTS.sub("", console.export_svg(title="hrm_sweep"))  # of a CDN


@contextmanager
def _served(command: str, folder: str) -> Iterator[str]:
    """Run a command that serves pages; yields the address it prints."""
    process = subprocess.Popen(
        [sys.executable, "-m", "hrm_sweep", command, "--no-browser"],
        cwd=folder,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    try:
        addresses = (re.search(r"http://\S+", line) for line in process.stdout)
        yield next(filter(None, addresses)).group()
    finally:
        process.send_signal(signal.SIGINT)
        process.communicate()


def _photograph(browser: Browser, address: str, picture: Path, *, awaited: str, top: str) -> None:
    page = browser.new_page(viewport={"width": 1280, "height": 860})
    page.goto(address)
    page.locator(awaited).first.wait_for()
    page.wait_for_load_state("networkidle")
    page.locator(top).first.evaluate("element => element.scrollIntoView()")
    page.screenshot(path=picture)
    page.close()


if __name__ == "__main__":
    main()
