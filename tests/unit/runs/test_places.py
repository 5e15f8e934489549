"""What a study's folder is, by the place of its last start."""

import shutil
from pathlib import Path

import pytest

from hrm_sweep.runs.places import Place, Whereabouts, whereabouts
from hrm_sweep.runs.record import Record
from hrm_sweep.runs.run import Run
from hrm_sweep.runs.study import Study, id_of


def started(folder: Path, **fields) -> Study:
    with Record(folder) as record:
        record.append("started", kind="study", name="s", **fields)
    return Study(Run.open(folder))


@pytest.fixture
def home(tmp_path) -> Path:
    folder = tmp_path / "home"
    started(folder, id="1", place=Place.here(folder, storage="a").to_record())
    return folder


def test_a_folder_is_at_home_where_its_study_was_started(home):
    assert whereabouts(Study(Run.open(home))) is Whereabouts.HOME


def test_a_folder_was_moved_if_its_place_has_the_study_no_more(home, tmp_path):
    home.rename(tmp_path / "new")
    moved = Study(Run.open(tmp_path / "new"))
    assert whereabouts(moved) is Whereabouts.MOVED
    started(home, id="2")
    assert whereabouts(moved) is Whereabouts.MOVED, "another study took the old place"


def test_a_folder_is_a_copy_if_its_place_has_the_study_still(home, tmp_path):
    copy = Path(shutil.copytree(home, tmp_path / "copy"))
    assert whereabouts(Study(Run.open(copy))) is Whereabouts.COPY
    again = started(copy, id="1", place=Place.here(copy).to_record())
    assert whereabouts(again) is Whereabouts.HOME, "it was started there since"


def test_a_folder_was_received_if_another_machine_started_it(tmp_path):
    place = {"host": "elsewhere", "folder": str(tmp_path)}
    assert whereabouts(started(tmp_path, id="1", place=place)) is Whereabouts.RECEIVED


def test_of_an_older_version_the_place_is_not_known(tmp_path):
    study = started(tmp_path)
    assert whereabouts(study) is Whereabouts.UNKNOWN
    assert (study.id, id_of(tmp_path)) == ("", "")


def test_the_id_of_a_study_that_got_one_later_is_found(tmp_path):
    started(tmp_path)
    assert started(tmp_path, id="7").id == id_of(tmp_path) == "7"


def test_a_place_is_the_same_whatever_its_databases_are(home):
    here = Place.here(home, storage="b", tracking="c")
    assert here == Place.of_record(Place.here(home).to_record())
    assert str(here) == str(home)
    assert str(Place("node7", Path("/data/s"))) == "node7:/data/s"
