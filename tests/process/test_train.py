"""A run that is stopped or killed goes on to the same numbers, bit for bit."""

import multiprocessing
import random

import hydra
import pytest
import torch
from studies import until, written
from torch.nn.modules.module import register_module_forward_pre_hook

from hrm_sweep.errors import Diverged, Interrupted
from hrm_sweep.hrm import config, train
from hrm_sweep.hrm.models.act import ACT
from hrm_sweep.hrm.training import checkpoint
from hrm_sweep.runs import handle as trial
from hrm_sweep.runs import record

SMALL = (
    "trainer=smoke",
    "hidden_dim=32",
    "epochs=4",
    "trainer.epochs=4",
    "data.num_puzzles=16",
    "data.num_eval_puzzles=8",
)


@pytest.fixture(scope="module")
def small() -> config.Config:
    return composed()


def composed(*more: str) -> config.Config:
    config.register_resolvers()
    with hydra.initialize_config_dir(str(config.CONF), version_base="1.3"):
        return config.build(hydra.compose("config", [*SMALL, *more]))


def trained(small, folder, *, stop_after=None, kill_after=None):
    """Runs in `folder`, stopped in order or killed after some epoch; its history."""

    def watch(step, values):
        if step == kill_after:
            raise MemoryError  # nothing is caught, nothing is saved: as if the process were gone

    requested = trial.stop_requested
    with trial.session(folder, name="run", params={}, tags={}) as handle:
        handle.listeners.append(watch)
        trial.stop_requested = lambda: handle.last_step == stop_after
        try:
            train.run(small, handle)
        finally:
            trial.stop_requested = requested
    return measured(folder)


def measured(folder):
    """Step -> values of the record, without the time they took."""
    return [
        (entry.fields["step"], {k: v for k, v in entry.fields["values"].items() if "time" not in k})
        for entry in record.read(folder)
        if entry.event == "metrics"
    ]


def weights(folder):
    return checkpoint.load(folder / "final_model.pth")["model"]


@pytest.fixture(scope="module")
def whole(small, tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    return trained(small, folder), weights(folder)


def assert_same(folder, whole):
    history, final = whole
    assert measured(folder) == history
    assert all(torch.equal(tensor, final[name]) for name, tensor in weights(folder).items())


@pytest.mark.parametrize("epoch", [1, 3])
def test_a_stopped_run_goes_on_bit_for_bit(small, whole, tmp_path, epoch):
    with pytest.raises(Interrupted, match=f"stopped after step {epoch}"):
        trained(small, tmp_path, stop_after=epoch)
    trained(small, tmp_path)
    assert_same(tmp_path, whole)
    assert not list(tmp_path.glob("checkpoint*"))


def test_a_killed_run_goes_on_from_its_last_checkpoint(small, whole, tmp_path, monkeypatch):
    monkeypatch.setattr(train, "CHECKPOINT_SECONDS", 0)
    with pytest.raises(MemoryError):
        trained(small, tmp_path, kill_after=3)
    trained(small, tmp_path)
    assert_same(tmp_path, whole)


def test_of_two_checkpoints_the_whole_one_is_taken(small, whole, tmp_path, monkeypatch, caplog):
    caplog.set_level("INFO", logger="hrm_sweep")
    monkeypatch.setattr(train, "CHECKPOINT_SECONDS", 0)
    with pytest.raises(MemoryError):
        trained(small, tmp_path, kill_after=3)
    there = sorted(tmp_path.glob("checkpoint_?.pth"), key=lambda path: path.stat().st_mtime_ns)
    assert [checkpoint.load(path)["trainer"]["epoch"] for path in there] == [1, 2]
    newest = there[-1]
    damaged = bytearray(newest.read_bytes())
    damaged[len(damaged) // 2] ^= 1
    newest.write_bytes(damaged)
    trained(small, tmp_path)
    assert "goes on after epoch 1" in caplog.text
    assert_same(tmp_path, whole)


KILLS = 20


@pytest.mark.slow
def test_kills_at_random_times_change_no_number(small, whole, tmp_path):
    spawner = multiprocessing.get_context("forkserver")
    spawner.set_forkserver_preload(["test_train"])  # torch is imported once, not for each kill
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
    trained(composed(), folder)


class AmidAnEpoch:
    """Ctrl-C in the middle of the epoch after `epoch`: its second segment does not begin."""

    def __init__(self, epoch):
        self.epoch, self.segments = epoch, 0

    def __call__(self, module, _):
        handle = trial.current()
        if isinstance(module, ACT) and module.training and handle.last_step == self.epoch:
            self.segments += 1
            if self.segments == 2:
                raise KeyboardInterrupt


def test_weights_from_amid_an_epoch_are_no_epochs(small, tmp_path):
    hook = register_module_forward_pre_hook(AmidAnEpoch(2))
    try:
        with pytest.raises(KeyboardInterrupt):
            trained(small, tmp_path)
    finally:
        hook.remove()
    assert "weights" not in record.read(tmp_path)[-1].fields["facts"]
    left = checkpoint.load(tmp_path / "final_model.pth")
    assert (left["epoch"], left["values"]) == (None, {})


def test_weights_from_the_end_of_an_epoch_can_be_compared(small, tmp_path):
    with pytest.raises(Interrupted):
        trained(small, tmp_path, stop_after=2)
    left = checkpoint.load(tmp_path / "final_model.pth")
    assert (left["epoch"], left["values"]["epoch"]) == (2, 2)
    noted = record.read(tmp_path)[-1].fields["facts"]["weights"]
    assert noted == checkpoint.fingerprint(left["model"])


def test_after_early_stopping_the_final_weights_are_labelled_as_the_best(tmp_path):
    wild = ["lr=1000", "optimizer.weight_decay=0", "trainer.monitor=eval/loss"]  # only worse
    trained(composed(*wild, "trainer.early_stopping.patience=1"), tmp_path)
    final, best = (checkpoint.load(tmp_path / f"{name}_model.pth") for name in ("final", "best"))
    assert best["epoch"] < measured(tmp_path)[-1][0]
    assert final["epoch"] == best["epoch"]
    assert final["values"]["eval/loss"] == best["values"]["eval/loss"]
    assert all(torch.equal(final["model"][name], best["model"][name]) for name in final["model"])


def test_a_diverging_run_says_where_and_keeps_what_it_had(tmp_path):
    wild = composed("lr=1e30", "optimizer.warmup=0")
    with pytest.raises(Diverged, match=r"at step \d+ \(epoch \d\); last good: "):
        trained(wild, tmp_path)
    last = record.read(tmp_path)[-1]
    assert last.fields["outcome"] == "diverged"
    assert (tmp_path / "training_history.json").exists()
