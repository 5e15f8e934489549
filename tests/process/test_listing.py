"""`list`, `tag`, `note` and `archive`, as the user types them."""

from __future__ import annotations

import json
import os
import pty
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from studies import PATIENCE_SECONDS

from hrm_sweep.runs.record import Record

LONG = "2026-11-22-a-study-with-a-name-that-is-much-longer-than-any-terminal-has-room-for-it"


@pytest.fixture
def studies(studies_folder, tmp_path, monkeypatch) -> Path:
    """Two studies and three single runs, one of which repeats a trial of `grid`."""
    shutil.copytree(studies_folder / "multirun", tmp_path / "multirun")
    monkeypatch.chdir(tmp_path)
    write_run("small", lr=1e-4, value=0.25)
    (tmp_path / "multirun/train/small/weights").write_bytes(bytes(1 << 20))
    write_run(LONG, lr=1e-2, value=0.75, more=",".join(map(str, range(20))))
    copied = tmp_path / "multirun/grid/4"
    write_run("grid-4-again", tags={"hrm_sweep.reproduces_folder": str(copied)}, lr=1, value=0.0)
    return tmp_path


def write_run(name: str, *, tags: dict[str, str] | None = None, value: float, **params) -> None:
    config = {"study.objective": "score", "study.direction": "maximize", "tracking.name": "off"}
    with Record(Path("multirun/train") / name) as record:
        record.append(
            "started",
            kind="train",
            name=name,
            description="    app.py",
            params={**params, **config},
            overrides=[f"{name}={value}" for name, value in params.items()],
            tags=tags or {},
        )
        record.append("finished", outcome="complete", best={"score": value}, reason="")


def names(said: str) -> list[str]:
    """The first word of each line of a table."""
    return [line.split()[0] for line in said.splitlines()[1:] if line.startswith(" ")]


def on_a_terminal(*arguments: str, width: int) -> list[str]:
    """The lines that a command shows on a terminal, without the spaces at their ends."""
    master, slave = pty.openpty()
    done = subprocess.Popen(
        [sys.executable, "-m", "hrm_sweep", *arguments],
        stdout=slave,
        stdin=slave,
        env={**os.environ, "COLUMNS": str(width), "TERM": "dumb"},
    )
    os.close(slave)
    shown = b""
    try:
        while read := os.read(master, 4096):
            shown += read
    except OSError:  # the other end was closed
        pass
    assert done.wait(timeout=PATIENCE_SECONDS) == 0
    os.close(master)
    return [line.rstrip() for line in shown.decode().splitlines()]


def test_runs_are_listed_beside_studies_and_copies_are_counted(studies, typed):
    code, said, _ = typed("list")
    assert code == 0
    assert sorted(names(said)) == sorted([LONG, "grid", "repeated", "small"])
    line = next(line for line in said.splitlines() if line.startswith(" small"))
    assert line.split(" complete ")[1].split() == ["0.25", "lr=1e-4"]
    assert "1 copy by reproduce: " in said
    assert "list --all\n" in said
    lines = typed("list", "--all")[1].splitlines()
    grid = next(number for number, line in enumerate(lines) if line.startswith(" grid "))
    assert lines[grid + 1].strip().startswith("copy: grid-4-again")


@pytest.mark.parametrize(
    ("arguments", "found"),
    [
        pytest.param(["--filter", "lr<1e-3"], ["small"], id="config"),
        pytest.param(["--filter", "score>0.5"], [LONG], id="metric"),
        pytest.param(["--filter", "x=2"], ["grid"], id="config of the best trial"),
        pytest.param(["--filter", "outcome=failed"], ["grid"], id="outcome"),
        pytest.param(["--filter", "kind=study", "--sort", "name"], ["grid", "repeated"], id="name"),
        pytest.param(["--filter", "kind=run", "--sort", "best"], [LONG, "small"], id="best"),
        pytest.param(
            ["--filter", "kind=run", "--sort", "best", "--reverse"], ["small", LONG], id="worst"
        ),
        pytest.param(["--sort", "trials", "--limit", "1"], ["grid"], id="trials"),
        pytest.param(["--filter", "kind=run", "--sort", "size"], ["small", LONG], id="size"),
    ],
)
def test_list_selects_and_sorts(arguments, found, studies, typed):
    code, said, _ = typed("list", *arguments)
    assert code == 0
    assert names(said) == found
    described = json.loads(typed("list", *arguments, "--json")[1])
    assert [line["name"] for line in described] == found


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        pytest.param(["--limit", "0"], "--limit 0: must be at least 1", id="limit"),
        pytest.param(["--filter", "lrr<1"], "is called lrr; did you mean lr?", id="unknown key"),
        pytest.param(["--sort", "age"], "invalid choice: 'age' (choose from", id="order"),
        pytest.param(["--archived", "--all"], "not allowed with argument", id="both"),
    ],
)
def test_a_selection_that_cannot_be_made(arguments, words, studies, typed):
    code, said, error = typed("list", *arguments)
    assert (code, said) == (2, "")
    assert words in error
    assert "\n" not in error


