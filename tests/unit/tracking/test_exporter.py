"""Records arrive in a real MLflow, each value once, with the status that is true."""

from __future__ import annotations

import math
import shutil
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from mlflow.entities import ViewType
from studies import until
from truth import Truth, fresh_database

from hrm_sweep.runs import layout
from hrm_sweep.runs.export_state import Backlog, waiting, write_ends
from hrm_sweep.runs.record import Record, read, values_of
from hrm_sweep.tracking.client import Destination
from hrm_sweep.tracking.exporter import Exporter
from hrm_sweep.tracking.limits import legal_name

EXPERIMENT = "hrm_sweep"


@pytest.fixture
def uri(tmp_path: Path) -> str:
    return fresh_database(tmp_path / "mlruns")


@pytest.fixture
def truth(uri: str) -> Truth:
    return Truth(uri)


def write_run(folder: Path, *, name: str = "", steps: int = 3, **finished: Any) -> None:
    """A run of `steps` epochs, and its end if `finished` has an outcome."""
    with Record(folder) as record:
        record.append(
            "started",
            name=name or folder.name,
            kind="trial",
            params={"lr": 1e-3, "model.name": "hrm"},
            tags={"hrm_sweep.trial": folder.name, "hrm_sweep.folder": str(folder)},
        )
        for step in range(1, steps + 1):
            record.metrics(step, {"train/loss": 1 / step, "eval/exact_match": step / 10})
        if finished:
            record.append("finished", **finished)


def write_study(folder: Path, trials: int = 2, **end: Any) -> None:
    with Record(folder) as record:
        record.append("started", name="otter", kind="study", description="    the command")
        for number in range(trials):
            write_run(
                folder / str(number), outcome="complete", best={"eval/exact_match": 0.3}, **end
            )
        record.append("finished", outcome="complete")


def export(root: Path, uri: str, **options: Any) -> Backlog:
    """Steps until nothing moves any more, as a new process would."""
    projection = Exporter(root, tracking_uri=uri, experiment=EXPERIMENT, **options)
    try:
        progress = -1
        while projection.progress > progress:
            progress = projection.progress
            backlog = projection.step()
        return backlog
    finally:
        projection.close()


def written(folder: Path) -> list[tuple[str, int, float, int]]:
    """What the record says that MLflow must hold: name, step, value, time."""
    rows = [
        (name, entry.fields["step"], value, entry.time_ms)
        for entry in read(folder)
        if entry.event == "metrics"
        for name, value in values_of(entry).items()
    ]
    end = read(folder)[-1]
    for name, value in end.fields.get("best", {}).items():
        rows.append((f"best/{name}", 0, value, end.time_ms))
    return sorted(rows)


