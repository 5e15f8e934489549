"""A proxy before a tracking server that does to requests what networks and servers do."""

from __future__ import annotations

import http.client
import socket
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Fault = str
"""pass, 500, 429, hang (no answer, nothing done), reset, lost (done, no answer), late (done when
`release` is set, no answer), half (only half of the body comes through), garbage (done, and the
answer is a page of another server), slow (after two seconds)."""


class FaultyProxy:
    """Listens on a port of its own. `choose` names the fault of a request: method, path, body."""

    def __init__(self, server_port: int) -> None:
        self.choose: Callable[[str, str, bytes], Fault] = lambda *_: "pass"
        self.faults: list[tuple[Fault, str]] = []
        """What was done to which path; requests that passed are not in it."""
        self.release = threading.Event()
        self._server_port = server_port
        self._listener: ThreadingHTTPServer | None = None
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]

    @property
    def uri(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def up(self) -> None:
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            def handle_one_request(self) -> None:
                self.raw_requestline = self.rfile.readline(65537)
                if not self.raw_requestline or not self.parse_request():
                    self.close_connection = True
                    return
                body = proxy._body(self)
                fault = proxy.choose(self.command, self.path, body)
                if fault != "pass":
                    proxy.faults.append((fault, self.path.partition("?")[0]))
                proxy._answer(self, fault, body)
                self.close_connection = True

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self._listener = ThreadingHTTPServer(("127.0.0.1", self.port), Handler)
        self._listener.daemon_threads = True
        threading.Thread(target=self._listener.serve_forever, args=(0.05,), daemon=True).start()

    def down(self) -> None:
        if self._listener:
            self._listener.shutdown()
            self._listener.server_close()
            self._listener = None

    def _body(self, request: BaseHTTPRequestHandler) -> bytes:
        if request.headers.get("Transfer-Encoding") != "chunked":
            return request.rfile.read(int(request.headers.get("Content-Length", 0)))
        body = b""
        while size := int(request.rfile.readline(), 16):
            body += request.rfile.read(size)
            request.rfile.readline()
        return body

    def _answer(self, request: BaseHTTPRequestHandler, fault: Fault, body: bytes) -> None:
        if fault in ("500", "429"):
            request.send_response(int(fault))
            request.send_header("Content-Length", "0")
            request.send_header("Retry-After", "60")
            request.end_headers()
        elif fault == "reset":
            linger = b"\1\0\0\0\0\0\0\0"  # close() sends RST
            request.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        elif fault == "hang":
            time.sleep(30)
        elif fault == "late":
            self.release.wait(120)
            self._forward(request, body)
        elif fault == "half":
            self._forward(request, body[: len(body) // 2], length=len(body))
        else:
            if fault == "slow":
                time.sleep(2)
            response, content = self._forward(request, body)
            if fault == "garbage":
                content = b"<html><body>Sign in to the hotel's network</body></html>"
            if fault != "lost":
                self._pass_on(request, response, content)

    def _forward(
        self, request: BaseHTTPRequestHandler, body: bytes, *, length: int | None = None
    ) -> tuple[http.client.HTTPResponse | None, bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self._server_port, timeout=30)
        headers = {
            name: value
            for name, value in request.headers.items()
            if name.lower() not in ("content-length", "transfer-encoding", "connection")
        }
        try:
            headers["Content-Length"] = str(len(body) if length is None else length)
            connection.request(request.command, request.path, body, headers)
            if length is not None:
                return None, b""
            response = connection.getresponse()
            return response, response.read()
        finally:
            connection.close()

    def _pass_on(
        self,
        request: BaseHTTPRequestHandler,
        response: http.client.HTTPResponse | None,
        content: bytes,
    ) -> None:
        assert response is not None
        request.send_response(response.status)
        for name, value in response.getheaders():
            if name.lower() in ("content-type",):
                request.send_header(name, value)
        request.send_header("Content-Length", str(len(content)))
        request.end_headers()
        request.wfile.write(content)
