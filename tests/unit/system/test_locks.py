"""A file lock belongs to an open file: two of them conflict within one process, too."""

import pytest

from hrm_sweep.system.locks import FileLock, is_held, locked


def test_a_held_lock_is_refused_until_it_is_released(tmp_path):
    path = tmp_path / "lock"
    first, second = FileLock(path), FileLock(path)
    assert first.acquire(timeout=0)
    assert not second.acquire(timeout=0)
    first.release()
    assert second.acquire(timeout=0)


def test_whether_a_lock_is_held_is_seen_without_taking_it(tmp_path):
    path = tmp_path / "lock"
    lock = FileLock(path)
    assert not is_held(path)
    lock.acquire()
    assert is_held(path)
    assert is_held(path)  # a probe leaves no lock behind
    lock.release()
    assert not is_held(path)


def test_a_lock_can_be_released_twice(tmp_path):
    lock = FileLock(tmp_path / "lock")
    lock.release()
    lock.release()


def test_a_block_holds_its_lock_and_makes_its_folder(tmp_path):
    path = tmp_path / "folder" / "lock"
    with locked(path):
        assert is_held(path)
    assert not is_held(path)


def test_a_block_that_raises_frees_its_lock(tmp_path):
    path = tmp_path / "lock"
    with pytest.raises(ValueError, match="inside"), locked(path):
        raise ValueError("inside")
    assert not is_held(path)


def test_a_lock_file_that_is_missing_is_no_held_lock(tmp_path):
    with pytest.raises(FileNotFoundError):
        is_held(tmp_path / "nowhere")


def test_the_content_of_a_locked_file_is_left_alone(tmp_path):
    path = tmp_path / "record"
    path.write_text("kept")
    with locked(path):
        assert path.read_text() == "kept"
