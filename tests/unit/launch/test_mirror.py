"""What changes in a run's folder arrives in the mirror: in a safe order, whole, nowhere else."""

import math
import os
import zlib
from pathlib import Path

import pytest

from hrm_sweep.errors import RecordError
from hrm_sweep.launch import changes
from hrm_sweep.launch.changes import FolderChanges
from hrm_sweep.launch.inbox import Inbox
from hrm_sweep.launch.large_files import LargeFiles, Limits
from hrm_sweep.launch.messages import PIECE_BYTES, Appended, Part, Removed, pack
from hrm_sweep.launch.mirror import Mirror
from hrm_sweep.runs import record
from hrm_sweep.runs.record import Record
from hrm_sweep.system import files


@pytest.fixture
def node(tmp_path) -> Path:
    folder = tmp_path / "node"
    folder.mkdir()
    return folder


@pytest.fixture
def home(tmp_path) -> Path:
    return tmp_path / "home"


@pytest.fixture
def mirror(home):
    mirror = Mirror(home)
    yield mirror
    mirror.close()


@pytest.fixture
def changed(node) -> FolderChanges:
    return FolderChanges(node, LargeFiles(Limits(math.inf), "study/0"))


def contents(folder: Path) -> dict[str, bytes]:
    paths = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}


def names(messages) -> list[str]:
    return list(dict.fromkeys(message.name for message in messages))


def write(mirror, messages) -> None:
    for message in messages:
        mirror.write(message)


def test_all_that_a_run_writes_arrives_byte_by_byte(node, home, mirror, changed):
    with Record(node) as written, Record(node / "0") as repeat:
        for each in (written, repeat):
            each.append("started", kind="trial", tags={})
        (node / "run.log").write_text("begins\n")
        (node / "checkpoint.pth").write_bytes(os.urandom(PIECE_BYTES * 2 + 1))
        (node / "empty").touch()
        (node / ".hydra").mkdir()
        (node / ".hydra" / "config.yaml").write_text("x: 1\n")
        write(mirror, changed.look(is_last=True))
        assert contents(home) == contents(node)
        written.metrics(1, {"loss": 0.5})
        repeat.append("finished", outcome="complete", best={}, reason="")
        with (node / "run.log").open("a") as log:
            log.write("ends\n")
        (node / "checkpoint.pth").write_bytes(os.urandom(100))
        (node / "empty").unlink()
        write(mirror, changed.look(is_last=True))
    assert contents(home) == contents(node)


def test_a_log_that_grows_is_not_sent_again_and_one_that_was_masked_is(node, home, mirror, changed):
    log = node / "run.log"
    log.write_text("password=abcdef\n")
    write(mirror, changed.look())
    with log.open("a") as file:
        file.write("more\n")
    grown = list(changed.look())
    write(mirror, grown)
    with log.open("r+") as file:  # in place, as `runs.logs` masks
        file.write("password=******")
    masked = list(changed.look())
    write(mirror, masked)
    assert [type(each) for each in grown] == [Appended]
    assert grown[0].offset == len("password=abcdef\n")
    assert [type(each) for each in masked] == [Part]
    assert (home / "run.log").read_text() == "password=******\nmore\n"


def test_the_recipe_comes_first_then_lines_then_files_and_the_end_last(node, changed):
    (node / "result.json").write_text("{}")
    (node / "model.pth").write_text("weights")
    (node / "config.yaml").write_text("x: 1\n")
    with Record(node) as written:
        written.append("started", kind="trial", tags={})
        written.append("finished", outcome="complete", best={}, reason="")
    sent = [each.name for each in changed.look()]
    assert sent[:2] == ["config.yaml", "record.jsonl"]
    assert sorted(sent[2:4]) == ["model.pth", "result.json"]
    assert sent[4:] == ["record.jsonl"]


