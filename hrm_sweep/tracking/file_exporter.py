"""The files of one run on their way into MLflow, models among them, which may be removed again."""

from __future__ import annotations

import functools
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from hrm_sweep.errors import RecordError
from hrm_sweep.runs import models
from hrm_sweep.runs.app import App
from hrm_sweep.runs.export_state import ExportState
from hrm_sweep.runs.record import Entry
from hrm_sweep.runs.run import Run
from hrm_sweep.tracking import artifacts
from hrm_sweep.tracking.client import MlflowRun
from hrm_sweep.tracking.errors import Refused
from hrm_sweep.tracking.run_files import RunFiles


class FileExporter:
    """Sends the files of a run folder; what is there is noted in the run's export state.

    A model that may not stay, as another trial may become the best, is held until the study is
    complete.
    """

    def __init__(self, folder: Path, state: ExportState) -> None:
        self._folder, self._state = folder, state

    def send(
        self, run: MlflowRun, end: Entry, drawn: Iterable[str], *, are_models_held: bool
    ) -> None:
        """Send what is not there yet when a run has ended.

        Args:
            end: of the run's record.
            drawn: names of its pictures.
        """
        removed = models.removed_names(self._folder)
        names = [
            name
            for name in artifacts.names_of(self._folder, end, drawn)
            if name not in removed and name not in self._state.artifacts
        ]
        of_models = models.matching(names, self._app.models)
        self._state.held = of_models if are_models_held else []
        left = [name for name in names if name not in self._state.held]
        for name in left:
            if not artifacts.refusal(self._folder, name):
                self._send(run.files, name, is_model=name in of_models)
        lost = [name for name in left if name not in models.removed_names(self._folder)]
        if refused := list(artifacts.refused(self._folder, lost, end)):
            run.tags({"hrm_sweep.files_not_sent": "; ".join(refused)})

    def follow(self, run: MlflowRun, *, is_complete: bool) -> int:
        """Remove models there that the folder has no more, and send those that were held.

        Args:
            is_complete: the study is, so that what is held has been kept.

        Returns:
            How many that were. A server that refuses to remove some keeps them.
        """
        gone = self.remove_gone(run.files)
        held = self._state.held if is_complete else []
        kept = [name for name in held if not artifacts.refusal(self._folder, name)]
        for name in kept:
            self._send(run.files, name, is_model=True)
        if is_complete:
            self._state.held = []
        return len(gone) + len(held)

    def remove_gone(self, there: RunFiles) -> list[bool]:
        """Remove in MLflow the models that were removed here; return of each if the server did."""
        gone = models.removed_names(self._folder).intersection(self._state.artifacts)
        return [self._remove(there, name) for name in gone]

    def _remove(self, there: RunFiles, name: str) -> bool:
        """Remove a file in MLflow; return whether the server did."""
        self._state.artifacts.remove(name)  # not asked again of a server that refuses
        try:
            there.remove(name)
        except Refused:
            return False
        return True

    @functools.cached_property
    def _app(self) -> App:
        with suppress(RecordError):  # of a run that died before it began
            return Run.open(self._folder).app
        return App.of_command([""])

    def _send(self, there: RunFiles, name: str, *, is_model: bool) -> None:
        path = self._folder / name
        if is_model:
            there.share(path, name, may_link=self._app.replaces_models)
        else:
            with artifacts.without_secrets(path) as masked:
                there.send(masked, name)
        self._state.artifacts.append(name)
