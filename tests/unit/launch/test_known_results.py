"""Results that a driver sends to jobs elsewhere, and what it takes from them."""

from pathlib import Path

import pytest

from hrm_sweep.launch import cached_results
from hrm_sweep.launch.inbox import Inbox
from hrm_sweep.launch.known_results import KnownResults, added_results
from hrm_sweep.launch.messages import Complete
from hrm_sweep.runs.record import Record

DIGEST = "0123456789abcdef" * 4


@pytest.fixture
def study(tmp_path) -> Path:
    """A study whose first trial is complete."""
    folder = tmp_path / "study"
    tags = {
        "hrm_sweep.signature": DIGEST[:8],
        "hrm_sweep.trial": "0",
        "hrm_sweep.folder": str(folder / "0"),
    }
    with Record(folder / "0") as written:
        written.append("started", kind="trial", tags=tags)
        written.append("finished", outcome="complete", best={"loss": 0.5}, reason="")
    return folder


def test_a_job_elsewhere_finds_what_a_trial_that_differs_in_its_seed_has_left(study, tmp_path):
    known, node = KnownResults(study), tmp_path / "node"
    known.add(["lr=1", "seed=0"], "0", Complete(DIGEST, "0"))
    assert list(known.files_for(["lr=2", "seed=0"], study / "1")) == []
    sent = list(known.files_for(["seed=1", "lr=1"], study / "1"))
    inbox = Inbox(node)
    for part in sent:
        inbox.write(part)
    found = cached_results.find(node, DIGEST, asking=node / "1")
    assert found is not None
    assert (found.name, found.folder, found.values) == ("trial 0", node / "0", {"loss": 0.5})
    cached_results.add(node, "f" * 64, node / "1" / "2")
    assert list(added_results(node, sent)) == [Complete("f" * 64, "1/2")]


@pytest.mark.parametrize(
    ("digest", "name"),
    [(DIGEST, "1"), (DIGEST, "0/../1"), (DIGEST, "/etc"), (DIGEST, ""), ("../x", "0")],
)
def test_a_job_adds_only_its_own_runs(study, digest, name):
    known = KnownResults(study)
    with pytest.raises(ValueError, match="is no run of trial 0"):
        known.add(["lr=1"], "0", Complete(digest, name))
    assert sorted(path.name for path in study.iterdir()) == ["0"]