def test_a_checkpoint_never_arrives_before_the_lines_that_were_there_when_it_was_written(
    node, home, mirror, changed
):
    with Record(node) as written:
        written.append("started", kind="trial", tags={})
        (node / "checkpoint").write_bytes(os.urandom(PIECE_BYTES + 1))
        messages = changed.look(is_last=True)
        for message in messages:
            mirror.write(message)
            if message.name == "checkpoint":  # its first part is on its way
                written.metrics(1, {"loss": 0.5})
                break
        rest = list(messages)
    assert [each.name for each in rest] == ["record.jsonl", "checkpoint"]


def test_a_large_file_is_sent_when_it_has_stopped_changing_and_once(node, mirror, changed):
    path = node / "model.pth"
    path.write_bytes(bytes(changes.SMALL_BYTES + 1))
    assert names(changed.look()) == []
    path.write_bytes(os.urandom(changes.SMALL_BYTES + 2))
    assert names(changed.look()) == []
    assert names(changed.look()) == ["model.pth"]
    assert names(changed.look()) == []


def test_a_large_file_is_sent_at_once_when_the_run_has_ended(node, changed):
    (node / "model.pth").write_bytes(bytes(changes.SMALL_BYTES + 1))
    with Record(node) as written:
        written.append("started", kind="trial", tags={})
        written.append("finished", outcome="complete", best={}, reason="")
    assert names(changed.look()) == ["record.jsonl", "model.pth"]


def test_a_large_file_that_never_rests_is_sent_nevertheless(node, changed, monkeypatch):
    monkeypatch.setattr(changes, "MOST_SECONDS", 0.0)
    (node / "model.pth").write_bytes(bytes(changes.SMALL_BYTES + 1))
    assert names(changed.look()) == ["model.pth"]


def test_what_is_no_file_of_the_run_stays(node, tmp_path, changed):
    (tmp_path / "secret").write_text("of the node")
    (node / "link").symlink_to(tmp_path / "secret")
    (node / "dangling").symlink_to(tmp_path / "nothing")
    (node / "own.pth").write_text("weights")
    (node / "last.pth").symlink_to("own.pth")
    os.mkfifo(node / "pipe")
    for name in (".config.yaml.123", ".record.jsonl.ab12cd34", "mlflow.json", ".question"):
        (node / name).write_text("")
    assert sorted(names(changed.look())) == ["last.pth", "own.pth"]


def test_the_next_attempt_gets_what_the_earlier_ones_left_and_sends_only_what_is_new(
    node, home, mirror, changed
):
    with Record(node) as written:
        written.append("started", kind="trial", tags={})
        written.metrics(1, {"loss": 0.5})
    (node / "checkpoint").write_text("1")
    write(mirror, changed.look(is_last=True))
    mirror.close()
    (home / "mlflow.json").write_text("{}")  # the exporter's

    second = home.with_name("second")
    again = Mirror(home)
    write(Inbox(second), again.snapshot())
    assert contents(second) == contents(node)
    changed = FolderChanges(second, LargeFiles(Limits(math.inf), "study/0"))
    changed.skip_present()
    assert list(changed.look()) == []
    (second / "checkpoint").unlink()
    with Record(second) as written:
        written.append("started", kind="trial", tags={})
    write(again, changed.look(is_last=True))
    again.close()
    (home / "mlflow.json").unlink()
    assert contents(home) == contents(second)


def test_the_driver_holds_the_record_as_long_as_the_mirror_is_open(home, mirror, changed, node):
    with Record(node) as written:
        written.append("started", kind="trial", tags={})
        write(mirror, changed.look())
    assert record.is_held(home)
    assert not record.write_end(home, has_ended=True)
    with pytest.raises(RecordError, match="another process is writing it"):
        Mirror(home)
    mirror.close()
    assert record.write_end(home, has_ended=True)


def lines_of(node: Path, count: int) -> list[bytes]:
    with Record(node) as written:
        written.append("started", kind="trial", tags={})
        for step in range(1, count):
            written.metrics(step, {"loss": 1.0})
    return (node / "record.jsonl").read_bytes().splitlines(keepends=True)


