"""docs/keys.md is what the code says, of each key in each option of each group."""

import importlib.util
import re

import pytest
from paths import ROOT

SCRIPT = ROOT / "docs" / "tools" / "keys.py"


@pytest.fixture(scope="module")
def keys():
    """The script that writes the page."""
    spec = importlib.util.spec_from_file_location("keys_page", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def page(keys) -> str:
    return keys.page()


def test_the_page_is_current(keys, page):
    assert keys.PAGE.read_text(encoding="utf-8") == page, "run: python docs/tools/keys.py"


def test_each_key_and_each_option_has_words(page):
    rows = re.findall(r"^\| `(.*?)` \| .*? \| (.*?) ?\|$", page, re.M)
    assert len(rows) > 150
    assert [key for key, words in rows if not words] == []
    options = re.findall(r"^### (.*)\n\n(.*)$", page, re.M)
    assert len(options) > 25
    assert [option for option, words in options if not words or words.startswith("|")] == []
