"""The log of a job: the same in every launcher, and nothing twice in it."""

import logging
import os

import optuna
import pytest

from hrm_sweep.errors import Diverged, InputError
from hrm_sweep.launch.job_log import job_log

LOGGER = logging.getLogger("an.app")


@pytest.fixture
def path(tmp_path):
    LOGGER.setLevel(logging.INFO)
    return tmp_path / "run.log"


def test_what_is_logged_is_in_the_file_while_the_job_runs(path):
    with job_log(path):
        LOGGER.info("loss 0.5")
    LOGGER.info("after it")
    assert path.read_text().endswith("[an.app][INFO] - loss 0.5\n")


def test_the_file_is_there_when_nothing_is_logged(path):
    with job_log(path):
        pass
    assert path.read_bytes() == b""


def test_nothing_is_written_twice_where_the_app_logs_to_the_same_file(path):
    handler = logging.FileHandler(path)
    logging.getLogger().addHandler(handler)
    try:
        with job_log(path):
            LOGGER.info("once")
    finally:
        logging.getLogger().removeHandler(handler)
        handler.close()
    assert path.read_text() == "once\n"


def test_nothing_is_written_twice_where_standard_output_is_that_file(path, capfd):
    kept = os.dup(1)
    with path.open("ab") as file:
        os.dup2(file.fileno(), 1)
    try:
        with job_log(path):
            LOGGER.info("to the worker's output alone")
    finally:
        os.dup2(kept, 1)
        os.close(kept)
    assert path.read_bytes() == b""


def task():
    raise KeyError("lr")


def test_a_failure_is_a_traceback_that_begins_in_the_task(path):
    with pytest.raises(KeyError), job_log(path):
        task()
    first, line, code, *_, last = path.read_text().splitlines()
    assert first == "Traceback (most recent call last):"
    assert line.startswith(f'  File "{__file__}", line ')
    assert code == "    task()"
    assert last == "KeyError: 'lr'"


@pytest.mark.parametrize("ending", [optuna.TrialPruned("bad"), Diverged("loss is not finite")])
def test_other_endings_are_no_failures(path, ending):
    with pytest.raises(type(ending)), job_log(path):
        raise ending
    assert path.read_bytes() == b""


def test_nothing_is_written_through_a_link(path, tmp_path):
    path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(InputError, match="is a symbolic link"), job_log(path):
        pass
    assert not (tmp_path / "elsewhere").exists()
