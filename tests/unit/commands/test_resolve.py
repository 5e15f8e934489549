"""What the user may name on the command line, and what each name resolves to."""

import json
from pathlib import Path

import pytest

from hrm_sweep.commands import resolve
from hrm_sweep.errors import RecordError, StudyError
from hrm_sweep.runs.record import Record
from hrm_sweep.runs.study import Study

RUN_ID = "0123456789abcdef" * 2


def write_study(folder: Path, *, name: str | None = None, trials: int = 0) -> None:
    """Write a study whose trial 1 has two repeats."""
    name = name or folder.name
    judged = {"objectives": ["x"], "directions": ["minimize"], "constraints": []}
    with Record(folder) as study:
        study.append(
            "started",
            kind="study",
            name=name,
            description="app.py -m",
            tags={},
            params={"n": "0, 1, 2"},
            judged={**judged, "tie_breaker": None, "columns": [], "repeats": 1},
            num_trials=3,
            storage="sqlite:///multirun/optuna.db",
            tracking={},
        )
    for number in range(trials):
        tags = {"hrm_sweep.study": name, "hrm_sweep.trial": str(number)}
        repeats = [f"/{repeat}" for repeat in (0, 1)] if number == 1 else []
        for below in ["", *repeats]:
            with Record(folder / f"{number}{below}") as run:
                repeat = {"hrm_sweep.repeat": below[1:]} if below else {}
                run.append("started", kind="trial", name="", tags=tags | repeat, description="")
                run.append("finished", outcome="complete", best={"x": 10.0 - number}, reason="")


@pytest.fixture(autouse=True)
def machine(tmp_path, monkeypatch) -> Path:
    """A working folder with studies, a single run and a study in Hydra's default folder."""
    monkeypatch.chdir(tmp_path)
    write_study(Path("multirun/small"), trials=3)
    write_study(Path("multirun/2026-11-28/10-00-00"), name="dated")
    write_study(Path("usb/two words"), trials=1)
    with Record(Path("multirun/train/alone")) as run:
        run.append("started", kind="train", name="alone", tags={}, params={}, description="")
    return tmp_path


def test_studies_are_listed_wherever_hydra_puts_them_below_multirun():
    assert sorted(study.name for study in resolve.studies()) == ["dated", "small"]


@pytest.mark.parametrize(
    ("text", "folder"),
    [
        pytest.param("small", "multirun/small", id="study by name"),
        pytest.param("dated", "multirun/2026-11-28/10-00-00", id="study with another folder name"),
        pytest.param("2026-11-28/10-00-00", "multirun/2026-11-28/10-00-00", id="dated folder"),
        pytest.param("multirun/small", "multirun/small", id="study by path"),
        pytest.param("multirun/small/", "multirun/small", id="path with a slash at its end"),
        pytest.param("usb/two words", "usb/two words", id="study outside multirun"),
        pytest.param("usb/two words/0", "usb/two words/0", id="trial outside multirun"),
        pytest.param("small/2", "multirun/small/2", id="trial"),
        pytest.param("small/1/1", "multirun/small/1/1", id="repeat"),
        pytest.param("multirun/small/1/0", "multirun/small/1/0", id="repeat by path"),
        pytest.param("alone", "multirun/train/alone", id="single run by name"),
        pytest.param("multirun/train/alone", "multirun/train/alone", id="single run by path"),
    ],
)
def test_a_name_resolves_to_a_folder(text, folder):
    found = resolve.resolve(text)
    assert str(found.folder) == folder
    assert isinstance(found, Study) == (folder.split("/")[-1] in ("small", "10-00-00", "two words"))


def test_a_trial_is_found_by_its_number_in_a_folder_of_any_name():
    Path("multirun/small/2").rename("multirun/small/n=2")
    assert str(resolve.resolve("small/2").folder) == "multirun/small/n=2"


def write_run(folder: Path, **tags: str) -> None:
    """Write a single run that is complete."""
    with Record(folder) as run:
        fields = {"kind": "train", "name": folder.name, "params": {}, "description": ""}
        run.append("started", tags=tags, **fields)
        run.append("finished", outcome="complete", best={"x": 1.0}, reason="")


def test_no_name_is_the_newest_study_or_single_run():
    write_study(Path("multirun/newest"), trials=1)
    assert resolve.resolve_run(None).tags["hrm_sweep.study"] == "newest"
    write_run(Path("multirun/train/newer"))
    found = resolve.everything()
    assert [each.folder.name for each in found][:2] == ["newer", "newest"]
    assert {str(each.folder) for each in found[2:]} == {
        "multirun/small", "multirun/2026-11-28/10-00-00", "multirun/train/alone",
    }  # fmt: skip
    assert resolve.resolve(None).folder.name == "newer"
    assert resolve.resolve_run(None).folder.name == "newer"
    assert resolve.resolve_study(None).name == "newest"


