"""What a sweep changes in its process: Hydra's instance, configs and version base, and logging."""

from __future__ import annotations

import copy
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from hydra import version
from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from hydra.core.plugins import Plugins

from hrm_sweep.compat.hydra import VERSION_BASE
from hrm_sweep.system.process import variables_set


@contextmanager
def hydra_of_its_own(**variables: str) -> Iterator[None]:
    """Let `hydra.main` run in the block as in a new process, and leave all as it was found.

    What is raised in it is not printed.

    Args:
        variables: of the environment. `HYDRA_MAIN_MODULE="__main__"` lets a task that is imported
            have its configs beside its file, as if it were the main program.
    """
    root = logging.getLogger()
    base: Any = version.getbase() if VERSION_BASE else None
    before = GlobalHydra.instance().hydra
    GlobalHydra.instance().clear()
    Plugins.instance()  # they register their configs once
    store = ConfigStore.instance()
    configs = copy.deepcopy(store.repo)
    handlers, level = [*root.handlers], root.level
    try:
        with variables_set({"HYDRA_FULL_ERROR": "1", **variables}):
            yield
    finally:
        GlobalHydra.instance().hydra, store.repo = before, configs
        if hasattr(base, "release"):  # else it was never set
            version.setbase(str(base))
        root.handlers[:], root.level = handlers, level
