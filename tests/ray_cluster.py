"""A cluster of Ray on one machine: a head without CPUs, and nodes that come and go.

Each node is a process of its own that executes this module, so that it can live where the folder of
a test is hidden, as it would be on another machine.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path

os.environ |= {
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",  # otherwise 127.0.0.1 becomes the machine's address
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_health_check_initial_delay_ms": "1000",
    "RAY_health_check_period_ms": "500",
    "RAY_health_check_timeout_ms": "5000",
    "RAY_health_check_failure_threshold": "3",
}

import psutil
from ray._private.node import Node
from ray._private.parameter import RayParams

HERE = "127.0.0.1"
SOURCE = Path(__file__).read_text() if "__file__" in globals() else ""
"""Of this module: its file may be hidden from a node."""


class RayCluster:
    """A head, and the nodes that are added to it.

    Args:
        environment: variables of all of them, beside those of this process.
    """

    def __init__(self, **environment: str) -> None:
        self._environment = environment
        self._head, self.address = self._begun([], num_cpus=0)
        self.nodes: list[subprocess.Popen[str]] = []

    def add_node(self, *, hidden: Path, num_cpus: int = 1) -> subprocess.Popen[str]:
        """Add a node in which a folder is empty; return its process, the raylet's parent."""
        script = 'mount -t tmpfs tmpfs "$0" && exec "$@"'
        before = ["unshare", "--mount", "sh", "-c", script, str(hidden)]
        node, _ = self._begun(before, num_cpus=num_cpus, address=self.address)
        self.nodes.append(node)
        return node

    def remove(self, node: subprocess.Popen[str]) -> None:
        """Kill a node with all that runs in it, as the loss of its machine does."""
        self.nodes.remove(node)
        _end(node)

    def processes(self) -> list[psutil.Process]:
        """All that runs in nodes and the head."""
        return [process for node in [self._head, *self.nodes] for process in below(node)]

    def close(self) -> None:
        """End it all."""
        for node in [*self.nodes]:
            self.remove(node)
        _end(self._head)

    def _begun(
        self, before: list[str], *, num_cpus: int, address: str = ""
    ) -> tuple[subprocess.Popen[str], str]:
        """Start a node; return its process, and the address of its cluster."""
        process = subprocess.Popen(
            [*before, sys.executable, "-c", SOURCE, str(num_cpus), address],
            cwd="/",
            stdout=subprocess.PIPE,
            env={**os.environ, **self._environment},
            start_new_session=True,
            text=True,
        )
        assert process.stdout is not None
        said = process.stdout.readline().strip()
        assert said, "the node does not start"
        return process, said


def below(node: subprocess.Popen[str]) -> list[psutil.Process]:
    """What a node has started."""
    return psutil.Process(node.pid).children(recursive=True)


def raylet_of(node: subprocess.Popen[str]) -> psutil.Process:
    """The raylet of a node, without which its workers end."""
    return next(process for process in below(node) if process.name() == "raylet")


def _end(node: subprocess.Popen[str]) -> None:
    for process in [psutil.Process(node.pid), *below(node)]:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    node.wait()


def _start(*, num_cpus: int, address: str | None = None) -> Node:
    settings = RayParams(
        gcs_address=address,
        num_cpus=num_cpus,
        node_ip_address=HERE,
        object_store_memory=100 << 20,
        min_worker_port=0,
        max_worker_port=0,
        node_manager_port=0,
        dashboard_agent_listen_port=0,
        include_dashboard=False,
        include_log_monitor=False,
    )
    return Node(settings, head=address is None, shutdown_at_exit=True, spawn_reaper=True)


if __name__ == "__main__":
    node = _start(num_cpus=int(sys.argv[1]), address=sys.argv[2] or None)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # a dead raylet is gone at once
    print(node.gcs_address, flush=True)
    signal.pause()
