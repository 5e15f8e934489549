"""Tracebacks begin in the code of the task."""

from pathlib import Path

import pytest
from omegaconf import OmegaConf

from hrm_sweep.launch.job import Job
from hrm_sweep.launch.returned_values import take_values
from hrm_sweep.runs.app import App
from hrm_sweep.runs.tracebacks import format_task_error

OURS = Path(take_values.__code__.co_filename).parents[1]


def fails(_):
    raise ValueError("bad")


def wraps(cfg):
    try:
        fails(cfg)
    except ValueError as error:
        raise RuntimeError("worse") from error


def leaves(_):
    raise SystemExit(3)


def called_by_the_engine(task, tmp_path) -> str:
    """Return the traceback of what a task raises under `Job`."""

    class Run:  # what a job hands to its task
        cfg = OmegaConf.create({})

    with pytest.raises((Exception, SystemExit)) as raised:
        Job(task, App.of_command(["app.py"]))._call(Run(), None)  # type: ignore[arg-type]
    return format_task_error(raised.value.with_traceback(raised.tb.tb_next))


@pytest.mark.parametrize(
    ("task", "frames"),
    [
        pytest.param(fails, ["fails"], id="an error"),
        pytest.param(wraps, ["wraps", "fails", "wraps"], id="an error with a cause"),
        pytest.param(leaves, ["leaves"], id="sys.exit"),
    ],
)
def test_no_frame_of_ours_is_above_the_task(task, frames, tmp_path):
    text = called_by_the_engine(task, tmp_path)
    assert str(OURS) not in text
    named = [line.rpartition(" in ")[2] for line in text.splitlines() if "  File " in line]
    assert named == frames
    assert text.count(f'File "{__file__}"') == len(frames)
