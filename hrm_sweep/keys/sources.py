"""The files that a config is composed of, and the groups and options beside them."""

from __future__ import annotations

import importlib.resources
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from hrm_sweep.keys import comments, schema


class Source(NamedTuple):
    """A YAML file of a config, and where its keys are put."""

    path: Path
    package: str
    """Dotted prefix of its keys; empty: the root."""
    shown: str
    """The path from the folder of configs on: `conf/model/hrm.yaml`."""


class Sources:
    """Where the configs of an app are.

    Args:
        config: with Hydra's own keys, composed by the Hydra that is initialized now.
    """

    def __init__(self, config: DictConfig) -> None:
        self._hydra = config.hydra
        found = (_folder(each.schema, each.path) for each in config.hydra.runtime.config_sources)
        self._folders = [folder for folder in found if folder is not None]

    def chosen(self) -> list[Source]:
        """Return the files that the config was composed of, in Hydra's order: later ones win.

        Configs that are registered in Python have no file.
        """
        typed = self._hydra.overrides
        found = (
            GlobalHydra.instance()
            .config_loader()
            .compute_defaults_list(
                self._hydra.job.config_name, [*typed.hydra, *typed.task], RunMode.RUN
            )
        )
        named = ((each.config_path or "", each.package or "") for each in found.defaults)
        sources = (self._source(name, package) for name, package in named)
        return [source for source in sources if source is not None]

    def groups(self) -> list[str]:
        """Return the groups that the app's folders have, nested ones with a slash."""
        found = {
            path.parent.relative_to(folder).as_posix()
            for folder in self._folders
            for path in folder.rglob("*.yaml")
        }
        return sorted(name for name in found if name.split("/")[0] not in (".", "hydra"))

    def options(self, group: str) -> list[str]:
        """Return the options of a group, of files and of what is registered in Python."""
        files = {path.stem for folder in self._folders for path in (folder / group).glob("*.yaml")}
        try:
            stored = ConfigStore.instance().list(group)
        except OSError:  # nothing is registered there
            stored = []
        registered = {name.removesuffix(".yaml") for name in stored if name.endswith(".yaml")}
        return sorted(files | registered)

    def heading(self, group: str, option: str) -> str:
        """Return what an option says of itself, in its file or in its class; empty: nothing."""
        if source := self._source(f"{group}/{option}", ""):
            return comments.read(source.path).heading
        stored = ConfigStore.instance().load(f"{group}/{option}.yaml").node
        kind = OmegaConf.get_type(stored) if OmegaConf.is_config(stored) else None
        return "" if kind in (None, dict) else schema.summary(kind)

    def files(self, group: str) -> Iterator[tuple[str, Source]]:
        """Yield each option of a group that is a file, and the file."""
        for option in self.options(group):
            if source := self._source(f"{group}/{option}", group.replace("/", ".")):
                package = comments.read(source.path).package or source.package
                yield option, source._replace(package="" if package == "_global_" else package)

    def _source(self, name: str, package: str) -> Source | None:
        for folder in self._folders:
            if (path := folder / f"{name}.yaml").is_file():
                return Source(path, package, f"{folder.name}/{name}.yaml")
        return None


@lru_cache
def _folder(schema: str, path: str) -> Path | None:
    """Return the folder of one of Hydra's config sources, unless it is Hydra's own."""
    if schema == "file":
        return Path(path)
    if schema != "pkg" or path.partition(".")[0] == "hydra":
        return None
    try:
        return Path(str(importlib.resources.files(path)))
    except (ModuleNotFoundError, TypeError):
        return None
