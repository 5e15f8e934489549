"""Whole studies of a small app, through the front door: a process, its files, its databases."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import optuna
import psutil
import pytest
from omegaconf import OmegaConf
from studies import APP, STUDY, awaiting, begun, endings, steps, study, sweep, until

from hrm_sweep.runs import record


@pytest.fixture(autouse=True)
def _own_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


class TestGrid:
    """One study, looked at from every side."""

    @pytest.fixture(scope="class", autouse=True)
    @staticmethod
    def printed(tmp_path_factory):
        folder = tmp_path_factory.mktemp("grid")
        before = Path.cwd()
        os.chdir(folder)
        done = sweep("+x=3,1,2", "+y=a,b")
        yield folder, done
        os.chdir(before)

    @pytest.fixture(autouse=True)
    def _in_its_folder(self, printed, monkeypatch):
        monkeypatch.chdir(printed[0])

    def test_it_ends_well(self, printed):
        assert printed[1].returncode == 0, printed[1].stderr

    def test_every_point_runs_once_in_hydras_order(self):
        params = [tuple(trial.params.values()) for trial in study().get_trials()]
        assert params == [(3, "a"), (3, "b"), (1, "a"), (1, "b"), (2, "a"), (2, "b")]

    def test_trial_number_is_job_number_is_folder_name(self):
        for trial in study().get_trials():
            folder = Path(trial.user_attrs["folder"])
            hydra = OmegaConf.load(folder / ".hydra" / "hydra.yaml").hydra
            assert folder.name == str(trial.number) == str(hydra.job.num)
            x, y = trial.params.values()
            assert OmegaConf.load(folder / "overrides.yaml") == [f"+x={x}", f"+y={y}"]

    def test_values_and_curves_are_in_optuna(self):
        for trial in study().get_trials():
            expected = (trial.params["x"] - 2) ** 2
            assert trial.value == expected
            assert trial.intermediate_values == {
                step: pytest.approx(expected + 1 / step) for step in range(1, 11)
            }

    def test_a_run_folder_tells_how_it_ended(self):
        result = json.loads(Path("multirun/study/4/result.json").read_text())
        assert (result["outcome"], result["values"]) == ("complete", {"objective": 0.0})
        entries = record.read(Path("multirun/study/4"))
        assert [entry.event for entry in entries] == [
            "started",
            "expected",
            *["metrics"] * 10,
            "finished",
        ]

    def test_the_table_has_the_best_first_and_the_next_commands(self, printed):
        table = printed[1].stdout.partition("Finished in")[2]
        assert re.search(r"\* +4 +2 +a +0 ", table)
        assert f"once more   python {APP} +x=2 +y=a" in table
        assert "best        multirun/study/4" in table

    def test_results_are_left_as_hydra_users_know_them(self):
        results = OmegaConf.load("multirun/study/optimization_results.yaml")
        assert results.best_params == {"x": 2, "y": "a"}
        assert results.best_value == 0
        assert results.trials == {"complete": 6}
        assert Path("multirun/study/multirun.yaml").exists()

    @pytest.mark.parametrize(
        ("overrides", "difference"),
        [
            pytest.param(["+x=1,2"], "a search over x y, not x", id="another key"),
            pytest.param(["+x=1,2", "+y=a,b"], "x=3,1,2, not 1,2", id="a point less"),
            pytest.param(["+x=3,1,2", "+y=a,b", "+z=1"], "nothing else set, not +z=1", id="fixed"),
            pytest.param(["+x=interval(0,1)", "+y=a,b"], "x=3,1,2, not Float", id="a search"),
        ],
    )
    def test_what_changes_the_study_is_refused_with_the_difference(self, overrides, difference):
        again = sweep(*overrides)
        assert again.returncode == 2
        assert f"hydra.sweeper.study_name=study: it was made with {difference}" in again.stderr
        assert len(study().get_trials()) == 6

    def test_a_larger_grid_runs_the_new_points_only(self):
        before = {trial.number: trial.datetime_complete for trial in study().get_trials()}
        again = sweep("+x=3,1,2,9", "+y=a,b,c")
        assert again.returncode == 0, again.stderr
        after = study().get_trials()
        new = [(3, "c"), (1, "c"), (2, "c"), (9, "a"), (9, "b"), (9, "c")]
        assert [tuple(trial.params.values()) for trial in after[6:]] == new
        assert {t.number: t.datetime_complete for t in after[:6]} == before
        assert "12 complete" in again.stdout


def test_a_failing_trial_is_told_with_its_reason_and_the_others_continue():
    done = sweep("+x=1", "+end=well,raise,exit,die,diverge,pair", "hydra.sweeper.max_attempts=1")
    assert done.returncode == 0
    told = {trial.params["end"]: trial for trial in study().get_trials()}
    assert told["well"].state.name == "COMPLETE"
    assert {trial.state.name for end, trial in told.items() if end != "well"} == {"FAIL"}
    reasons = {end: trial.user_attrs.get("reason") for end, trial in told.items()}
    assert reasons["raise"] == "ValueError: this one\nraises"
    assert reasons["exit"] == "HrmSweepError: the task called sys.exit(3)"
    assert "killed by SIGKILL" in reasons["die"]
    assert reasons["diverge"] == "objective is nan"
    assert reasons["pair"].startswith(
        "the task returned 2 values, (1.0, 2.0), and the study names 1"
    )
    outcomes = {end: trial.user_attrs["outcome"] for end, trial in told.items()}
    assert outcomes == {
        "well": "complete",
        "raise": "failed",
        "exit": "failed",
        "die": "killed",
        "diverge": "diverged",
        "pair": "unjudged",
    }
    for end, trial in told.items():
        last = record.read(Path(trial.user_attrs["folder"]))[-1]
        assert (last.event, last.fields["outcome"]) == ("finished", outcomes[end])
    assert (
        "trial 3  end=die  step 10/10  objective 1.1  killed: its process was killed" in done.stdout
    )
    assert "Finished" in done.stdout
    assert "1 complete, 1 unjudged, 1 diverged, 2 failed, 1 killed" in done.stdout


def test_a_study_without_a_complete_trial_says_so_and_exits_with_1():
    done = sweep("+x=1,2", "+end=raise")
    assert done.returncode == 1
    assert "No trial is complete, so there is no best one." in done.stdout


def test_an_interval_is_searched_by_the_sampler_with_a_seed():
    overrides = ("+x=interval(0, 4)", "hydra.sweeper.n_trials=4", "hydra.sweeper.seed=1")
    assert sweep(*overrides, "hydra.launcher.workers=1").returncode == 0
    trials = study().get_trials()
    sampler = optuna.samplers.TPESampler(seed=1)
    alone = optuna.create_study(sampler=sampler)
    alone.optimize(lambda trial: (trial.suggest_float("x", 0, 4) - 2) ** 2, n_trials=4)
    assert [trial.params for trial in trials] == [trial.params for trial in alone.get_trials()]


def test_the_space_may_stand_in_the_config():
    Path("space.yaml").write_text("hydra: {sweeper: {params: {+x: '1,2', +pause: '0,0.001'}}}")
    done = sweep("+pause=0", "--config-dir=.", "--config-name=space")
    assert done.returncode == 0, done.stderr
    assert [trial.params for trial in study().get_trials()] == [{"x": 1}, {"x": 2}]


def test_hydras_own_launcher_takes_the_trials_in_a_batch():
    done = sweep("+x=1,2,3", "hydra/launcher=basic")
    assert done.returncode == 0, done.stderr
    assert [trial.value for trial in study().get_trials()] == [1, 0, 1]


def test_two_workers_work_at_the_same_time_and_tell_their_progress(start):
    running = start("+x=1,3", awaiting("go", [1, 3]), "hydra.launcher.workers=2")
    for number, x in enumerate((1, 3)):
        line = rf"^trial {number}  x={x}  step 2/10  objective 1\.5  \d+ s left$"
        until(lambda line=line: re.search(line, running.printed, re.M))
    Path("go").touch()
    assert running.ends() == 0
    first, second = study().get_trials()
    assert second.datetime_start < first.datetime_complete


def test_no_more_workers_start_than_trials_are_left(tmp_path, monkeypatch):
    (tmp_path / "born.py").write_text("import os\nopen(f'{os.getpid()}.born', 'w')\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    told = []
    four = ("hydra.launcher.workers=4", "hydra.launcher.start_method=spawn")
    for points in ("1,2", "1,2,3", "1,2,3"):
        done = sweep(f"+x={points}", *four, "hydra.launcher.preload=[born]")
        assert done.returncode == 0, done.stderr
        (line,) = [each for each in done.stdout.splitlines() if each.startswith("Grid of")]
        told.append((line.partition(" · ")[2], len([*Path().glob("*.born")])))
    assert told == [("2 workers", 2), ("1 worker", 3), ("nothing is left to run", 3)]
    assert "Finished in 0 s: 3 complete" in done.stdout
    events = [entry.event for entry in record.read(Path("multirun/study"))]
    assert events.count("started") == events.count("finished") == 2


def test_a_trial_that_takes_time_before_its_first_step_says_with_what(start):
    running = start("+x=1,3", "+warm_up=go-${x}")
    for number, x in enumerate((1, 3)):
        until(lambda n=number, x=x: f"\ntrial {n}  x={x}  step 0/10  warms up\n" in running.printed)
        Path(f"go-{x}").touch()
    assert running.ends() == 0
    assert running.printed.count("warms up") == 2


def test_a_killed_trial_is_started_again_under_its_number_until_attempts_are_used_up():
    done = sweep("+x=1,2", "+end=die", "hydra.sweeper.max_attempts=2")
    assert done.returncode == 1
    trials = study().get_trials()
    assert [(t.number, t.state.name, t.user_attrs["attempt"]) for t in trials] == [
        (0, "FAIL", 2),
        (1, "FAIL", 2),
    ]
    entries = record.read(Path("multirun/study/0"))
    events = [entry.event for entry in entries]
    assert trials[0].user_attrs["seconds"] == round(record.seconds_worked(entries), 3)
    assert events.count("started") == events.count("finished") == 2
    assert events.count("metrics") == 10  # the second attempt does not write steps twice


def test_a_trial_that_takes_too_long_is_ended():
    limit = ("hydra.launcher.timeout=3", "hydra.sweeper.max_attempts=1")
    done = sweep("+x=1", "+pause=0,100", *limit)
    assert done.returncode == 0, done.stderr
    slow = study().get_trials()[1]
    assert slow.user_attrs["outcome"] == "timed_out"
    assert "timed out: it took longer than 3" in done.stdout


def test_the_configured_pruner_judges_each_report():
    pruner = "hydra.sweeper.pruner={_target_:optuna.pruners.ThresholdPruner,upper:3.0}"
    done = sweep("+x=2,9", pruner)
    assert done.returncode == 0, done.stderr
    good, bad = study().get_trials()
    assert (good.state.name, bad.state.name) == ("COMPLETE", "PRUNED")
    assert bad.intermediate_values == {1: 50.0}
    entries = record.read(Path("multirun/study/1"))
    assert [entry.event for entry in entries] == ["started", "expected", "metrics", "finished"]
    assert entries[-1].fields["outcome"] == "pruned"
    assert "pruned after step 1" in done.stdout


def test_a_trial_that_has_done_its_last_step_is_complete():
    only_then = "{_target_: optuna.pruners.ThresholdPruner, upper: 3.0, n_warmup_steps: 10}"
    done = sweep("+x=2,9", f"hydra.sweeper.pruner={only_then}")
    assert done.returncode == 0, done.stderr
    good, bad = study().get_trials()
    assert (good.state.name, bad.state.name) == ("COMPLETE", "COMPLETE")
    assert sorted(bad.intermediate_values) == [*range(1, 11)]
    assert bad.intermediate_values[10] > 3.0


def test_jobs_may_work_in_their_own_folders():
    pruner = "hydra.sweeper.pruner={_target_:optuna.pruners.ThresholdPruner,upper:3.0}"
    done = sweep("+x=2,9", pruner, "hydra.job.chdir=true", "hydra.launcher.workers=1")
    assert done.returncode == 0, done.stdout + done.stderr
    assert [trial.state.name for trial in study().get_trials()] == ["COMPLETE", "PRUNED"]
    assert list(Path().rglob("optuna.db")) == [Path("multirun/optuna.db")]
    assert list(Path().rglob(".recipes")) == [Path("multirun/study/.recipes")]


def test_repeats_give_mean_and_deviation_and_each_has_its_folder():
    done = sweep("+x=1,2", "+seed=3", "+noise=1", "hydra.sweeper.repeats=3")
    assert done.returncode == 0, done.stderr
    first, _ = study().get_trials()
    assert first.value == pytest.approx(1 + 4)  # (x - 2)^2 + mean of seeds 3, 4, 5
    assert first.user_attrs["values"]["objective/std"] == pytest.approx(1)
    assert first.intermediate_values == {1: 4, 2: 5, 3: 6}
    for repeat, seed in enumerate((3, 4, 5)):
        folder = Path(f"multirun/study/1/{repeat}")
        assert OmegaConf.load(folder / "config.yaml").seed == seed
        assert json.loads((folder / "result.json").read_text())["values"] == {"objective": seed}
        assert record.read(folder)[0].fields["tags"]["hrm_sweep.repeat"] == str(repeat)
    assert re.search(r"\* +1 +2 +4 ± 1 ", done.stdout)


def test_a_repeat_shows_its_progress_while_it_runs():
    done = sweep("+x=2", "+seed=0", "+noise=1", "+pause=0.1", "hydra.sweeper.repeats=2")
    running = re.findall(r"\ntrial 0  repeat (\d)/2  step (\d+)/10  objective (\S+)", done.stdout)
    assert {repeat for repeat, _, _ in running} == {"1", "2"}
    assert all(value == f"{1 / int(step):.4g}" for _, step, value in running)
    assert re.search(r"repeat 2/2  step \d+/10  objective \S+  \d s left\n", done.stdout)
    assert "trial 0  step 2/2  objective 0.5 ± 0.7071  done in" in done.stdout


def test_repeats_need_a_seed():
    done = sweep("+x=1,2", "hydra.sweeper.repeats=3")
    assert done.returncode == 2
    assert (
        "repeats=3: repeats run with seed, seed + 1, …, and the config has no key seed; set +seed=0"
        in done.stderr
    )


def test_a_hopeless_study_ends_before_its_last_trial():
    limit = "hydra.sweeper.max_failure_rate=0.5"
    done = sweep("+x=range(0,40)", "+end=raise", "+pause=0.01", limit)
    assert done.returncode == 1
    assert "more than hydra.sweeper.max_failure_rate=0.5" in done.stderr
    assert len([t for t in study().get_trials() if t.state.name == "WAITING"]) > 10


def test_no_trial_is_started_after_the_studys_time(start):
    limits = ("hydra.sweeper.timeout=2", "hydra.launcher.workers=2")
    running = start("+x=range(0,40)", awaiting("go", range(40)), *limits)
    until(lambda: len(begun()) == 2)
    time.sleep(2)  # they were handed out in the study's time, and it is over now
    Path("go").touch()
    assert running.ends() == 0, running.printed
    states = [trial.state.name for trial in study().get_trials()]
    assert states.count("RUNNING") == 0
    assert states.count("COMPLETE") == 2
    left = r"^  time is up  38 trials left; continue with: python "
    assert re.search(left, running.printed, re.M)
    assert "Stopped after" in running.printed
    assert record.read(STUDY)[-1].fields["outcome"] == "interrupted"


def test_a_dry_run_shows_the_plan_and_creates_nothing(tmp_path):
    done = sweep("+x=1,2", "+y=a,b", "hydra.sweeper.dry_run=true")
    assert done.returncode == 0, done.stderr
    assert "A grid of 4 points: x 2, y 2" in done.stdout
    assert "  3  +x=2 +y=b" in done.stdout
    assert list(tmp_path.iterdir()) == []


def test_two_sweeps_at_once_share_the_trials(start):
    held = ("+x=range(0,12)", awaiting("go", range(12)), "hydra.launcher.workers=2")
    both = [start(*held), start(*held)]
    until(lambda: len(begun()) == 4)
    Path("go").touch()
    for each in both:
        assert each.ends() == 0, each.printed
    trials = study().get_trials()
    assert [trial.params["x"] for trial in trials] == list(range(12))
    assert {trial.state.name for trial in trials} == {"COMPLETE"}
    owners = {trial.user_attrs["owner"]["lock"] for trial in trials}
    assert len(owners) == 2
    end = record.read(Path("multirun/study"))[-1]
    assert (end.event, end.fields["outcome"]) == ("finished", "complete")
    assert end.fields["reason"] == "12 complete"
    assert end.fields["best"] == {"objective": 0.0}
    for number in range(12):
        events = [entry.event for entry in record.read(Path(f"multirun/study/{number}"))]
        assert events.count("started") == 1


class TestCtrlC:
    """The terminal sends SIGINT to the whole group."""

    @pytest.fixture
    @staticmethod
    def running(start):
        running = start("+x=1,2,3,4", awaiting("never", [1, 2, 3, 4]), "hydra.launcher.workers=2")
        until(lambda: [len(steps(number)) for number in (0, 1)] == [2, 2])
        return running

    def test_it_ends_cleanly_with_the_children_gone(self, running):
        children = psutil.Process(running.process.pid).children(recursive=True)
        running.signal(signal.SIGINT)
        assert running.ends() == 130
        assert "Traceback" not in running.printed
        stopping = "Stopping: trials 0 and 1 end at their next report (Ctrl-C again: at once)\n"
        assert running.printed.count(stopping) == 1
        assert "2 interrupted" in running.printed
        assert "Stopped. Continue with: python" in running.printed
        until(lambda: not any(child.is_running() for child in children))
        assert [trial.state.name for trial in study().get_trials()] == ["WAITING"] * 4
        assert endings(0) == ["interrupted"]

    def test_the_children_of_a_killed_sweep_die_with_it(self, running):
        children = psutil.Process(running.process.pid).children(recursive=True)
        assert len(children) >= 2
        running.process.kill()
        running.ends()
        until(lambda: not any(child.is_running() for child in children))


def test_a_killed_sweep_continues_and_no_finished_trial_runs_twice(start):
    overrides = ("+x=1,2,3,4,5", awaiting("go", [3, 4, 5]))
    killed = start(*overrides)
    until(lambda: endings(0) == endings(1) == ["complete"] and steps(2))
    killed.kill()
    Path("go").touch()
    done = sweep(*overrides)
    assert done.returncode == 0, done.stderr
    trials = study().get_trials()
    assert [trial.state.name for trial in trials] == ["COMPLETE"] * 5
    assert "5 complete" in done.stdout
    assert (STUDY / "0/record.jsonl").read_text().count('"started"') == 1
    for trial in trials:
        events = [entry.event for entry in record.read(Path(trial.user_attrs["folder"]))]
        assert events.count("metrics") == 10
        assert events.count("started") == events.count("finished")


def test_a_trial_whose_config_cannot_be_read_leaves_a_record_too():
    needed = "hydra.output_subdir=${oc.select:y,none}"
    done = sweep("+x=1,2", "+y=ok,${nowhere}", needed)
    assert done.stdout.count("failed: InterpolationKeyError") == 4  # as they end, and below
    for number in (1, 3):
        started, finished = record.read(Path("multirun/study") / str(number))
        assert started.fields["tags"]["hrm_sweep.trial"] == str(number)
        assert finished.fields["outcome"] == "failed"
        assert "Interpolation key 'nowhere' not found" in finished.fields["reason"]
    told = subprocess.run(
        [sys.executable, "-m", "hrm_sweep", "list"], capture_output=True, text=True, check=True
    )
    assert "2 complete, 2 failed" in told.stdout
