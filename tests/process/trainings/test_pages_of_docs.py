"""The commands on pages of the documentation run, in the order in which a reader types them."""

import re
import shlex
import subprocess
import sys

import pytest
from composed import IN_SECONDS
from paths import ROOT
from studies import PATIENCE_SECONDS

PROGRAM = ["python", "-m", "hrm_sweep"]


def typed_on(page: str) -> list[list[str]]:
    """Return the words of each command of ours below which the page shows no output."""
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    blocks = re.findall(r"^```console\n(.*?)^```", text, re.M | re.S)
    prompts = [part for block in blocks for part in re.split(r"^\$ ", block, flags=re.M)[1:]]
    lines = [prompt.strip() for prompt in prompts if "\n" not in prompt.strip()]
    commands = [shlex.split(line, comments=True) for line in lines]
    return [words[len(PROGRAM) :] for words in commands if words[: len(PROGRAM)] == PROGRAM]


@pytest.mark.parametrize("page", ["first_study.md", "studies.md", "commands.md"])
def test_the_commands_of_a_page_run(page, tmp_path):
    commands = typed_on(page)
    assert commands
    for words in commands:
        trains = words[:1] in ([], ["-m"])
        done = subprocess.run(
            [sys.executable, "-m", "hrm_sweep", *words, *(IN_SECONDS if trains else ())],
            cwd=tmp_path, capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=False,
        )  # fmt: skip
        assert done.returncode == 0, f"{words}\n{done.stdout}{done.stderr}"
