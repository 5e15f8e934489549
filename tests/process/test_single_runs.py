"""Single runs of an app of one's own, as the commands take them."""

import json
import re
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
    typed("rename", "first", "earlier")  # its copies are still its own
    listed = typed("list", "--all", "--sort", "when", "--reverse")[1]
    assert re.findall(r"^ +(copy: \S+|\S+)", listed, re.M)[1:3] == ["earlier", "copy: first-again"]
    said = typed("delete", "earlier", "--reproductions", "--yes")[1]
    assert said.endswith("first-again: removed.\n")
    folders = sorted(path.name for path in Path("multirun/train").iterdir())
    assert folders == ["earlier", "two words"]
    assert typed("delete", "--reproductions")[1].startswith("There are no reproductions;")


def test_compare_lays_runs_beside_each_other(typed):
    code, said, _ = typed("compare", "first", "two words")
    assert code == 0
    assert re.search(r"^ first +1.1 +- +complete +\d+ s +\+x=1 ", said, re.MULTILINE)
    assert re.search(r"config keys in which they differ:\n +first +two words", said)
    assert re.search(r"^ x +1 +4 *$", said, re.MULTILINE)
    assert re.search(r"^ bad +- +true *$", said, re.MULTILINE)
    assert re.search(r"^ slope +-2 +- *$", said, re.MULTILINE)
    assert "\n  environment: the same (Python " in said
    assert said.endswith("picture  multirun/comparison.png\n")
    assert Path("multirun/comparison.png").read_bytes().startswith(b"\x89PNG")


def test_compare_says_in_what_environments_differ(typed):
    path = Path("multirun/train/first/environment.json")
    kept = json.loads(path.read_text())
    kept["packages"]["numpy"] = "1.0"
    path.write_text(json.dumps({**kept, "threads": 7}))
    said = typed("compare", "first", "two words")[1]
    assert "environments differ in:" in said
    assert re.search(r"^ threads +7 ", said, re.MULTILINE)
    assert re.search(r"^ numpy +1.0 ", said, re.MULTILINE)
    path.unlink()
    said = typed("compare", "first", "two words")[1]
    assert "first: its environment is not known, environment.json is missing" in said


@pytest.mark.parametrize("columns", [80, 100])
def test_tables_fit_the_terminal_and_long_values_show_where_they_differ(columns, typed, runs):
    for number in (1, 2):
        long = "x" * 2000 + str(number) * 3000
        name = f"a-run-whose-name-takes-more-than-half-of-the-terminal-{number}"
        single_run(runs, name, f"+x={number}", f"+long={long}")
    names = [path.name for path in sorted(Path("multirun/train").iterdir())]
    done = subprocess.run(
        ["script", "-qec", f"stty cols {columns}; {sys.executable} -m hrm_sweep compare "
         + " ".join(f"'{name}'" for name in names), "/dev/null"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    lines = re.sub(r"\x1b\[[0-9;]*m", "", done.stdout).splitlines()
    assert max(map(len, lines)) <= columns
    (long,) = [line for line in lines if line.startswith(" long ")]
    assert "x1111" in long
    assert "x2222" in long


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        pytest.param(["first"], "first: name two or more studies or runs to compare", id="one"),
        pytest.param(
            ["first", "train/first"], "first: name two or more studies or runs", id="twice the same"
        ),
        pytest.param(
            ["first", "two words", "--metric", "hight"],
            "--metric hight: no run has a final value of that name; did you mean height?",
            id="metric",
        ),
    ],
)
def test_what_cannot_be_compared_is_refused(arguments, words, typed):
    code, said, error = typed("compare", *arguments)
    assert (code, said) == (2, "")
    assert error.startswith(words)
