"""Training processes killed at random times: the numbers do not change."""

from __future__ import annotations

import multiprocessing
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from paths import TESTS
from studies import until, written
from torch import Tensor
from trainings import assert_same, build, composed_small, trained, weights

from hrm_sweep.hrm import config, train
from hrm_sweep.hrm.training import checkpoint

KILLS = 20


def test_kills_at_random_times_change_no_number(small, whole, tmp_path):
    spawner = multiprocessing.get_context("forkserver")
    spawner.set_forkserver_preload(
        ["test_training_kills"]
    )  # torch is imported once, not for each kill
    chance = random.Random(0)
    killed, folders = 0, 0
    while killed < KILLS:
        folders += 1
        folder = tmp_path / str(folders)
        while not (folder / "result.json").exists():
            process = spawner.Process(target=train_and_save_often, args=(folder,))
            process.start()
            if killed < KILLS:
                wait_for_a_moment(process, folder, chance)
            else:
                process.join()
            if process.is_alive():
                process.kill()
                process.join()
                killed += 1
        assert_same(folder, whole)
    assert folders < KILLS


def wait_for_a_moment(process, folder, chance):
    """Now and then while it starts, mostly within what follows an entry of its record."""
    if chance.random() < 0.3:
        process.join(chance.uniform(0, 1))
        return
    known = len(written(folder))
    until(lambda: len(written(folder)) > known or not process.is_alive())
    times = [entry.time_ms for entry in written(folder)] or [0]
    process.join(chance.uniform(0, (times[-1] - times[0]) / 4000))  # about as long as an epoch


def train_and_save_often(folder):
    train.CHECKPOINT_SECONDS = 0
    trained(composed_small(), folder)


@pytest.fixture(scope="module")
def small() -> config.Config:
    return composed_small()


@pytest.fixture(scope="module")
def whole(small, tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    return trained(small, folder), weights(folder)


WRITER = """
import sys, torch
from pathlib import Path
from hrm_sweep.hrm.training import checkpoint
for number in range(10_000):
    weight = torch.full((500, 500), float(number))
    checkpoint.save(Path(sys.argv[1]), {"number": number, "weight": weight})
    print(number, flush=True)
"""


def test_a_writer_killed_at_any_moment_leaves_a_checkpoint_that_loads(tmp_path):
    path = tmp_path / "model.pth"
    for delay in (0.0, 0.004, 0.009):
        writer = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE, text=True
        )
        assert writer.stdout is not None
        for _ in range(3):
            number = int(writer.stdout.readline())
        time.sleep(delay)
        os.kill(writer.pid, signal.SIGKILL)
        number = max([number, *map(int, writer.stdout.read().split())])
        writer.wait()
        content = checkpoint.load(path)
        assert content["number"] in (number, number + 1)
        assert (content["weight"] == content["number"]).all()


def same_tensors(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[n], other[n]) for n in one)


KILLED = """
import sys
from pathlib import Path
sys.path[:0] = sys.argv[2:]
from test_training_kills import build, checkpoint
trainer = build(epochs=300)
path = Path(sys.argv[1])
if path.exists():
    trainer.load_state(checkpoint.load(path))
for measurement in trainer.epochs():
    checkpoint.save(path, trainer.state())
    print(measurement.step, flush=True)
"""


def test_a_run_killed_in_mid_epoch_continues_as_if_it_had_not_been(tmp_path):
    path, finished = tmp_path / "state", 0
    for delay in (0.02, 0.04):
        here = Path(__file__).parent
        process = subprocess.Popen(
            [sys.executable, "-c", KILLED, str(path), str(here), str(TESTS)],
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )
        assert process.stdout is not None
        finished = int(process.stdout.readline())
        time.sleep(delay)
        os.kill(process.pid, signal.SIGKILL)
        process.communicate()
    resumed = build(epochs=300)
    resumed.load_state(checkpoint.load(path))
    assert resumed.epoch >= finished
    whole = build(epochs=300)
    for measurement in whole.epochs():
        if measurement.step == resumed.epoch:
            break
    assert same_tensors(whole.weights(), resumed.weights())
