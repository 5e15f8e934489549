"""The files of one run in MLflow: sent, linked where MLflow's folder is here, and removed."""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from urllib.parse import unquote, urlsplit

from mlflow.tracking import MlflowClient

from hrm_sweep.compat import mlflow as compat
from hrm_sweep.system import sharing
from hrm_sweep.tracking.errors import Gone, translated


class RunFiles:
    """Files of a run, by their names there.

    Args:
        client: of the server, or the database.
        run_id: of the run; asked for its address once.
    """

    def __init__(self, client: MlflowClient, run_id: str) -> None:
        self._client, self._run_id = client, run_id
        self._address: str | None = None

    @property
    def folder(self) -> Path | None:
        """Folder of the files; None if only the server reaches it."""
        parts = urlsplit(self._uri)
        return Path(unquote(parts.path)) if parts.scheme in ("", "file") else None

    def send(self, path: Path, name: str) -> None:
        """Send one file; it has its name in MLflow only when it is whole there."""
        parent = str(PurePosixPath(name).parent)
        with translated():
            self._client.log_artifact(self._run_id, str(path), None if parent == "." else parent)

    def share(self, path: Path, name: str, *, may_link: bool) -> None:
        """Send one file, without a second copy where the disk can do that.

        Args:
            may_link: see `hrm_sweep.system.sharing.place`.
        """
        if self.folder is None:
            self.send(path, name)
            return
        with translated():
            sharing.place(path, self.folder / name, may_link=may_link)

    def remove(self, name: str) -> None:
        """Remove one file; none of that name is no error.

        Raises:
            Unreachable, Refused: it stays.
        """
        try:
            with translated():
                compat.delete_file(self._uri, name, tracking_uri=self._client.tracking_uri)
        except Gone:
            return

    @property
    def _uri(self) -> str:
        if self._address is None:
            with translated():
                self._address = self._client.get_run(self._run_id).info.artifact_uri
        assert self._address is not None
        return self._address
