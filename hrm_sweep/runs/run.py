"""One run as its folder tells it."""

from __future__ import annotations

import contextlib
import functools
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hrm_sweep import formatting
from hrm_sweep.runs import layout, record
from hrm_sweep.runs.annotations import Annotations, study_name
from hrm_sweep.runs.app import App
from hrm_sweep.runs.curves import Remeasured, read_curves
from hrm_sweep.runs.export_state import ExportState
from hrm_sweep.runs.outcomes import Outcome
from hrm_sweep.runs.recipe import is_of_the_recipe
from hrm_sweep.runs.record import Entry
from hrm_sweep.runs.writers import describe_unknown, seen_writer
from hrm_sweep.search.values import Value, plain
from hrm_sweep.system.writers import LeaseState, describe_writer

COPY_TAG = "hrm_sweep.reproduces_folder"
COPY_ID_TAG = "hrm_sweep.reproduces_id"


@dataclass(frozen=True)
class Run:
    """A single run, a trial, or one repeat of a trial.

    What many runs are asked for (how it ended, its values) comes from the two ends of the record;
    curves are read on demand.
    """

    folder: Path
    first: Entry
    last: Entry

    @classmethod
    def open(cls, folder: Path) -> Run:
        """Return the run in a folder.

        Raises:
            RecordError: there is no run, its record was edited, or a newer version wrote it.
        """
        first, last = record.ends(folder)
        if last.event == "finished":
            Outcome.named(last.fields["outcome"])
        return cls(folder, first, last)

    @property
    def kind(self) -> str:
        """study, trial or train."""
        return str(self.first.fields["kind"])

    @property
    def tags(self) -> Mapping[str, str]:
        """Tags of the run in MLflow."""
        tags: Mapping[str, str] = self.first.fields["tags"]
        return tags

    @functools.cached_property
    def annotations(self) -> Annotations:
        """What the user says of it."""
        return Annotations.load(self.folder)

    @functools.cached_property
    def study_name(self) -> str:
        """Name of the study that it is a part of, as that is called now; else empty."""
        recorded = self.tags.get("hrm_sweep.study", "")
        return recorded and (study_name(self.folder) or recorded)

    @property
    def where(self) -> str:
        """Where the run is whose folder is not here, such as `on node7`; else empty."""
        return ""

    @property
    def name(self) -> str:
        """What a single run is called; of a trial or repeat, its folder's name."""
        return self.folder.name

    @property
    def number(self) -> int | None:
        """Of the trial, None for a single run."""
        text = self.tags.get("hrm_sweep.trial")
        return None if text is None else int(text)

    @property
    def repeat(self) -> int | None:
        """Of the trial, None for what is no repeat."""
        text = self.tags.get("hrm_sweep.repeat")
        return None if text is None else int(text)

    @property
    def copy_of(self) -> Path | None:
        """Folder of the run that `reproduce` repeated with it; None: it is no such copy."""
        folder = self.tags.get(COPY_TAG)
        return None if folder is None else Path(folder)

    @property
    def original_id(self) -> str:
        """The `whole_id` of the run that `reproduce` repeated with it; empty: none is known."""
        return self.tags.get(COPY_ID_TAG, "")

    @property
    def whole_id(self) -> str:
        """Id of the study that it belongs to, or of a single run; no renaming changes it."""
        return self.tags.get("hrm_sweep.study_id") or str(self.first.fields.get("record", ""))

    @property
    def last_ms(self) -> int:
        """Time of the last entry of its record, in milliseconds since 1970."""
        return self.last.time_ms

    @property
    def overrides(self) -> list[str]:
        """The task overrides it was started with."""
        return list(self.first.fields.get("overrides", ()))

    @functools.cached_property
    def app(self) -> App:
        """The app that made it."""
        folder = self.first.fields.get("tags", {}).get("hrm_sweep.folder", "")
        return App.of_record(self.first.fields).moved(folder, self.folder)

    @property
    def recipe(self) -> list[str]:
        """Those of its overrides that can change a result."""
        return [text for text in self.overrides if is_of_the_recipe(text, self.app.ignored_keys)]

    @property
    def given(self) -> dict[str, Value]:
        """The values of the keys in its recipe; of a trial also those that all trials have."""
        return self.params([text.lstrip("+").partition("=")[0] for text in self.recipe])

    @property
    def command(self) -> str:
        """The command that runs the same recipe again."""
        return str(self.first.fields["description"]).strip()

    @property
    def how_to_repeat(self) -> str:
        """What runs its recipe again, as a shell line; of one too long to print, where it is."""
        line = self.app.from_here(self.command)
        if len(line) <= formatting.LONGEST_COMMAND:
            return line
        return f"its overrides are in {self.folder / layout.OVERRIDES}"

    @property
    def config(self) -> Mapping[str, Any]:
        """The composed config as flat keys."""
        params: Mapping[str, Any] = self.first.fields["params"]
        return params

    @property
    def choices(self) -> dict[str, str]:
        """The option chosen of each config group; nothing if an older version made the run."""
        return dict(self.first.fields.get("choices", {}))

    @functools.cached_property
    def outcome(self) -> Outcome | None:
        """None while it runs."""
        if self.last.event == "finished":
            return Outcome.named(self.last.fields["outcome"])
        return Outcome.KILLED if self._seen[1] is LeaseState.EXPIRED else None

    @functools.cached_property
    def unknown_writer(self) -> dict[str, str]:
        """Who writes it, if nothing is seen from here of that process; else nothing."""
        is_unknown = self.last.event != "finished" and self._seen[1] is LeaseState.UNKNOWN
        return self._seen[0] if is_unknown else {}

    @functools.cached_property
    def _seen(self) -> tuple[dict[str, str], LeaseState]:
        return seen_writer(self.folder)

    @property
    def word(self) -> str:
        """How it ended, in text for the user."""
        if self.outcome:
            return self.outcome.spoken
        return "unknown" if self.unknown_writer else "running"

    @property
    def reason(self) -> str:
        """Why it did not complete, in one line."""
        if self.last.event == "finished":
            return " ".join(str(self.last.fields["reason"]).split())
        if self.unknown_writer:
            return describe_unknown(self.unknown_writer, self._whole)
        return "" if self.outcome is None else record.DEATH

    @property
    def traceback(self) -> str:
        """Traceback of the exception that its task raised, from the task's own code on."""
        is_failed = self.outcome is Outcome.FAILED and self.last.event == "finished"
        return str(self.last.fields.get("traceback", "")) if is_failed else ""

    @property
    def _whole(self) -> str:
        """What a command is given that resumes it: of a trial its study, as it was named."""
        return self.study_name or str(self.folder)

    @property
    def can_go_on(self) -> bool:
        """Whether it is a single run that was stopped; trials are resumed with their study."""
        return self.kind == "train" and self.outcome in (Outcome.INTERRUPTED, Outcome.KILLED)

    @property
    def values(self) -> dict[str, float]:
        """The final values by name; of a trial with repeats means, and `<name>/std`."""
        best = self.last.fields["best"] if self.last.event == "finished" else {}
        return {name: float(value) for name, value in best.items()}

    @property
    def facts(self) -> dict[str, str]:
        """Tags that the run set itself.

        `weights` is the digest of its final weights, `compiled` the library of kernels or "no",
        `precision` fp32 or bf16, `taken_from` the folder, relative to its own, of the run whose
        result it reuses.
        """
        return dict(self.last.fields.get("facts", {}))

    @property
    def seconds(self) -> float:
        """What all attempts took together, without the time between them."""
        seconds = self.last.fields.get("seconds")
        return record.seconds_worked(self.entries) if seconds is None else float(seconds)

    @property
    def mlflow_run_id(self) -> str:
        """Empty if the run was not sent to MLflow yet."""
        return ExportState.load(self.folder).run_id

    @functools.cached_property
    def entries(self) -> list[Entry]:
        """The whole record, checked line by line.

        Raises:
            RecordError: a line was changed or lost.
        """
        return record.read(self.folder)

    @property
    def trained(self) -> Run:
        """The run itself, or that of the same recipe whose values it took over."""
        taken_from = self.facts.get("taken_from")
        return self if taken_from is None else Run.open(self.folder / taken_from)

    @property
    def curves(self) -> dict[int, dict[str, float]]:
        """Everything measured, by step."""
        return read_curves(self.trained.entries).by_step

    @property
    def remeasured(self) -> list[Remeasured]:
        """Steps that later attempts measured again, to other values."""
        return read_curves(self.entries).remeasured

    @property
    def attempts(self) -> int:
        """Number of attempts."""
        return sum(entry.event == "started" for entry in self.entries)

    @property
    def counted_attempts(self) -> int:
        """Number of attempts without those that were interrupted, but for the last one."""
        ends = [each.fields["outcome"] for each in self.entries if each.event == "finished"]
        return self.attempts - ends[: self.attempts - 1].count(Outcome.INTERRUPTED.word)

    @property
    def job(self) -> str:
        """Node and job of the cluster that ran the last attempt, if one did."""
        begun = [
            entry.fields.get("writer", {}) for entry in self.entries if entry.event == "started"
        ]
        return describe_writer(begun[-1]) if begun and begun[-1].get("job") else ""

    @property
    def dataset(self) -> dict[str, Any]:
        """What it learnt from, with a `digest`; nothing if it did not say."""
        sets = [entry.fields for entry in self.trained.entries if entry.event == "dataset"]
        return sets[-1] if sets else {}

    @property
    def num_held_out(self) -> int | None:
        """Puzzles that it, or each of its repeats, is judged on; None if it did not say."""
        dataset = (self.repeats[0] if self.repeats else self).dataset
        return int(dataset["eval_size"]) if dataset else None

    @functools.cached_property
    def repeats(self) -> list[Run]:
        """The runs of a trial that was repeated with other seeds, in order; else none."""
        folders = [path.parent for path in self.folder.glob(f"*/{layout.RECORD}")]
        numbered = [folder for folder in folders if folder.name.isdecimal()]
        return [Run.open(folder) for folder in sorted(numbered, key=lambda path: int(path.name))]

    @property
    def environment(self) -> dict[str, Any]:
        """The machine it ran on, as far as it wrote that down."""
        with contextlib.suppress(OSError, ValueError):
            return dict(json.loads((self.folder / layout.ENVIRONMENT).read_text("utf-8")))
        return {}

    @property
    def searched(self) -> list[str]:
        """The keys that its study searched; none if an older version made it."""
        return list(self.first.fields.get("searched", ()))

    def params(self, names: Sequence[str]) -> dict[str, Value]:
        """Return the values of searched keys in this run."""
        given = dict(text.lstrip("+").partition("=")[::2] for text in self.overrides)
        return {name: plain(given[name]) for name in names if name in given}
