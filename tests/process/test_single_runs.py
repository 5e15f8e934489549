"""Single runs of an app of one's own, as the commands take them."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pandas
import pytest
from paths import TESTS
from truth import Truth, fresh_database

from hrm_sweep.runs.record import Record
from hrm_sweep.tracking.exporter import Exporter

SOLO = TESTS / "apps" / "solo.py"


def single_run(folder: Path, name: str, *overrides: str) -> None:
    """Run the app once, in `multirun/train/`."""
    where = f"hydra.run.dir='multirun/train/{name}'"
    subprocess.run([sys.executable, SOLO, where, *overrides], cwd=folder, check=True)


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    """A folder with two single runs, `first` and the newer `two words`."""
    folder = tmp_path_factory.mktemp("runs")
    shutil.copy(SOLO, folder)
    single_run(folder, "first", "+x=1", "+tracking.name=mlflow")
    single_run(folder, "two words", "+x=4", "+bad=true")
    return folder


@pytest.fixture(autouse=True)
def runs(made, tmp_path, monkeypatch) -> Path:
    """A copy of that folder, in which the test works."""
    shutil.copytree(made, tmp_path / "here")
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path / "here"


@pytest.mark.parametrize("name", ["first", "multirun/train/first", "train/first"])
def test_best_shows_a_single_run_by_any_of_its_names(name, typed):
    code, said, _ = typed("best", name)
    assert code == 0
    assert said.startswith("Run first: +x=1\n\n  height     1.1\n  slope      -2\n  run again ")
    assert "hrm-sweep reproduce first\n" in said
    assert said.endswith("  folder     multirun/train/first\n")


def test_without_a_name_each_command_takes_the_newest_of_both_kinds(typed):
    assert typed("best")[1].startswith("Run two words: +x=4 +bad=true\n")
    assert typed("show")[1].startswith("Run two words · started ")
    assert typed("export")[1].startswith("multirun/train/two words/trials.csv: 1 row, ")


def test_a_printed_name_with_a_space_is_quoted(typed):
    assert "hrm-sweep reproduce 'two words'\n" in typed("show", "two words")[1]


def test_show_and_best_print_the_same_json_which_has_no_nan(typed):
    shown = json.loads(typed("show", "two words", "--json")[1], parse_constant=pytest.fail)
    best = json.loads(typed("best", "two words", "--json")[1], parse_constant=pytest.fail)
    assert shown.pop("curves")["10"] == {"height": 4.1, "slope": "nan"}
    assert shown == best
    assert (best["name"], best["study"], best["trial"]) == ("two words", None, None)
    assert best["params"] == {"x": 4, "bad": True}
    assert best["command"] == ["python", "solo.py", "+x=4", "+bad=true"]


def test_a_single_run_is_exported_as_one_row(typed, runs):
    code, said, _ = typed("export", "first")
    assert code == 0
    assert said.startswith("multirun/train/first/trials.csv: 1 row, ")
    for table in (
        pandas.read_csv("multirun/train/first/trials.csv"),
        pandas.read_parquet("multirun/train/first/trials.parquet"),
    ):
        assert (table["params.x"][0], table["height"][0]) == (1, 1.1)
    (row,) = json.loads(typed("export", "first", "--json")[1])
    assert typed("export", "first", "--to", "-")[1].splitlines()[0] == ",".join(row)
    assert (row["params.x"], row["outcome"], row["trial"]) == (1, "complete", None)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        pytest.param(["best", "first", "--pareto"], "first: is a single run; --pareto is for"),
        pytest.param(["export", "first", "--json", "--to", "x"], "--json --to x: --json prints"),
        pytest.param(["dashboard", "first"], "first: is a single run; name a study"),
        pytest.param(["delete", "frist"], "frist: no study or run of that name in multirun/; did"),
        pytest.param(["delete", "first"], "first: there is no terminal to confirm at; add --yes"),
    ],
)
def test_a_mistake_is_one_line_and_changes_nothing(arguments, words, typed):
    before = sorted(Path().rglob("*"))
    code, _, error = typed(*arguments)
    assert code == 2
    assert error.startswith(words)
    assert "\n" not in error
    assert sorted(Path().rglob("*")) == before


@pytest.mark.slow  # MLflow's own garbage collector takes seconds
def test_delete_removes_the_folder_of_a_single_run_and_its_run_in_mlflow(typed, runs):
    truth = Truth(fresh_database(runs / "mlruns"))
    other = truth.client.create_run(truth.client.create_experiment("theirs"))
    sent = Exporter(Path("multirun/train/first"), tracking_uri=None, experiment="mine")
    sent.step()
    sent.close()
    assert len(truth.runs()) == 2
    code, said, _ = typed("delete", "first", "--yes")
    assert code == 0
    first, *_, last = said.splitlines()
    assert first.endswith("removes the folder multirun/train/first, 1 run in MLflow.")
    assert last == "first: removed."
    assert [run.info.run_id for run in truth.runs()] == [other.info.run_id]
    assert [path.name for path in Path("multirun/train").iterdir()] == ["two words"]


def test_a_copied_folder_leaves_the_run_in_mlflow_to_its_original(typed, runs):
    truth = Truth(fresh_database(runs / "mlruns"))
    single_run(runs, "third", "+x=3", "+tracking.name=mlflow")
    sent = Exporter(Path("multirun/train/third"), tracking_uri=None, experiment="mine")
    sent.step()
    sent.close()
    shutil.copytree("multirun/train/third", "multirun/train/copied")
    code, said, _ = typed("delete", "copied", "--yes")
    assert code == 0
    assert said.startswith(
        "copied: a single run; this removes the folder multirun/train/copied.\n"
        f"It is a copy of {runs}/multirun/train/third, which stays whole.\n"
    )
    assert len(truth.runs()) == 1
    assert Path("multirun/train/third/record.jsonl").exists()


def test_a_run_outside_of_multirun_leaves_the_files_of_the_user(typed):
    shutil.copytree("multirun/train/first", "mine")
    Path("mine/notes.txt").write_text("keep me")
    code, said, _ = typed("delete", "mine", "--yes")
    assert code == 0
    assert said.endswith("mine stays with other files: job.log, notes.txt\n")
    assert sorted(path.name for path in Path("mine").iterdir()) == ["job.log", "notes.txt"]


def test_a_run_that_is_written_is_not_deleted(typed):
    with Record(Path("multirun/train/first")) as record:
        record.append("started", kind="train", tags={}, params={}, description="")
        code, _, error = typed("delete", "first", "--yes")
    assert (code, error) == (2, "first: is running; stop it first (Ctrl-C where it runs)")


def test_a_copy_by_reproduce_is_marked_never_the_newest_and_removable(typed):
    done = subprocess.run(
        [sys.executable, "-m", "hrm_sweep", "reproduce", "first", "--yes", "--json"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    described = json.loads(done.stdout)
    assert (described["verdict"], described["num_values"]) == ("identical", 22)
    assert described["again"]["folder"] == "multirun/train/first-again"
    assert described["again"]["copy_of"] == described["original"]["folder"]
    assert "Reproduced: 22 of 22 values are identical, bit for bit" in done.stderr

    assert typed("show")[1].startswith("Run two words")
    assert "a copy of multirun/train/first" in typed("show", "first-again")[1]
    said = typed("delete", "first", "--reproductions", "--yes")[1]
    assert said.endswith("first-again: removed.\n")
    folders = sorted(path.name for path in Path("multirun/train").iterdir())
    assert folders == ["first", "two words"]
    assert typed("delete", "--reproductions")[1].startswith("There are no reproductions;")