class TestAStudy:
    def test_is_a_parent_run_with_its_trials_as_children(self, tmp_path, uri, truth):
        write_study(tmp_path / "otter")
        assert export(tmp_path / "otter", uri) == Backlog(sent=6)
        named = {run.info.run_name: run for run in truth.runs()}
        study, trials = named.pop("otter"), [*named.values()]
        assert "mlflow.parentRunId" not in study.data.tags
        assert study.data.tags["mlflow.note.content"] == (
            f"    the command\n\nfolder `{tmp_path}/otter`"
        )
        assert named.keys() == {"0", "1"}
        assert {run.data.tags["mlflow.parentRunId"] for run in trials} == {study.info.run_id}
        assert {run.info.status for run in [study, *trials]} == {"FINISHED"}

    def test_has_every_value_once_with_its_own_time(self, tmp_path, uri, truth):
        root = tmp_path / "otter"
        write_study(root)
        export(root, uri)
        for name in ("0", "1"):
            assert truth.metrics(name) == written(root / name)
            run, entries = truth.run(name), read(root / name)
            assert run.info.start_time == entries[0].time_ms
            assert run.info.end_time == entries[-1].time_ms
            assert run.data.params == {"lr": "0.001", "model.name": "hrm"}

    def test_may_have_repeats_below_its_trials(self, tmp_path, uri, truth):
        root = tmp_path / "otter"
        write_study(root, trials=1)
        write_run(root / "0" / "1", name="repeat", outcome="complete")
        export(root, uri)
        assert truth.run("repeat").data.tags["mlflow.parentRunId"] == truth.run("0").info.run_id

    @pytest.mark.parametrize("store", [".", "mlruns"])
    def test_may_have_the_database_and_its_files_in_its_folder(self, tmp_path, store):
        root = tmp_path / "otter"
        uri = fresh_database(root / store)
        (root / layout.SWEEP_CONFIG).touch()
        write_study(root, trials=2, artifacts=[layout.RECORD])
        for number in ("0", "1"):
            shutil.copytree(root / number, root / f"{number}-old")
        for _ in range(3):  # each time, MLflow's files have more records
            assert not export(root, uri).runs
        assert sorted(run.info.run_name for run in Truth(uri).runs()) == ["0", "1", "otter"]

    def test_has_repeats_that_appear_while_their_trial_is_sent(self, tmp_path, uri, truth):
        """A trial of some milliseconds is seen first before its repeats, and next as ended."""
        root = tmp_path / "study"
        write_study(root, trials=1)

        def draw(folder: Path) -> list[str]:
            if folder == root / "0" and not (folder / "0").exists():
                write_run(folder / "0", name="repeat", outcome="complete")
            return []

        assert export(root, uri, pictures=draw).runs == 0
        assert truth.run("repeat").data.tags["mlflow.parentRunId"] == truth.run("0").info.run_id

    def test_has_the_mean_of_its_repeats_in_each_trial(self, tmp_path, uri, truth):
        root = tmp_path / "otter"
        write_study(root, trials=0)
        with Record(root / "0") as trial:
            trial.append("started", name="trial", kind="trial")
            for repeat, value in enumerate([1.0, 2.0, 6.0]):
                with Record(root / "0" / str(repeat)) as record:
                    record.append("started", name=f"repeat {repeat}", kind="trial")
                    record.metrics(7, {"x": value})
                    record.append("finished", outcome="complete", best={"x": value})
                trial.metrics(repeat + 1, {"x": value})
                export(root, uri)  # each time as a new process, which sends a part
            trial.append("finished", outcome="complete", best={"x": 3.0, "x/std": 2.6})
        export(root, uri)
        assert truth.run("trial").data.metrics == {"x": 3.0, "best/x": 3.0, "best/x/std": 2.6}
        assert [row[1:3] for row in truth.metrics("trial") if row[0] == "x"] == [
            (1, 1.0),
            (2, 1.5),
            (3, 3.0),
        ]
        assert truth.run("repeat 2").data.metrics == {"x": 6.0, "best/x": 6.0}

    def test_has_the_rank_of_each_trial_by_the_one_rule(self, tmp_path, uri, truth):
        root = tmp_path / "otter"
        judged: dict[str, Any] = {
            "objectives": ["x"],
            "directions": ["maximize"],
            "constraints": ["cost <= 5"],
        }
        with Record(root) as study:
            judged |= {"tie_breaker": "loss", "repeats": 1}
            study.append("started", kind="study", name="otter", params={}, judged=judged)
            for number, best in enumerate(
                [
                    {"x": 1.0, "loss": 0.5, "cost": 1.0},
                    {"x": 0.2, "loss": 0.1, "cost": 1.0},
                    {"x": 1.0, "loss": 0.4, "cost": 1.0},
                    {"x": 2.0, "loss": 0.0, "cost": 6.0},  # breaks the constraint
                    {"x": 1.0, "loss": 0.4, "cost": 1.0},
                ]
            ):
                write_run(root / str(number), outcome="complete", best=best)
            write_run(root / "5", outcome="diverged", best={"x": 9.0, "loss": 0.0, "cost": 1.0})
            study.append("finished", outcome="complete")
        export(root, uri)
        ranks = {
            int(run.data.tags["hrm_sweep.trial"]): run.data.metrics.get("hrm_sweep.rank")
            for run in truth.runs()
            if "hrm_sweep.trial" in run.data.tags
        }
        assert ranks == {2: 1, 4: 2, 0: 3, 1: 4, 3: 5, 5: None}

    def test_has_one_run_however_many_machines_work_on_it(self, tmp_path, uri, truth):
        machines = [tmp_path / "one" / "otter", tmp_path / "two" / "otter"]
        records = [Record(folder) for folder in machines]
        exporters = [
            Exporter(folder, tracking_uri=uri, experiment=EXPERIMENT) for folder in machines
        ]
        for number, (folder, record) in enumerate(zip(machines, records, strict=True)):
            params = {"n": "0, 1", "of": str(number)}  # MLflow refuses to change the second
            record.append("started", kind="study", id="an id", name="otter", params=params)
            record.metrics(number, {"x": number})
            write_run(folder / str(number), outcome="complete")
        for _ in range(3):
            for exporter in exporters:
                exporter.step()
        records[0].append("finished", outcome="complete")
        exporters[0].step()
        records[1].metrics(2, {"x": 2})
        exporters[1].step()
        assert truth.run("otter").info.status == "RUNNING"
        records[1].append("finished", outcome="complete")
        for record, exporter in zip(records, exporters, strict=True):
            record.close()
            assert not exporter.step().runs
            exporter.close()
        study = truth.run("otter")
        assert study.info.status == "FINISHED"
        assert [row[:3] for row in truth.metrics("otter")] == [
            ("x", 0, 0),
            ("x", 1, 1),
            ("x", 2, 2),
        ]
        for trial in ("0", "1"):
            assert truth.run(trial).data.tags["mlflow.parentRunId"] == study.info.run_id

    def test_of_two_runs_made_in_one_moment_keeps_the_older(
        self, tmp_path, uri, truth, monkeypatch
    ):
        machines = [tmp_path / "one" / "otter", tmp_path / "two" / "otter"]
        for number, folder in enumerate(machines):
            write_run(folder / str(number), outcome="complete")
        with Record(machines[0]) as first, Record(machines[1]) as second:
            first.append("started", kind="study", id="an id", name="otter")
            second.append("started", kind="study", id="an id", name="otter")
            with monkeypatch.context() as at_once:  # neither sees that of the other
                at_once.setattr(Destination, "find", lambda *_: None)
                at_once.setattr(Destination, "keep_oldest", lambda *_: None)
                for folder in machines:
                    export(folder, uri)
            assert len([run for run in truth.runs() if run.info.run_name == "otter"]) == 2
            second.append("finished", outcome="complete")
            export(machines[1], uri)
            first.metrics(1, {"x": 1.0})
            first.append("finished", outcome="complete")
            export(machines[0], uri)
        study = truth.run("otter")
        assert study.data.metrics["x"] == 1.0
        export(machines[1], uri)
        for trial in ("0", "1"):
            assert truth.run(trial).data.tags["mlflow.parentRunId"] == study.info.run_id

    def test_is_projected_while_it_runs(self, tmp_path, uri, truth):
        root = tmp_path / "otter"
        projection = Exporter(root, tracking_uri=uri, experiment=EXPERIMENT)
        assert projection.step() == Backlog()
        with Record(root) as study, Record(root / "0") as trial:
            study.append("started", name="otter", kind="study")
            trial.append("started", name="0")
            assert projection.step() == Backlog()
            trial.metrics(1, {"x": 1.0})
            assert projection.step() == Backlog(sent=1)
            assert [row[:3] for row in truth.metrics("0")] == [("x", 1, 1.0)]
            assert truth.run("0").info.status == "RUNNING"
            assert truth.run("0").data.tags["hrm_sweep.outcome"] == "running"
        projection.close()


