"""Studies from Python: `sweep` in this process, `load_study`, `load_run`."""

import inspect
import logging
import os
import re
import signal
import sys
import threading
from pathlib import Path

import hydra
import pytest
from hydra import version
from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from matplotlib.figure import Figure
from studies import APP, UNTRACKED, Sweep, awaiting, steps, until

import hrm_sweep
from hrm_sweep import cli
from hrm_sweep.compat.hydra import replace_config
from hrm_sweep.errors import InputError, StudyError
from hrm_sweep.hrm.config import LAUNCHERS

sys.path.insert(0, str(APP.parent))  # where a user imports an app from
import parabola

NAMED = [
    UNTRACKED,
    "hydra/launcher=pool",
    "hydra.sweep.dir=multirun/study",
    "hydra.sweeper.study_name=study",
]
SHIPPED = ["trainer.epochs=2", "data.num_puzzles=8", "data.num_eval_puzzles=8", "tracking=off"]


def forget_the_shipped_app():
    """Give the launchers their own configs, whatever command line this process has run before."""
    for name, (config, _) in LAUNCHERS.items():
        replace_config("hydra/launcher", name, config)


@pytest.fixture(autouse=True)
def as_in_a_new_process():
    forget_the_shipped_app()


@pytest.fixture(scope="module")
def own(tmp_path_factory):
    """A folder with a study of the parabola, and what `sweep` returned."""
    folder = tmp_path_factory.mktemp("own")
    forget_the_shipped_app()
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        return folder, hrm_sweep.sweep(["+x=1,2,5", *NAMED], task=parabola.main)


@pytest.fixture
def in_own(own, monkeypatch):
    monkeypatch.chdir(own[0])
    return hrm_sweep.load_study("study")


def test_a_study_is_returned_as_it_lies_on_the_disk(own, in_own):
    _, returned = own
    for study in (returned, in_own):
        assert repr(study) == "<study study: 3 complete>"
        assert list(study.trials["params.x"]) == [1, 2, 5]
        assert (study.best.number, study.best.params) == (1, {"x": 2})
        assert study.best.values == {"objective": 0.0}
        assert len(study.best.curves) == 10
    assert in_own.report.exists()
    command = f"python {os.path.relpath(APP)} +x=2"
    assert in_own.best.command.startswith(command)


def test_the_commands_continue_what_python_began(own, in_own, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["hrm_sweep", "best", "study"])
    with pytest.raises(SystemExit, match="0"):
        cli.main()
    assert "x=2" in capsys.readouterr().out


def test_figures_are_matplotlibs(in_own):
    for draw in (in_own.plot.history, in_own.plot.curves):
        assert isinstance(draw(), Figure)
    with pytest.raises(StudyError, match=r"^study: has too few values for a figure of importance"):
        in_own.plot.importance()


def test_a_notebook_shows_the_best_trial_first(in_own):
    first_cells = re.findall(r"<tr>\s*<td>(\d+)</td>", in_own._repr_html_())
    assert first_cells == ["1", "0", "2"]
    assert "3 complete" in in_own._repr_html_()


def test_a_study_still_answers_as_a_data_frame(in_own):
    with pytest.warns(DeprecationWarning, match=r"take its DataFrame by \.trials"):
        assert set(in_own["study"]) == {"study"}
    with pytest.warns(DeprecationWarning, match=r"\.trials"):
        assert len(in_own) == 3
    with pytest.warns(DeprecationWarning, match=r"\.trials"):
        assert in_own.groupby("outcome")["trial"].count()["complete"] == 3


def test_the_models_of_another_app_are_its_own(in_own):
    Path("multirun/study/1/model.pt").touch()
    words = r"^trial 1: parabola.py loads its own models; in .*/study/1: model.pt \(hydra.sweeper"
    with pytest.raises(InputError, match=words):
        in_own.best.load()


def unwrapped(cfg):
    """What no `hydra.main` has decorated."""


REFUSED = [
    pytest.param(["+x=1,,2"], r"^\+x=1,,2: ", id="grammar"),
    pytest.param(["y=1,2"], r"^y=1,2: no key of that name; ", id="unknown key"),
    pytest.param(
        ["+x=1,2", "hydra.sweeper.direction=up"],
        r"^hydra.sweeper.direction=up: must be maximize or minimize$",
        id="a setting of ours",
    ),
    pytest.param(["+x=1", "--foo"], r"^--foo: no flag of that name$", id="flag"),
    pytest.param(["+x=1", "hydra.sweeper.dry_run=true"], r"runs no study", id="a dry run"),
    pytest.param("+x=1,2", r"^sweep: give a list of overrides, \['\+x=1,2'\]", id="a text"),
]


@pytest.mark.parametrize(("overrides", "words"), REFUSED)
def test_what_is_refused_raises_one_line(overrides, words, in_a_folder_of_its_own, capsys):
    with pytest.raises(InputError, match=words) as caught:
        hrm_sweep.sweep(overrides, task=parabola.main)
    assert "\n" not in str(caught.value)
    assert capsys.readouterr().err == ""
    assert not Path("multirun").exists()


