"""The MLflow UI on the database of a study, for this machine alone."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager

from hrm_sweep.errors import TrackingError
from hrm_sweep.system import companion

HOST = "127.0.0.1"
START_SECONDS = 120
"""MLflow's first start on a slow disk."""
TELLING = 2000
"""Letters of what it said that are shown when it does not start."""


@contextmanager
def serving(uri: str, port: int) -> Iterator[subprocess.Popen[bytes]]:
    """Run the UI as a child process, from its first answer until the block, or this process, ends.

    It answers requests for this host and port only: its own defaults accept hosts that merely look
    like ours. The address of the database goes by the environment, since a password is not for the
    list of processes.

    Raises:
        TrackingError: it did not start; the message ends with what it said.
    """
    with tempfile.TemporaryFile() as said:
        process = companion.start(
            [
                *(sys.executable, "-m", "mlflow", "ui", "--workers", "1"),
                *("--host", HOST, "--port", str(port)),
                *("--allowed-hosts", f"localhost:{port},{HOST}:{port}"),
            ],
            said=said,
            MLFLOW_BACKEND_STORE_URI=uri,
            MLFLOW_SERVER_ENABLE_JOB_EXECUTION="false",  # eight idle processes
        )
        try:
            if not _answers(f"http://{HOST}:{port}/health", process):
                said.seek(0)
                output = said.read().decode(errors="replace")[-TELLING:]
                raise TrackingError(f"MLflow did not start on port {port}; its output:\n{output}")
            yield process
        finally:
            companion.end(process)


def _answers(address: str, process: subprocess.Popen[bytes]) -> bool:
    give_up = time.monotonic() + START_SECONDS
    while time.monotonic() < give_up and process.poll() is None:
        with contextlib.suppress(OSError), urllib.request.urlopen(address, timeout=1):
            return True
        time.sleep(0.2)
    return False