class TestEveryValueArrivesOnce:
    def test_when_everything_is_sent_again(self, tmp_path, uri, truth):
        root = tmp_path / "otter"
        write_study(root)
        export(root, uri)
        before = truth.select("SELECT * FROM metrics ORDER BY 1, 2, 3, 4, 5, 6")
        for folder in (root, root / "0", root / "1"):
            (folder / "mlflow.json").unlink()
        assert export(root, uri) == Backlog(sent=6)
        assert truth.select("SELECT * FROM metrics ORDER BY 1, 2, 3, 4, 5, 6") == before
        assert len(truth.runs(ViewType.ALL)) == 3
        assert {run.info.status for run in truth.runs()} == {"FINISHED"}

    def test_when_killed_between_any_two_cursors(self, tmp_path, uri, truth):
        """Every state of the cursor that a kill can leave, with MLflow one request further."""
        root = tmp_path / "otter"
        write_run(root, steps=2, outcome="complete", best={"x": 1.0}, artifacts=["record.jsonl"])
        states = [None]
        projection = Exporter(root, tracking_uri=uri, experiment=EXPERIMENT)
        while projection.step().runs or len(states) == 1:
            states.append((root / "mlflow.json").read_bytes())
        projection.close()
        for state in states:
            if state is None:
                (root / "mlflow.json").unlink()
            else:
                (root / "mlflow.json").write_bytes(state)
            assert export(root, uri).runs == 0
            assert truth.metrics("otter") == written(root)
            assert len(truth.runs(ViewType.ALL)) == 1

    @pytest.mark.parametrize(
        "rubbish",
        [
            pytest.param(b"", id="empty"),
            pytest.param(b"[]", id="no object"),
            pytest.param(b'{"run_id": 3}', id="keys missing"),
            pytest.param(b"\xff\0", id="no text"),
        ],
    )
    def test_when_the_cursor_is_damaged(self, tmp_path, uri, truth, rubbish):
        write_run(tmp_path / "run", outcome="complete")
        export(tmp_path / "run", uri)
        (tmp_path / "run" / "mlflow.json").write_bytes(rubbish)
        export(tmp_path / "run", uri)
        assert truth.metrics("run") == written(tmp_path / "run")

    def test_when_a_creation_that_was_given_up_comes_late(self, tmp_path, uri, truth):
        write_run(tmp_path / "run")
        export(tmp_path / "run", uri)
        first = truth.run("run")
        name = first.data.tags["hrm_sweep.record"]
        truth.client.create_run(first.info.experiment_id, tags={"hrm_sweep.record": name})
        with Record(tmp_path / "run") as record:
            record.append("finished", outcome="complete")
        export(tmp_path / "run", uri)
        assert [run.info.run_id for run in truth.runs()] == [first.info.run_id]

    def test_when_the_folder_was_copied_from_another_machine(self, tmp_path, uri, truth):
        write_study(tmp_path / "otter")
        export(tmp_path / "otter", uri)
        shutil.copytree(tmp_path / "otter", tmp_path / "copied" / "otter")
        assert export(tmp_path / "copied" / "otter", uri) == Backlog()
        (tmp_path / "copied" / "otter" / "1" / "mlflow.json").unlink()
        assert export(tmp_path / "copied" / "otter", uri).sent == 3
        assert len(truth.runs(ViewType.ALL)) == 3

    def test_when_it_does_not_fit_into_one_request(self, tmp_path, uri, truth):
        root = tmp_path / "run"
        with Record(root) as record:
            record.append("started", name="run", params={f"key{n}": n for n in range(250)})
            record.metrics(1, {f"wide{n}": n for n in range(2500)})
            for step in range(1, 301):
                record.metrics(step, {"a": step, "b": -step, "c": 0.5, "d": step / 7})
            record.append("finished", outcome="complete")
        assert export(root, uri) == Backlog(sent=301)
        assert truth.metrics("run") == written(root)
        assert truth.run("run").data.params == {f"key{n}": str(n) for n in range(250)}

    def test_into_another_database_too(self, tmp_path, uri, truth):
        write_study(tmp_path / "otter")
        export(tmp_path / "otter", uri)
        other = fresh_database(tmp_path / "other")
        assert export(tmp_path / "otter", other).sent == 6
        assert Truth(other).metrics("1") == truth.metrics("1") == written(tmp_path / "otter" / "1")

    def test_but_not_what_a_person_deleted(self, tmp_path, uri, truth):
        root = tmp_path / "otter"
        write_study(root, trials=1)
        write_run(root / "1")
        export(root, uri)
        truth.client.delete_run(truth.run("1").info.run_id)
        with Record(root / "1") as record:
            record.metrics(9, {"late": 1.0})
        assert export(root, uri) == Backlog()
        (root / "1" / "mlflow.json").unlink()
        assert export(root, uri) == Backlog()
        assert sorted(run.info.run_name for run in truth.runs()) == ["0", "otter"]


