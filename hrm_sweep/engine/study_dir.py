"""The folder of a study and those of its trials: `hydra.sweep.dir` and `hydra.sweep.subdir`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from omegaconf import DictConfig, open_dict

from hrm_sweep.errors import StudyError
from hrm_sweep.runs.export_state import OF_A_STUDY
from hrm_sweep.storage.leases import is_worked_in
from hrm_sweep.system import files

SWEEP_DIR = "hydra.sweep.dir="


def go_on_in(folder: str, config: DictConfig) -> None:
    """A study that is known to be in a folder goes on there, if nobody says another one: Hydra's
    own would have the date of today."""
    is_here = Path(str(config.hydra.sweep.dir), OF_A_STUDY).exists()
    is_said = any(text.startswith(SWEEP_DIR) for text in config.hydra.overrides.hydra)
    if folder and not (is_here or is_said) and Path(folder, OF_A_STUDY).exists():
        with open_dict(config):
            config.hydra.sweep.dir = folder
            config.hydra.overrides.hydra.append(f"{SWEEP_DIR}{folder}")


class StudyFolder:
    """Where a study works.

    Args:
        config: of the sweep.
        compose: the config of a trial's job, from its overrides.
    """

    def __init__(self, config: DictConfig, compose: Callable[[Sequence[str]], DictConfig]) -> None:
        self.path = Path(str(config.hydra.sweep.dir))
        self._subdir = str(config.hydra.sweep._get_node("subdir")._value())
        self._compose = compose

    def of_trial(self, number: int, overrides: list[str]) -> Path:
        """The folder that Hydra will give the trial."""
        if self._subdir == "${hydra.job.num}":
            return self.path / str(number)  # known without composing the job's config
        job = self._compose(overrides)
        with open_dict(job):
            job.hydra.job.num, job.hydra.job.id = number, str(number)
        return self.path / str(job.hydra.sweep.subdir)

    def check(self, several: Sequence[list[str]]) -> None:
        """Each trial needs a folder of its own, with the same name for whoever asks and whenever.

        Args:
            several: the overrides of some trials that are not equal.

        Raises:
            StudyError: `hydra.sweep.subdir` does not give it one.
            InputError: the study's folder cannot be written.
        """
        way_out = "put ${hydra.job.num} into it, and the time into hydra.sweep.dir"
        if "${now:" in self._subdir:
            raise StudyError(
                f"hydra.sweep.subdir={self._subdir}: is another one each time it is read; {way_out}"
            )
        folders = {self.of_trial(number, each) for number, each in enumerate(several)}
        if len(folders) < len(set(map(tuple, several))):
            raise StudyError(
                f"hydra.sweep.subdir={self._subdir}: several trials would have one folder; "
                f"{way_out}"
            )
        files.check_writable(self.path)

    def check_is_free(self) -> None:
        """Raises StudyError if another study works in the folder now."""
        if is_worked_in(self.path):
            raise StudyError(
                f"hydra.sweep.dir={self.path}: another study works there now; "
                "take another folder, or join that study by its name"
            )

    def clear(self) -> None:
        """A new study keeps beside its folder what it finds there of another one.

        Raises:
            StudyError: the other one works there now.
        """
        self.check_is_free()
        if (self.path / OF_A_STUDY).exists():
            files.set_aside(self.path)
