"""Folder of a study and those of its trials: `hydra.sweep.dir` and `hydra.sweep.subdir`."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, cast

import optuna
from omegaconf import DictConfig, OmegaConf, open_dict, read_write

from hrm_sweep.compat.hydra import active_config, text_override
from hrm_sweep.engine.attributes import FOLDER
from hrm_sweep.engine.identity import folders_of
from hrm_sweep.engine.plugin_config import SWEEP_DIR
from hrm_sweep.errors import StudyError
from hrm_sweep.runs import layout
from hrm_sweep.runs.configs import to_yaml, typed_overrides
from hrm_sweep.runs.find import studies_below
from hrm_sweep.storage.leases import sweeps_in
from hrm_sweep.system import files
from hrm_sweep.system.redact import redacted_tree

MOST_BYTES = 255 - len(layout.SET_ASIDE) - len(".10")
"""In the name of a folder, so that there is room to set it aside."""


def known_folder(name: str | None, known: optuna.Study | None) -> str:
    """Return the folder of the study that is to be resumed; "" if none is known.

    Args:
        name: of the study; None: a new one is made.
        known: the study in Optuna, if it is there.
    """
    if known is not None:
        folder = str(known.user_attrs.get(FOLDER, ""))
        if not folder or Path(folder).exists():
            return folder
        of_study, here = folders_of(known.user_attrs), Path.cwd()  # it was named from elsewhere
        below = (each.relative_to(here) for each in of_study if each.is_relative_to(here))
        return next(map(str, below), "")
    named = (study for study in studies_below() if study.name == name)
    return next((str(study.folder) for study in named), "")


def resume_in(folder: str, config: DictConfig) -> None:
    """Set `hydra.sweep.dir` to the folder that a study has, unless the user chose another one.

    Hydra's default has today's date in it.

    Raises:
        StudyError: a name in the folder that the user chose is too long.
    """
    _check_lengths(SWEEP_DIR, Path(str(config.hydra.sweep.dir)))
    is_here = Path(str(config.hydra.sweep.dir), layout.SWEEP_CONFIG).exists()
    typed = typed_overrides(config.hydra, "hydra")
    is_chosen = any(text.startswith(f"{SWEEP_DIR}=") for text in typed)
    if folder and not (is_here or is_chosen) and Path(folder, layout.SWEEP_CONFIG).exists():
        with read_write(config.hydra), open_dict(config.hydra):
            config.hydra.sweep.dir = folder
            config.hydra.overrides.hydra.append(text_override(SWEEP_DIR, folder))


def _check_lengths(key: str, path: Path) -> None:
    longest = max(path.parts, key=lambda part: len(os.fsencode(part)), default="")
    if (length := len(os.fsencode(longest))) > MOST_BYTES:
        raise StudyError(
            f"{key}={path}: has a name of {length} bytes; a folder's may have {MOST_BYTES}"
        )


class StudyDir:
    """Folder of a study.

    Args:
        config: of the sweep.
        compose: makes the config of a trial's job from its overrides.
    """

    def __init__(self, config: DictConfig, compose: Callable[[Sequence[str]], DictConfig]) -> None:
        self.path = Path(str(config.hydra.sweep.dir))
        self._config, self._compose = config, compose
        sweep = cast("dict[str, Any]", OmegaConf.to_container(config.hydra.sweep, resolve=False))
        self._subdir = str(sweep["subdir"])

    def of_trial(self, number: int, overrides: list[str]) -> Path:
        """Return the folder that Hydra gives a trial."""
        if self._subdir == "${hydra.job.num}":
            return self.path / str(number)  # known without composing the job's config
        job = self._compose(overrides)
        with open_dict(job):
            job.hydra.job.num, job.hydra.job.id = number, str(number)
        with active_config(job):
            return self.path / str(job.hydra.sweep.subdir)

    def check(self, points: Sequence[list[str]]) -> None:
        """Check that each trial gets a folder of its own, under one name at any time.

        Args:
            points: the overrides of some different trials.

        Raises:
            StudyError: `hydra.sweep.subdir` does not provide for that.
            InputError: the study's folder cannot be written.
        """
        way_out = "put ${hydra.job.num} into it, and the time into hydra.sweep.dir"
        if "${now:" in self._subdir:
            raise StudyError(
                f"hydra.sweep.subdir={self._subdir}: is another one each time it is read; {way_out}"
            )
        folders = {self.of_trial(number, each) for number, each in enumerate(points)}
        for folder in folders:
            _check_lengths("hydra.sweep.subdir", folder)
        if len(folders) < len(set(map(tuple, points))):
            raise StudyError(
                f"hydra.sweep.subdir={self._subdir}: several trials would have one folder; "
                f"{way_out}"
            )
        files.check_writable(self.path)

    def check_is_free(self) -> None:
        """Raise StudyError if another study works in the folder now, or may do so."""
        for works_there in sweeps_in(self.path):
            raise StudyError(
                f"hydra.sweep.dir={self.path}: another study {works_there}; "
                "take another folder, or join that study by its name"
            )

    def clear(self) -> None:
        """Make place for a new study: what another one left in the folder is kept beside it.

        Raises:
            StudyError: the other one works there now.
        """
        self.check_is_free()
        if (self.path / layout.SWEEP_CONFIG).exists():
            files.set_aside(self.path)

    def write_config(self) -> None:
        """Write the config of the sweep, without secrets."""
        tree = OmegaConf.to_container(self._config, enum_to_str=True)
        files.write_text(self.path / layout.SWEEP_CONFIG, to_yaml(redacted_tree(tree)))
