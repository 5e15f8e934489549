"""Our own commands, as the user types them."""

import csv
import http.client
import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from studies import PATIENCE_SECONDS, until

from hrm_sweep.commands import COMMANDS, pages, resume
from hrm_sweep.commands.addresses import with_password
from hrm_sweep.commands.resolve import resolve_study
from hrm_sweep.storage.dashboard import guarded
from hrm_sweep.system import process

pytestmark = pytest.mark.usefixtures("in_studies_folder")


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help_with_examples(name, typed):
    code, said, _ = typed(name, "--help")
    assert code == 0
    assert COMMANDS[name].summary in said
    usage, _, examples = said.partition("examples:")
    assert f"{name} [-h]" in usage
    assert process.hrm_sweep_command(name) in examples


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        pytest.param(["best", "gird"], "gird: no study or run of that name in multirun/; did you"),
        pytest.param(["best", "--jsno"], "best --jsno: unrecognized arguments: --jsno; see"),
        pytest.param(["bset"], "bset: no command of that name; did you mean best?"),
        pytest.param(["show", "grid/77"], "grid/77: no trial of that number; it has 0 to 5"),
        pytest.param(["ui", "grid"], "grid: was made with tracking=off, so it is not in MLflow"),
        pytest.param(["sync", "grid"], "grid: was made with tracking=off"),
        pytest.param(
            ["reproduce", "--tolerance", "-1"], "-1: must be a number of at least 0, such"
        ),
        pytest.param(["dashboard", "--port", "x"], "argument --port: invalid int value: 'x'"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(arguments, words, typed):
    code, said, error = typed(*arguments)
    assert (code, said) == (2, "")
    assert words in error
    assert "\n" not in error


@pytest.mark.parametrize("text", [None, "hydra: ["], ids=["missing", "edited"])
def test_a_study_is_resumed_as_it_was_recorded(text, tmp_path, monkeypatch):
    shutil.copytree("multirun", tmp_path / "multirun")
    monkeypatch.chdir(tmp_path)
    before = resume._saved(resolve_study("grid"))
    saved = Path("multirun/grid/multirun.yaml")
    saved.unlink() if text is None else saved.write_text(text)
    assert resume._saved(resolve_study("grid")) == before
    assert "+x=3,1,2" in before[1]


def test_list_shows_each_study_and_its_best(typed):
    code, said, _ = typed("list")
    newest, older = said.splitlines()[1:]
    assert code == 0
    assert re.match(r" repeated .+ 2 complete +1.5 ± 0.5  x=1", newest)
    assert re.match(r" grid .+ 3 complete, 3 failed +0 +x=2 end=well", older)


def test_list_for_machines(typed):
    _, said, _ = typed("list", "--json")
    described = json.loads(said)
    assert [study["name"] for study in described] == ["repeated", "grid"]
    assert described[1]["best"] == {"objective": 0.0, "trial": 4}


def test_list_where_there_is_no_study(typed, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, said, _ = typed("list")
    assert code == 0
    assert said.startswith("No study or run in multirun/ yet; start one: ")


def test_list_says_which_study_it_leaves_out(typed, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("multirun/edited").mkdir(parents=True)
    Path("multirun/edited/record.jsonl").write_text("{}\n")
    code, said, _ = typed("list")
    assert code == 0
    assert said.startswith("left out: multirun/edited/record.jsonl")


def test_the_dashboard_of_a_study_that_left_its_storage(typed, tmp_path, monkeypatch):
    shutil.copytree("multirun/grid", tmp_path / "multirun/grid")
    monkeypatch.chdir(tmp_path)
    code, _, error = typed("dashboard", "grid")
    assert code == 2
    assert error.startswith("grid: not in Optuna's storage sqlite:///multirun/optuna.db any more")
    assert [path.name for path in Path("multirun").iterdir()] == ["grid"]


def test_best_of_the_newest_study(typed):
    _, said, _ = typed("best")
    assert said.startswith("Trial 0 of repeated: x=1\n")
    assert "objective  1.5 ± 0.5" in said
    assert "next best  4.5 ± 0.5 (trial 1), clearly worse: Welch's t-test over repeats, p" in said
    assert "parabola.py +x=1 +seed=0 +noise=0.5\n" in said
    assert "folder     multirun/repeated/0" in said


def test_best_for_machines(typed):
    _, said, _ = typed("best", "grid", "--json")
    best = json.loads(said)
    assert best["trial"] == 4
    assert best["params"] == {"x": 2, "end": "well"}
    assert best["overrides"] == ["+x=2", "+end=well"]


def test_show_for_machines(typed):
    _, said, _ = typed("show", "repeated/0/1", "--json")
    run = json.loads(said)
    assert (run["study"], run["trial"], run["repeat"]) == ("repeated", 0, 1)
    assert (run["outcome"], run["attempts"]) == ("complete", 1)
    assert run["values"] == {"objective": 1 + 0.5 * 1}
    assert run["curves"]["10"] == {"objective": 1 + 1 / 10}
    assert run["folder"] == "multirun/repeated/0/1"


def test_export_into_a_pipe(typed):
    code, said, _ = typed("export", "grid", "--to", "-")
    rows = list(csv.DictReader(io.StringIO(said)))
    assert code == 0
    assert [row["trial"] for row in rows] == list("012345")
    assert [row["params.end"] for row in rows[:2]] == ["well", "raise"]
    assert not Path("-").exists()


def test_best_where_nothing_is_complete(typed, tmp_path, monkeypatch):
    shutil.copytree("multirun/grid", tmp_path / "multirun/grid")
    for number in (0, 2, 4):
        shutil.rmtree(tmp_path / f"multirun/grid/{number}")
    monkeypatch.chdir(tmp_path)
    code, _, error = typed("best")
    assert code == 2
    assert error == "grid: no trial is complete yet (3 failed, 3 to go), so there is no best"


def test_show_a_trial(typed):
    _, said, _ = typed("show", "grid/1")
    assert re.match(r"Trial 1 of grid · started .+ · failed after \d+ s\n", said)
    assert "  ValueError: this one raises\n" in said
    assert "objective  █▄▃▂▂▂▁▁▁▁  2 → 1.1" in said
    assert "folder     multirun/grid/1" in said


def test_show_takes_the_best_trial_of_a_study(typed):
    assert typed("show", "grid")[1].startswith("Trial 4 of grid")
    assert typed("show")[1].startswith("Trial 0 of repeated")


def test_only_this_machine_may_ask_the_dashboard():
    answers = []

    def application(environ, start_response):
        start_response("200 OK", [])
        return [b"studies"]

    app = guarded(application, {"localhost:8080"})
    for host in ("localhost:8080", "10.evil.com"):
        app({"HTTP_HOST": host}, lambda status, _: answers.append(status))
    assert answers == ["200 OK", "403 Forbidden"]


def asked(port: int, host: str, path: str) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE_SECONDS)
    connection.request("GET", path, headers={"Host": host})
    return connection.getresponse().status


@pytest.mark.parametrize(
    ("command", "first_port", "path", "options"),
    [
        pytest.param("dashboard", 18080, "/dashboard/", [], id="Optuna"),
        pytest.param("dashboard", 18080, "/dashboard/", ["--no-browser"], id="without a browser"),
        pytest.param("ui", 15000, "/", [], id="MLflow"),
    ],
)
def test_a_page_answers_here_until_ctrl_c(
    command, first_port, path, options, tmp_path, studies_folder
):
    from truth import fresh_database

    folder = studies_folder if command == "dashboard" else tmp_path
    if command == "ui":
        fresh_database(tmp_path / "mlruns")
    port = pages.free_port(first_port)
    browser = tmp_path / "browser"
    browser.write_text(f"#!/bin/sh\necho \"$1\" > {tmp_path}/opened.new\n"
                       f"mv {tmp_path}/opened.new {tmp_path}/opened\n")  # fmt: skip
    browser.chmod(0o755)
    environment = {name: os.environ[name] for name in os.environ if name != "MLFLOW_TRACKING_URI"}
    process = subprocess.Popen(
        [sys.executable, "-m", "hrm_sweep", command, "--port", str(port), *options],
        cwd=folder, stdout=subprocess.PIPE, text=True,
        env={**environment, "BROWSER": f"{browser} %s"},
    )  # fmt: skip
    try:
        line = process.stdout.readline()
        assert f"http://127.0.0.1:{port}" in line
        if not options:
            until((tmp_path / "opened").exists)
            assert (tmp_path / "opened").read_text().strip() == line.split()[1]
        assert asked(port, f"localhost:{port}", path) == 200
        assert asked(port, "10.evil.com", path) == 403
    finally:
        process.send_signal(signal.SIGINT)
    assert process.wait(timeout=PATIENCE_SECONDS) == 0
    assert (tmp_path / "opened").exists() == (not options)


def test_a_port_that_is_taken_gives_way_to_the_next():
    import socket

    first = pages.free_port(18900)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", first))
        taken.listen()
        assert pages.free_port(first) > first


def test_a_password_comes_from_the_environment(monkeypatch):
    full = "postgresql://me:secret@db.example/optuna"
    monkeypatch.setenv("HRM_SWEEP_STORAGE", full)
    assert with_password("postgresql://db.example/optuna", "HRM_SWEEP_STORAGE") == full
    other = "postgresql://db.example/another"
    assert with_password(other, "HRM_SWEEP_STORAGE") == other


def test_commands_import_nothing_heavy():
    program = (
        "import sys; sys.argv = ['hrm-sweep', 'list']\n"
        "from hrm_sweep import cli\n"
        "try: cli.main()\n"
        "except SystemExit: print(*{m.split('.')[0] for m in sys.modules})"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    heavy = {"torch", "mlflow", "optuna", "matplotlib", "numpy", "pandas", "scipy"}
    assert not heavy & set(done.stdout.splitlines()[-1].split())
    assert Path("multirun/grid").is_dir()
