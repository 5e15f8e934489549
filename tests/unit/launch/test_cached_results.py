"""A result is reused only from the record of a complete run of the same study and recipe."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from hrm_sweep.launch import cached_results
from hrm_sweep.runs import handle, layout
from hrm_sweep.runs.outcomes import Outcome
from hrm_sweep.runs.record import Record

RECIPE, OTHER = "0123456789abcdef", "fedcba9876543210"


def run(folder: Path, *, digest: str = RECIPE, study: str = "mine", outcome=Outcome.COMPLETE):
    """A trial that measured 0.5."""
    tags = {
        "hrm_sweep.study_id": study,
        "hrm_sweep.trial": folder.name,
        "hrm_sweep.folder": str(folder),
        "hrm_sweep.signature": digest[:8],
    }
    with handle.session(
        folder, kind="trial", name=folder.name, params={}, tags=tags, description=""
    ) as trial:
        trial.values = {"objective": 0.5}
        trial.set_outcome(outcome)


@pytest.fixture
def sweep(tmp_path: Path) -> Path:
    """A study with one complete trial, known by its recipe."""
    folder = tmp_path / "study"
    with Record(folder) as record:
        record.append("started", kind="study", tags={"hrm_sweep.study_id": "mine"})
    run(folder / "0")
    cached_results.add(folder, RECIPE, folder / "0")
    return folder


def found(sweep: Path, digest: str = RECIPE) -> dict[str, float] | None:
    result = cached_results.find(sweep, digest, asking=sweep / "7")
    return None if result is None else result.values


def test_a_complete_recipe_is_found_by_its_record(sweep):
    result = cached_results.find(sweep, RECIPE, asking=sweep / "7")
    assert result == ("trial 0", sweep / "0", {"objective": 0.5})
    assert cached_results.find(sweep, RECIPE, asking=sweep / "0") is None


def test_an_edited_result_file_changes_nothing(sweep):
    result = {"outcome": "complete", "values": {"objective": 9.0}}
    (sweep / "0" / layout.RESULT).write_text(json.dumps(result))
    assert found(sweep) == {"objective": 0.5}
    (sweep / "0" / layout.RESULT).unlink()
    assert found(sweep) == {"objective": 0.5}


def of_another_study(sweep: Path) -> str:
    run(sweep.parent / "other" / "0", study="other")
    return "../other/0"


def moved_in_from_another_study(sweep: Path) -> str:
    run(sweep / "3", study="other")
    return "3"


def copied(sweep: Path) -> str:
    shutil.copytree(sweep / "0", sweep / "0-copy")
    return "0-copy"


def of_another_recipe(sweep: Path) -> str:
    run(sweep / "1", digest=OTHER)
    return "1"


def pruned(sweep: Path) -> str:
    run(sweep / "1", outcome=Outcome.PRUNED)
    return "1"


def linked(sweep: Path) -> str:
    run(sweep.parent / "other" / "1", study="mine")
    (sweep / "1").symlink_to(sweep.parent / "other" / "1")
    return "1"


def edited(sweep: Path) -> str:
    path = sweep / "0" / layout.RECORD
    path.write_text(path.read_text().replace('"objective": 0.5', '"objective": 9.0'))
    return "0"


@pytest.mark.parametrize(
    "place",
    [
        *(of_another_study, moved_in_from_another_study, copied, of_another_recipe),
        *(pruned, linked, edited),
        *(pytest.param(lambda _, at=at: at, id=f"entry {at!r}") for at in ("", "9", "a\0b")),
    ],
)
def test_an_entry_that_names_anything_else_is_no_result(sweep, place):
    (sweep / layout.CACHED_RESULTS / RECIPE).write_text(place(sweep))
    assert found(sweep) is None
