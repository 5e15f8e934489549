"""What MLflow really holds, read back by its own client and by plain SQL, for the tests."""

from __future__ import annotations

import functools
import shutil
import sqlite3
import tempfile
from pathlib import Path
from typing import Any

from mlflow.entities import Run, ViewType
from mlflow.tracking import MlflowClient

from hrm_sweep.system import sqlite_urls
from hrm_sweep.tracking import store


def fresh_database(folder: Path) -> str:
    """The URI of a new MLflow database in `folder`; copied, because building costs a second."""
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copy(_template(), folder / "mlflow.db")
    return f"sqlite:///{folder}/mlflow.db"


@functools.cache
def _template() -> Path:
    path = Path(tempfile.mkdtemp()) / "mlflow.db"
    store.build(path)
    return path


class Truth:
    """Reads a SQLite database of MLflow."""

    def __init__(self, uri: str) -> None:
        # MLflow keeps what it opened by its address: a relative one would be an earlier test's.
        uri = sqlite_urls.absolute(uri)
        self.client = MlflowClient(uri)
        self._path = uri.removeprefix("sqlite:///")

    def runs(self, view: int = ViewType.ACTIVE_ONLY) -> list[Run]:
        """All runs; those of one millisecond in any order, else the oldest first."""
        experiments = [found.experiment_id for found in self.client.search_experiments()]
        return list(self.client.search_runs(experiments, "", view, order_by=["start_time ASC"]))

    def run(self, name: str) -> Run:
        (found,) = [run for run in self.runs() if run.info.run_name == name]
        return found

    def metrics(self, name: str) -> list[tuple[str, int, float, int]]:
        """Every row of a run's metrics: name, step, value, time."""
        return self.select(
            "SELECT key, step, value, timestamp FROM metrics WHERE run_uuid = ? "
            "ORDER BY key, step, timestamp",
            self.run(name).info.run_id,
        )

    def files(self, name: str) -> dict[str, bytes]:
        """Content of a run's artifacts by path."""
        root = Path(self.run(name).info.artifact_uri.removeprefix("file://"))
        return {
            str(path.relative_to(root)): path.read_bytes()
            for path in sorted(root.rglob("*"))
            if path.is_file()
        }

    def select(self, query: str, *values: Any) -> list[Any]:
        connection = sqlite3.connect(self._path)
        try:
            return connection.execute(query, values).fetchall()
        finally:
            connection.close()
