"""What `watch` shows of a study and of a run; it imports Optuna, other commands do not."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager

from hrm_sweep import formatting
from hrm_sweep.engine.interfaces import SystemClock
from hrm_sweep.engine.progress import RecordTail, TrialProgress
from hrm_sweep.engine.watched_study import WatchedStudy
from hrm_sweep.runs import layout
from hrm_sweep.runs.outcomes import Outcome
from hrm_sweep.runs.run import Run
from hrm_sweep.runs.study import Study
from hrm_sweep.runs.writers import describe_unknown, seen_writer, unknown_writer
from hrm_sweep.system import process
from hrm_sweep.system.writers import LeaseState
from hrm_sweep.terminal import trial_text
from hrm_sweep.terminal.consoles import PrintableConsole
from hrm_sweep.terminal.live import LiveView
from hrm_sweep.terminal.study_tables import MetricColumns

SECONDS_BETWEEN_LOOKS = 0.5
GONE = "Nothing runs: its sweep is gone, killed or with its machine"
MOST_METRICS = 4
"""Shown of an app that does not say which come first."""


def watch_study(study: Study) -> Outcome | None:
    """Show a study until no sweep works on it; return how its sweep ended, None if it is gone."""
    watched = WatchedStudy(study)
    study = watched.study
    view = LiveView(
        PrintableConsole(),
        SystemClock(),
        head=[_head(study), _what_runs(watched)],
        columns=MetricColumns(study.columns, study.app.metrics),
        describe_others=lambda _: (),
        seconds_before=watched.seconds,
    )
    was_alive = watched.lease is not LeaseState.EXPIRED
    with _left_by_ctrl_c(study.name), closing(view):
        view.begin(watched.state)
        for _ in _looks(lambda: watched.lease is LeaseState.EXPIRED):
            for trial in watched.refresh():
                view.trial_ended(trial)
            view.tick()
        view.end()
    if was_alive and watched.outcome in (None, Outcome.KILLED):
        print(GONE)
    if (study.folder / layout.REPORT).exists():
        print(f"  report      {study.folder / layout.REPORT}")
    if watched.state.num_left:
        print(f"  resume      {process.hrm_sweep_command('resume', study.reference)}")
    return watched.outcome


def _head(study: Study) -> str:
    pairs = zip(study.directions, study.objective_names, strict=True)
    aims = ", ".join(f"{direction} {objective}" for direction, objective in pairs)
    searched = ", ".join(f"{name} {values}" for name, values in study.space.items())
    return " · ".join(filter(None, [f"Study {study.name}", searched, aims]))


def _what_runs(watched: WatchedStudy) -> str:
    study = watched.study
    if watched.lease is LeaseState.UNKNOWN and study.unknown_writers:
        return describe_unknown(study.unknown_writers[0], study.reference)
    if watched.lease is not LeaseState.EXPIRED:
        running = formatting.format_duration(watched.seconds)
        return f"Runs for {running}; Ctrl-C ends this view, the study continues"
    if watched.outcome in (None, Outcome.KILLED):
        return GONE
    ago = formatting.format_age(time.time() - study.last_ms / 1000)
    how = "Stopped" if watched.outcome is Outcome.INTERRUPTED else "Ended"
    return f"{how} {ago}: nothing runs"


def watch_run(run: Run) -> Outcome | None:
    """Print a line for each step of a run until it ends; return its outcome."""
    name = run.folder.name if run.number is None else f"{run.study_name}/{run.number}"
    print(f"Run {name} · started {formatting.format_age(time.time() - run.first.time_ms / 1000)}")
    if writer := unknown_writer(run.folder):
        print(describe_unknown(writer, str(run.folder)))
    tail = RecordTail(TrialProgress(run.number or 0, {}, run.folder))
    steps = dict([*tail.earlier.items()][-1:])
    with _left_by_ctrl_c(name):
        for _ in _looks(lambda: seen_writer(run.folder)[1] is LeaseState.EXPIRED):
            for step, values in {**steps, **tail.read()}.items():
                print(_line(run, tail.progress, step, values), flush=True)
            steps = {}
    run = Run.open(run.folder)
    measured = run.app.metrics.metrics(run.values, _shown(run, run.values))
    print(f"\n{run.word.capitalize()}{f': {measured}' if measured else ''}")
    if run.reason:
        print(f"  {run.reason}")
    if run.can_go_on:
        print(f"  resume      {process.hrm_sweep_command('resume', str(run.folder))}")
    return run.outcome


def _line(run: Run, trial: TrialProgress, step: int, values: dict[str, float]) -> str:
    of = f"/{trial.num_steps}" if trial.num_steps else ""
    measured = run.app.metrics.metrics(values, _shown(run, values))
    left = trial_text.remaining(trial) if step == trial.step and trial.outcome is None else ""
    return "  ".join(filter(None, [f"step {step}{of}", measured, left]))


def _shown(run: Run, values: dict[str, float]) -> list[str]:
    return formatting.matching_metrics(values, run.app.curves) or [*values][:MOST_METRICS]


def _looks(is_over: Callable[[], bool]) -> Iterator[None]:
    """Yield now and then until something is over, and once more: then all of it is written."""
    while not is_over():
        yield
        process.raise_again()
        time.sleep(SECONDS_BETWEEN_LOOKS)
    yield


@contextmanager
def _left_by_ctrl_c(name: str) -> Iterator[None]:
    try:
        yield
    except KeyboardInterrupt:
        print(f"{name} continues; watch it again with: {process.hrm_sweep_command('watch', name)}")
        raise
