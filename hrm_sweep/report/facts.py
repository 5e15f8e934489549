"""What was run: when, by which app, with which config, versions and commit, and where to see more.

The words are the app's own: the options of its config groups that were chosen, and its keys.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from datetime import datetime
from typing import Any, NamedTuple

from hrm_sweep import formatting
from hrm_sweep.report.data import Data
from hrm_sweep.runs.app import App
from hrm_sweep.runs.export_state import ExportState
from hrm_sweep.runs.run import Run
from hrm_sweep.runs.run_names import reference
from hrm_sweep.runs.study import Study
from hrm_sweep.system import process
from hrm_sweep.tracking.saved_view import page_of

MOST_KEYS = 12
"""Keys of a config that are shown at once; a page has the others folded."""
MLFLOW, OPTUNA = "http://127.0.0.1:5000", "http://127.0.0.1:8080/dashboard/"
"""Where `ui` and `dashboard` serve, if the ports are free."""


class Fact(NamedTuple):
    """A name and what is to be said of it."""

    name: str
    value: str
    link: str = ""
    """Address of a page; the value is the command that serves it."""
    is_code: bool = False


def of_study(data: Data) -> Iterator[Fact]:
    """Yield what a study ran."""
    study = data.study
    run = data.best or (study.trials[0] if study.trials else study.run)
    yield from _said(study)
    yield Fact("started", moment(study.run.first.time_ms))
    yield Fact("took", _duration(study))
    yield from _app(study.app)
    yield from _config(run, hidden={*study.searched})
    if len(run.repeats) > 1:
        yield Fact("repeats", formatting.pluralize(len(run.repeats), "seed"))
    yield from _environment(run, study.run.tags)
    yield Fact("command", study.command, is_code=True)
    if study.tracking:
        address = study.tracking.get("uri") or (study.place or {}).get("tracking", "")
        yield _mlflow(study, address, study.reference)
    dashboard = process.hrm_sweep_command("dashboard", study.reference)
    yield Fact("Optuna", dashboard, OPTUNA, is_code=True)


def of_run(run: Run) -> Iterator[Fact]:
    """Yield what a run was: a single one, a trial, or one repeat of a trial."""
    yield from _said(run)
    yield Fact("started", moment(run.first.time_ms))
    attempts = f" in {run.attempts} attempts" if run.attempts > 1 else ""
    yield Fact("took", formatting.format_duration(run.seconds) + attempts)
    yield from _app(run.app)
    yield from _config(run, hidden=())
    yield from _environment(run, run.tags)
    yield Fact("run again", run.command, is_code=True)
    yield Fact("folder", str(run.folder), is_code=True)
    if run.mlflow_run_id:
        yield _mlflow(run, str(run.config.get("tracking.uri") or ""), reference(run))


def config_of(run: Run) -> dict[str, str]:
    """Return the whole config of a run as flat keys and text."""
    return {key: formatting.format_param(value) for key, value in run.config.items()}


def moment(time_ms: float) -> str:
    """Return a moment as this machine's clocks show it."""
    return datetime.fromtimestamp(time_ms / 1000).astimezone().strftime("%Y-%m-%d %H:%M:%S %Z")


def _said(found: Study | Run) -> Iterator[Fact]:
    """Yield what the user says of a study or run, and whether it repeats another one."""
    yield from (Fact(name, text) for name, text in found.annotations.facts())
    if found.copy_of is not None:
        yield Fact("copy of", str(found.copy_of), is_code=True)


def _duration(study: Study) -> str:
    """Return how long a study was at work, and how much of its trials that was."""
    work = sum(run.seconds for run in study.trials)
    starts = study.run.attempts - 1
    resumed = f", resumed {'once' if starts == 1 else f'{starts} times'}" if starts else ""
    took = formatting.format_duration(study.run.seconds)
    return f"{took}{resumed}; trials together {formatting.format_duration(work)}"


def _app(app: App) -> Iterator[Fact]:
    if app.name:
        yield Fact("app", app.name)


def _config(run: Run, *, hidden: Collection[str]) -> Iterator[Fact]:
    """Yield the chosen options, then the keys that are least deep in the config."""
    aside = {*hidden, *run.app.ignored_keys}
    chosen = {
        name: option
        for name, option in run.choices.items()
        if not {name, name.partition("/")[0]} & aside
    }
    yield from (Fact(name, option) for name, option in chosen.items())
    kept = {
        key: value
        for key, value in run.config.items()
        if value is not None and not {key, key.partition(".")[0]} & aside
    }
    depth = min((key.count(".") for key in kept), default=0)
    shown = [key for key in kept if key.count(".") == depth and key not in chosen]
    for key in shown[:MOST_KEYS]:
        yield Fact(key, formatting.format_param(kept[key]))
    if len(shown) > MOST_KEYS:
        yield Fact("further keys", f"{len(shown) - MOST_KEYS}, below")


def _environment(run: Run, tags: Mapping[str, str]) -> Iterator[Fact]:
    environment: Mapping[str, Any] = run.environment
    commit = environment.get("git_commit") or tags.get("mlflow.source.git.commit")
    is_dirty = environment.get("git_dirty") or tags.get("hrm_sweep.git_dirty") == "true"
    changes = ", with changes that are not committed" if is_dirty else ""
    yield Fact("commit", f"{commit[:10]}{changes}" if commit else "no git repository")
    if environment:
        packages = {"python": environment["python"], **environment["packages"]}
        yield Fact("versions", ", ".join(f"{name} {text}" for name, text in packages.items()))
        cores = formatting.pluralize(environment["cores"], "usable core")
        yield Fact("machine", f"{environment['cpu']}, {cores}, {environment['platform']}")
    elif "hrm_sweep.versions" in tags:
        yield Fact("versions", tags["hrm_sweep.versions"])


def _mlflow(shown: Study | Run, address: str, reference: str) -> Fact:
    """Return where MLflow shows a study or a run, and what serves it on this machine."""
    state = ExportState.load(shown.folder)
    page = page_of(state, is_study=isinstance(shown, Study))
    if address.startswith(("http://", "https://")):
        return Fact("MLflow", "", f"{address.rstrip('/')}{page}")
    command = process.hrm_sweep_command("ui", reference)
    return Fact("MLflow", command, f"{MLFLOW}{page}", is_code=True)