def test_a_selection_of_nothing_says_so(studies, typed):
    assert "None of 4 satisfies that." in typed("list", "--filter", "lr>9")[1]
    assert "None is archived." in typed("list", "--archived")[1]


def test_sizes_and_their_sum(studies, typed):
    said = typed("list", "--du")[1]
    assert "size" in said.splitlines()[0]
    assert "\n4 folders, " in said
    described = json.loads(typed("list", "--du", "--json")[1])
    assert all(line["bytes"] > 0 for line in described)


@pytest.mark.parametrize("width", [80, 100, 160])
def test_long_names_and_recipes_are_cut_on_a_terminal_alone(width, studies, typed):
    shown = on_a_terminal("list", width=width)
    assert max(map(len, shown[:5])) <= width
    line = next(line for line in shown if "0.75" in line)
    assert line.strip().startswith("2026")
    assert "…" in line
    assert len(names("\n".join(shown))) == 4
    said = typed("list")[1]
    assert LONG in said


def test_tags_and_a_note_are_kept_and_shown(studies, typed):
    assert typed("tag", "grid", "stage=paper", "password=hunter2") == (
        0,
        "  stage     paper\n  password  ***\n",
        "",
    )
    typed("tag", "small", "stage=draft")
    typed("tag", "grid/4", "checked=yes")
    assert typed("note", "grid", "x above 2 fails")[1] == "x above 2 fails\n"
    assert names(typed("list", "--tag", "stage=paper")[1]) == ["grid"]
    assert names(typed("list", "--tag", "stage", "--sort", "name")[1]) == ["grid", "small"]
    said = typed("list")[1]
    assert "stage=paper password=***" in said
    assert "x above 2 fails" in said
    assert "hunter2" not in Path("multirun/grid/annotations.json").read_text()
    assert "checked=yes" in typed("show", "grid/4")[1]
    assert typed("tag", "grid", "--remove", "stage")[1] == "  password  ***\n"
    assert typed("note", "grid")[1] == "x above 2 fails\n"
    assert typed("note", "grid", "")[1] == "grid: no note\n"
    shutil.move("multirun/grid", "multirun/moved")
    assert typed("tag", "grid")[1] == "  password  ***\n"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        pytest.param(["grid", "stage"], "stage: must be key=value, such as", id="no value"),
        pytest.param(["grid", "=x"], "=x: must be key=value", id="no key"),
        pytest.param(["grid", "mlflow.note.content=x"], "tags of mlflow. have a", id="MLflow's"),
        pytest.param(["grid", "hrm_sweep.outcome=x"], "try my.hrm_sweep.outcome", id="ours"),
        pytest.param(["grid", "a?b=1"], "try a_b=1", id="signs"),
        pytest.param(["grid", f"a={'x' * 5001}"], "has up to 5000 characters", id="long"),
        pytest.param(["grid", "--remove", "owner"], "grid has no tag of that name; it", id="lacks"),
        pytest.param(["grid", "a=1", "--remove", "a"], "leave one out", id="both"),
        pytest.param(["gird", "a=1"], "did you mean grid?", id="unknown study"),
    ],
)
def test_a_tag_that_cannot_be_set(arguments, words, studies, typed):
    code, said, error = typed("tag", *arguments)
    assert (code, said) == (2, "")
    assert words in error
    assert "\n" not in error
    assert not Path("multirun/grid/annotations.json").exists()


def test_annotations_that_were_damaged_are_not_written_over(studies, typed):
    Path("multirun/grid/annotations.json").write_text("{")
    code, _, error = typed("tag", "grid", "a=1")
    assert code == 2
    assert error.startswith("multirun/grid/annotations.json: cannot be read")
    assert "grid" in names(typed("list")[1])


def test_what_is_archived_is_hidden_and_never_the_newest(studies, typed):
    Path("multirun/train/grid-4-again/record.jsonl").unlink()
    newest = json.loads(typed("list", "--json")[1])[0]["name"]
    assert typed("archive", newest) == (0, f"{newest}: archived; nothing is removed\n", "")
    said = typed("list")[1]
    assert newest not in names(said)
    assert "1 archived: " in said
    assert "list --archived\n" in said
    assert names(typed("list", "--archived")[1]) == [f"{newest},"]
    assert newest not in typed("show")[1]
    assert typed("show", newest)[0] == 0
    typed("archive", newest, "--undo")
    assert newest in names(typed("list")[1])
