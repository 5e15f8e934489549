"""A study as its folder tells it, and how studies and runs are found by what a person types."""

from __future__ import annotations

import contextlib
import functools
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hrm_sweep import formatting
from hrm_sweep.errors import RecordError, StudyError
from hrm_sweep.runs import record
from hrm_sweep.runs.export_state import ExportState
from hrm_sweep.runs.outcomes import Outcome
from hrm_sweep.runs.run import Run, Value
from hrm_sweep.search.objectives import Objectives, parse_objectives

MULTIRUN = Path("multirun")


@dataclass(frozen=True)
class Study:
    """A study folder: its own record, and the runs of its trials."""

    run: Run

    @property
    def folder(self) -> Path:
        return self.run.folder

    @property
    def name(self) -> str:
        return str(self._asked["name"])

    @property
    def command(self) -> str:
        """What was typed when the study was last started."""
        return str(self._asked["description"]).strip()

    @property
    def hydra_overrides(self) -> list[str]:
        """The settings of Hydra among what was typed."""
        return list(self._asked["hydra_overrides"])

    @property
    def objective_names(self) -> list[str]:
        return list(self._asked["judged"]["objectives"])

    @property
    def directions(self) -> list[str]:
        """maximize or minimize, one for each objective."""
        return list(self._asked["judged"]["directions"])

    @functools.cached_property
    def objectives(self) -> Objectives:
        """How its trials are judged.

        Raises:
            StudyError: the study was made by a version that did not write this down.
        """
        if "constraints" not in self._asked.get("judged", {}):
            raise StudyError(
                f"{self.name}: made by an older hrm_sweep, whose record says less; "
                f"once resumed it says everything: python -m hrm_sweep resume {self.name}"
            )
        told = (text.rsplit(maxsplit=2) for text in self._asked["judged"]["constraints"])
        rules = {name: f"{way} {bound}" for name, way, bound in told}
        return parse_objectives(
            self.objective_names, self.directions, rules, tie_breaker=self.tie_breaker
        )

    @property
    def tie_breaker(self) -> str | None:
        """Name of a value that is lower for the better of two equal trials."""
        return self._asked["judged"]["tie_breaker"]

    @property
    def columns(self) -> list[str]:
        """Metrics worth a column, by name; `*` stands for any rest."""
        return list(self._asked["judged"]["columns"]) or self.objective_names

    @property
    def searched(self) -> list[str]:
        """The keys that were searched."""
        return list(self._asked["params"])

    @property
    def space(self) -> dict[str, str]:
        """Each searched key and what it may be, in words."""
        return {name: str(told) for name, told in self._asked["params"].items()}

    @property
    def num_trials(self) -> int:
        """How many trials the study is to have."""
        return max(int(self._asked["num_trials"]), len(self.trials))

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
        return record.is_held(self.folder)

    @functools.cached_property
    def trials(self) -> list[Run]:
        """Trials that were started, in the order of their numbers.

        Raises:
            RecordError: a record was edited.
        """
        found = [Run.open(path.parent) for path in self._trial_records()]
        return sorted(found, key=lambda run: run.number or 0)

    def trial(self, number: int) -> Run:
        """Raises StudyError if the study has no trial of that number."""
        for run in self.trials:
            if run.number == number:
                return run
        numbers = [run.number for run in self.trials]
        there = f"it has {_span(numbers)}" if numbers else "none was started yet"
        raise StudyError(f"{self.name}/{number}: the study has no trial of that number; {there}")

    def params(self, trial: Run) -> dict[str, Value]:
        return trial.params(self.searched)

    def counted(self) -> dict[str, int]:
        """How many trials ended how, in the order of the table of outcomes; then those to go."""
        counted = Counter(run.outcome for run in self.trials)
        told = {kind.spoken: counted[kind] for kind in Outcome if counted[kind]}
        if counted[None]:
            told["running"] = counted[None]
        if waiting := self.num_trials - len(self.trials):
            told["to go"] = waiting
        return told

    @property
    def can_go_on(self) -> bool:
        """Some trial waits, or would be put back."""
        back = (Outcome.INTERRUPTED, Outcome.KILLED, Outcome.TIMED_OUT)
        waits = any(run.outcome in back for run in self.trials)
        return not self.is_running and (waits or len(self.trials) < self.num_trials)

    @functools.cached_property
    def _asked(self) -> dict[str, Any]:
        """What the study was last started with: it may have grown since it was made."""
        if self.run.last.event == "started":
            return self.run.last.fields
        return [entry.fields for entry in self.run.entries if entry.event == "started"][-1]

    def _trial_records(self) -> Iterator[Path]:
        """Records of trials: below the folder, at whatever depth `hydra.sweep.subdir` puts them."""
        for path in sorted(self.folder.glob(f"*/**/{record.FILE_NAME}")):
            with contextlib.suppress(RecordError):
                if "hrm_sweep.repeat" in record.ends(path.parent)[0].fields["tags"]:
                    continue
            yield path


