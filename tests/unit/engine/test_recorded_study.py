"""The study in a folder, as a sweep finds it before it opens the study in Optuna."""

from hrm_sweep.engine.identity import recorded_study
from hrm_sweep.runs.record import Record


def test_a_folder_has_no_study_yet_while_its_record_is_empty(tmp_path):
    assert recorded_study(tmp_path, "s") is None
    with Record(tmp_path) as record:
        assert recorded_study(tmp_path, "s") is None
        record.append("started", kind="study", name="s", id="1")
        assert recorded_study(tmp_path, "s").id == "1"
    assert recorded_study(tmp_path, "other") is None


def test_a_single_run_is_no_study(tmp_path):
    with Record(tmp_path) as record:
        record.append("started", kind="train", name="s")
    assert recorded_study(tmp_path, "s") is None


def test_where_a_file_stands_in_the_way_is_no_study(tmp_path):
    (tmp_path / "file").touch()
    assert recorded_study(tmp_path / "file" / "s", "s") is None
