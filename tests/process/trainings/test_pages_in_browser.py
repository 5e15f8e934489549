"""What a user reads in a browser: `ui`, `dashboard`, `report.html` and the documentation."""

import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from paths import ROOT
from playwright.sync_api import Browser, Page, sync_playwright
from studies import PATIENCE_SECONDS

STUDY = (
    *("-m", "lr=1e-4,5e-4,1e-3", "study.name=small", "trainer=smoke", "hidden_dim=32"),
    *("data.num_puzzles=8", "data.num_eval_puzzles=16"),
)
HERE = re.compile(r"file:|data:|blob:|http://127\.0\.0\.1:")
DESK, PHONE = 1400, 400


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        pytest.skip("no Chromium: apt-get install chromium")
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield started
        started.close()


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("small")
    typed = [sys.executable, "-m", "hrm_sweep", *STUDY]
    subprocess.run(typed, cwd=folder, check=True, timeout=PATIENCE_SECONDS)
    return folder


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    """The site, built with warnings as errors: links, headings, pages without a place."""
    pytest.importorskip("material")
    site = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(site)],
        cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return site


@contextmanager
def reading(browser: Browser, width: int = DESK, *, is_ours: bool = True) -> Iterator[Page]:
    """Open a page that requests nothing from elsewhere; ours report no error and fit the screen."""
    page = browser.new_page(viewport={"width": width, "height": 900})
    page.set_default_timeout(1000 * PATIENCE_SECONDS)
    outside, errors = [], []
    page.on("request", lambda request: HERE.match(request.url) or outside.append(request.url))
    page.on("console", lambda said: said.type == "error" and errors.append(said.text))
    page.on("pageerror", lambda error: errors.append(str(error)))
    try:
        yield page
        assert outside == []
        if is_ours:
            assert errors == []
            assert page.evaluate("document.documentElement.scrollWidth") <= width
    finally:
        page.close()


@contextmanager
def served(command: str, folder: Path) -> Iterator[str]:
    """Run a command that serves pages; yields the address that it says."""
    process = subprocess.Popen(
        [sys.executable, "-m", "hrm_sweep", command, "--no-browser"],
        cwd=folder, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        found = (re.search(r"http://\S+", line) for line in process.stdout)
        yield next(filter(None, found)).group()
    finally:
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=PATIENCE_SECONDS)


def is_drawn(page: Page, picture: str) -> bool:
    size = page.locator(picture).first.evaluate("image => image.decode().then(() => image.width)")
    return bool(size)


def test_mlflow_opens_on_the_trials_best_first(browser, folder):
    with served("ui", folder) as address, reading(browser, is_ours=False) as page:
        page.goto(address)
        names = page.locator("[row-index] a")
        names.nth(2).wait_for()
        assert sorted(names.all_inner_texts()) == ["0 lr=1e-4", "1 lr=5e-4", "2 lr=1e-3"]
        columns = page.locator(".ag-header").inner_text().split("\n")
        assert {"best/eval/exact_match", "best/eval/loss", "lr"} <= set(columns)
        page.get_by_text("complete", exact=True).first.wait_for()
        ranks = page.locator("[row-index='0'] [col-id*='hrm_sweep.rank']")
        assert ranks.first.inner_text().strip() == "1"


@pytest.mark.parametrize("width", [DESK, PHONE])
def test_optuna_opens_on_the_study(browser, folder, width):
    with served("dashboard", folder) as address, reading(browser, width, is_ours=False) as page:
        page.goto(address)
        page.get_by_text("Hyperparameter Importance").first.wait_for()
        page.get_by_text("small (id=").first.wait_for()
        page.get_by_text("eval/exact_match").first.wait_for(state="attached")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [DESK, PHONE])
def test_a_report_says_what_is_best(browser, folder, width, scheme):
    report = folder / "multirun" / "small" / "report.html"
    with reading(browser, width) as page:
        page.emulate_media(color_scheme=scheme)
        page.goto(report.as_uri())
        assert page.locator("h1").inner_text() == "small"
        text = page.inner_text("body")
        assert "lr=1e-" in text
        assert "python -m hrm_sweep reproduce small" in text
        assert page.locator("table tbody tr").count() >= 3
        assert page.locator("svg, img").count() >= 4
        dark = page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert (sum(map(int, re.findall(r"\d+", dark)[:3])) < 300) == (scheme == "dark")


@pytest.mark.parametrize("width", [DESK, PHONE])
def test_every_page_of_the_site_fits_and_loads_nothing_from_elsewhere(browser, site, width):
    pages = sorted(site.rglob("*.html"))
    assert len(pages) > 25
    for path in pages:
        if path.name != "404.html":  # its links begin at the root of a server
            with reading(browser, width) as page:
                page.goto(path.as_uri())
                assert page.locator("h1").first.inner_text()


def test_the_first_page_of_the_site_leads_to_a_first_study(browser, site):
    with reading(browser) as page:
        page.goto((site / "index.html").as_uri())
        assert is_drawn(page, "img[src$='terminal.svg']")
        page.locator("article").get_by_role("link", name="First study").click()
        assert page.locator("h1").inner_text().startswith("First study")
        assert is_drawn(page, "img[src$='report.png']")
        assert is_drawn(page, "img[src$='dashboard.png']")


def test_the_site_has_a_reference_of_commands_and_of_python(browser, site):
    from hrm_sweep.commands import COMMANDS

    with reading(browser) as page:
        page.goto((site / "commands.html").as_uri())
        for name in COMMANDS:
            assert page.locator(f"h3#{name}").count() == 1, name
        assert "--keep-best" in page.inner_text("article")
        page.goto((site / "api.html").as_uri())
        text = page.inner_text("article")
        assert "load_study(" in text
        assert "Return a study as" in text


def test_the_site_is_searched_from_the_disk(browser, site):
    with reading(browser) as page:
        page.goto((site / "index.html").as_uri())
        page.locator(".md-search__input").click()
        page.keyboard.type("wilcoxon")
        results = page.locator(".md-search-result")
        results.get_by_text("matching documents").wait_for()
        assert "Search space, objective, workers" in results.inner_text()
