"""Trials of a study that its folder here does not have: another machine ran them, or they are gone.

Optuna knows what came of them, so that no command answers from a part of a study as if it were all.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any

from hrm_sweep.engine.attributes import FOLDER, OWNER
from hrm_sweep.engine.identity import known_study
from hrm_sweep.errors import DatabaseAway, StudyError
from hrm_sweep.runs import layout
from hrm_sweep.runs.outcomes import Outcome
from hrm_sweep.runs.places import Place
from hrm_sweep.runs.record import Entry
from hrm_sweep.runs.run import Run
from hrm_sweep.runs.study import Study

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial


@dataclass(frozen=True)
class RunElsewhere(Run):
    """A trial without a folder here, as Optuna keeps it: entries as its record would have them."""

    kept: tuple[Entry, ...] = ()
    place: Place | None = None
    """None if it ran in this folder, and its own is gone."""
    run_id: str = ""

    @property
    def where(self) -> str:
        """Machine and folder of its study there, or that the trial's folder is gone."""
        if self.place is None:
            return "without a folder"
        return f"{'in' if self.place.is_local else 'on'} {self.place}"

    @functools.cached_property
    def entries(self) -> list[Entry]:
        """What its record would say."""
        return list(self.kept)

    @functools.cached_property
    def outcome(self) -> Outcome | None:
        """None while it runs."""
        ended = self.last.event == "finished"
        return Outcome.named(self.last.fields["outcome"]) if ended else None

    @functools.cached_property
    def unknown_writer(self) -> dict[str, str]:
        """Nothing: its lease says more than a record that is not here."""
        return {}

    @functools.cached_property
    def repeats(self) -> list[Run]:
        """None of them: Optuna keeps their means."""
        return []

    @property
    def mlflow_run_id(self) -> str:
        """Id of its run in MLflow; empty if Optuna does not have it."""
        return self.run_id


def whole(study: Study, url: str) -> Study:
    """Return the study with the trials that its folder lacks, as Optuna knows them.

    If the database does not answer, the study is returned as it is, with the reason.

    Args:
        url: of Optuna's storage.
    """
    if _is_complete_here(study):
        return study
    try:
        known = known_study(study, url)
    except (StudyError, DatabaseAway) as error:
        return dataclasses.replace(study, unknown=" ".join(str(error).split()))
    if known is None:
        gone = "" if _is_private(study) else f"{study.storage} does not have the study"
        return dataclasses.replace(study, unknown=gone)
    here = {run.number for run in study.trials}
    trials = known.get_trials(deepcopy=False)
    away = [
        _run(study, each)
        for each in trials
        if each.number not in here and _was_begun(each) and not is_damaged(study, each)
    ]
    num_known = sum(FOLDER in each.user_attrs or not each.state.is_finished() for each in trials)
    return dataclasses.replace(study, elsewhere=tuple(away), num_known=num_known)


def _is_complete_here(study: Study) -> bool:
    """Return whether all trials are in the folder, and no other project can have added any."""
    return _is_private(study) and len(study.trials) >= study.num_trials


def _is_private(study: Study) -> bool:
    """Return whether Optuna's storage is that of the project."""
    return study.storage.startswith(f"sqlite:///{layout.MULTIRUN}/")


def is_damaged(study: Study, trial: FrozenTrial) -> bool:
    """Return whether the trial's record is here, and proves nothing any more."""
    return any(is_folder_of(trial, PurePath(name)) for name in study.damaged)


def is_folder_of(trial: FrozenTrial, name: PurePath) -> bool:
    """Return whether a name below the study's folder is that of a trial's own, wherever it was."""
    folder = PurePath(trial.user_attrs.get(FOLDER, str(trial.number)))
    return folder.parts[-len(name.parts) :] == name.parts


def _was_begun(trial: FrozenTrial) -> bool:
    return FOLDER in trial.user_attrs and trial.state.name != "WAITING"


def _run(study: Study, trial: FrozenTrial) -> RunElsewhere:
    attrs = trial.user_attrs
    place = _place(study, attrs)
    overrides = [f"{name}={value}" for name, value in trial.params.items()]
    begun = round(trial.datetime_start.timestamp() * 1000) if trial.datetime_start else 0
    started = {
        "kind": "trial",
        "name": str(trial.number),
        "params": dict(trial.params),
        "overrides": overrides,
        "searched": [name.lstrip("+") for name in trial.params],
        "tags": {"hrm_sweep.study": study.name, "hrm_sweep.trial": str(trial.number)},
        "description": "",
        "app": study.app.to_record(),
    }
    entries = [Entry(0, begun, "started", started), *_curve(study, trial, begun)]
    if trial.state.is_finished():
        finished = {
            "outcome": attrs["outcome"],
            "reason": attrs.get("reason", ""),
            "best": attrs.get("values", {}),
            "seconds": attrs.get("seconds", 0.0),
        }
        entries.append(Entry(len(entries), begun, "finished", finished))
    return RunElsewhere(
        _folder(Path(attrs[FOLDER]), place),
        entries[0],
        entries[-1],
        tuple(entries),
        place,
        attrs.get("mlflow_run_id", ""),
    )


def _curve(study: Study, trial: FrozenTrial, begun: int) -> list[Entry]:
    name = study.objective_names[0]
    return [
        Entry(number, begun, "metrics", {"step": step, "values": {name: value}})
        for number, (step, value) in enumerate(sorted(trial.intermediate_values.items()), start=1)
    ]


def _folder(typed: Path, place: Place | None) -> Path:
    """Return a trial's folder, absolute if it was typed from another folder than this one."""
    is_inside = place is not None and typed.parent.name == place.folder.name
    return place.folder / typed.name if place is not None and is_inside else typed


def _place(study: Study, attrs: Mapping[str, Any]) -> Place | None:
    """Return the machine and the study's folder there; None if that is this folder."""
    owner = attrs.get(OWNER)
    if not owner:
        return None
    place = Place(owner["host"], Path(owner["lock"]).parent)
    is_gone = place.is_local and not place.has(study.id)  # the study was moved since
    return None if is_gone or place == Place.here(study.folder) else place