class TestTheTruth:
    @pytest.mark.parametrize(
        ("outcome", "status"),
        [
            ("complete", "FINISHED"),
            ("failed", "FAILED"),
            ("diverged", "FAILED"),
            ("killed", "KILLED"),
            ("interrupted", "KILLED"),
        ],
    )
    def test_is_the_status(self, tmp_path, uri, truth, outcome, status):
        write_run(
            tmp_path / "run",
            outcome=outcome,
            reason="why it ended",
            traceback="Traceback:\n  \ud800\nValueError: why it ended",
        )
        export(tmp_path / "run", uri)
        run = truth.run("run")
        assert run.info.status == status
        assert run.data.tags["hrm_sweep.outcome"] == outcome
        assert run.data.tags["hrm_sweep.reason"] == "why it ended"
        assert truth.files("run") == {"traceback.txt": b"Traceback:\n  ?\nValueError: why it ended"}

    def test_of_a_process_that_was_killed(self, tmp_path, uri, truth):
        root = tmp_path / "otter"
        write_study(root, trials=1)
        write_run(root / "1")
        export(root, uri)
        assert truth.run("1").info.status == "RUNNING"
        assert not write_ends(root)
        export(root, uri)
        assert truth.run("1").info.status == "KILLED"
        assert "ended without a word" in truth.run("1").data.tags["hrm_sweep.reason"]
        assert truth.run("0").info.status == "FINISHED"

    def test_of_a_process_that_lives(self, tmp_path, uri, truth):
        with Record(tmp_path / "run") as record:
            record.append("started", name="run")
            assert write_ends(tmp_path / "run")
            export(tmp_path / "run", uri)
            assert truth.run("run").info.status == "RUNNING"

    def test_of_a_process_that_died_before_it_began(self, tmp_path, uri, truth):
        with Record(tmp_path / "7") as record:
            record.append("finished", outcome="killed", best={}, reason="signal 9", artifacts=[])
        export(tmp_path / "7", uri)
        assert truth.run("7").info.status == "KILLED"

    def test_of_a_second_attempt(self, tmp_path, uri, truth):
        root = tmp_path / "run"
        write_run(root, outcome="killed", reason="no memory left")
        export(root, uri)
        with Record(root) as record:
            record.append("started", name="run", params={"lr": 1e-3, "model.name": "hrm"})
        export(root, uri)
        run = truth.run("run")
        assert (run.info.status, run.data.tags["hrm_sweep.attempt"]) == ("RUNNING", "2")
        assert run.data.tags["hrm_sweep.reason"] == "attempt 1: no memory left"
        with Record(root) as record:
            record.metrics(3, {"train/loss": 1 / 3, "eval/exact_match": 0.7})
            record.metrics(4, {"train/loss": 0.25})
            record.append("finished", outcome="complete")
        export(root, uri)
        run = truth.run("run")
        assert run.info.status == "FINISHED"
        assert run.info.end_time == read(root)[-1].time_ms
        assert [row[:3] for row in truth.metrics("run") if row[1] > 2] == [
            ("eval/exact_match", 3, 0.3),
            ("eval/exact_match", 3, 0.7),
            ("train/loss", 3, 1 / 3),
            ("train/loss", 4, 0.25),
        ]

    def test_of_a_damaged_record(self, tmp_path, uri, truth):
        root = tmp_path / "otter"
        write_study(root, trials=1)
        write_run(root / "1")
        export(root, uri)
        path = root / "1" / "record.jsonl"
        with Record(root / "1") as record:
            record.metrics(4, {"train/loss": 0.1})
        path.write_bytes(path.read_bytes().replace(b'"train/loss": 0.1', b'"train/loss": 0.0'))
        backlog = export(root, uri)
        assert "1/record.jsonl, line 5: changed after it was written" in backlog.reason
        assert truth.run("1").info.status == "FAILED"
        assert "line 5: changed" in truth.run("1").data.tags["hrm_sweep.reason"]
        assert truth.run("0").info.status == "FINISHED"

    def test_of_a_record_with_a_torn_tail_behind_its_end_is_sent_once(self, tmp_path, uri, truth):
        write_run(tmp_path / "run", outcome="complete")
        with (tmp_path / "run" / layout.RECORD).open("ab") as file:
            file.write(b'{"n": 5, "time": 17')
        assert export(tmp_path / "run", uri) == Backlog(sent=3)
        assert waiting(tmp_path / "run") == Backlog()
        assert export(tmp_path / "run", uri) == Backlog()
        with Record(tmp_path / "run") as again:  # the next attempt cuts the tail off
            again.append("started", name="run")
            again.append("finished", outcome="failed")
        assert export(tmp_path / "run", uri) == Backlog()
        assert truth.run("run").info.status == "FAILED"


