"""docs/keys.md is what the code says."""

import importlib.util

from paths import ROOT

SCRIPT = ROOT / "docs" / "tools" / "keys.py"


def test_the_page_is_current():
    spec = importlib.util.spec_from_file_location("keys_page", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    written = module.PAGE.read_text(encoding="utf-8")
    assert written == module.page(), "run: python docs/tools/keys.py"