def studies() -> list[Study]:
    """The studies below `multirun/`, the newest first; those whose record was edited are left out.

    Hydra's own default puts a study two folders deep: `multirun/<date>/<time>`.
    """
    found = []
    for folder in sorted(path for path in MULTIRUN.glob("*") if path.is_dir()):
        here = _study_in(folder)
        below = [] if here else [_study_in(path) for path in folder.glob("*") if path.is_dir()]
        found += [study for study in (here, *below) if study]
    return sorted(found, key=lambda study: -study.run.last.time_ms)


def stopped_runs() -> list[Run]:
    """Single runs below `multirun/train/` that can go on."""
    found = []
    for path in sorted((MULTIRUN / "train").glob(f"*/{record.FILE_NAME}")):
        with contextlib.suppress(RecordError):
            run = Run.open(path.parent)
            found += [run] if run.can_go_on else []
    return found


def unreadable() -> list[str]:
    """What is wrong with folders below `multirun/` whose own record cannot be read, a line each."""
    told = []
    for path in sorted(MULTIRUN.glob(f"*/{record.FILE_NAME}")):
        try:
            record.ends(path.parent)
        except RecordError as error:
            told.append(str(error))
    return told


def find_study(text: str | None) -> Study:
    """A study by its name or its folder; None is the newest.

    Raises:
        StudyError: there is none; the nearest names are given.
    """
    if text is not None and (Path(text) / record.FILE_NAME).exists():
        run = Run.open(Path(text))
        if run.kind == "study":
            return Study(run)
    if text is not None and (MULTIRUN / text / record.FILE_NAME).exists():
        return Study(Run.open(MULTIRUN / text))
    known = studies()
    if text is None and known:
        return known[0]
    names = [study.name for study in known]
    if text in names:
        return known[names.index(text)]
    if text is None:
        raise StudyError(
            f"there is no study in {MULTIRUN}/ yet; start one with -m: "
            "python -m hrm_sweep -m lr=1e-4,1e-3"
        )
    hint = formatting.did_you_mean(text, names) or (
        f"there are {', '.join(names[:5])}" if names else "there is none yet, start one with -m"
    )
    raise StudyError(f"{text}: no study of that name in {MULTIRUN}/; {hint}")


def find_single_run(text: str) -> Run | None:
    """A run that belongs to no study, by its name or its folder."""
    for folder in (Path(text), MULTIRUN / "train" / text):
        if (folder / record.FILE_NAME).exists() and (run := Run.open(folder)).kind == "train":
            return run
    return None


def find_run(text: str) -> Run:
    """A run by its folder, as STUDY/TRIAL or STUDY/TRIAL/REPEAT, by the name of a single run, or by
    its MLflow run id.

    Raises:
        StudyError: there is none; the message says what there is.
    """
    for folder in (Path(text), MULTIRUN / text, MULTIRUN / "train" / text):
        if (folder / record.FILE_NAME).exists():
            return Run.open(folder)
    if is_run_id(text) and (run := find_run_in_mlflow(text)):
        return run
    name, _, rest = text.rstrip("/").partition("/")
    numbers = rest.split("/") if rest else []
    if not numbers or not all(number.isdecimal() for number in numbers):
        raise StudyError(
            f"{text}: no run of that name; give STUDY/TRIAL (my-study/3), the folder of a run or "
            "an MLflow run id"
        )
    run = find_study(name).trial(int(numbers[0]))
    if not numbers[1:]:
        return run
    known = {repeat.folder.name: repeat for repeat in run.repeats}
    if numbers[1] not in known:
        there = f"it has {_span([int(name) for name in known])}" if known else "it was run once"
        raise StudyError(f"{text}: the trial has no repeat {numbers[1]}; {there}")
    return known[numbers[1]]


def is_run_id(text: str) -> bool:
    """Whether a text looks like the id of a run in MLflow."""
    return len(text) == 32 and all(letter in "0123456789abcdef" for letter in text)


def find_run_in_mlflow(run_id: str) -> Run | None:
    """The run folder that was sent as this run; MLflow itself is not asked."""
    for path in MULTIRUN.rglob("mlflow.json"):
        if ExportState.load(path.parent).run_id == run_id:
            return Run.open(path.parent)
    return None


def _study_in(folder: Path) -> Study | None:
    with contextlib.suppress(RecordError, StudyError, KeyError):
        study = Study(Run.open(folder))
        if study.run.kind == "study" and study.objectives:
            return study
    return None


def _span(numbers: list[Any]) -> str:
    if len(numbers) == 1:
        return f"{numbers[0]}"
    return f"{min(numbers)} to {max(numbers)}"
