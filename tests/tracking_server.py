"""A real MLflow server for tests, and the truth in its database."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

from truth import Truth, fresh_database


class TrackingServer(Truth):
    """A real `mlflow server` on a database of its own, and the truth in it."""

    def __init__(self, folder: Path) -> None:
        uri = fresh_database(folder)
        super().__init__(uri)
        self.database = Path(uri.removeprefix("sqlite:///"))
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        self._process = subprocess.Popen(
            [
                *(sys.executable, "-m", "mlflow", "server", "--backend-store-uri", uri),
                *("--artifacts-destination", str(folder / "files"), "--workers", "1"),
                *("--host", "127.0.0.1", "--port", str(self.port)),
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"},  # idle processes
            start_new_session=True,
        )
        self.root = folder / "files"

    def wait(self) -> None:
        """Wait until it answers."""
        for _ in range(600):
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{self.port}/health", timeout=2).close()
                return
            except OSError:
                time.sleep(0.1)
        raise TimeoutError("the MLflow server did not start")

    def stop(self) -> None:
        """Kill it."""
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
