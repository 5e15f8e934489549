"""What the user says of a study or run is in MLflow, whenever it was said."""

from __future__ import annotations

from pathlib import Path

import pytest
from truth import Truth, fresh_database

from hrm_sweep.runs import layout
from hrm_sweep.runs.annotations import annotate
from hrm_sweep.runs.export_state import waiting
from hrm_sweep.runs.record import Record
from hrm_sweep.tracking.exporter import Exporter


@pytest.fixture
def uri(tmp_path: Path) -> str:
    return fresh_database(tmp_path / "mlruns")


@pytest.fixture
def truth(uri: str) -> Truth:
    return Truth(uri)


@pytest.fixture
def study(tmp_path: Path) -> Path:
    """A study of one trial, which has ended."""
    folder = tmp_path / "otter"
    tags = {"hrm_sweep.study": "otter", "hrm_sweep.study_id": "1"}
    with Record(folder) as record:
        record.append("started", name="otter", kind="study", description="    app.py", tags=tags)
        (folder / layout.SWEEP_CONFIG).write_text("")
        with Record(folder / "0") as trial:
            tags |= {"hrm_sweep.trial": "0", "owner": "app", "hrm_sweep.folder": f"{folder}/0"}
            trial.append("started", name="0 x=1", kind="trial", description="", tags=tags)
            trial.append("finished", outcome="complete", best={"x": 1.0})
        record.append("finished", outcome="complete")
    return folder


class Export:
    """An exporter that may be asked to send what there is now."""

    def __init__(self, folder: Path, uri: str) -> None:
        self._exporter = Exporter(folder, tracking_uri=uri, experiment="hrm_sweep")

    def all(self) -> None:
        progress = -1
        while self._exporter.progress > progress or self._exporter.has_work:
            progress = self._exporter.progress
            self._exporter.step()
        assert not self._exporter.backlog().runs

    def close(self) -> None:
        self._exporter.close()


def export(folder: Path, uri: str) -> None:
    exporter = Export(folder, uri)
    exporter.all()
    exporter.close()


def tags(truth: Truth, name: str) -> dict[str, str]:
    found: dict[str, str] = truth.run(name).data.tags
    return found


@pytest.mark.parametrize("when", ["before", "after", "while"])
def test_tags_and_a_note_are_sent_whenever_they_were_given(when, study, uri, truth):
    exporter = Export(study, uri)
    if when != "before":
        exporter.all()
    if when == "after":
        exporter.close()
    annotate(study, tags={"stage": "paper"}, note="do *not*\nuse it", is_archived=True)
    annotate(study / "0", tags={"checked": "yes"})
    assert waiting(study).runs == 2
    if when == "after":
        exporter = Export(study, uri)
    exporter.all()
    exporter.close()
    found = tags(truth, "otter")
    assert (found["stage"], found["hrm_sweep.archived"]) == ("paper", "true")
    assert found["hrm_sweep.note"] == "do *not*\nuse it"
    assert found["mlflow.note.content"].startswith(
        "do \\*not\\*\n\nuse it\n\n    app.py\n\nstudy otter"
    )
    assert tags(truth, "0 x=1")["checked"] == "yes"
    assert waiting(study).runs == 0
    assert len(truth.runs()) == 2


def test_what_was_removed_is_removed_there_and_what_the_run_said_itself_comes_back(
    study, uri, truth
):
    annotate(study / "0", tags={"owner": "ann", "stage": "paper"}, note="a note")
    annotate(study, is_archived=True)
    export(study, uri)
    assert tags(truth, "0 x=1")["owner"] == "ann"
    annotate(study / "0", tags={"owner": None, "stage": None}, note="")
    annotate(study, is_archived=False)
    export(study, uri)
    found = tags(truth, "0 x=1")
    assert found["owner"] == "app"
    assert "stage" not in found
    assert "hrm_sweep.note" not in found
    assert found["mlflow.note.content"].startswith("trial 0 of study otter")
    assert "hrm_sweep.archived" not in tags(truth, "otter")


def test_a_description_that_was_edited_in_mlflow_stays_when_a_tag_changes(study, uri, truth):
    export(study, uri)
    truth.client.set_tag(truth.run("otter").info.run_id, "mlflow.note.content", "edited there")
    annotate(study, tags={"stage": "paper"})
    export(study, uri)
    assert tags(truth, "otter")["mlflow.note.content"] == "edited there"


def test_a_run_that_was_deleted_in_mlflow_does_not_wait_for_its_annotations(study, uri, truth):
    export(study, uri)
    truth.client.delete_run(truth.run("0 x=1").info.run_id)
    annotate(study / "0", tags={"stage": "paper"})
    export(study, uri)
    assert waiting(study).runs == 0


def test_a_new_name_is_that_of_the_run_and_of_its_trials_study(study, uri, truth):
    export(study, uri)
    annotate(study, name="beaver")
    moved = study.rename(study.with_name("beaver"))
    export(moved, uri)
    found, trial = tags(truth, "beaver"), tags(truth, "0 x=1")
    assert found["hrm_sweep.study"] == trial["hrm_sweep.study"] == "beaver"
    assert (found["hrm_sweep.folder"], trial["hrm_sweep.folder"]) == (str(moved), f"{moved}/0")
    assert "trial 0 of study beaver" in trial["mlflow.note.content"]
    assert "dashboard beaver" in trial["mlflow.note.content"]
    assert len(truth.runs()) == 2
