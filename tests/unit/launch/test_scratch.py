"""Temporary folders of nodes: gone with their block, or with the next one after a kill."""

import os
import tempfile
import time
from pathlib import Path

import pytest

from hrm_sweep.launch.scratch import LOCK, SECONDS_TO_LOCK, scratch_folder
from hrm_sweep.system.locks import FileLock


@pytest.fixture(autouse=True)
def temporary(tmp_path, monkeypatch) -> Path:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def age(folder: Path) -> None:
    begun = time.time() - SECONDS_TO_LOCK - 1
    os.utime(folder / LOCK, (begun, begun))


def left(temporary: Path) -> Path:
    """The folder of a process that was killed: its lock is free."""
    folder = temporary / "hrm_sweep-node-abc"
    folder.mkdir()
    (folder / LOCK).touch()
    (folder / "weights.pth").touch()
    return folder


def test_a_folder_is_there_in_its_block(temporary):
    with scratch_folder() as folder:
        assert folder.parent == temporary
        (folder / "3").mkdir()
    assert list(temporary.iterdir()) == []


def test_what_a_killed_process_has_left_goes(temporary):
    age(left(temporary))
    with scratch_folder() as folder:
        assert list(temporary.iterdir()) == [folder]


def test_what_a_living_process_has_or_makes_now_stays(temporary):
    living = left(temporary)
    with scratch_folder():
        assert living.exists()  # it is new: its process is about to lock it
    age(living)
    lock = FileLock(living / LOCK)
    lock.acquire()
    with scratch_folder():
        assert living.exists()
    lock.release()


def test_a_link_in_such_a_place_is_not_followed(temporary, tmp_path_factory):
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    folder = left(elsewhere)
    age(folder)
    (temporary / "hrm_sweep-node-link").symlink_to(folder)
    with scratch_folder():
        pass
    assert (folder / "weights.pth").exists()