def test_no_name_is_what_was_stopped_where_something_is_resumed():
    write_study(Path("multirun/stopped"), trials=1)  # of three
    write_run(Path("multirun/train/done"))
    assert resolve.resolve(None).folder.name == "done"
    assert resolve.resolve_unfinished().folder.name == "stopped"


def test_a_reproduction_is_never_the_newest():
    write_run(Path("multirun/train/original"))
    write_run(
        Path("multirun/train/original-again"),
        **{"hrm_sweep.reproduces_folder": "multirun/train/original"},
    )
    write_study(Path("multirun/reproduced/small-1-again"), trials=1)  # by an older version
    assert resolve.resolve(None).folder.name == "original"
    assert resolve.resolve_study(None).name == "dated"
    copies = {each.folder.name: each.copy_of for each in resolve.everything() if each.copy_of}
    assert copies == {
        "original-again": Path("multirun/train/original"),
        "small-1-again": Path("multirun/reproduced"),
    }


def test_a_study_stands_for_its_best_trial_where_a_run_is_needed():
    assert resolve.resolve_run("small").number == 2
    assert resolve.resolve_run("small/0").number == 0


@pytest.mark.parametrize("folder", ["small", "small/1", "small/1/1", "train/alone"])
def test_an_mlflow_run_id_names_the_folder_that_was_exported_as_it(folder):
    state = {
        "run_id": RUN_ID, "experiment_id": "1", "destination": "", "record": "", "next": 0,
        "size": 0, "artifacts": [], "doubt_ms": 0, "finished": True,
    }  # fmt: skip
    Path("multirun", folder, "mlflow.json").write_text(json.dumps(state))
    assert resolve.resolve(RUN_ID).folder == Path("multirun", folder)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param(
            "smal",
            "smal: no study or run of that name in multirun/; did you mean small?",
            id="mistyped study",
        ),
        pytest.param(
            "multirun/smal/1",
            "multirun/smal: no study or run of that name in multirun/; did you mean small?",
            id="mistyped study of a trial",
        ),
        pytest.param(
            "alnoe",
            "alnoe: no study or run of that name in multirun/; did you mean alone?",
            id="mistyped single run",
        ),
        pytest.param(
            "x",
            "x: no study or run of that name in multirun/; there are dated, small, alone",
            id="nothing near",
        ),
        pytest.param(
            "small/9", "small/9: no trial of that number; it has 0 to 2", id="no such trial"
        ),
        pytest.param(
            "dated/0", "dated/0: no trial of that number; none was started yet", id="no trial yet"
        ),
        pytest.param(
            "small/1/7", "small/1/7: no repeat of that number; it has 0 to 1", id="no such repeat"
        ),
        pytest.param(
            "small/0/0",
            "small/0/0: no repeat of that number; it was run with one seed",
            id="no repeats",
        ),
        pytest.param(RUN_ID, f"{RUN_ID}: no study or run of that name", id="unknown run id"),
    ],
)
def test_a_name_of_nothing_is_answered_with_what_is_there(text, message):
    with pytest.raises(StudyError) as caught:
        resolve.resolve(text)
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param(
            "small/1/0", "small/1/0: is part of study small; name the whole study: small", id="part"
        ),
        pytest.param("alone", "alone: is a single run; name a study", id="single run"),
    ],
)
def test_a_command_on_studies_refuses_a_run(text, message):
    with pytest.raises(StudyError) as caught:
        resolve.resolve_study(text)
    assert str(caught.value) == message


def test_a_whole_is_a_study_or_a_single_run():
    names = [resolve.resolve_whole(text).folder.name for text in ("small", "alone")]
    assert names == ["small", "alone"]
    with pytest.raises(StudyError, match="is part of study small"):
        resolve.resolve_whole("small/0")


def test_where_nothing_is_the_first_command_is_named(tmp_path, monkeypatch):
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path / "empty")
    for text in (None, "x"):
        with pytest.raises(StudyError, match=r"yet; start one: .+ -m lr=1e-4,1e-3$"):
            resolve.resolve(text)


def test_an_edited_record_is_named_where_its_study_is():
    path = Path("multirun/small/record.jsonl")
    path.write_text(path.read_text().replace("minimize", "maximize"))
    with pytest.raises(RecordError, match=r"multirun/small/record.jsonl"):
        resolve.resolve("small")
    assert [study.name for study in resolve.studies()] == ["dated"]
    assert [str(error).split(",")[0] for error in resolve.unreadable()] == [str(path)]
