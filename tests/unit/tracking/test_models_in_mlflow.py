"""Models in a real MLflow: linked, sent when it is known that they stay, and removed again."""

from pathlib import Path

import pytest
from truth import Truth, fresh_database

from hrm_sweep.runs import layout, models
from hrm_sweep.runs.app import App
from hrm_sweep.runs.record import Record
from hrm_sweep.tracking.exporter import Exporter

MODEL = "model.pth"


@pytest.fixture
def uri(tmp_path: Path) -> str:
    return fresh_database(tmp_path / "mlruns")


@pytest.fixture
def truth(uri: str) -> Truth:
    return Truth(uri)


def write_study(folder: Path, *, keep: str = "best", outcome: str = "complete", **app) -> None:
    """A study of two trials, of which the second is to keep its model."""
    described = App(name="any", command=("any",), **app).to_record()
    with Record(folder) as study:
        study.append("started", name="otter", kind="study", keep_models=keep, **ASKED)
        (folder / layout.SWEEP_CONFIG).touch()
        for number in range(2):
            with Record(folder / str(number)) as record:
                record.append(
                    "started", name=f"trial {number}", kind="trial", tags={}, app=described
                )
                (folder / str(number) / MODEL).write_text("weights")
                (folder / str(number) / "notes.txt").write_text("notes")
                names = [MODEL, "notes.txt"]
                record.append("finished", outcome="complete", best={}, artifacts=names)
        study.append("finished", outcome=outcome, best={}, artifacts=[])


JUDGED = {
    **{"objectives": ["x"], "directions": ["minimize"], "constraints": [], "tie_breaker": None},
    **{"repeats": 1, "columns": []},
}
ASKED = {"judged": JUDGED, "params": {}, "description": "", "tags": {}}


def send(folder: Path, uri: str) -> None:
    exporter = Exporter(folder, tracking_uri=uri, experiment="e")
    progress = -1
    while exporter.progress > progress:
        progress = exporter.progress
        assert exporter.step().reason == ""
    exporter.close()


def names(truth: Truth, number: int) -> list[str]:
    return sorted(truth.files(f"trial {number}"))


@pytest.mark.parametrize(("replaces", "num_names"), [(True, 2), (False, 1)])
def test_a_model_is_linked_where_its_app_never_rewrites_it(
    tmp_path, uri, truth, replaces, num_names
):
    write_study(tmp_path / "study", keep="all", replaces_models=replaces)
    send(tmp_path / "study", uri)
    assert truth.files("trial 0")[MODEL] == b"weights"
    assert (tmp_path / "study" / "0" / MODEL).stat().st_nlink == num_names
    assert (tmp_path / "study" / "0" / "notes.txt").stat().st_nlink == 1


def test_a_model_that_may_not_stay_is_sent_when_the_study_is_complete(tmp_path, uri, truth):
    folder = tmp_path / "study"
    write_study(folder, outcome="interrupted")
    send(folder, uri)
    assert [names(truth, number) for number in range(2)] == [["notes.txt"], ["notes.txt"]]
    models.remove(folder / "0", [MODEL], by="a setting")
    with Record(folder) as study:
        study.append("started", name="otter", kind="study", keep_models="best", **ASKED)
        study.append("finished", outcome="complete", best={}, artifacts=[])
    send(folder, uri)
    assert [names(truth, number) for number in range(2)] == [["notes.txt"], [MODEL, "notes.txt"]]
    assert "hrm_sweep.files_not_sent" not in truth.run("trial 0").data.tags


def test_a_model_that_was_sent_and_is_removed_later_goes_from_mlflow_too(tmp_path, uri, truth):
    folder = tmp_path / "study"
    write_study(folder, keep="all")
    send(folder, uri)
    assert names(truth, 0) == [MODEL, "notes.txt"]
    models.remove(folder / "0", [MODEL], by="a setting")
    send(folder, uri)
    assert [names(truth, number) for number in range(2)] == [["notes.txt"], [MODEL, "notes.txt"]]


def test_what_was_removed_before_it_was_sent_is_no_missing_file(tmp_path, uri, truth):
    folder = tmp_path / "study"
    write_study(folder, keep="all")
    models.remove(folder / "0", [MODEL], by="a setting")
    (folder / "1" / MODEL).unlink()
    send(folder, uri)
    assert names(truth, 0) == ["notes.txt"]
    assert "hrm_sweep.files_not_sent" not in truth.run("trial 0").data.tags
    assert "is missing" in truth.run("trial 1").data.tags["hrm_sweep.files_not_sent"]
