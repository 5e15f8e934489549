"""Is the owner of a trial alive? By real locks; another machine is one of another name or boot."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from hrm_sweep.storage.leases import Lease, LeaseState, lease_state

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


@pytest.mark.parametrize(
    ("lock_is_here", "elsewhere", "seen"),
    [
        pytest.param(True, {}, LeaseState.EXPIRED, id="it was killed here"),
        pytest.param(False, {}, LeaseState.EXPIRED, id="and its folder was removed"),
        pytest.param(
            True, {"boot": "before"}, LeaseState.EXPIRED, id="before this machine started again"
        ),
        pytest.param(
            False, {"boot": "other"}, LeaseState.UNKNOWN, id="another machine of the same name"
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


def test_a_trial_without_an_owner_has_none_alive():
    assert lease_state({}) is LeaseState.EXPIRED