@pytest.mark.parametrize(
    "spoil",
    [
        pytest.param(lambda lines: (0, lines[0]), id="repeated"),
        pytest.param(lambda lines: (len(lines[0] + lines[1]), lines[2]), id="missing"),
        pytest.param(lambda lines: (len(lines[0]), lines[2]), id="another line"),
        pytest.param(lambda lines: (len(lines[0]), lines[1][:-9]), id="torn"),
        pytest.param(lambda lines: (len(lines[0]), lines[1] + lines[2][:9]), id="torn later"),
        pytest.param(lambda lines: (len(lines[0]), lines[1].replace(b"1.0", b"0.0")), id="changed"),
    ],
)
def test_lines_that_do_not_fit_are_refused_and_the_record_stays_whole(node, home, mirror, spoil):
    lines = lines_of(node, 3)
    mirror.write(Appended("record.jsonl", 0, pack(lines[0])))
    offset, data = spoil(lines)
    with pytest.raises(ValueError, match=r"record\.jsonl"):
        mirror.write(Appended("record.jsonl", offset, pack(data)))
    assert (home / "record.jsonl").read_bytes() == lines[0]
    mirror.write(Appended("record.jsonl", len(lines[0]), pack(lines[1])))
    assert len(record.read(home)) == 2


@pytest.mark.parametrize(
    "name",
    [
        "../outside",
        "/tmp/outside",
        "a/../../outside",
        "",
        ".",
        "a//b",
        "link/outside",
        "mlflow.json",
    ],
)
def test_a_name_that_is_none_of_the_run_is_refused(home, mirror, name, tmp_path):
    (home / "link").symlink_to(tmp_path)
    with pytest.raises(ValueError, match=r"is no name of a file of the run|is a symbolic link"):
        mirror.write(Part(name, 0, pack(b"x"), zlib.crc32(b"x")))
    with pytest.raises(ValueError, match=r"is no name of a file of the run|is a symbolic link"):
        mirror.write(Removed(name))
    assert not (tmp_path / "outside").exists()


def test_a_file_is_not_written_through_a_link(home, mirror, tmp_path):
    (home / "run.log").symlink_to(tmp_path / "outside")
    with pytest.raises(OSError, match=r"run\.log"):
        mirror.write(Appended("run.log", 0, pack(b"x")))
    with pytest.raises(ValueError, match="is a symbolic link"):
        mirror.write(Part("run.log", 0, pack(b"x"), zlib.crc32(b"x")))
    assert not (tmp_path / "outside").exists()


def test_parts_that_do_not_fit_leave_the_file_that_was_there(home, mirror):
    files.write_text(home / "model.pth", "old")
    mirror.write(Part("model.pth", 0, pack(b"ab"), None))
    with pytest.raises(ValueError, match="bytes from 3 on arrived where 2 was the next"):
        mirror.write(Part("model.pth", 3, pack(b"d"), zlib.crc32(b"abcd")))
    with pytest.raises(ValueError, match="a part of it is missing, or damaged"):
        mirror.write(Part("model.pth", 2, pack(b"x"), zlib.crc32(b"abc")))
    with pytest.raises(ValueError, match="its beginning is missing"):
        mirror.write(Part("model.pth", 3, pack(b"d"), zlib.crc32(b"abcd")))
    mirror.close()
    assert contents(home) == {"model.pth": b"old"}


@pytest.mark.parametrize(
    "packed",
    [
        pytest.param(b"no zlib", id="damaged"),
        pytest.param(pack(b"whole")[:-3], id="torn"),
        pytest.param(pack(bytes(PIECE_BYTES + 1)), id="unpacks to more than a piece"),
    ],
)
def test_a_piece_that_cannot_be_unpacked_is_refused(mirror, packed):
    with pytest.raises(ValueError, match="piece"):
        mirror.write(Appended("run.log", 0, packed))


def test_a_record_comes_as_lines_and_is_never_replaced_or_removed(mirror):
    for message in (Part("record.jsonl", 0, pack(b""), 0), Removed("3/record.jsonl")):
        with pytest.raises(ValueError, match="a record only grows"):
            mirror.write(message)
