"""A study or a single run as `list` shows, sorts and filters it."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hrm_sweep import formatting
from hrm_sweep.runs.places import Whereabouts, whereabouts
from hrm_sweep.runs.ranking import ranked
from hrm_sweep.runs.run import Run
from hrm_sweep.runs.study import Study
from hrm_sweep.search.values import plain
from hrm_sweep.system.disk_use import DiskUse


@dataclass(frozen=True)
class Listed:
    """One line of `list`.

    Args:
        is_copy: it is a study's folder that was copied, and its original is listed too.
        disk: counts what its folder takes.
    """

    found: Study | Run
    is_copy: bool
    disk: DiskUse

    @property
    def kind(self) -> str:
        """Study or run."""
        return "study" if isinstance(self.found, Study) else "run"

    @property
    def folder(self) -> Path:
        """Its folder."""
        return self.found.folder

    @property
    def name(self) -> str:
        """What it is called."""
        return self.found.name

    @functools.cached_property
    def size(self) -> int:
        """Bytes of its folder on the disk."""
        return self.disk.of(self.folder)

    @functools.cached_property
    def best(self) -> Run | None:
        """The best trial of a study, the run itself if it has ended well; None: there is none."""
        if isinstance(self.found, Study):
            return next(iter(ranked(self.found)), None)
        return self.found if self.found.values else None

    @functools.cached_property
    def objective(self) -> tuple[str, str]:
        """Name and direction of what it is judged by; empty where none is given.

        A single run says so by a config key called objective, beside which there may be a
        direction; otherwise the first of its app's curves stands for it.
        """
        if isinstance(self.found, Study):
            return self.found.objective_names[0], self.found.directions[0]
        config, values = self.found.config, self.found.values
        for key, value in config.items():
            group, _, word = key.rpartition(".")
            if word == "objective" and value in values:
                return str(value), str(config.get(f"{group}.direction".lstrip("."), ""))
        return next((name for name in self.found.app.curves if name in values), ""), ""

    @property
    def value(self) -> float | None:
        """What the best has of the objective."""
        return self.best.values.get(self.objective[0]) if self.best else None

    @property
    def value_as_text(self) -> str:
        """The value as its app shows it."""
        name = self.objective[0]
        return self.found.app.metrics.metric(self.best.values if self.best else {}, name)

    @property
    def outcomes(self) -> Mapping[str, int]:
        """Number of its trials by outcome; a run counts as one."""
        return self.found.counted() if isinstance(self.found, Study) else {self.found.word: 1}

    @property
    def outcomes_as_text(self) -> str:
        """How its trials, or the run, ended."""
        if not isinstance(self.found, Study):
            return self.found.word
        elsewhere = self.found.describe_elsewhere()
        return self.found.describe_counts() + (f" ({elsewhere})" if elsewhere else "")

    @property
    def point(self) -> str:
        """The searched keys of the best trial; the recipe of a run."""
        if isinstance(self.found, Study):
            return formatting.format_point(self.found.params(self.best)) if self.best else ""
        return formatting.format_recipe(self.found.recipe)

    @functools.cached_property
    def params(self) -> Mapping[str, Any]:
        """The config of the best, or else of the first trial, by flat keys, and its overrides."""
        run = self.best or self.found
        if isinstance(run, Study):
            if not run.trials:
                return {}
            run = run.trials[0]
        typed = (text.lstrip("+").partition("=")[::2] for text in run.overrides)
        return {**run.config, **{key: plain(text) for key, text in typed}}

    def described(self, *, with_size: bool) -> dict[str, Any]:
        """Return it as JSON."""
        said, copy_of = self.found.annotations, self.found.copy_of
        best = None
        if self.best:
            trial = {"trial": self.best.number} if isinstance(self.found, Study) else {}
            best = {**self.best.values, **trial}
        found = {
            "name": self.name,
            "kind": self.kind,
            "folder": str(self.folder),
            "command": self.found.command,
            "last_change_ms": self.found.last_ms,
            "trials": dict(self.outcomes),
            "can_go_on": self.found.can_go_on,
            "best": best,
            "tags": dict(said.tags),
            "note": said.note,
            "archived": said.is_archived,
            "copy_of": None if copy_of is None else str(copy_of),
        }
        return found | ({"bytes": self.size} if with_size else {})


def listed(found: Iterable[Study | Run]) -> list[Listed]:
    """Return studies and runs as lines of `list`, in their order."""
    found, disk = list(found), DiskUse()
    studies = [each for each in found if isinstance(each, Study)]

    def is_copy(one: Study | Run) -> bool:
        if not isinstance(one, Study):
            return False
        has_original = any(each.id == one.id for each in studies if each is not one)
        return has_original and whereabouts(one) is Whereabouts.COPY

    return [Listed(each, is_copy(each), disk) for each in found]
