"""Is the owner of a trial alive? By real locks; another machine is one of another name or boot."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from studies import until

from hrm_sweep.storage.leases import Lease, give_up, lease_state, sweeps_in
from hrm_sweep.system import writers
from hrm_sweep.system.writers import LeaseState

BEFORE = {"boot": "before"}

DIES = """
import os, sys, json
from pathlib import Path
from hrm_sweep.storage.leases import Lease
print(json.dumps(Lease(Path(sys.argv[1])).fields), flush=True)
os.kill(os.getpid(), 9)
"""


def test_a_living_owner_is_alive_until_it_releases(tmp_path):
    owner = Lease(tmp_path / "study")
    assert lease_state(owner.fields) is LeaseState.ALIVE
    assert lease_state(owner.fields | {"host": "other"}) is LeaseState.ALIVE  # on a disk of both
    owner.release()
    assert lease_state(owner.fields) is LeaseState.EXPIRED


@pytest.fixture(autouse=True)
def _no_container(monkeypatch):
    """This process counts as one of a machine, also where the tests run in a container."""
    monkeypatch.setattr(writers, "FIRST_PIDS", writers.writer_of(Path(__file__))["pids"])


@pytest.mark.parametrize(
    ("lock_is_here", "elsewhere", "seen"),
    [
        pytest.param(True, {}, LeaseState.EXPIRED, id="it was killed here"),
        pytest.param(False, {}, LeaseState.EXPIRED, id="and its folder was removed"),
        pytest.param(True, BEFORE, LeaseState.EXPIRED, id="before this machine started again"),
        pytest.param(False, BEFORE, LeaseState.EXPIRED, id="and its folder was removed then"),
        pytest.param(
            True,
            {"boot": "other", "machine": "other"},
            LeaseState.UNKNOWN,
            id="another machine of the same name",
        ),
        pytest.param(
            True,
            {"boot": "other", "pids": "pid:[9]"},
            LeaseState.UNKNOWN,
            id="a container of the same name, before or on another machine",
        ),
        pytest.param(
            True,
            {"mounts": "mnt:[9]", "pids": "pid:[9]"},
            LeaseState.UNKNOWN,
            id="another container of the same name on this machine",
        ),
        pytest.param(
            False,
            {"mounts": "mnt:[9]"},
            LeaseState.EXPIRED,
            id="a service with a /tmp of its own: its process is seen",
        ),
        pytest.param(
            False, {"host": "other", "boot": "other"}, LeaseState.UNKNOWN, id="another machine"
        ),
        pytest.param(
            True, {"host": "other", "boot": "other"}, LeaseState.UNKNOWN, id="and a disk of both"
        ),
    ],
)
def test_a_lock_that_is_not_held(tmp_path, lock_is_here, elsewhere, seen):
    killed = subprocess.run(
        [sys.executable, "-c", DIES, str(tmp_path)], capture_output=True, text=True, check=False
    )
    told = json.loads(killed.stdout)
    if not lock_is_here:
        Path(told["lock"]).unlink()
    assert lease_state(told | elsewhere) is seen


def test_a_free_lock_proves_nothing_while_its_process_runs(tmp_path):
    """As where locks are seen on the machine alone that has them, or in one container."""
    running = subprocess.Popen(
        [sys.executable, "-c", DIES.replace("os.kill(os.getpid(), 9)", "input()"), str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert running.stdout is not None
    told = json.loads(running.stdout.readline())
    free = told | {"lock": str(tmp_path / "not seen from here")}
    assert lease_state(free) is LeaseState.ALIVE
    copy = shutil.copy(told["lock"], tmp_path / "copy")
    assert lease_state(told | {"lock": str(copy)}) is LeaseState.EXPIRED, "nobody has that one"
    assert lease_state(free | {"since": "1"}) is LeaseState.EXPIRED, "an earlier one of that id"
    running.kill()  # and nobody has waited for it yet
    until(lambda: lease_state(free) is LeaseState.EXPIRED)
    running.communicate()


def test_what_dead_sweeps_left_is_removed_and_nothing_else(tmp_path):
    def dies() -> dict[str, str]:
        killed = subprocess.run(
            [sys.executable, "-c", DIES, str(tmp_path)], capture_output=True, text=True, check=False
        )
        fields: dict[str, str] = json.loads(killed.stdout)
        return fields

    living, elsewhere = Lease(tmp_path), Path(dies()["lock"])
    writer = json.loads(elsewhere.read_text())
    elsewhere.write_text(json.dumps(writer | {"host": "node7"}))
    of_an_older_version = tmp_path / ".node7-12-aaaaaaaa.lock"
    of_an_older_version.touch()
    dead = dies()
    (tmp_path / f".report.html.{dead['pid']}").touch()
    (tmp_path / ".report.html.1").touch()
    assert "works there now" in sweeps_in(tmp_path)
    heir = Lease(tmp_path)
    left = {path.name for path in tmp_path.iterdir()}
    kept = (living.fields["lock"], heir.fields["lock"], elsewhere, of_an_older_version)
    assert left == {*(Path(path).name for path in kept), ".report.html.1"}
    assert lease_state(dead) is LeaseState.EXPIRED, "also without its lock"
    heir.release()
    living.release()
    assert [*sweeps_in(tmp_path)] == [
        "may work there, on node7, which cannot be seen from here (if it has ended, remove "
        f"{elsewhere})"
    ]
    give_up(tmp_path, "node8")
    assert elsewhere.exists()
    give_up(tmp_path, "node7")
    assert not elsewhere.exists()


def test_a_trial_without_an_owner_has_none_alive():
    assert lease_state({}) is LeaseState.EXPIRED