class TestWhatMlflowCannotHold:
    def test_a_step_is_left_out_for_good_and_the_rest_arrives(self, tmp_path, uri, truth):
        with Record(tmp_path / "otter") as record:
            record.append("started", name="otter", kind="run", params={}, tags={})
            record.metrics(10**20, {"loss": 1.0})
            record.metrics(2, {"loss": 0.5})
            record.append("finished", outcome="complete")
        assert export(tmp_path / "otter", uri).runs == 0
        run = truth.run("otter")
        assert run.info.status == "FINISHED"
        assert run.data.metrics["loss"] == 0.5
        left = waiting(tmp_path / "otter")
        why = f"loss of otter (step {10**20} has more than 64 bits)"
        assert (left.runs, left.left_out) == (0, why)
        assert str(left) == f"everything is in MLflow but {why}"

    def test_a_data_set_of_a_long_name_is_cut(self, tmp_path, uri, truth):
        with Record(tmp_path / "otter") as record:
            record.append("started", name="otter", kind="run", params={}, tags={})
            record.append("dataset", name="d" * 70_000, digest="e" * 100, note="n" * 70_000)
            record.append("finished", outcome="complete")
        assert export(tmp_path / "otter", uri).runs == 0
        assert truth.run("otter").info.status == "FINISHED"

    def test_values_that_are_no_numbers_become_tags(self, tmp_path, uri, truth):
        with Record(tmp_path / "run") as record:
            record.append("started", name="run")
            record.metrics(1, {"loss": 1.0, "big": 1e308})
            record.metrics(2, {"loss": math.nan, "big": math.inf})
            record.metrics(3, {"loss": -math.inf, "big": math.inf})
            record.append("finished", outcome="diverged", best={"loss": math.nan, "big": 1e308})
        export(tmp_path / "run", uri)
        assert [row[:3] for row in truth.metrics("run")] == [
            ("best/big", 0, 1e308),
            ("big", 1, 1e308),
            ("loss", 1, 1.0),
        ]
        tags = truth.run("run").data.tags
        assert {k: v for k, v in tags.items() if "not_finite" in k} == {
            "hrm_sweep.not_finite/loss": "nan at step 2",
            "hrm_sweep.not_finite/big": "inf at step 2",
            "hrm_sweep.not_finite/best/loss": "nan",
        }

    def test_long_values_are_cut_and_say_so(self, tmp_path, uri, truth):
        with Record(tmp_path / "run") as record:
            record.append(
                "started", name="run", params={"long": "x" * 9000}, description="y" * 20_000
            )
        export(tmp_path / "run", uri)
        run = truth.run("run")
        assert len(run.data.params["long"]) == 6000
        assert run.data.params["long"].endswith("xxx ... (cut, 9000 characters)")
        assert "yyy ... (cut, 20" in run.data.tags["mlflow.note.content"]

    @pytest.mark.parametrize(
        ("name", "legal"),
        [
            ("eval/exact_match/copy", "eval/exact_match/copy"),
            ("+model@here~x", "_model_here_x"),
            ("a//b/../c/", "a/_/b/_/c/_"),
            ("/root", "_/root"),
            ("..", "_"),
            ("..x", "_..x"),
            ("", "_"),
            ("line\nfeed", "line_feed"),
            ("größe", "größe"),
            ("n" * 300, "n" * 238 + "...-230b0774"),
        ],
    )
    def test_names_are_made_legal(self, name, legal):
        assert legal_name(name) == legal

    def test_any_name_is_taken(self, tmp_path, uri, truth):
        names = ["+model@here~x", "a//b/../c/", "/root", "..", "..x", "", "line\n", "n" * 300, "\0"]
        with Record(tmp_path / "run") as record:
            record.append(
                "started",
                name="run\0\ud800",
                params=dict.fromkeys(names, 1),
                tags=dict.fromkeys(names, "1"),
            )
            record.metrics(1, dict.fromkeys(names, 1.0))
            record.metrics(2, dict.fromkeys(names, math.nan))
        assert export(tmp_path / "run", uri) == Backlog(sent=2)
        run = truth.run("run??")
        assert len(run.data.params) == len(run.data.metrics) == len(names)

    def test_names_that_become_equal_stay_apart(self, tmp_path, uri, truth):
        with Record(tmp_path / "run") as record:
            record.append("started", name="run", params={"a+": 1, "a@": 2, "a_": 3})
            record.metrics(1, {"m+": 1.0})
        export(tmp_path / "run", uri)
        with Record(tmp_path / "run") as record:
            record.metrics(2, {"m@": 2.0, "m+": 3.0})
        export(tmp_path / "run", uri)
        assert sorted(truth.run("run").data.params.values()) == ["1", "2", "3"]
        assert sorted(row[1:3] for row in truth.metrics("run") if row[0] == "m_") == [
            (1, 1.0),
            (2, 3.0),
        ]

    def test_long_names_stay_apart(self, tmp_path, uri, truth):
        names = [f"{'n' * 260}{end}" for end in "xyz"]
        with Record(tmp_path / "run") as record:
            record.append(
                "started",
                name="run",
                params=dict.fromkeys(names, 1),
                tags=dict.fromkeys([*names, "t+", "t@"], "of this test"),
            )
            record.metrics(1, dict(zip(names, (1.0, 2.0, 3.0), strict=True)))
            record.metrics(2, dict.fromkeys(names, math.nan))
        export(tmp_path / "run", uri)
        data = truth.run("run").data
        assert sorted(data.metrics.values()) == [1.0, 2.0, 3.0]
        assert len(data.params) == 3
        assert [*data.tags.values()].count("of this test") == 5
        assert [*data.tags.values()].count("nan at step 2") == 3

    def test_params_look_as_a_person_types_them(self, tmp_path, uri, truth):
        values = {"a": True, "b": None, "c": 1e-4, "d": "", "e": [1], "f": math.inf, "g": "no"}
        with Record(tmp_path / "run") as record:
            record.append("started", name="run", params=values)
        export(tmp_path / "run", uri)
        texts = ["true", "null", "0.0001", "", "[1]", "inf", "no"]
        assert truth.run("run").data.params == dict(zip(values, texts, strict=True))

    def test_a_run_that_is_refused_does_not_stop_the_others(self, tmp_path, uri, truth):
        root = tmp_path / "otter"
        write_study(root)
        write_run(root / "2", outcome="complete")
        export(tmp_path / "none", uri)  # only opens the database
        experiment = truth.client.create_experiment(EXPERIMENT)
        name = read(root / "1")[0].fields["record"]
        theirs = truth.client.create_run(experiment, tags={"hrm_sweep.record": name})
        truth.client.log_param(theirs.info.run_id, "lr", "2")
        backlog = export(root, uri)
        assert (backlog.runs, backlog.sent) == (1, 6)
        assert backlog.reason.startswith("run 1: ")
        assert "lr" in backlog.reason
        assert truth.run("2").info.status == "FINISHED"

    def test_a_run_at_which_the_server_always_fails_lets_the_others_pass(
        self, tmp_path, uri, truth
    ):
        """A trigger stands for whatever makes a database fail at one run's data."""
        with sqlite3.connect(uri.removeprefix("sqlite:///")) as connection:
            connection.execute(
                "CREATE TRIGGER bad BEFORE INSERT ON metrics WHEN NEW.key = 'bad' "
                "BEGIN SELECT RAISE(FAIL, 'this always fails'); END"
            )
        connection.close()
        root = tmp_path / "otter"
        write_study(root)
        with Record(root / "2") as record:  # the newest, so it comes first
            record.append("started", name="2")
            record.metrics(1, {"bad": 1.0})
            record.append("finished", outcome="complete")
        projection = Exporter(root, tracking_uri=uri, experiment=EXPERIMENT)
        until(lambda: projection.step().runs == 1)
        until(lambda: "this always fails" in projection.step().reason)
        projection.close()
        assert {name: truth.run(name).info.status for name in ("otter", "0", "1")} == {
            "otter": "FINISHED",
            "0": "FINISHED",
            "1": "FINISHED",
        }


