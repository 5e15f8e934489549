"""Removal of a single run: its folder, and its runs in MLflow."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from hrm_sweep import formatting
from hrm_sweep.commands import own_files
from hrm_sweep.commands.addresses import tracking_of_run
from hrm_sweep.commands.study_removal import delete_in_mlflow, sent_runs
from hrm_sweep.errors import RecordError, StudyError
from hrm_sweep.runs import layout
from hrm_sweep.runs.run import Run
from hrm_sweep.runs.run_folders import FOLDER_TAG
from hrm_sweep.runs.run_names import reference
from hrm_sweep.runs.writers import describe_unknown
from hrm_sweep.system import files, locks
from hrm_sweep.system.redact import redacted
from hrm_sweep.tracking import store


class RunRemoval:
    """What removing a single run takes away.

    Raises:
        StudyError: it runs, may run elsewhere, or is being sent to MLflow.
    """

    def __init__(self, run: Run) -> None:
        self.name, self._run = run.name, run
        self._check_no_writer()
        files.check_writable(run.folder)
        sent = sent_runs(run.folder)
        self._original = _original_of(run)
        self._uri = tracking_of_run(run) if sent else ""
        is_there = bool(sent) and store.may_hold(self._uri, sent[0].destination)
        is_own = is_there and not (self._original and _is_shared(self._uri, self._original))
        self._run_ids = [state.run_id for state in sent] if is_own else []
        self._is_left = bool(sent) and not is_there

    @property
    def folder(self) -> Path:
        """The folder that is removed."""
        return self._run.folder

    def describe(self) -> Iterator[str]:
        """Yield lines that say what is removed, and what stays."""
        parts = [f"the folder {self.folder}"]
        if self._run_ids:
            parts.append(formatting.pluralize(len(self._run_ids), "run") + " in MLflow")
        yield f"{self.name}: a single run; this removes {', '.join(parts)}."
        if self._original:
            yield f"It is a copy of {self._original}, which stays whole."
        if self._is_left:
            where = redacted(self._uri)
            yield f"{where} does not have its run; what another MLflow has of it stays."

    def remove(self, *, is_seen: bool) -> list[str]:  # noqa: ARG002  nothing here is in doubt
        """Remove it and return the names of what stays in its folder, which is not the run's."""
        self._check_no_writer()
        if self._run_ids:
            delete_in_mlflow(self._uri, self._run_ids)
        return own_files.remove_run(self._run)

    def _check_no_writer(self) -> None:
        run = Run.open(self.folder)
        if run.unknown_writer:
            raise StudyError(f"{self.name}: {describe_unknown(run.unknown_writer, reference(run))}")
        if run.outcome is None:
            raise StudyError(f"{self.name}: is running; stop it first (Ctrl-C where it runs)")
        lock = self.folder / layout.EXPORTER_LOCK
        if lock.exists() and locks.is_held(lock):
            raise StudyError(f"{self.name}: is being sent to MLflow; try again when that has ended")


def _is_shared(uri: str, original: Path) -> bool:
    """Return whether an MLflow is also that of a folder, and no copy in the project beside it."""
    path, here = store.database_path(uri), Path.cwd()
    return path is None or not path.is_relative_to(here) or original.is_relative_to(here)


def _original_of(run: Run) -> Path | None:
    """Return the folder that the run's folder was copied from, if that is still there."""
    folder = Path(run.tags.get(FOLDER_TAG, run.folder))
    if folder.resolve() == run.folder.resolve():
        return None
    try:
        is_same = Run.open(folder).first == run.first
    except RecordError:
        return None
    return folder if is_same else None
