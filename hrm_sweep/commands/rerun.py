"""Run a recorded run again, in a new folder."""

from __future__ import annotations

import itertools
import json
import sys
from collections.abc import Mapping, Sequence
from contextlib import redirect_stderr
from io import StringIO
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from hrm_sweep.commands.app_command import AppCommand
from hrm_sweep.commands.resolve import resolve_study
from hrm_sweep.commands.trust import check_overrides
from hrm_sweep.compat.hydra import text_override
from hrm_sweep.engine.plugin_config import resume_overrides, without_place
from hrm_sweep.errors import Diverged, Interrupted, RecordError, StudyError
from hrm_sweep.runs import compare, layout
from hrm_sweep.runs.app import FinalTags, Runner
from hrm_sweep.runs.configs import read_config
from hrm_sweep.runs.copies import copy_tags, handed_variable
from hrm_sweep.runs.outcomes import Outcome
from hrm_sweep.runs.run import Run
from hrm_sweep.runs.study import Study
from hrm_sweep.system.redact import MASK


def train_again(
    original: Run,
    runner: Runner,
    *,
    changes: Sequence[str] = (),
    final_tags: FinalTags | None = None,
) -> Run:
    """Train the recorded recipe in this process and return the new run.

    Args:
        original: the run to repeat.
        runner: trains the app that made it.
        changes: overrides to apply on top of the recipe. Without any, a run that was pruned or
            killed is stopped where the original ended.
        final_tags: returns tags of the new run when it ends.
    """
    check_overrides(
        original.folder.name, original.recipe, app=original.app.name, command=original.command
    )
    sys.argv[1:] = original.app.flags  # say where its configs are
    overrides = recorded_recipe(original, runner)
    folder = _new_folder(original, layout.SINGLE_RUNS)
    named = text_override("study.name", folder.name)
    sys.argv[1:] += [*overrides, *changes, named, *_tracking(original)]
    is_short = original.outcome is not Outcome.COMPLETE
    last_step = max(original.curves) if is_short and not changes else None
    tags = {} if changes else copy_tags(original)
    print(flush=True)
    try:
        # Hydra prints a stop as if it were an error
        with redirect_stderr(StringIO() if is_short else sys.stderr):
            runner.run(tags, last_step=last_step, final_tags=final_tags)
    except (Diverged, Interrupted) as error:
        print(f"\n{error}")
    return Run.open(folder)


def _tracking(original: Run) -> list[str]:
    """Return the overrides that send a copy to the experiment of its original, if that was sent."""
    if not original.mlflow_run_id:
        return ["tracking=off"]
    keys = ("tracking.uri", "tracking.experiment")
    known = [(key, str(original.config[key])) for key in keys if original.config.get(key)]
    # an address whose password is masked is that of MLFLOW_TRACKING_URI
    return ["tracking=mlflow", *(text_override(*each) for each in known if MASK not in each[1])]


def app_command(original: Run) -> tuple[AppCommand, Path]:
    """Return the command that runs a run of another app again; a trial as a study of one point.

    Returns:
        The command and the folder of the new study or run, which does not exist yet.

    Raises:
        StudyError: the run's study is gone.
    """
    environment = handed_variable(original)
    if original.number is None:
        folder = _folder_for(original, layout.SINGLE_RUNS)
        again = [*original.overrides, text_override("hydra.run.dir", str(folder))]
        return AppCommand(original.app, again, False, environment), folder
    study = _study_of(original)
    folder = _folder_for(original, layout.REPRODUCED)
    off = "pruner timeout enqueue patience custom_search_space on_trial_end on_end".split()
    once = ["hydra.sweeper.repeats=1", *(f"hydra.sweeper.{key}=null" for key in off)]
    where = resume_overrides(folder.name, folder)
    overrides = [*without_place(study.hydra_overrides), *once, *where, *original.overrides]
    return AppCommand(study.app, overrides, True, environment), folder


def run_app_again(command: AppCommand, folder: Path) -> Run:
    """Run what `app_command` returned and return the new run."""
    code = command.run()
    made = folder / "0" if command.is_sweep else folder
    if not (made / layout.RECORD).exists():
        raise StudyError(f"{command.app.name}: exited with code {code} and left no run")
    return Run.open(made)


def recorded_recipe(run: Run, runner: Runner) -> list[str]:
    """Return overrides that compose to the recorded config with today's defaults.

    Prints a line for each default that has changed since.

    Raises:
        RecordError: the config file in the run folder differs from the record.
    """
    recorded = dict(run.config)
    _check_config_file(run, recorded, runner)
    overrides = [*run.recipe]
    for with_interpolations in (False, True):  # a key such as ${lr} may be right once lr is
        cfg = runner.compose(overrides)
        changed = compare.changed_config(recorded, runner.flat(cfg), run.app.ignored_keys)
        for key, value in changed.items():
            if with_interpolations or not _is_interpolation(cfg, key):
                text = _in_hydras_grammar(value)
                print(f"  default changed since: {key} was {text}; the recorded value is used")
                overrides.append(f"++{key}={text}")
    return overrides


def _check_config_file(run: Run, recorded: Mapping[str, Any], runner: Runner) -> None:
    path = run.folder / layout.CONFIG
    if not path.exists():
        return  # the record has all of it
    try:
        written = runner.flat(read_config(path))
    except (RecordError, OmegaConfBaseException) as error:
        reason = " ".join(str(error).split()).removeprefix(f"{path}: ")
        raise RecordError(f"{path}: {reason}; delete it: the record has the config too") from None
    for key, value in recorded.items():
        if key in written and written[key] != value and MASK not in str(written[key]):
            raise RecordError(
                f"{path}: edited, it has {key}={written[key]} and the record {value}; "
                "restore it, or delete the file: the record has the config too"
            )


def _is_interpolation(cfg: DictConfig, key: str) -> bool:
    parent, _, name = key.rpartition(".")
    node = OmegaConf.select(cfg, parent) if parent else cfg
    return isinstance(node, DictConfig) and name in node and OmegaConf.is_interpolation(node, name)


def _in_hydras_grammar(value: Any) -> str:
    """Return a recorded value as an override's value; lists were recorded as their JSON text."""
    if isinstance(value, str):
        return value if value.startswith("[") else json.dumps(value)
    return json.dumps(value) if value is None or isinstance(value, bool) else str(value)


def _study_of(run: Run) -> Study:
    for folder in run.folder.parents:
        if (folder / layout.SWEEP_CONFIG).exists():
            return resolve_study(str(folder))
    name = run.study_name
    raise StudyError(f"{run.folder}: is not in the folder of its study {name}")


def _folder_for(original: Run, parent: Path) -> Path:
    """Return a new folder, absolute if the original's app works in another one than this."""
    is_here = original.app.folder in ("", str(Path.cwd()))
    return _new_folder(original, parent if is_here else parent.absolute())


def _new_folder(original: Run, parent: Path) -> Path:
    """Return a folder that does not exist yet, named after the original."""
    tags = (original.tags.get(f"hrm_sweep.{tag}") for tag in ("study", "trial", "repeat"))
    name = "-".join([*filter(None, tags)] or [original.folder.name]) + "-again"
    names = itertools.chain([name], (f"{name}-{number}" for number in itertools.count(2)))
    return next(parent / free for free in names if not (parent / free).exists())
