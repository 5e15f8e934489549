"""Records that lost entries, or were replaced, after MLflow had them."""

import time
from pathlib import Path

import pytest
from mlflow.entities import ViewType
from test_exporter import export, write_run
from truth import Truth, fresh_database

from hrm_sweep.runs.record import Record


@pytest.fixture
def uri(tmp_path: Path) -> str:
    return fresh_database(tmp_path / "mlruns")


def steps(uri: str) -> set[int]:
    return {step for _, step, _, _ in Truth(uri).metrics("7")}


def cut(folder: Path, *, lines: int) -> None:
    path = folder / "record.jsonl"
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:lines]))
    time.sleep(0.002)  # entries have times in ms


@pytest.mark.parametrize("is_noticed", [True, False], ids=["before it grew again", "after that"])
def test_what_is_measured_again_arrives(tmp_path, uri, is_noticed):
    folder = tmp_path / "7"
    write_run(folder, steps=5)
    export(folder, uri)
    cut(folder, lines=3)
    if is_noticed:
        export(folder, uri)
    with Record(folder) as record:
        for step in range(3, 9):
            record.metrics(step, {"train/loss": 1 / step, "eval/exact_match": step / 10})
        record.append("finished", outcome="complete")
    export(folder, uri)
    assert steps(uri) == set(range(1, 9))
    assert Truth(uri).run("7").info.status == "FINISHED"


def test_a_run_of_another_trial_stays_whoever_names_it(tmp_path, uri):
    """The file that names a run may come with a folder of somebody else."""
    write_run(tmp_path / "3", outcome="complete")
    export(tmp_path / "3", uri)
    forged = tmp_path / "7.damaged"
    forged.mkdir()
    (tmp_path / "3" / "mlflow.json").rename(forged / "mlflow.json")
    write_run(tmp_path / "7", outcome="complete")
    export(tmp_path / "7", uri)
    assert {run.info.run_name for run in Truth(uri).runs()} == {"3", "7"}


@pytest.mark.parametrize("is_set_aside", [True, False], ids=["set aside", "removed"])
def test_the_run_of_a_record_that_was_replaced_is_deleted(tmp_path, uri, is_set_aside):
    folder = tmp_path / "7"
    write_run(folder, outcome="killed", reason="no memory left")
    export(folder, uri)
    before = Truth(uri).run("7").info.run_id
    if is_set_aside:
        folder.rename(tmp_path / "7.damaged")
    else:
        (folder / "record.jsonl").unlink()
    write_run(folder, outcome="complete")
    export(folder, uri)
    run = Truth(uri).run("7")
    assert (run.info.status, run.info.run_id != before) == ("FINISHED", True)
    (gone,) = Truth(uri).runs(ViewType.DELETED_ONLY)
    assert gone.data.tags["hrm_sweep.superseded_by"] == run.info.run_id
