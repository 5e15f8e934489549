"""A way to a PostgreSQL server on which connections break, in the worst moment if asked for."""

from __future__ import annotations

import contextlib
import socket
import threading
from pathlib import Path


class Relay:
    """Listens beside the server's socket and hands everything on.

    Args:
        server: the Unix socket of the server.
        folder: where the relay has its own.
    """

    def __init__(self, server: Path, folder: Path) -> None:
        self._server = server
        self.commits_to_lose: list[str] = []
        """For each COMMIT to come whether it is kept: "before" the server saw it or "after" it was
        done its connection breaks; "" is for none."""
        self.num_lost = 0
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(folder / server.name))
        self._listener.listen()
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._listener.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = socket.socket(socket.AF_UNIX)
                server.connect(str(self._server))
                for ends in ((client, server), (server, client)):
                    is_asking = ends[0] is client
                    arguments = (*ends, is_asking)
                    threading.Thread(target=self._hand_on, args=arguments, daemon=True).start()

    def _hand_on(self, source: socket.socket, target: socket.socket, is_asking: bool) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(1 << 16):
                when = ""
                if is_asking and b"COMMIT" in data and self.commits_to_lose:
                    when = self.commits_to_lose.pop(0)
                if when:
                    self.num_lost += 1
                    source.shutdown(socket.SHUT_RDWR)  # from now on no answer reaches who asked
                if when != "before":
                    target.sendall(data)
                if when:
                    break
        with contextlib.suppress(OSError):
            target.shutdown(socket.SHUT_WR)  # what was sent is still read
