"""`reproduce`: a recorded run once more, in a new folder, and whether it came out again."""

from __future__ import annotations

import argparse
import json
import math
import shlex
import subprocess
import sys
from collections.abc import Mapping
from contextlib import redirect_stderr, suppress
from io import StringIO
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from hrm_sweep import formatting
from hrm_sweep.commands.command import Command
from hrm_sweep.commands.resolve import (
    MULTIRUN,
    find,
    is_run_id,
    repeat_of,
    resolve_run,
    resolve_study,
    trial_of,
)
from hrm_sweep.errors import Diverged, Interrupted, RecordError, StudyError
from hrm_sweep.runs import compare
from hrm_sweep.runs.app import FinalTags, Runner, runner_of
from hrm_sweep.runs.configs import read_config
from hrm_sweep.runs.handle import Trial
from hrm_sweep.runs.outcomes import Outcome
from hrm_sweep.runs.run import Run
from hrm_sweep.runs.study import Study
from hrm_sweep.system import environment


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "run",
        metavar="STUDY",
        nargs="?",
        help="a study (its best trial), STUDY/TRIAL, the folder of a run, the name of a single "
        "run or an MLflow run id; default: the newest study",
    )
    parser.add_argument("--trial", type=int, metavar="N", help="this trial of the study")
    parser.add_argument("--repeat", type=int, metavar="K", help="this repeat; default: the first")
    parser.add_argument(
        "--tolerance",
        type=_share,
        metavar="X",
        default=0.0,
        help="how far a value may be off, as a share of it (of one, for values below one); "
        "default 0: every bit must be the same",
    )
    parser.add_argument(
        "--with",
        dest="changes",
        action="extend",
        nargs="+",
        default=[],
        metavar="KEY=VALUE",
        help="take the recipe on with this changed",
    )


def _share(text: str) -> float:
    with suppress(ValueError):
        if 0 <= (value := float(text)) < math.inf:
            return value
    raise argparse.ArgumentTypeError(f"{text}: must be a number from 0 up, such as 1e-3")


def _run(arguments: argparse.Namespace) -> None:
    named = _named(arguments)
    original = named.trained
    if original is not named:
        print(f"{_name(named)} took over the values of a run with the same recipe:")
    compare.check(original)
    print(f"{_name(original)}: {' '.join(map(formatting.format_override, original.recipe))}")
    for difference in _environment_in_words(original):
        print(f"  {difference}")
    runner, tolerance = runner_of(original.app), arguments.tolerance
    if arguments.changes:
        if runner is None:
            raise StudyError(
                f"--with: {_name(original)} is of another app; run: {original.command}"
            )
        _say_what_came(original, _train(original, arguments.changes, runner))
        return
    if runner is None:
        again = _run_app(original)
    else:
        again = _train(original, [], runner, _judge(original, tolerance))
    compared = compare.compare(original, again)
    print(f"\n{_verdict(compared, again, tolerance)}")
    for difference in compare.other_work(original, again):
        print(f"  differs: {difference}")
    if runner is not None and "weights" not in original.facts:
        print("  not compared: the final weights; the run did not end at the end of an epoch")
    raise SystemExit(1 if compared.verdict(tolerance) == "no" else 0)


def _judge(original: Run, tolerance: float) -> FinalTags:
    """Return what tags the new run: whether the original came out again."""

    def final_tags(again: Trial) -> dict[str, str]:
        curves = Run.open(again.folder).curves
        weights = again.tags.get("weights")
        compared = compare.compare_values(original, curves, weights=weights)
        return {"reproduced": compared.verdict(tolerance)}

    return final_tags


def _named(arguments: argparse.Namespace) -> Run:
    """Return the run that the arguments name; of a trial with repeats, one repeat."""
    text = arguments.run
    if arguments.trial is not None:
        run = trial_of(resolve_study(text), arguments.trial)
    elif is_run_id(text or "") and find(text) is None:
        run = _fetched(text)
    else:
        run = resolve_run(text)
    if arguments.repeat is not None:
        return repeat_of(run, arguments.repeat)
    return run.repeats[0] if run.repeats else run


