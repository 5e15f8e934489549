"""Which folders are runs of a study: those whose records are of it, where they were written."""

from pathlib import Path

import pytest

from hrm_sweep.runs import layout
from hrm_sweep.runs.record import Record
from hrm_sweep.runs.run_folders import run_folders, runs_below


def begin(folder: Path, /, **tags: str) -> None:
    """Let a run begin, with these tags of `hrm_sweep.`."""
    folder.mkdir(parents=True, exist_ok=True)
    with Record(folder) as record:
        record.append("started", tags={f"hrm_sweep.{name}": tag for name, tag in tags.items()})


def make(folder: Path, kind: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    if kind == "study":
        (folder / layout.SWEEP_CONFIG).touch()
    if kind == "run":
        begin(folder)


@pytest.mark.parametrize(
    ("folders", "names"),
    [
        pytest.param(
            {".": "study", "10": "run", "9": "run", "0": "run"}, ["0", "9", "10"], id="numbers"
        ),
        pytest.param(
            {".": "study", "lr=1,n=2": "run", "lr=1": "run"}, ["lr=1", "lr=1,n=2"], id="words"
        ),
        pytest.param({".": "study", "lr=1/n=2": "run"}, ["lr=1/n=2"], id="folders within folders"),
        pytest.param({".": "study", "0": "run", "0/1": "run"}, ["0"], id="repeats are the trial's"),
        pytest.param(
            {".": "study", "old": "study", "old/0": "run"}, [], id="another study is another's"
        ),
        pytest.param({".": "study", ".kept/0": "run", "0": "no"}, [], id="hidden, and no run"),
        pytest.param({".": "run", "1": "run", "0": "run"}, ["0", "1"], id="repeats"),
        pytest.param({".": "run", "samples/0": "run"}, [], id="what a task puts beside its record"),
        pytest.param({}, [], id="no folder yet"),
    ],
)
def test_runs_below_a_folder(tmp_path, folders, names):
    root = tmp_path / "root"
    for name, kind in folders.items():
        make(root / name, kind)
    assert runs_below(root) == names
    assert runs_below(root, known=set(names)) == []


def test_a_folder_that_leads_back_to_its_parent_is_not_walked(tmp_path):
    (tmp_path / layout.SWEEP_CONFIG).touch()
    (tmp_path / "again").symlink_to(tmp_path)
    assert runs_below(tmp_path / "again") == []


@pytest.mark.parametrize(
    ("name", "tags"),
    [
        pytest.param("3-old", {"study": "s", "folder": "/w/s/3"}, id="copy of a trial"),
        pytest.param("backup/3", {"study": "s", "folder": "/w/s/3"}, id="copy in a folder"),
        pytest.param(
            "mlruns/artifacts/4f2a/artifacts", {"study": "s", "folder": "/w/s/3"}, id="MLflow's"
        ),
        pytest.param("4", {"study": "t", "folder": "/w/t/4"}, id="trial of another study"),
        pytest.param(
            "4", {"study": "s", "study_id": "of t", "folder": "/w/t/4"}, id="namesake's trial"
        ),
        pytest.param("multirun/train/r", {"folder": "/w/s/multirun/train/r"}, id="single run"),
    ],
)
def test_what_is_no_trial_of_the_study(tmp_path, name, tags):
    make(tmp_path, "study")
    begin(tmp_path, study="s", study_id="of s")
    begin(tmp_path / "3", study="s", study_id="of s", folder="/w/s/3", trial="3")
    begin(tmp_path / "old/5", study="s", folder="/elsewhere/old/5", trial="5")
    begin(tmp_path / name, **tags)
    known: set[str] = set()
    assert runs_below(tmp_path, known) == ["3", "old/5"]
    assert known == {name}


def test_a_copy_of_a_repeat_is_no_repeat(tmp_path):
    begin(tmp_path / "0", folder="/w/s/3/0", repeat="0")
    begin(tmp_path / "7", folder="/w/s/3/0", repeat="0")
    assert runs_below(tmp_path) == ["0"]


def test_a_record_without_an_entry_may_become_a_run_later(tmp_path):
    make(tmp_path, "study")
    (tmp_path / "0").mkdir()
    (tmp_path / "0" / layout.RECORD).touch()
    known: set[str] = set()
    assert runs_below(tmp_path, known) == []
    begin(tmp_path / "0")
    assert runs_below(tmp_path, known) == ["0"]


def test_a_damaged_record_is_a_run_so_that_it_is_named(tmp_path):
    make(tmp_path, "study")
    (tmp_path / "0").mkdir()
    (tmp_path / "0" / layout.RECORD).write_text("no entry\n")
    assert list(run_folders(tmp_path)) == [tmp_path / "0"]
