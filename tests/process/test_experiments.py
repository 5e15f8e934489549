"""The recipes in conf/experiment do what they promise."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from itertools import pairwise

import pytest
from composed import composed
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import IntervalSweep, Override
from paths import ROOT

from hrm_sweep.commands import COMMANDS

DOCS = ROOT / "docs"


def commands() -> list[str]:
    """What the pages in docs/ tell their reader to type, without what is shown with its output."""
    text = "\n".join(page.read_text(encoding="utf-8") for page in sorted(DOCS.glob("*.md")))
    blocks = re.findall(r"^```console\n(.*?)^```", text.replace("\\\n", " "), re.M | re.S)
    lines = [line for block in blocks for line in [*block.splitlines(), "$"]]
    typed = [line for line, after in pairwise(lines) if line[0:2] == "$ " and after[:1] == "$"]
    return [line[2:].split("  #")[0] for line in typed]


def runs() -> list[str]:
    """Those that run the app, and are no command such as `best`."""
    return [line for line in commands() if "-m hrm_sweep" in line and not names_a_command(line)]


def names_a_command(line: str) -> bool:
    first = line.partition("-m hrm_sweep")[2].split()[:1]
    return not {*COMMANDS, "--help", "--version"}.isdisjoint(first)


def first_value(override: Override) -> str:
    if not override.is_sweep_override():
        return str(override.input_line)
    swept = override.value()
    is_interval = isinstance(swept, IntervalSweep)
    value = swept.start if is_interval else next(override.sweep_string_iterator())
    return f"{override.get_key_element()}={value}"


@pytest.mark.parametrize("line", runs())
def test_the_first_point_of_every_command_composes(line):
    words = shlex.split(line.partition("-m hrm_sweep")[2])
    parsed = OverridesParser.create().parse_overrides([word for word in words if word != "-m"])
    assert composed(*map(first_value, parsed))


def test_the_seed_grid_has_twelve_points_and_stops_early(tmp_path):
    built = composed("experiment=seed_grid")
    assert built.trainer.early_stopping.patience is not None
    assert 50 <= built.trainer.epochs <= 100
    line = [sys.executable, "-m", "hrm_sweep", "-m", "experiment=seed_grid", "study.dry_run=true"]
    done = subprocess.run(line, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    points = {
        f"lr={lr} hidden_dim={width} batch_size={rows} "
        for lr in ("1e-4", "5e-4", "1e-3")
        for width in (128, 256)
        for rows in (4, 8)
    }
    assert len(points) == 12
    shown = [line for line in done.stdout.splitlines() if "lr=" in line]
    assert len(shown) == 12
    assert all(any(point in line for line in shown) for point in points)
