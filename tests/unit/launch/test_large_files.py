"""Files that are too large to travel: kept where the user says, or left out and named."""

import json
import os
from pathlib import Path

import pytest

from hrm_sweep.launch.changes import FolderChanges
from hrm_sweep.launch.inbox import Inbox
from hrm_sweep.launch.large_files import LargeFiles, Limits
from hrm_sweep.launch.messages import Notice
from hrm_sweep.launch.mirror import Mirror

TINY = 0.001
"""Megabytes: 1000 bytes."""


@pytest.fixture
def node(tmp_path) -> Path:
    folder = tmp_path / "node"
    folder.mkdir()
    return folder


@pytest.fixture
def home(tmp_path) -> Path:
    return tmp_path / "home"


@pytest.fixture(params=["path", "URL"])
def artifacts(request, tmp_path) -> str:
    return f"{'file://' if request.param == 'URL' else ''}{tmp_path}/artifacts"


def send(folder: FolderChanges, home: Path) -> list[Notice]:
    """Send what changed home, as an attempt does, and return the notices."""
    inbox, notices = Inbox(home), []
    for message in folder.look(is_last=True):
        if isinstance(message, Notice):
            notices.append(message)
        else:
            inbox.write(message)
    return notices


def kept(tmp_path: Path) -> list[bytes]:
    return [path.read_bytes() for path in (tmp_path / "artifacts").rglob("*") if path.is_file()]


def test_a_file_over_the_limit_stays_and_one_line_says_what_to_do(node, home):
    folder = FolderChanges(node, LargeFiles(Limits(TINY), "study/0"))
    (node / "small.pth").write_bytes(bytes(1000))
    (node / "large.pth").write_bytes(bytes(1001))
    first = send(folder, home)
    (node / "large.pth").write_bytes(bytes(2000))
    second = send(folder, home)
    assert [path.name for path in home.iterdir()] == ["small.pth"]
    assert [notice.text for notice in first] == [
        "large.pth: has 0.1 MB, more than hydra.launcher.max_file_mb=0.001, and does not travel "
        "home; keep such files with hydra.launcher.artifacts=PATH_OR_URL, or set a larger "
        "hydra.launcher.max_file_mb"
    ]
    assert second == []


def test_a_file_over_the_limit_is_kept_and_the_next_attempt_has_it(node, home, tmp_path, artifacts):
    limits, content = Limits(TINY, artifacts), os.urandom(2000)
    (node / "large.pth").write_bytes(content)
    assert send(FolderChanges(node, LargeFiles(limits, "study/0")), home) == []
    assert [path.name for path in home.iterdir()] == ["large.pth.elsewhere.json"]
    place = json.loads((home / "large.pth.elsewhere.json").read_text())
    assert place["url"].startswith(f"{artifacts}/study/0/large.pth.")
    assert place["size"] == 2000

    second, large = tmp_path / "second", LargeFiles(limits, "study/0")
    with_snapshot = Inbox(second)
    mirror = Mirror(home)
    for message in mirror.snapshot():
        with_snapshot.write(message)
    mirror.close()
    assert large.fetch(second) == []
    assert {path.name: path.read_bytes() for path in second.iterdir()} == {"large.pth": content}
    folder = FolderChanges(second, large)
    folder.skip_present()
    assert list(folder.look(is_last=True)) == []
    (second / "large.pth").unlink()
    send(folder, home)
    assert list(home.iterdir()) == []
    assert kept(tmp_path) == []


def test_the_content_that_is_named_at_home_is_there_until_the_next_one_is(
    node, home, tmp_path, artifacts
):
    folder = FolderChanges(node, LargeFiles(Limits(TINY, artifacts), "study/0"))
    contents = [bytes([number]) * 2000 for number in range(4)]
    for number, content in enumerate(contents):
        (node / "large.pth").write_bytes(content)
        messages = folder.look(is_last=True)
        first = next(messages)  # is on its way, and may be lost
        assert {*kept(tmp_path)} == {*contents[max(0, number - 1) : number + 1]}
        assert first.name == "large.pth.elsewhere.json"
        list(messages)


def test_a_file_that_has_become_small_again_travels(node, home, tmp_path, artifacts):
    folder = FolderChanges(node, LargeFiles(Limits(TINY, artifacts), "study/0"))
    (node / "model.pth").write_bytes(bytes(500))
    send(folder, home)
    (node / "model.pth").write_bytes(bytes(2000))
    send(folder, home)
    assert [path.name for path in home.iterdir()] == ["model.pth.elsewhere.json"]
    (node / "model.pth").write_bytes(b"small")
    send(folder, home)
    assert {path.name: path.read_bytes() for path in home.iterdir()} == {"model.pth": b"small"}
    assert kept(tmp_path) == []


def test_a_place_that_cannot_be_written_ends_no_trial(node, home):
    folder = FolderChanges(node, LargeFiles(Limits(TINY, "/proc/nothing"), "study/0"))
    (node / "large.pth").write_bytes(bytes(2000))
    notice, *others = send(folder, home)
    assert not others
    assert notice.text.startswith(
        "large.pth: cannot be kept in hydra.launcher.artifacts=/proc/nothing ("
    )
    assert "the trial continues" in notice.text


def test_a_kept_file_that_is_gone_or_another_is_said_and_not_taken(node, home, tmp_path):
    limits = Limits(TINY, str(tmp_path / "artifacts"))
    (node / "large.pth").write_bytes(bytes(2000))
    send(FolderChanges(node, LargeFiles(limits, "study/0")), home)
    (stored,) = (path for path in (tmp_path / "artifacts").rglob("*") if path.is_file())
    pointer = (home / "large.pth.elsewhere.json").read_bytes()
    stored.write_bytes(b"another")
    (another,) = LargeFiles(limits, "study/0").fetch(home)
    assert "is another file than the one that was kept" in another.text
    assert list(home.iterdir()) == []
    stored.unlink()
    (home / "large.pth.elsewhere.json").write_bytes(pointer)
    (gone,) = LargeFiles(limits, "study/0").fetch(home)
    assert "FileNotFoundError" in gone.text
    assert list(home.iterdir()) == []
