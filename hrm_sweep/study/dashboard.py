"""The Optuna dashboard on a study's storage, for this machine alone."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from socketserver import ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from hrm_sweep.study.ledger import Ledger

HOST = "127.0.0.1"
Application = Callable[..., Iterable[bytes]]


def server(storage: str, port: int) -> WSGIServer:
    """A server that shows the storage at the URL; `serve_forever` runs it.

    Raises:
        StudyError: the storage cannot be opened.
    """
    from optuna_dashboard import wsgi

    application: Any = wsgi(Ledger(storage).storage)
    hosts = {f"localhost:{port}", f"{HOST}:{port}"}
    return make_server(
        HOST, port, guarded(application, hosts), server_class=_Threaded, handler_class=_Quiet
    )


def guarded(application: Application, hosts: set[str]) -> Application:
    """Answers requests for `hosts` only: a page elsewhere may let its own name point here."""

    def answer(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        if environ.get("HTTP_HOST") in hosts:
            return application(environ, start_response)
        start_response("403 Forbidden", [("Content-Type", "text/plain")])
        return [b"this dashboard answers on localhost only\n"]

    return answer


class _Threaded(ThreadingMixIn, WSGIServer):
    daemon_threads = True


class _Quiet(WSGIRequestHandler):
    def log_message(self, *_: Any) -> None:
        """A browser asks every few seconds; nobody reads that."""