class TestFiles:
    def test_arrive_whole_at_the_end(self, tmp_path, uri, truth):
        root = tmp_path / "run"
        (root / "figures").mkdir(parents=True)
        (root / "figures" / "a.png").write_bytes(b"png" * 1000)
        (root / "config.yaml").write_text("lr: 1\n")

        def draw(folder: Path) -> list[str]:
            (folder / "drawn.png").write_bytes(b"drawn")
            return ["drawn.png"]

        write_run(root, outcome="complete", artifacts=["config.yaml", "figures/a.png", "drawn.png"])
        export(root, uri, pictures=draw)
        assert truth.files("run") == {
            "config.yaml": b"lr: 1\n",
            "drawn.png": b"drawn",
            "figures/a.png": b"png" * 1000,
        }
        location = truth.run("run").info.artifact_uri
        assert location.startswith((tmp_path / "mlruns" / "artifacts").as_uri())

    def test_of_others_are_not_sent(self, tmp_path, uri, truth):
        refused = {
            "/etc/hostname": "points out of the run's folder",
            "../secret.txt": "points out of the run's folder",
            "a/../../secret.txt": "points out of the run's folder",
            "link.txt": "is a link out of the run's folder",
            "linked/secret.txt": "is a link out of the run's folder",
            "a#b.txt": "has characters that do not survive the way",
            "nowhere.txt": "is missing",
            "folder": "is missing",
        }
        root = tmp_path / "run"
        (root / "folder").mkdir(parents=True)
        (tmp_path / "secret.txt").write_text("secret")
        (root / "a#b.txt").write_text("x")
        (root / "link.txt").symlink_to(tmp_path / "secret.txt")
        (root / "linked").symlink_to(tmp_path)
        (root / "good.txt").write_text("good")
        write_run(root, outcome="complete", artifacts=[*refused, "good.txt"])
        assert export(root, uri) == Backlog(sent=3)
        assert truth.files("run") == {"good.txt": b"good"}
        told = truth.run("run").data.tags["hrm_sweep.files_not_sent"]
        assert told == "; ".join(f"{name} {why}" for name, why in refused.items())

    def test_that_a_failed_run_never_wrote_are_no_news(self, tmp_path, uri, truth):
        write_run(tmp_path / "run", outcome="failed", artifacts=["best_model.pth"])
        export(tmp_path / "run", uri)
        assert "hrm_sweep.files_not_sent" not in truth.run("run").data.tags

    def test_of_a_second_attempt_replace_those_of_the_first(self, tmp_path, uri, truth):
        root = tmp_path / "run"
        for attempt in ("killed", "complete"):
            write_run(root, outcome=attempt, artifacts=["out.txt"])
            (root / "out.txt").write_text(attempt)
            export(root, uri)
        assert truth.files("run") == {"out.txt": b"complete"}


