"""Entries of a record become params, tags, metrics and files of an MLflow run."""

from pathlib import Path

import pytest

from hrm_sweep.runs.record import Entry
from hrm_sweep.tracking import artifacts
from hrm_sweep.tracking.translate import Point, Translation, links, note, status

STARTED = {"params": {"lr": 1e-3}, "tags": {"hrm_sweep.trial": "3"}}


def entries(*events: tuple[str, dict]) -> list[Entry]:
    """Entries of one record, a second apart."""
    return [Entry(n, 1000 * n, event, fields) for n, (event, fields) in enumerate(events)]


def measured(step: int, **values: float | str) -> tuple[str, dict]:
    return "metrics", {"step": step, "values": values}


def accepted(*events: tuple[str, dict]) -> Translation:
    """The translation of a record whose entries are all in MLflow."""
    translation = Translation()
    for entry in entries(*events):
        translation.accept(entry)
    return translation


def test_a_first_attempt_has_params_and_tags():
    (entry,) = entries(("started", STARTED))
    update = Translation().start(entry)
    assert update.params == {"lr": 1e-3}
    assert update.tags == {
        "mlflow.source.name": "hrm_sweep",
        "mlflow.source.type": "LOCAL",
        "hrm_sweep.attempt": "1",
        "hrm_sweep.outcome": "running",
        "hrm_sweep.trial": "3",
    }


def test_a_further_attempt_has_no_params_and_says_how_the_last_one_ended():
    before = [("started", STARTED), ("finished", {"outcome": "killed", "reason": "SIGKILL"})]
    (entry,) = entries(("started", STARTED))
    update = accepted(*before).start(entry)
    assert update.params == {}
    assert update.tags["hrm_sweep.attempt"] == "2"
    assert update.tags["hrm_sweep.reason"] == "attempt 1: SIGKILL"


def test_metrics_keep_their_steps_and_times():
    _, first, second = entries(("started", STARTED), measured(1, loss=0.5), measured(2, loss=0.25))
    update = accepted(("started", STARTED)).update([first, second])
    assert update.metrics == [Point("loss", 0.5, 1000, 1), Point("loss", 0.25, 2000, 2)]
    assert update.tags == {}


def test_a_value_that_is_not_finite_is_a_tag_once():
    translation = accepted(("started", STARTED))
    first, second = entries(measured(1, loss="nan", acc=0.5), measured(2, loss="inf"))
    update = translation.update([first])
    assert update.metrics == [Point("acc", 0.5, 0, 1)]
    assert update.tags == {"hrm_sweep.not_finite/loss": "nan at step 1"}
    translation.accept(first)
    assert translation.update([second]).tags == {}


@pytest.mark.parametrize(
    ("step", "reason"),
    [
        pytest.param(10**20, f"step {10**20} has more than 64 bits", id="too large"),
        pytest.param(-(10**20), f"step -{10**20} has more than 64 bits", id="too small"),
        pytest.param(0.5, "step 0.5 is no integer", id="a fraction"),
    ],
)
def test_what_mlflow_can_never_store_is_left_out_with_a_reason(step, reason):
    translation = accepted(("started", STARTED))
    (good,) = entries(measured(2**63 - 1, loss=0.5))
    bad = Entry(1, 1000, "metrics", {"step": step, "values": {"loss": 1.0, "acc": "nan"}})
    update = translation.update([bad, good])
    assert update.metrics == [Point("loss", 0.5, 0, 2**63 - 1)]
    assert update.left_out == {"loss": reason, "acc": reason}
    assert update.tags == {f"hrm_sweep.left_out/{name}": reason for name in ("loss", "acc")}


def test_a_time_before_1970_becomes_1970():
    early = Entry(1, -5, "metrics", {"step": 1, "values": {"loss": 1.0}})
    assert accepted(("started", STARTED)).update([early]).metrics == [Point("loss", 1.0, 0, 1)]


def test_the_same_batch_can_be_translated_twice():
    translation = accepted(("started", STARTED))
    batch = entries(measured(1, loss="nan", acc=0.5))
    assert translation.update(batch) == translation.update(batch)


