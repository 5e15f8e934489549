"""The pages list each setting of the sweeper and of the launchers as the code has it."""

import json
import re

import pytest
from paths import ROOT

from hrm_sweep.engine.plugin_config import DEFAULTS, PoolConfig, SweeperConfig
from hrm_sweep.keys.schema import docstrings
from hrm_sweep.launch.ray_config import RayConfig
from hrm_sweep.launch.slurm_config import SlurmConfig

PAGES = {
    "sweeper": ("any_app.md", SweeperConfig),
    "pool": ("any_app.md", PoolConfig),
    "ray": ("clusters.md", RayConfig),
    "slurm": ("clusters.md", SlurmConfig),
}


def table(config: type) -> str:
    """The rows of the page."""
    defaults = vars(config())
    for group in DEFAULTS:
        defaults |= group if isinstance(group, dict) else {}
    rows = ["| key | default | meaning |", "|---|---|---|"]
    for key, text in docstrings(config).items():
        default = defaults[key]
        shown = default if isinstance(default, str) else json.dumps(default)
        rows.append(f"| `{key}` | `{shown}` | {text} |")
    return "\n".join(rows)


@pytest.mark.parametrize("name", PAGES)
def test_the_page_has_each_setting_with_its_default_and_its_meaning(name):
    page, config = PAGES[name]
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    (written,) = re.findall(rf"<!-- {name} -->\n(.*?)\n<!-- /{name} -->", text, re.S)
    assert written == table(config), f"put this into {page}:\n{table(config)}"


@pytest.mark.parametrize("name", PAGES)
def test_each_setting_has_a_docstring(name):
    _, config = PAGES[name]
    internal = {"_target_", "_recursive_", "_convert_", "defaults"}
    assert set(vars(config())) - internal == set(docstrings(config))
