"""The page of a study in Chromium: sorted, pointed at, enlarged, on a phone, without scripts."""

import shutil

import pytest
from made_studies import made_study
from playwright.sync_api import sync_playwright

from hrm_sweep.report import write_report

CHROMIUM = shutil.which("chromium")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium: apt-get install chromium")


@pytest.fixture(scope="module")
def address(tmp_path_factory) -> str:
    """A study of 30 trials with names and values that are long."""
    long = "words_" * 40
    trials = [
        {"point": {"lr": lr, long: long + str(lr)}, "values": {"score": 1 / lr}, "curve": (0, lr)}
        for lr in range(1, 31)
    ]
    trials.append({"point": {"lr": 31}, "outcome": "failed", "reason": "ValueError: " + long * 9})
    study = made_study(tmp_path_factory.mktemp("page") / "made", {"lr": "1 to 31"}, trials)
    write_report(study)
    return f"file://{study.folder.resolve()}/report.html"


@pytest.fixture(scope="module")
def browser():
    with sync_playwright() as playwright:
        yield playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])


def opened(browser, address, **settings):
    """The page, of which any error of its script fails the test."""
    page = browser.new_page(**settings)
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.goto(address)
    assert errors == []
    return page


def first_cells(page) -> list[str]:
    return page.eval_on_selector_all(
        "table.sortable tbody tr", "rows => rows.map(row => row.cells[0].textContent)"
    )


def test_a_click_on_a_head_sorts_the_table(browser, address):
    page = opened(browser, address)
    assert first_cells(page)[:2] == ["0", "1"]  # the best first
    head = page.get_by_role("button", name="score")
    head.click()
    assert first_cells(page)[:2] == ["29", "28"]
    assert first_cells(page)[-1] == "30"  # it has no score
    head.click()
    assert first_cells(page)[:2] == ["0", "1"]
    assert first_cells(page)[-1] == "30"


def test_the_pointer_finds_a_trial_everywhere(browser, address):
    page = opened(browser, address, viewport={"width": 1400, "height": 900})
    mark = page.locator('figure:has-text("Learning curves") polyline[data-trial="29"]')
    mark.dispatch_event("pointerover", {"bubbles": True})
    caption = page.locator("figure:has(polyline.on) figcaption").first
    assert caption.text_content().startswith("trial 29 · lr=30")
    assert page.locator('tr.on[data-trial="29"]').count() == 1
    assert page.locator(".marks .on").count() > 2


def test_a_figure_is_enlarged_and_escape_puts_it_back(browser, address):
    page = opened(browser, address, viewport={"width": 1400, "height": 900})
    figure = page.locator("figure").first
    before = figure.bounding_box()["width"]
    figure.locator(".title").click()
    assert figure.bounding_box()["width"] == 1400 > before
    page.keyboard.press("Escape")
    assert figure.bounding_box()["width"] == before


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_is_wider_than_a_phone(browser, address, scheme):
    page = opened(browser, address, viewport={"width": 400, "height": 800}, color_scheme=scheme)
    assert page.evaluate("document.documentElement.scrollWidth") <= 400


def test_without_scripts_the_page_is_whole(browser, address):
    page = browser.new_context(java_script_enabled=False).new_page()
    page.goto(address)
    assert page.get_by_text("What was run").is_visible()
    assert page.locator("table.sortable tbody tr").count() == 31
    assert page.locator("svg title").first.text_content().startswith("trial ")
    page.locator("figure .title").first.click()
    assert page.locator("figure:has(.zoom:checked)").count() == 1
