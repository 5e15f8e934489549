"""Model files of a run: which they are, and what is known of those that were removed."""

from hrm_sweep.runs import models
from hrm_sweep.runs.app import MODELS, App
from hrm_sweep.runs.record import Record
from hrm_sweep.runs.run import Run

FILES = (
    *("model.pth", "model.pth.sha256", "deep/er/last.ckpt", "notes.txt", "run.log"),
    *("checkpoint-5/optimizer.pt", "checkpoint-5/trainer_state.json"),
    *("0/model.pth", "config.yaml"),
)


def run_with(folder, patterns=MODELS) -> Run:
    """A trial with a repeat."""
    for place in (folder, folder / "0"):
        with Record(place) as record:
            app = App(name="any", command=("any",), models=tuple(patterns))
            record.append("started", kind="trial", tags={}, app=app.to_record())
            record.append("finished", outcome="complete", best={}, facts={})
    for name in FILES:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("content")
    return Run.open(folder)


def test_models_are_found_below_a_run_and_not_in_other_runs_below_it(tmp_path):
    found = models.model_files(run_with(tmp_path))
    assert found == sorted(
        name
        for name in FILES
        if name not in ("notes.txt", "run.log", "config.yaml") and not name.startswith("0/")
    )


def test_whatever_a_pattern_says_a_record_is_no_model(tmp_path):
    found = models.model_files(run_with(tmp_path, ["*"]))
    assert "notes.txt" in found
    assert {"record.jsonl", "run.log", "config.yaml"}.isdisjoint(found)


def test_what_was_removed_is_known_until_it_is_there_again(tmp_path):
    run = run_with(tmp_path)
    models.remove(tmp_path, ["model.pth", "deep/er/last.ckpt"], by="clean")
    assert models.removed_names(tmp_path) == {"model.pth", "deep/er/last.ckpt"}
    assert models.why_missing(tmp_path / "model.pth").startswith("removed by clean on 20")
    assert models.why_missing(tmp_path / "other.pth") == ""
    models.remove(tmp_path, ["model.pth.sha256"], by="clean")
    assert len(models.removed_names(tmp_path)) == 3
    for name in ("model.pth", "model.pth.sha256", "deep/er/last.ckpt"):
        (tmp_path / name).touch()
    assert models.describe_removed(run) == ""


def test_a_note_that_cannot_be_read_says_nothing(tmp_path):
    run = run_with(tmp_path)
    for text in ("", "[]", '{"by": 1}', '{"by": "x", "time_ms": 1, "files": {}, "new": 2}'):
        (tmp_path / "removed_models.json").write_text(text)
        assert models.describe_removed(run) == ""