def test_a_key_of_the_shipped_app_is_refused_by_its_own_name(in_a_folder_of_its_own):
    with pytest.raises(InputError, match=r"^study.direction=up: must be maximize or minimize$"):
        hrm_sweep.sweep(["lr=1e-3,2e-3", "study.direction=up"])
    with pytest.raises(InputError, match=r"^lrr=1,2: no key of that name; did you mean lr\?$"):
        hrm_sweep.sweep(["lrr=1,2"])
    assert [*Path().iterdir()] == []


def test_a_task_that_workers_cannot_start_is_refused(in_a_folder_of_its_own, monkeypatch):
    with pytest.raises(InputError, match=r"^task=unwrapped: must be decorated with @hydra.main"):
        hrm_sweep.sweep(["+x=1"], task=unwrapped)
    monkeypatch.setattr(parabola.main, "__module__", "__main__")
    with pytest.raises(InputError, match=r"^task=main: is defined in a notebook or in the program"):
        hrm_sweep.sweep(["+x=1"], task=parabola.main)


@pytest.mark.slow
def test_a_study_without_a_complete_trial_is_returned_too(in_a_folder_of_its_own):
    study = hrm_sweep.sweep(["+x=1", "+end=raise", *NAMED], task=parabola.main)
    assert list(study.trials["outcome"]) == ["failed"]
    with pytest.raises(StudyError, match=r"^study: no trial is complete, so there is no best one$"):
        _ = study.best


def state():
    """What of this process a call must leave as it is."""
    root = logging.getLogger()
    store = ConfigStore.instance().repo["hydra"]["launcher"]
    return (
        GlobalHydra.instance().hydra,
        str(version.getbase()),
        [*root.handlers],
        root.level,
        sys.argv,
        dict(os.environ),
        {name: str(store[name].node) for name in sorted(store)},
        signal.getsignal(signal.SIGINT),
    )


@pytest.mark.slow
def test_the_process_is_left_as_it_was(in_a_folder_of_its_own):
    with hydra.initialize(version_base="1.3", config_path=None):
        before = state()
        hrm_sweep.sweep(["+x=1", *NAMED], task=parabola.main)
        with pytest.raises(InputError):
            hrm_sweep.sweep(["lrr=1,2"])
        assert state() == before
        assert GlobalHydra.instance().hydra is before[0]


@pytest.mark.slow
def test_one_call_runs_at_a_time_and_in_any_thread(in_a_folder_of_its_own):
    results = []

    def begin() -> None:
        results.append(hrm_sweep.sweep(["+x=1", awaiting("go", [1]), *NAMED], task=parabola.main))

    thread = threading.Thread(target=begin)
    thread.start()
    until(lambda: steps(0) == [1, 2])
    with pytest.raises(InputError, match=r"^sweep: another one runs in this process"):
        hrm_sweep.sweep(["+x=1"], task=parabola.main)
    Path("go").touch()
    thread.join()
    assert results[0].best.number == 0


PROGRAM = f"""
import signal, sys
sys.path.insert(0, {str(APP.parent)!r})
signal.signal(signal.SIGINT, signal.default_int_handler)
import hrm_sweep, parabola
try:
    study = hrm_sweep.sweep(
        ["+x=1,3", "+awaited={{1:go,3:go}}", *{NAMED!r}], task=parabola.main
    )
    print(repr(study))
except KeyboardInterrupt:
    print("interrupted", [*hrm_sweep.load_study().trials["outcome"]])
"""
"""Unguarded on purpose: workers do not import a program that calls `sweep`."""


@pytest.mark.slow
def test_ctrl_c_raises_when_the_trials_are_saved(in_a_folder_of_its_own):
    Path("program.py").write_text(PROGRAM)
    typed = [sys.executable, "program.py"]
    first = Sweep(typed, Path("first.log"))
    try:
        until(lambda: steps(0) == steps(1) == [1, 2])
        first.signal(signal.SIGINT)
        assert first.ends() == 0, first.printed
    finally:
        first.kill()
    assert "interrupted ['interrupted', 'interrupted']" in first.printed
    Path("go").touch()
    second = Sweep(typed, Path("second.log"))
    assert second.ends() == 0, second.printed
    assert "Resumes study study: 0 done, 2 to run" in second.printed
    assert "<study study: 2 complete>" in second.printed


@pytest.mark.slow
def test_the_best_model_of_a_study_is_loaded(in_a_folder_of_its_own):
    study = hrm_sweep.sweep(["lr=1e-3,2e-3", "study.name=hrm", *SHIPPED])
    best = study.best
    values = best.load().evaluate()
    assert {name: values[name] for name in best.values} == best.values
    for name in ("hrm", f"hrm/{best.number}", "multirun/hrm", best.folder):
        assert hrm_sweep.load_run(name).evaluate() == values
    assert hrm_sweep.load_run(f"hrm/{1 - best.number}").evaluate() != values
    with pytest.raises(StudyError, match=r"^hmr: no study or run of that name in multirun/; did"):
        hrm_sweep.load_run("hmr")
    assert isinstance(study.plot.curves(), Figure)


def test_the_functions_say_what_they_do():
    for function in (hrm_sweep.sweep, hrm_sweep.load_study, hrm_sweep.load_run):
        assert inspect.getdoc(function)