def test_the_data_set_is_an_input_of_the_run(tmp_path, uri, truth):
    described = {"name": "copy_increment", "train_size": 96, "eval_size": 32, "digest": "ab" * 32}
    with Record(tmp_path / "run") as record:
        record.append("started", name="run")
        record.append("dataset", **described)
    for _ in range(2):
        export(tmp_path / "run", uri)
        (tmp_path / "run" / "mlflow.json").unlink()
    (used,) = truth.run("run").inputs.dataset_inputs
    assert (used.dataset.name, used.dataset.digest) == ("copy_increment", ("ab" * 32)[:36])
    assert '"train_size": 96' in used.dataset.profile
    assert [(tag.key, tag.value) for tag in used.tags] == [("mlflow.data.context", "training")]


def test_what_waits_is_counted_from_the_folders(tmp_path, uri):
    root = tmp_path / "otter"
    write_study(root)
    write_run(root / "2", outcome="complete", artifacts=["a", "b"])
    assert waiting(root) == Backlog(runs=4, measurements=9, files=2)
    assert str(waiting(root)) == "9 measurements and 2 files of 4 runs not in MLflow yet"
    export(root, uri)
    assert waiting(root) == Backlog()
    assert str(waiting(root)) == "everything is in MLflow"
    with Record(root / "1") as record:
        record.append("started", name="1")
    assert str(waiting(root, reason="why")) == "1 run not in MLflow yet (why)"


