"""One run of a job: its folder, its config as it was before the task saw it, and its files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from hrm_sweep.runs import layout, recipe
from hrm_sweep.runs.configs import to_plain, to_yaml
from hrm_sweep.system import environment, files
from hrm_sweep.system.redact import redacted_tree

ARTIFACTS = (
    layout.RECORD,
    layout.CONFIG,
    layout.OVERRIDES,
    layout.ENVIRONMENT,
    layout.RESULT,
)


@dataclass(frozen=True)
class JobRun:
    """A single run, a trial, or one repeat of a trial, before it is run."""

    folder: Path
    cfg: DictConfig
    overrides: list[str]
    number: int | None
    """Of the trial; None for a single run."""
    sweep: Path
    """The study's folder."""
    at_home: Path | None = None
    """The study's folder where its driver has it; None: it is `sweep`."""
    ignored_keys: Sequence[str] = ()
    repeat: int | None = None

    def repeated(self, repeat: int) -> JobRun:
        """Return one repeat of the trial, with the seed that its config has now."""
        overrides = [*self.overrides, f"seed={self.cfg.seed}"]
        return replace(self, folder=self.folder / str(repeat), overrides=overrides, repeat=repeat)

    @property
    def artifacts(self) -> list[str]:
        """Files to keep in MLflow; the repeats of a trial share its log."""
        return [*ARTIFACTS] if self.repeat is not None else [*ARTIFACTS, layout.LOG]

    @cached_property
    def flat(self) -> dict[str, Any]:
        """The config as flat keys."""
        return recipe.flatten(self._tree)

    @property
    def digest(self) -> str:
        """Hash of the recipe."""
        return recipe.digest(self.flat, self.ignored_keys)

    @cached_property
    def _tree(self) -> dict[str, Any]:
        tree = self.with_home(to_plain(self.cfg))
        assert isinstance(tree, dict)
        return tree

    def with_home(self, value: Any) -> Any:
        """Return a plain tree, or a text, with paths as they are where the study's driver is."""
        if self.at_home in (None, self.sweep):
            return value
        return _replaced(value, str(self.sweep), str(self.at_home))

    def write_recipe(self, source: Path) -> None:
        """Write config, overrides and environment; `source` is the folder of the task's code."""
        if self.number is not None:  # the folder of a single run is the user's own choice
            files.check_no_link(self.folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        files.check_no_link(self.folder / layout.RECORD)
        texts = {
            layout.CONFIG: to_yaml(redacted_tree(self._tree)),
            layout.OVERRIDES: OmegaConf.to_yaml(OmegaConf.create(redacted_tree(self.overrides))),
            layout.ENVIRONMENT: files.json_text(environment.environment(source)),
        }
        files.write_texts(self.folder, texts)


def _replaced(value: Any, old: str, new: str) -> Any:
    if isinstance(value, str):
        return value.replace(old, new)
    if isinstance(value, dict):
        return {key: _replaced(inner, old, new) for key, inner in value.items()}
    if isinstance(value, list):
        return [_replaced(inner, old, new) for inner in value]
    return value
