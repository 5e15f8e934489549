"""A short run of the harness that throws faults at whole studies; see docs/faults.md."""

import json
import re
import subprocess
import sys

import pytest
from paths import TESTS
from studies import PATIENCE_SECONDS


@pytest.mark.parametrize(
    "kind", ["SIGKILL of the group", "record with a flipped bit", "Ray: all of these"]
)  # kills of a worker, or of the sweep alone: test_kills
def test_a_study_comes_out_as_if_nothing_had_happened(kind, tmp_path):
    typed = [
        *(sys.executable, "-m", "tests.chaos", "--faults", "3", "--seed", "1", "--jobs", "1"),
        *("--only", kind, "--folder", str(tmp_path / "chaos"), "--table", str(tmp_path / "t.md")),
    ]
    done = subprocess.run(
        typed, cwd=TESTS.parent, capture_output=True, text=True,
        timeout=3 * PATIENCE_SECONDS, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    (episode,) = map(json.loads, (tmp_path / "chaos" / "episodes.jsonl").read_text().splitlines())
    assert episode["num_faults"] >= 3
    (row,) = re.findall(
        r"\*\*all\*\* \| (\d+) \| 1 \| 8 \| 0 \| 0 \| 0 \| 0 \|", (tmp_path / "t.md").read_text()
    )
    assert int(row) == episode["num_faults"]
