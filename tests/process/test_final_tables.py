"""Studies as tables, beside each other, completed by the shell, and removed."""

import os
import shutil
import subprocess
import sys
from io import StringIO
from pathlib import Path

import optuna
import pandas
import pytest
from truth import Truth, fresh_database

import hrm_sweep
from hrm_sweep.runs import record
from hrm_sweep.runs.export_state import ExportState
from hrm_sweep.storage.leases import Lease

pytestmark = pytest.mark.usefixtures("in_studies_folder")


@pytest.fixture
def copied(studies_folder, tmp_path, monkeypatch) -> Path:
    """The finished studies, to be changed."""
    shutil.copytree(studies_folder / "multirun", tmp_path / "multirun")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_study_is_a_data_frame_with_a_row_for_each_repeat():
    table = hrm_sweep.load_study("repeated").trials
    assert list(table["trial"]) == [0, 0, 0, 1, 1, 1]
    assert list(table["repeat"]) == [0, 1, 2, 0, 1, 2]
    assert list(table["params.x"]) == [1, 1, 1, 4, 4, 4]
    assert list(table["objective"]) == [1.0, 1.5, 2.0, 4.0, 4.5, 5.0]
    assert set(table["outcome"]) == {"complete"}
    assert str(table["started"].dt.tz) == "UTC"


def test_trials_that_failed_are_rows_too():
    table = hrm_sweep.load_study("grid").trials
    failed = table[table["outcome"] == "failed"]
    assert list(failed["trial"]) == [1, 3, 5]
    assert set(failed["reason"]) == {"ValueError: this one raises"}
    assert failed["objective"].isna().all()


def test_the_newest_study_is_loaded_if_none_is_named():
    assert set(hrm_sweep.load_study().trials["study"]) == {"repeated"}


def test_export_writes_the_same_table_twice(typed, tmp_path):
    for name, read in (("t.csv", pandas.read_csv), ("t.parquet", pandas.read_parquet)):
        code, said, _ = typed("export", "repeated", "--to", str(tmp_path / name))
        assert code == 0
        assert f"{name}: 6 rows, " in said
        table = read(tmp_path / name)
        assert list(table["objective"]) == [1.0, 1.5, 2.0, 4.0, 4.5, 5.0]
        assert list(table.columns) == list(hrm_sweep.load_study("repeated").trials.columns)


def test_export_to_another_kind_of_file_is_refused(typed):
    code, _, error = typed("export", "grid", "--to", "x.xlsx")
    assert (code, error) == (2, "--to x.xlsx: must end in .csv or .parquet")


def test_compare_puts_the_bests_beside_each_other(typed, tmp_path):
    picture = tmp_path / "both.png"
    code, said, _ = typed("compare", "grid", "repeated", "--picture", str(picture))
    assert code == 0
    assert "grid is ahead of repeated: repeated is perhaps as good: one run of each" in said
    assert "config keys in which they differ:" in said
    assert picture.read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        pytest.param(
            ["compare", "grid"], "grid: name two or more studies or runs to compare", id="one"
        ),
        pytest.param(
            ["compare", "grid", "gird"], "gird: no study or run of that name", id="unknown"
        ),
        pytest.param(["delete"], "delete: needs the name of a study or a single run", id="no name"),
        pytest.param(
            ["delete", "grid"], "there is no terminal to confirm at; add --yes", id="pipe"
        ),
    ],
)
def test_a_mistake_is_one_line(arguments, words, typed, monkeypatch):
    monkeypatch.setattr(sys, "stdin", StringIO())
    code, _, error = typed(*arguments)
    assert code == 2
    assert words in error
    assert "\n" not in error
    assert Path("multirun/grid").is_dir()


def test_delete_removes_the_folder_and_the_study_in_optuna(typed, copied):
    code, said, _ = typed("delete", "grid", "--yes")
    assert code == 0
    assert "grid: 6 trials; this removes the folder multirun/grid, the study in Optuna." in said
    assert not Path("multirun/grid").exists()
    storage = "sqlite:///multirun/optuna.db"
    assert optuna.get_all_study_names(storage) == ["repeated"]


def test_what_cannot_be_deleted_whole_is_left_whole(typed, copied, monkeypatch):
    uri = fresh_database(copied)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    truth = Truth(uri)
    run = truth.client.create_run(truth.client.create_experiment("e"))
    ExportState(run_id=run.info.run_id).save(copied / "multirun/grid/0")
    (copied / "multirun/optuna.db").write_text("no database")
    code, said, error = typed("delete", "grid", "--yes")
    assert (code, said) == (2, "")
    assert (
        "hydra.sweeper.storage=sqlite:///multirun/optuna.db: is damaged (file is not a database)"
        in error
    )
    assert [left.info.run_id for left in truth.runs()] == [run.info.run_id]
    assert (copied / "multirun/grid/record.jsonl").exists()


def test_a_study_that_runs_is_not_deleted(typed, copied):
    with record.Record(copied / "multirun/grid"):
        code, _, error = typed("delete", "grid", "--yes")
    assert code == 2
    assert error == "grid: is running; stop it first (Ctrl-C where it runs)"


class Prompt(StringIO):
    """A terminal at which a sweep opens the study before its deletion is confirmed."""

    def isatty(self) -> bool:
        return True

    def readline(self, *_: int) -> str:
        self.lease = Lease(Path("multirun/grid"))
        return "grid\n"


def test_a_study_that_a_sweep_opens_while_delete_asks_stays_whole(typed, copied, monkeypatch):
    folder = copied / "multirun/grid"
    before = {path.name for path in folder.iterdir()}
    monkeypatch.setattr(sys, "stdin", Prompt())
    code, _, error = typed("delete", "grid")
    assert code == 2
    assert error == "multirun/grid: a sweep works there now; stop it first"
    assert before < {path.name for path in folder.iterdir()}
    assert "grid" in optuna.get_all_study_names("sqlite:///multirun/optuna.db")


def test_delete_removes_runs_and_their_files_in_mlflow(tmp_path):
    from hrm_sweep.tracking.delete import delete

    uri = fresh_database(tmp_path)
    truth = Truth(uri)
    experiment = truth.client.create_experiment("e", (tmp_path / "artifacts").as_uri())
    runs = [truth.client.create_run(experiment).info.run_id for _ in range(2)]
    for run_id in runs:
        truth.client.log_text(run_id, "kept", "note.txt")
    assert delete(uri, [runs[0], "0" * 32])
    assert [run.info.run_id for run in truth.runs()] == [runs[1]]
    assert truth.select("SELECT count(*) FROM runs") == [(1,)]
    assert [path.parts[-3] for path in tmp_path.rglob("note.txt")] == [runs[1]]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        pytest.param("hrm-sweep res", {"resume"}, id="command"),
        pytest.param("hrm-sweep best g", {"grid"}, id="study"),
        pytest.param("hrm-sweep best --j", {"--json"}, id="option"),
        pytest.param("hrm-sweep hidden", {"hidden_dim="}, id="key of the config"),
    ],
)
def test_the_shell_completes(line, expected):
    done = subprocess.run(
        [sys.executable, "-m", "hrm_sweep", "-sc", "query=bash"],
        env={**os.environ, "COMP_LINE": line}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert set(done.stdout.split()) == expected
