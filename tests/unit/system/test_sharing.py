"""A file at two places: linked where that is right, and a copy of its own where it is not."""

import os
import tempfile
from pathlib import Path

import pytest

from hrm_sweep.system import files
from hrm_sweep.system.sharing import place


def test_a_link_takes_no_room_and_stays_as_it_was_when_its_source_is_replaced(tmp_path):
    source, target = tmp_path / "model", tmp_path / "there" / "model"
    source.write_bytes(b"first")
    place(source, target, may_link=True)
    assert target.read_bytes() == b"first"
    files.write_text(source, "second")
    assert target.read_bytes() == b"first"
    place(source, target, may_link=True)
    place(source, target, may_link=True)
    assert target.read_bytes() == b"second"
    assert [path.name for path in target.parent.iterdir()] == ["model"]


def test_what_may_be_rewritten_in_place_is_not_linked(tmp_path):
    source, target = tmp_path / "model", tmp_path / "copy"
    source.write_bytes(b"first")
    place(source, target, may_link=False)
    with source.open("r+b") as file:
        file.write(b"other")
    assert target.read_bytes() == b"first"


@pytest.mark.skipif(not os.access("/dev/shm", os.W_OK), reason="needs a second disk")
def test_a_file_on_another_disk_is_copied(tmp_path):
    source = tmp_path / "model"
    source.write_bytes(b"first")
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
        place(source, Path(folder, "model"), may_link=True)
        assert Path(folder, "model").read_bytes() == b"first"
