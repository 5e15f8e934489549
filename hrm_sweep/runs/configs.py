"""Configs as they were written into the folders of runs and studies."""

from __future__ import annotations

from pathlib import Path

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError  # type: ignore[import-untyped]  # OmegaConf brings it

from hrm_sweep.errors import RecordError


def read_config(path: Path) -> DictConfig:
    """Raises RecordError if that is no file, or none with a config in it."""
    try:
        tree = OmegaConf.load(path)
    except (OSError, UnicodeDecodeError, YAMLError, OmegaConfBaseException) as error:
        reason = " ".join(str(error).split())
        raise RecordError(f"{path}: cannot be read ({reason})") from None
    if not isinstance(tree, DictConfig):
        raise RecordError(f"{path}: cannot be read (it holds no config)")
    return tree