def test_a_database_that_is_thrown_away_meanwhile_is_made_and_filled_again(tmp_path, uri):
    with Record(tmp_path / "run") as run:
        run.append("started", name="run")
        run.metrics(1, {"x": 1.0})
        projection = Exporter(tmp_path / "run", tracking_uri=uri, experiment=EXPERIMENT)
        until(lambda: projection.step() == Backlog(sent=1))
        shutil.rmtree(tmp_path / "mlruns")
        run.metrics(2, {"x": 0.5})
        until(lambda: projection.step() == Backlog(sent=2))
        projection.close()
    assert [row[:3] for row in Truth(uri).metrics("run")] == [("x", 1, 1.0), ("x", 2, 0.5)]


def test_two_projections_of_one_folder_do_not_mix(tmp_path, uri):
    write_run(tmp_path / "run", outcome="complete")
    first = Exporter(tmp_path / "run", tracking_uri=uri, experiment=EXPERIMENT)
    first.step()
    second = Exporter(tmp_path / "run", tracking_uri=uri, experiment=EXPERIMENT)
    assert "another process is sending these runs" in second.step().reason
    first.close()
    second.close()


def test_a_deleted_experiment_is_named_with_the_way_out(tmp_path, uri, truth):
    write_run(tmp_path / "run")
    export(tmp_path / "run", uri)
    found = truth.client.get_experiment_by_name(EXPERIMENT)
    truth.client.delete_experiment(found.experiment_id)
    backlog = export(tmp_path / "run", uri)
    assert backlog.reason == (
        "tracking.experiment=hrm_sweep: was deleted in MLflow; take another name, or run: "
        f"mlflow experiments restore --experiment-id {found.experiment_id}"
    )


def test_no_password_is_shown_or_stored(tmp_path, uri, truth):
    root = tmp_path / "run"
    secret = "postgresql://me:c4n4ry@h/db"
    with Record(root) as record:
        record.append(
            "started", name="run", params={"uri": secret}, tags={"t": secret}, description=secret
        )
        record.append("finished", outcome="failed", reason=secret, traceback=secret)
    export(root, uri)
    down = export(root, "http://me:c4n4ry@127.0.0.1:9")
    assert down.reason == "http://me:***@127.0.0.1:9: connection refused"
    for path in tmp_path.rglob("*"):
        assert not path.is_file() or b"c4n4ry" not in path.read_bytes(), path
    assert truth.run("run").data.params == {"uri": "postgresql://me:***@h/db"}
