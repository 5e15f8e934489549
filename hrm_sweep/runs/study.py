"""A study, read from its folder."""

from __future__ import annotations

import contextlib
import functools
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hrm_sweep import formatting
from hrm_sweep.errors import RecordError, StudyError
from hrm_sweep.runs import layout, record
from hrm_sweep.runs.annotations import Annotations
from hrm_sweep.runs.app import App
from hrm_sweep.runs.outcomes import Outcome
from hrm_sweep.runs.run import Run
from hrm_sweep.runs.run_folders import trials_below
from hrm_sweep.runs.writers import seen_writer
from hrm_sweep.search.objectives import Objectives, parse_objectives
from hrm_sweep.search.space import ADDED
from hrm_sweep.search.values import Value
from hrm_sweep.system import process
from hrm_sweep.system.writers import LeaseState


@dataclass(frozen=True)
class Study:
    """A study folder: its own record, and the runs of its trials."""

    run: Run
    elsewhere: tuple[Run, ...] = ()
    """Trials that the folder does not have, as Optuna knows them; see `engine.elsewhere`."""
    num_known: int = 0
    """Trials that Optuna has, waiting ones included; 0 if it was not asked."""
    unknown: str = ""
    """Why Optuna could not be asked, in one line."""

    @property
    def folder(self) -> Path:
        """The study's folder."""
        return self.run.folder

    @property
    def name(self) -> str:
        """The study's name: the one that the user gave it last."""
        return self.annotations.name or str(self._asked["name"])

    @property
    def annotations(self) -> Annotations:
        """What the user says of it."""
        return self.run.annotations

    @property
    def id(self) -> str:
        """The study's id; empty if an older version made it."""
        return str(self._asked.get("id", ""))

    @property
    def reference(self) -> str:
        """What names the study in a command: its name, or its folder where that is no use."""
        return reference(self.name, self.folder)

    @property
    def copy_of(self) -> Path | None:
        """Folder of the run that `reproduce` repeated with it; None: it is no such copy.

        Older versions did not write it down; it is then the folder that had all copies.
        """
        is_old = self.folder.parent.name == layout.REPRODUCED.name
        return self.run.copy_of or (layout.REPRODUCED if is_old else None)

    @property
    def original_id(self) -> str:
        """The `whole_id` of the run that `reproduce` repeated with it; empty: none is known."""
        return self.run.original_id

    @property
    def whole_id(self) -> str:
        """The study's id, or of an older study its record's; no renaming changes it."""
        return self.run.whole_id

    @property
    def last_ms(self) -> int:
        """Time of the last entry of its record, in milliseconds since 1970."""
        return self.run.last_ms

    @property
    def place(self) -> dict[str, str] | None:
        """The place of its last start, see `hrm_sweep.runs.places`; None in older records."""
        place: dict[str, str] | None = self._asked.get("place")
        return place

    @property
    def recipe(self) -> dict[str, Any] | None:
        """What may not change when it is resumed; None if an older version made it."""
        recipe: dict[str, Any] | None = self._asked.get("recipe")
        return recipe

    @functools.cached_property
    def app(self) -> App:
        """The app whose trials it has."""
        app = App.of_record(self._asked)
        return app.moved(self.place["folder"], self.folder) if self.place else app

    @property
    def command(self) -> str:
        """What was typed when the study was last started."""
        return str(self._asked["description"]).strip()

    @property
    def hydra_overrides(self) -> list[str]:
        """The settings of Hydra among what was typed."""
        return list(self._asked["hydra_overrides"])

    @property
    def task_overrides(self) -> list[str] | None:
        """The settings of the task, as they were typed; None if an older version made the study."""
        overrides: list[str] | None = self._asked.get("task_overrides")
        return overrides

    @property
    def objective_names(self) -> list[str]:
        """Names of the objectives."""
        return list(self._asked["judged"]["objectives"])

    @property
    def directions(self) -> list[str]:
        """Maximize or minimize, one for each objective."""
        return list(self._asked["judged"]["directions"])

    @functools.cached_property
    def objectives(self) -> Objectives:
        """How its trials are judged.

        Raises:
            StudyError: the study was made by a version that did not write this down.
        """
        if "constraints" not in self._asked.get("judged", {}):
            raise StudyError(
                f"{self.name}: made by an older hrm_sweep, whose record lacks this; "
                f"to complete it, run: {process.hrm_sweep_command('resume', self.reference)}"
            )
        rules_as_text = (text.rsplit(maxsplit=2) for text in self._asked["judged"]["constraints"])
        rules = {name: f"{way} {bound}" for name, way, bound in rules_as_text}
        return parse_objectives(
            self.objective_names, self.directions, rules, tie_breaker=self.tie_breaker
        )

    @property
    def tie_breaker(self) -> str | None:
        """Name of a value that is lower for the better of two equal trials."""
        name: str | None = self._asked["judged"]["tie_breaker"]
        return name

    @property
    def columns(self) -> list[str]:
        """Metrics worth a column, by name; `*` stands for any rest."""
        return list(self._asked["judged"]["columns"]) or self.objective_names

    @functools.cached_property
    def searched(self) -> list[str]:
        """The keys that were searched, those of a custom search space last."""
        names = list(self._asked["params"])
        if ADDED in (self.recipe or {}).get("space", {}):
            names += [name for run in self.trials for name in run.searched]
        return list(dict.fromkeys(names))

    @property
    def space(self) -> dict[str, str]:
        """Each searched key and what it may be, in words."""
        return {name: str(text) for name, text in self._asked["params"].items()}

    @property
    def distributions(self) -> dict[str, str]:
        """Optuna's distribution of each searched key, as JSON; none if an older version made it."""
        return dict(self._asked.get("distributions", {}))

    @property
    def enqueued(self) -> dict[str, dict[str, Any]]:
        """Parameters of the trials that the user enqueued, by their number as text."""
        return dict(self._asked.get("enqueued", {}))

    @property
    def num_trials(self) -> int:
        """How many trials the study is to have."""
        return max(int(self._asked["num_trials"]), len(self.trials), self.num_known)

    @property
    def storage(self) -> str:
        """Optuna's storage, without its password."""
        return str(self._asked["storage"])

    @property
    def tracking(self) -> dict[str, str | None]:
        """`uri` and `experiment`, or nothing if the study was not tracked."""
        return dict(self._asked["tracking"])

    @property
    def is_running(self) -> bool:
        """Whether a sweep is seen to work on it from here."""
        if self.run.last.event == "finished":
            return record.is_held(self.folder)
        return seen_writer(self.folder)[1] is LeaseState.ALIVE

    @property
    def unknown_writers(self) -> list[dict[str, str]]:
        """Processes that write it or its trials, and of which nothing is seen from here."""
        runs = [self.run, *self.trials]
        return [run.unknown_writer for run in runs if run.unknown_writer]

    @functools.cached_property
    def trials(self) -> list[Run]:
        """Trials that were started, in the order of their numbers, without the damaged ones."""
        here, _ = self._opened
        return sorted([*here, *self.elsewhere], key=lambda run: run.number or 0)

    @property
    def damaged(self) -> dict[str, RecordError]:
        """What is wrong with records of trials, and the way out, by the name of their folder."""
        _, damaged = self._opened
        return damaged

    @functools.cached_property
    def _opened(self) -> tuple[list[Run], dict[str, RecordError]]:
        found, damaged = [], {}
        is_repeated = (self.recipe or {}).get("repeats", 1) > 1
        for name in trials_below(self.folder):
            try:
                run = Run.open(self.folder / name)
                run.repeats if is_repeated else ()  # noqa: B018  opens them
                found.append(run)
            except RecordError as error:
                damaged[name] = error
        return found, damaged

    def params(self, trial: Run) -> dict[str, Value]:
        """Return the values of the searched keys in a trial."""
        return trial.params(self.searched)

    def counted(self) -> dict[str, int]:
        """How many trials ended how for good, in the order of `Outcome`; then those to go."""
        counted = Counter(run.outcome for run in self.trials if not self.goes_back(run))
        counts = {kind.spoken: counted[kind] for kind in Outcome if counted[kind]}
        unknown = sum(bool(run.unknown_writer) for run in self.trials)
        counts |= {"running": counted[None] - unknown, "unknown": unknown}
        if to_go := self.num_trials - sum(counted.values()):
            counts["to go"] = to_go
        return {word: number for word, number in counts.items() if number}

    def describe_counts(self) -> str:
        """Return `counted` in words: `2 complete, 3 to go (1 interrupted)`."""
        text = ", ".join(f"{number} {word}" for word, number in self.counted().items())
        back = Counter(run.word for run in self.trials if self.goes_back(run))
        ends = ", ".join(f"{number} {word}" for word, number in back.items())
        return f"{text} ({ends})" if ends else text

    def goes_back(self, run: Run) -> bool:
        """Return whether a trial has ended and is to be run again under its number."""
        if run.outcome is None or run.outcome.optuna_state != "WAITING":
            return False
        most: int | None = self._asked["judged"].get("max_attempts")
        return most is None or not run.outcome.is_failure or run.counted_attempts < most

    def describe_elsewhere(self) -> str:
        """Return which trials are not in the folder, or may not be, in words; else nothing."""
        if self.unknown:
            return f"perhaps further ones elsewhere: {self.unknown}"
        places: dict[str, list[int]] = {}
        for run in self.elsewhere:
            places.setdefault(run.where, []).append(run.number or 0)
        return "; ".join(
            f"{'trial' if len(numbers) == 1 else 'trials'} {formatting.ranges(numbers)} {where}"
            for where, numbers in places.items()
        )

    @property
    def can_go_on(self) -> bool:
        """Some trial waits, or would be put back."""
        return not self.is_running and "to go" in self.counted()

    @functools.cached_property
    def _asked(self) -> dict[str, Any]:
        """What the study was last started with: it may have grown since it was made."""
        if self.run.last.event == "started":
            return self.run.last.fields
        return [entry.fields for entry in self.run.entries if entry.event == "started"][-1]


def reference(name: str, folder: Path) -> str:
    """Return what names a study in a command: see `Study.reference`."""
    is_found_by_name = folder == layout.MULTIRUN / name or folder.parent.parent == layout.MULTIRUN
    return name if is_found_by_name else str(folder)


def id_of(folder: Path) -> str:
    """Return the id of the study whose record is in the folder; empty if there is none."""
    with contextlib.suppress(RecordError, IndexError):
        run = Run.open(folder)
        return str(run.first.fields.get("id") or Study(run).id)
    return ""