def _fetched(run_id: str) -> Run:
    """Return a run whose folder is gone, downloaded from MLflow."""
    from hrm_sweep.tracking.download import fetch

    folder = fetch(None, run_id, MULTIRUN / "fetched" / run_id)
    print(f"{run_id}: no such run folder here; downloaded from MLflow to {folder}")
    return Run.open(folder)


def _name(run: Run) -> str:
    if run.number is None:
        return run.folder.name
    repeat = run.tags.get("hrm_sweep.repeat")
    of = f"Trial {run.number} of {run.tags['hrm_sweep.study']}"
    return of if repeat is None else f"{of}, repeat {repeat}"


def _environment_in_words(run: Run) -> list[str]:
    then = run.environment
    if not then:
        return ["environment.json is missing: what it ran on cannot be compared"]
    source = Path(
        environment.PACKAGE if runner_of(run.app) else then.get("source", environment.PACKAGE)
    )
    found = list(compare.differences(then, environment.environment(source)))
    commit = "same commit" if then.get("git_commit") else "no commit known"
    return [f"differs: {text}" for text in found] or [f"same versions, same CPU, {commit}"]


def _train(
    original: Run, changes: list[str], runner: Runner, final_tags: FinalTags | None = None
) -> Run:
    """Train the recorded recipe in this process, with defaults as they were then."""
    overrides = _recorded_recipe(original, runner)
    folder = _new_folder(original, MULTIRUN / "train")
    sys.argv[1:] = [*overrides, *changes, f"study.name={folder.name}", _tracking(original)]
    is_short = original.outcome is not Outcome.COMPLETE
    last_step = max(original.curves) if is_short and not changes else None
    print(flush=True)
    try:
        with redirect_stderr(StringIO() if is_short else sys.stderr):  # Hydra calls a stop an error
            runner.run(_link(original), last_step=last_step, final_tags=final_tags)
    except (Diverged, Interrupted) as error:
        print(f"\n{error}")
    return Run.open(folder)


def _recorded_recipe(run: Run, runner: Runner) -> list[str]:
    """Overrides that compose to the recorded config today."""
    recorded = dict(run.config)
    _check_config_file(run, recorded, runner)
    overrides = [*run.recipe]
    for follows in (False, True):  # first without keys that only follow others (${lr})
        cfg = runner.compose(overrides)
        changed = compare.changed_config(recorded, runner.flat(cfg), run.app.ignored_keys)
        for key, value in changed.items():
            if follows or not _follows_another(cfg, key):
                was = _text(value)
                print(f"  default changed since: {key} was {was}; the recorded value is used")
                overrides.append(f"++{key}={was}")
    return overrides


def _check_config_file(run: Run, recorded: Mapping[str, Any], runner: Runner) -> None:
    path = run.folder / "config.yaml"
    if not path.exists():
        return  # the record has all of it
    try:
        written = runner.flat(read_config(path))
    except (RecordError, OmegaConfBaseException) as error:
        reason = " ".join(str(error).split()).removeprefix(f"{path}: ")
        raise RecordError(f"{path}: {reason}; delete it: the record has the config too") from None
    for key, value in recorded.items():
        if key in written and written[key] != value and "***" not in str(written[key]):
            raise RecordError(
                f"{path}: edited, it has {key}={written[key]} and the record {value}; "
                "put it back, or delete the file: the record has the config too"
            )


def _follows_another(cfg: DictConfig, key: str) -> bool:
    parent, _, name = key.rpartition(".")
    node = OmegaConf.select(cfg, parent) if parent else cfg
    raw = node._get_node(name) if isinstance(node, DictConfig) and name in node else None
    return raw is not None and str(raw._value()).startswith("${")


def _text(value: Any) -> str:
    """A recorded value in Hydra's grammar; lists were recorded as their JSON text."""
    if isinstance(value, str) and not value.startswith("["):
        return json.dumps(value)
    return json.dumps(value) if value is None or isinstance(value, bool) else str(value)


