"""The private name of Ray that `compat.ray` uses."""

import pytest

from hrm_sweep.compat.ray import print_nothing

worker = pytest.importorskip("ray._private.worker")


def test_what_happens_on_nodes_is_not_printed(monkeypatch, capsys):
    message = {"lines": ["the raylet died"], "pid": "raylet", "is_err": False, "ip": ""}
    monkeypatch.setattr(worker, "_worker_logs_enabled", True)
    worker.print_worker_logs(message, worker.sys.stdout)
    assert "the raylet died" in capsys.readouterr().out
    print_nothing()
    worker.print_worker_logs(message, worker.sys.stdout)
    assert capsys.readouterr().out == ""
