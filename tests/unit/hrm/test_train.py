"""A run that is stopped or killed goes on to the same numbers, bit for bit."""

import pytest
import torch
from trainings import (
    assert_same,
    composed_small,
    interrupted_amid_an_epoch,
    measured,
    trained,
    weights,
)

from hrm_sweep.errors import CheckpointError, Diverged, Interrupted
from hrm_sweep.hrm import config, train
from hrm_sweep.hrm.training import checkpoint
from hrm_sweep.runs import record


@pytest.fixture(scope="module")
def small() -> config.Config:
    return composed_small()


@pytest.fixture(scope="module")
def whole(small, tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    return trained(small, folder), weights(folder)


@pytest.mark.parametrize("epoch", [1, 3])
def test_a_stopped_run_continues_bit_for_bit(small, whole, tmp_path, epoch):
    with pytest.raises(Interrupted, match=f"stopped after step {epoch}"):
        trained(small, tmp_path, stop_after=epoch)
    trained(small, tmp_path)
    assert_same(tmp_path, whole)
    assert not list(tmp_path.glob("checkpoint*"))


def test_a_killed_run_continues_from_its_last_checkpoint(small, whole, tmp_path, monkeypatch):
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
    assert "resumes after epoch 1" in caplog.text
    assert_same(tmp_path, whole)


def test_a_checkpoint_of_the_earlier_adam_atan2_is_named_with_the_way_out(tmp_path):
    atan2 = composed_small("optimizer=adam_atan2")
    with pytest.raises(Interrupted):
        trained(atan2, tmp_path, stop_after=1)
    (path,) = tmp_path.glob("checkpoint_?.pth")
    content = checkpoint.load(path)
    now = content["trainer"]["optimizer"]
    moments = {"steps": now["steps"], "exp_avg": now["mean"], "exp_avg_sq": now["square"]}
    content["trainer"]["optimizer"] = {"state": {0: moments}, "param_groups": [{"lr": 1e-3}]}
    checkpoint.save(path, content)
    with pytest.raises(
        CheckpointError, match=r"earlier optimizer=adam_atan2.*remove it to"
    ) as said:
        trained(atan2, tmp_path)
    assert str(said.value).startswith(f"{path}: ")
    assert "\n" not in str(said.value)


def test_weights_from_amid_an_epoch_are_no_epochs(small, tmp_path):
    with interrupted_amid_an_epoch(2), pytest.raises(KeyboardInterrupt):
        trained(small, tmp_path)
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
    trained(composed_small(*wild, "trainer.early_stopping.patience=1"), tmp_path)
    final, best = (checkpoint.load(tmp_path / f"{name}_model.pth") for name in ("final", "best"))
    assert best["epoch"] < measured(tmp_path)[-1][0]
    assert final["epoch"] == best["epoch"]
    assert final["values"]["eval/loss"] == best["values"]["eval/loss"]
    assert all(torch.equal(final["model"][name], best["model"][name]) for name in final["model"])


def test_a_diverging_run_says_where_and_keeps_what_it_had(tmp_path):
    wild = composed_small("lr=1e30", "optimizer.warmup=0")
    with pytest.raises(Diverged, match=r"at step \d+ \(epoch \d\); last good: "):
        trained(wild, tmp_path)
    last = record.read(tmp_path)[-1]
    assert last.fields["outcome"] == "diverged"
    assert (tmp_path / "training_history.json").exists()