def _run_app(original: Run) -> Run:
    """Runs an app of somebody else once more: a study of one point, with the study's settings."""
    study = _study_of(original)
    folder = _new_folder(original, MULTIRUN / "reproduced")
    prefix, _, _ = study.command.partition(" -m ")
    command = shlex.split(prefix)
    command = [sys.executable, *command[1:]] if command[0] == "python" else command
    settings = [f"hydra.sweep.dir={folder}", f"hydra.sweeper.study_name={folder.name}"]
    plain = ["hydra.sweeper.repeats=1", "hydra.sweeper.pruner=null", "hydra.sweeper.timeout=null"]
    typed = [*study.hydra_overrides, *plain, *settings, *original.overrides]
    print(flush=True)
    done = subprocess.run([*command, "-m", *typed], check=False)
    if not (folder / "0" / "record.jsonl").exists():
        raise StudyError(f"{prefix}: ended with code {done.returncode} and left no run")
    return Run.open(folder / "0")


def _study_of(run: Run) -> Study:
    name = run.tags.get("hrm_sweep.study")
    for folder in run.folder.parents:
        if (folder / "multirun.yaml").exists():
            return resolve_study(str(folder))
    raise StudyError(f"{run.folder}: the study {name} that it belongs to is not beside it")


def _new_folder(original: Run, below: Path) -> Path:
    """A folder that is not there yet, named after the original."""
    parts = [original.tags.get("hrm_sweep.study", original.folder.name)]
    parts += [original.tags[key] for key in ("hrm_sweep.trial", "hrm_sweep.repeat")
              if key in original.tags]  # fmt: skip
    name = "-".join([*parts, "again"])
    count = sum(1 for _ in below.glob(f"{name}*"))
    while (below / (name if not count else f"{name}-{count + 1}")).exists():
        count += 1
    return below / (name if not count else f"{name}-{count + 1}")


def _tracking(original: Run) -> str:
    return "tracking=mlflow" if original.mlflow_run_id else "tracking=off"


def _link(original: Run) -> dict[str, str]:
    return {
        "hrm_sweep.reproduces": original.mlflow_run_id or original.first.fields["record"],
        "hrm_sweep.reproduces_folder": str(original.folder),
    }


def _verdict(compared: compare.Comparison, again: Run, tolerance: float) -> str:
    same = compared.num_values - len(compared.drifts)
    told = f"{same} of {compared.num_values} values"
    took = formatting.format_duration(again.seconds)
    if compared.is_identical and compared.weights_equal:
        return f"Reproduced: {told} and the final weights are identical, bit for bit ({took})."
    if compared.is_identical:
        return f"Reproduced: {told} are identical, bit for bit ({took})."
    weights = "; the final weights differ" if compared.weights_equal is False else ""
    verdict = compared.verdict(tolerance)
    how = "Not reproduced" if verdict == "no" else f"Reproduced {verdict}"
    lines = [f"{how}: {told} are identical{weights} ({took})."]
    if compared.drifts:
        lines += [
            f"  first difference  {_drift_in_words(compared.drifts[0])}",
            f"  largest           {_drift_in_words(compared.largest)}",
        ]
    return "\n".join(lines)


def _drift_in_words(drift: compare.Drift) -> str:
    now = "not measured" if drift.now is None else f"now {drift.now}"
    return f"step {drift.step}, {drift.name}: {drift.before}, {now}"


def _say_what_came(before: Run, now: Run) -> None:
    print(f"\n  before and now, at the best epoch of each ({now.folder}):")
    for name in sorted(before.values.keys() & now.values.keys()):
        old, new = (run.app.metrics.metric(run.values, name) for run in (before, now))
        print(f"    {name:<32} {old:>10} → {new}")


COMMAND = Command(
    name="reproduce",
    summary="Run a recorded recipe again in a new folder, and say whether every number came out.",
    examples=(
        ("", "the best trial of the newest study"),
        ("my-study --trial 3 --repeat 1", "one repeat of one trial"),
        ("multirun/train/2026-11-22-brisk-otter", "from a run folder alone"),
        ("8f2c5e…", "from an MLflow run id, also where the folder is gone"),
        ("my-study --tolerance 1e-3", "on another machine: values may be 0.1 % off"),
        ("my-study --with epochs=200", "take the best recipe on with more epochs"),
    ),
    arguments=_arguments,
    run=_run,
    details="Exit code 0: reproduced, or within the tolerance; 1: not; 2: the record was edited\n"
    "or is incomplete. A run that was pruned or killed is compared as far as it came.",
)
