"""Standard output that cannot say or take what is printed."""

import io
import os
import sys
from pathlib import Path

import pytest

from hrm_sweep.system import output

FULL = Path("/dev/full")


def stream(encoding: str, descriptor: int | None = None) -> io.TextIOWrapper:
    raw = io.BytesIO() if descriptor is None else os.fdopen(descriptor, "wb")
    return io.TextIOWrapper(raw, encoding=encoding, write_through=True)


@pytest.mark.parametrize(
    ("encoding", "printed"),
    [
        pytest.param("ascii", r"\xe9 \u65e5", id="ascii"),
        pytest.param("latin-1", r"é \u65e5", id="latin-1"),
        pytest.param("utf-8", "é 日", id="utf-8"),
    ],
)
def test_characters_that_an_encoding_lacks_are_escaped(monkeypatch, encoding, printed):
    screen = stream(encoding)
    monkeypatch.setattr(sys, "stdout", screen)
    with output.tolerated():
        print("é 日")
    assert screen.buffer.getvalue().decode(encoding) == f"{printed}\n"
    output.escape_characters()
    print("é 日")
    assert screen.buffer.getvalue().decode(encoding) == f"{printed}\n" * 2


def test_a_reader_who_has_left_ends_the_output_and_not_the_block(monkeypatch):
    reader, writer = os.pipe()
    os.close(reader)
    screen = stream("utf-8", writer)
    monkeypatch.setattr(sys, "stdout", screen)
    with output.tolerated():
        print("to nobody", flush=True)
        print("to nobody again", flush=True)
    screen.close()


@pytest.mark.skipif(not FULL.exists(), reason="needs Linux")
def test_a_full_disk_ends_the_output_and_not_the_block(monkeypatch):
    with FULL.open("w", encoding="utf-8") as full:
        monkeypatch.setattr(sys, "stdout", full)
        with output.tolerated():
            print("to nowhere")


def test_a_process_without_standard_output_has_nothing_to_tolerate(monkeypatch):
    monkeypatch.setattr(sys, "stdout", None)
    output.escape_characters()
    with output.tolerated():
        print("to nobody")
