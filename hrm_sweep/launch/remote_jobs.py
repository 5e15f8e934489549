"""Jobs of a sweep that run elsewhere: packed for nodes, without what only the driver needs."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path, PurePath

import cloudpickle
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf, open_dict, read_write

from hrm_sweep.errors import Interrupted, NoWorkers, StudyError
from hrm_sweep.launch.attempt import Attempt
from hrm_sweep.launch.compose import Composer, folder_of, set_number
from hrm_sweep.launch.job import Job
from hrm_sweep.launch.known_results import KnownResults
from hrm_sweep.launch.large_files import Limits
from hrm_sweep.launch.messages import Notice
from hrm_sweep.launch.remote import RemoteJob
from hrm_sweep.launch.worker import packed_job
from hrm_sweep.runs.questions import Questions
from hrm_sweep.system import output, process
from hrm_sweep.system.redact import redacted_tree
from hrm_sweep.system.writers import writer_of_copies

MOST_STARTS = 3
"""How often in a row, over all nodes, no process can be started for a job."""
ADDRESSES = ("storage", "tracking")
"""Keys of the sweeper that may hold a password."""


class RemoteJobs:
    """Jobs of one sweep that run elsewhere.

    Args:
        job: Hydra's context, the config of the sweep and the task function, as a launcher has them.
        preload: modules that a worker imports first.
        threads: of each worker.
        timeout: seconds that a job may take; None: no limit.
        limits: which files travel.
        questions: gets those of the jobs, whether they continue.
    """

    def __init__(
        self,
        job: tuple[HydraContext, DictConfig, TaskFunction],
        *,
        preload: Sequence[str],
        threads: int,
        timeout: float | None,
        limits: Limits,
        questions: Questions,
    ) -> None:
        hydra, config, task = job
        self.questions = questions
        process.allow_open_files()  # the record of each attempt is one, and so is its lock
        self._compose = Composer(hydra.config_loader, config)
        self._known = KnownResults(Path(str(config.hydra.sweep.dir)))
        self._study_id = task.study_id if isinstance(task, Job) else ""
        self._keys = task.app.keys if isinstance(task, Job) else {}
        self._threads, self._timeout, self._limits = threads, timeout, _absolute(limits)
        self._shown: set[str] = set()
        self._failed_starts: list[str] = []
        self.payload = packed_job(
            preload, hydra, None, _for_nodes(task, config), writer=writer_of_copies()
        )
        """What `remote.run` is given for all jobs."""

    def begin(self, overrides: Sequence[str], number: int) -> Attempt:
        """Return an attempt for which a node is to be found.

        Raises:
            Exception: the job cannot be composed, or its folder cannot be written. It belongs into
                the future of the job.
        """
        config = self._compose(overrides)
        set_number(config, number)
        self._mask_addresses(config)
        folder, study = folder_of(config), Path(str(config.hydra.sweep.dir))
        subdir = os.path.relpath(folder, study)
        _check_below(subdir)
        job = RemoteJob(
            number,
            cloudpickle.dumps(config),
            subdir,
            f"{self._study_id or study.name}/{subdir}",
            tuple(self._known.files_for(overrides, folder)),
            self._limits,
            self._threads,
            self._timeout,
        )
        return Attempt(job, folder, self, partial(self._known.add, overrides, subdir))

    def _mask_addresses(self, config: DictConfig) -> None:
        """Mask passwords in the addresses that the sweeper reads: nodes need none of them."""
        for name in ADDRESSES:
            key = self._keys.get(f"hydra.sweeper.{name}", f"hydra.sweeper.{name}")
            above, _, last = key.rpartition(".")
            parent = OmegaConf.select(config, above) if above else config
            raw = OmegaConf.to_container(parent, resolve=False) if parent else {}
            value = raw.get(last) if isinstance(raw, dict) else None
            if (masked := redacted_tree(value)) != value:
                with read_write(config), open_dict(config):
                    OmegaConf.update(config, key, masked)

    def check(self) -> None:
        """Check that nodes can start processes.

        Raises:
            NoWorkers: several in a row could not.
        """
        if len(self._failed_starts) >= MOST_STARTS:
            raise NoWorkers(f"no worker can start: {self._failed_starts[-1]}")

    def counted(self, result: bytes | Exception) -> bytes | Exception:
        """Return the result of a job, and count how often none could begin."""
        if not isinstance(result, NoWorkers):
            self._failed_starts = []
            return result
        self._failed_starts.append(str(result))
        return Interrupted(f"no process could be started for it: {result}")  # no attempt of it

    def show(self, notice: Notice) -> None:
        """Show a notice, once for all trials."""
        if notice.name not in self._shown:
            self._shown.add(notice.name)
            output.show(notice.text)


def _for_nodes(task: TaskFunction, config: DictConfig) -> TaskFunction:
    """Return a task that knows nothing of the driver's MLflow, but where its folder is at home.

    A database of the driver is out of a node's reach, and an address may hold a password.
    """
    if not isinstance(task, Job):
        return task
    folder = task.folder or Path(str(config.hydra.sweep.dir)).absolute()
    return replace(task, tracking=None, folder=folder)


def check_subdir(config: DictConfig) -> None:
    """Check, before anything is created, that trials lie below their study, where a node has them.

    Raises:
        StudyError: they do not.
    """
    sweep = OmegaConf.to_container(config.hydra.sweep, resolve=False)
    assert isinstance(sweep, dict)
    _check_below(str(sweep["subdir"]))


def _check_below(subdir: str) -> None:
    path = PurePath(subdir)
    if path.is_absolute() or ".." in path.parts or not path.parts:
        raise StudyError(
            f"hydra.sweep.subdir={subdir}: leads out of hydra.sweep.dir, and a node has no other "
            "folder for what a trial writes; take a name below it, such as ${hydra.job.num}"
        )


def _absolute(limits: Limits) -> Limits:
    """Return limits whose path means the same everywhere."""
    if limits.artifacts is None or "://" in limits.artifacts:
        return limits
    return limits._replace(artifacts=str(Path(limits.artifacts).expanduser().absolute()))