def test_what_an_earlier_attempt_measured_is_not_sent_again():
    translation = accepted(("started", STARTED), measured(1, loss=0.5), ("started", STARTED))
    translation.resume_from(entries(("started", STARTED), measured(1, loss=0.5)))
    again, other = entries(measured(1, loss=0.5), measured(1, loss=0.75))
    assert translation.update([again]).metrics == []
    assert translation.update([other]).metrics == [Point("loss", 0.75, 1000, 1)]


def test_the_end_has_best_values_the_outcome_and_what_the_process_used():
    fields = {
        "outcome": "complete",
        "reason": "",
        "best": {"eval/loss": 0.25, "best/acc": 1.0, "odd": "nan"},
        "system": {"cpu_seconds": 2.5},
        "facts": {"weights": "abc"},
    }
    (entry,) = entries(("finished", fields))
    update = accepted(("started", STARTED)).update([entry])
    assert update.metrics == [
        Point("best/eval/loss", 0.25, 0, 0),
        Point("best/acc", 1.0, 0, 0),
        Point("system/cpu_seconds", 2.5, 0, 0),
    ]
    assert update.tags == {
        "hrm_sweep.not_finite/best/odd": "nan",
        "hrm_sweep.outcome": "complete",
        "hrm_sweep.weights": "abc",
    }


def test_names_that_become_equal_in_mlflow_stay_apart():
    (entry,) = entries(measured(1, **{"a+b": 1.0, "a@b": 2.0}))
    first, second = accepted(("started", STARTED)).update([entry]).metrics
    assert first.name == "a_b"
    assert second.name == "a_b-614062"  # with the bytes of a@b, which nothing else has


def test_a_dataset_is_handed_on_whole():
    described = {"name": "sudoku", "train_size": 1000, "digest": "d1"}
    (entry,) = entries(("dataset", described))
    assert accepted(("started", STARTED)).update([entry]).datasets == [described]


@pytest.mark.parametrize(
    ("outcome", "expected"),
    [
        pytest.param("complete", "FINISHED", id="complete"),
        pytest.param("pruned", "KILLED", id="pruned"),
        pytest.param("diverged", "FAILED", id="diverged"),
        pytest.param("abducted", "FAILED", id="of a newer version"),
    ],
)
def test_an_outcome_has_a_status(outcome, expected):
    assert status(outcome) == expected


def test_the_description_names_command_place_commit_and_links():
    started = {
        "description": "    python app.py lr=1e-3\n",
        "tags": {
            "hrm_sweep.trial": "3",
            "hrm_sweep.study": "otter",
            "mlflow.source.git.commit": "0123456789abcdef",
            "hrm_sweep.git_dirty": "true",
        },
    }
    found = links(started, view="")
    assert note(started, Path("multirun/otter/3"), found) == (
        "    python app.py lr=1e-3\n\n"
        "trial 3 of study otter · folder `multirun/otter/3` · "
        "git commit `0123456789` and changes after it\n\n"
        "in Optuna: `python -m hrm_sweep dashboard otter`"
    )


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        pytest.param("result.json", "", id="a file"),
        pytest.param("../other", "points out of the run's folder", id="above the folder"),
        pytest.param("/etc/passwd", "points out of the run's folder", id="absolute"),
        pytest.param("link", "is a link out of the run's folder", id="a link"),
        pytest.param("nowhere", "is missing", id="missing"),
        pytest.param("a?b", "has characters that do not survive the way", id="a question mark"),
    ],
)
def test_only_files_of_the_run_are_sent(name, reason, tmp_path):
    (tmp_path / "outside").write_text("secret")
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "result.json").write_text("{}")
    (folder / "link").symlink_to(tmp_path / "outside")
    assert artifacts.refusal(folder, name) == reason


def test_a_missing_file_is_named_if_the_run_is_complete(tmp_path):
    complete, killed = (
        Entry(0, 0, "finished", {"outcome": outcome}) for outcome in ("complete", "killed")
    )
    assert [*artifacts.refused(tmp_path, ["model.pth"], complete)] == ["model.pth is missing"]
    assert [*artifacts.refused(tmp_path, ["model.pth"], killed)] == []
