from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import pytest
import torch
from small import (
    atan2_config,
    hrm_config,
    small_task,
    transformer_config,
    trm_config,
)
from torch import Tensor
from trainings import build

from hrm_sweep.errors import Diverged
from hrm_sweep.hrm.data.task import Batch, Task
from hrm_sweep.hrm.data.tokens import IGNORE
from hrm_sweep.hrm.models.build import build_model
from hrm_sweep.hrm.training import checkpoint
from hrm_sweep.hrm.training.batching import ContinuousBatching
from hrm_sweep.hrm.training.configs import EarlyStoppingConfig
from hrm_sweep.hrm.training.losses import score_predictions
from hrm_sweep.hrm.training.metrics import Measurement
from hrm_sweep.hrm.training.optim import schedule


def timeless(measurements: list[Measurement]) -> list[Measurement]:
    """Without what a clock says."""
    return [
        Measurement(step, {name: v for name, v in values.items() if not name.startswith("time/")})
        for step, values in measurements
    ]


def same_tensors(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[n], other[n]) for n in one)


class Diary(Task):
    """A task that remembers what was drawn from it."""

    drawn: list[tuple[int, list[int]]]

    def draw(self, indices: Tensor, epoch: int) -> Batch:
        self.drawn.append((epoch, indices.tolist()))
        return super().draw(indices, epoch)


def diary(num_puzzles: int) -> Diary:
    source = small_task(num_puzzles=num_puzzles)
    task = Diary(
        source.name,
        train=source.train,
        held_out=source.eval,
        patterns=source.patterns,
        vocab_size=source.vocab_size,
        num_identifiers=source.num_identifiers,
        shape=source.shape,
        seed=0,
    )
    task.drawn = []
    return task


@pytest.mark.parametrize(
    ("num_puzzles", "batch_size"),
    [
        pytest.param(18, 4, id="a rest"),
        pytest.param(16, 4, id="no rest"),
        pytest.param(3, 8, id="fewer puzzles than rows"),
        pytest.param(1, 1, id="one puzzle"),
    ],
)
@pytest.mark.parametrize("model", [hrm_config, transformer_config], ids=["hrm", "transformer"])
def test_every_puzzle_is_drawn_once_an_epoch(num_puzzles, batch_size, model):
    task = diary(num_puzzles)
    trainer = build(task=task, model=model(), batch_size=batch_size, epochs=3)
    assert len(list(trainer.epochs())) == 3
    for epoch in (1, 2, 3):
        drawn = [index for when, indices in task.drawn for index in indices if when == epoch]
        assert sorted(drawn) == list(range(num_puzzles))


def test_a_puzzle_starts_with_its_first_segment_and_stays_until_it_halts():
    task = small_task()
    model = build_model(hrm_config(halt_max_steps=3), task).train()
    stream, carry = ContinuousBatching(task, rows=4), None
    stream.start(1)
    carry = model.initial_carry(4)
    segments_had, seen = torch.zeros(4, dtype=torch.int64), []
    while stream.fill():
        fresh = carry.halted
        segments_had = torch.where(fresh, 1, segments_had + 1)
        before = stream.batch.inputs.clone()
        carry, output = model(carry, stream.batch.inputs, stream.batch.identifiers)
        assert carry.steps.tolist() == segments_had.tolist()
        seen.append((before, carry.halted.clone()))
        stream.release(
            carry.halted, score_predictions(output.logits.argmax(dim=-1), stream.batch.labels)
        )
    for (before, halted), (after, _) in pairwise(seen):
        assert torch.equal(before[~halted], after[~halted])
        assert not any(torch.equal(before[row], after[row]) for row in halted.nonzero())
    assert carry.steps.max() == 3


def test_a_plain_loop_gives_the_same_numbers():
    """With one segment a puzzle the stream is a loop over batches, which is written here."""
    task = small_task(num_puzzles=16)
    trainer = build(task=task, model=transformer_config(loss="softmax"), epochs=2)
    torch.manual_seed(0)
    model = build_model(transformer_config(loss="softmax"), task)
    optimizer = torch.optim.AdamW(model.parameters(), betas=(0.9, 0.95), weight_decay=0.1)
    for measurement in trainer.epochs():
        losses, right, exact = [], [], []
        order = task.order(measurement.step)
        for number in range(4):
            batch = task.draw(order[4 * number : 4 * number + 4], measurement.step)
            _, output = model(model.initial_carry(4), batch.inputs, batch.identifiers)
            row_losses = torch.stack(
                [
                    torch.nn.functional.cross_entropy(logits, labels, ignore_index=IGNORE)
                    for logits, labels in zip(output.logits, batch.labels, strict=True)
                ]
            )
            row_losses.mean().backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            progress = (measurement.step - 1 + (number + 1) / 4) / 2
            share = schedule(progress, warmup=0.1, lowest=0.1)
            optimizer.param_groups[0]["lr"] = 1e-2 * share
            optimizer.step()
            optimizer.zero_grad()
            embedding = model.inner.puzzle_emb
            for identifier in batch.identifiers.unique():
                gradient = embedding.rows.grad[batch.identifiers == identifier].sum(dim=0)
                row = embedding.weights[identifier] * (1 - 1e-2 * share * 0.1)
                embedding.weights[identifier] = row - 1e-2 * share * gradient.sign()
            scored = batch.labels != IGNORE
            hits = (output.logits.argmax(dim=-1) == batch.labels) & scored
            losses += row_losses.tolist()
            right += hits[scored].tolist()
            exact += (hits.sum(dim=-1) == scored.sum(dim=-1)).tolist()
        values = measurement.values
        assert values["train/loss"] == pytest.approx(sum(losses) / 16, rel=1e-4)
        assert values["train/token_accuracy"] == pytest.approx(sum(right) / len(right))
        assert values["train/exact_match"] == pytest.approx(sum(exact) / 16)
        assert values["optimizer/lr"] == pytest.approx(optimizer.param_groups[0]["lr"])
    for name, tensor in model.state_dict().items():
        torch.testing.assert_close(
            trainer.model.state_dict()[name], tensor, rtol=1e-3, atol=1e-4, msg=name
        )


def test_an_epoch_measures_what_the_design_names():
    trainer = build(epochs=1)
    (measurement,) = trainer.epochs()
    assert measurement.step == trainer.epoch == 1
    assert set(measurement.values) == {
        *("train/loss", "train/lm_loss", "train/q_halt_loss"),
        *("train/token_accuracy", "train/exact_match"),
        *("train/token_accuracy_per_puzzle", "eval/token_accuracy_per_puzzle"),
        *("eval/loss", "eval/token_accuracy", "eval/exact_match"),
        *("eval/exact_match/copy", "eval/exact_match/increment"),
        *("eval/token_accuracy/copy", "eval/token_accuracy/increment"),
        *("eval/mode_share", "eval/segments", "eval/phase"),
        *("optimizer/lr", "time/examples_per_second"),
    }
    assert all(math.isfinite(value) for value in measurement.values.values())


def test_every_so_many_epochs_and_the_last_are_evaluated():
    seldom, always = build(epochs=5, eval_every=2), build(epochs=5)
    for ours, theirs in zip(
        timeless(list(seldom.epochs())), timeless(list(always.epochs())), strict=True
    ):
        assert ours.values.items() <= theirs.values.items()
        assert ("eval/loss" in ours.values) == (ours.step in (2, 4, 5))
    assert seldom.best.epoch in (2, 4, 5)
    assert same_tensors(seldom.weights(), always.weights())


def test_padding_rows_never_count():
    full = build(task=small_task(num_puzzles=3), model=transformer_config(), batch_size=3, epochs=1)
    padded = build(
        task=small_task(num_puzzles=3), model=transformer_config(), batch_size=8, epochs=1
    )
    (one,), (other,) = full.epochs(), padded.epochs()
    for name in ("train/loss", "train/token_accuracy", "train/exact_match"):
        assert one.values[name] == pytest.approx(other.values[name], rel=1e-5), name


def test_who_iterates_keeps_gradients_switched_on():
    for _ in build(epochs=2).epochs():
        assert torch.is_grad_enabled()
        assert not torch.is_inference_mode_enabled()


def test_equal_seeds_give_equal_numbers():
    one, same, other = (timeless(list(build(seed=seed).epochs())) for seed in (1, 1, 2))
    assert one == same
    assert one != other


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({}, id="hrm"),
        pytest.param({"precision": "bf16"}, id="bf16"),
        pytest.param({"ema": 0.9}, id="average"),
        pytest.param({"optimizer": atan2_config()}, id="adam_atan2"),
        pytest.param({"model": trm_config(halt_exploration_prob=0.3)}, id="trm"),
        pytest.param({"model": transformer_config()}, id="transformer"),
        pytest.param({"task": small_task(noise=0.3)}, id="noise"),
        pytest.param({"batch_size": 32}, id="padding rows"),
        pytest.param({"batches": "padded"}, id="a segment a batch"),
        pytest.param({"batches": "published", "eval_every": 4}, id="across epochs"),
        pytest.param({"eval_every": 3}, id="seldom evaluated"),
    ],
)
def test_a_resumed_run_is_bit_for_bit_the_same(tmp_path, changes):
    whole = build(epochs=4, **changes)
    through = timeless(list(whole.epochs()))
    first, measured = build(epochs=4, **changes), []
    for measurement in first.epochs():
        measured.append(measurement)
        if measurement.step == 2:
            break
    checkpoint.save(tmp_path / "state", first.state())
    second = build(epochs=4, seed=9, **changes)  # its own weights, which the state replaces
    second.load_state(checkpoint.load(tmp_path / "state"))
    measured += second.epochs()
    assert timeless(measured) == through
    assert same_tensors(second.weights(), whole.weights())
    assert second.best.epoch == whole.best.epoch
    assert same_tensors(second.best.weights, whole.best.weights)


def test_an_epoch_without_a_whole_batch_trains_nothing():
    trainer = build(
        task=small_task(num_puzzles=3), batch_size=5, batches="published", eval_every=2, epochs=2
    )
    first, second = (measurement.values for measurement in trainer.epochs())
    assert "train/loss" not in first
    assert second["train/loss"] > 0
    assert trainer.state()["steps"] == 1


def test_a_state_does_not_change_when_training_continues():
    trainer = build(epochs=3)
    epochs = trainer.epochs()
    next(epochs)
    state = trainer.state()
    kept = [tensor.clone() for tensor in tensors_in(state)]
    assert len(list(epochs)) == 2
    assert all(torch.equal(a, b) for a, b in zip(kept, tensors_in(state), strict=True))


def tensors_in(value: Any) -> list[Tensor]:
    if isinstance(value, Tensor):
        return [value]
    items = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return [tensor for item in items for tensor in tensors_in(item)]


def test_a_loss_that_is_not_finite_ends_the_run_with_its_story():
    trainer = build(epochs=3)
    epochs = trainer.epochs()
    next(epochs)
    steps = trainer.state()["steps"]
    with torch.no_grad():
        trainer.model.inner.lm_head.weight[0, 0] = math.nan
    with pytest.raises(Diverged) as error:
        next(epochs)
    words = str(error.value)
    assert words.startswith(
        f"train/loss is nan at step {steps + 1} (epoch 2); last good: train/loss="
    )
    assert words.endswith(f"at step {steps}")


def test_a_gradient_that_is_not_finite_ends_the_run_before_it_moves_the_weights():
    trainer = build(epochs=1, model=transformer_config(loss="softmax"))
    before = trainer.weights()
    trainer.model.inner.lm_head.weight.register_hook(lambda gradient: gradient * math.inf)
    with pytest.raises(Diverged, match=r"the gradient's norm is (inf|nan) at step 1 \(epoch 1\)"):
        list(trainer.epochs())
    assert same_tensors(before, trainer.weights())


def test_early_stopping_gives_the_best_weights_back():
    stopping = EarlyStoppingConfig(patience=2, min_improvement=5.0)
    trainer = build(epochs=30, early_stopping=stopping, monitor="eval/mode_share")  # low at first
    measured = list(trainer.epochs())
    assert [measurement.step for measurement in measured] == [1, 2, 3]
    shares = [m.values["eval/mode_share"] for m in measured]
    assert trainer.best.epoch < 3
    assert trainer.best.values["eval/mode_share"] == min(shares)
    assert same_tensors(trainer.weights(), trainer.best.weights)
    again = trainer.evaluate()
    assert again["eval/mode_share"] == min(shares)
    assert list(trainer.epochs()) == []


def test_a_run_stopped_early_stays_stopped_when_resumed():
    stopping = EarlyStoppingConfig(patience=1, min_improvement=5.0)
    trainer = build(epochs=30, early_stopping=stopping, monitor="eval/mode_share")
    states = [trainer.state() for _ in trainer.epochs()]
    assert trainer.best.epoch < trainer.epoch
    resumed = build(epochs=30, early_stopping=stopping, seed=3, monitor="eval/mode_share")
    resumed.load_state(states[-1])
    assert list(resumed.epochs()) == []
    assert same_tensors(resumed.weights(), trainer.best.weights)


def test_with_an_average_it_is_the_average_that_counts():
    averaged, plain = build(ema=0.999, epochs=2), build(epochs=2)
    for ours, theirs in zip(averaged.epochs(), plain.epochs(), strict=True):
        assert ours.values["train/loss"] == theirs.values["train/loss"]
        assert ours.values["eval/loss"] != theirs.values["eval/loss"]
    assert same_tensors(dict(averaged.model.state_dict()), dict(plain.model.state_dict()))
    assert not same_tensors(averaged.weights(), plain.weights())


@pytest.mark.parametrize(
    "model",
    [
        pytest.param(hrm_config(), id="hrm"),
        pytest.param(hrm_config(halting="bce", loss="softmax"), id="hrm with bce and softmax"),
        pytest.param(hrm_config(pos_encodings="learned"), id="hrm with learned positions"),
        pytest.param(trm_config(), id="trm"),
        pytest.param(transformer_config(), id="transformer"),
    ],
)
def test_every_model_learns_the_small_task(model):
    trainer = build(model=model, epochs=8, task=small_task(num_puzzles=200))
    values = [measurement.values for measurement in trainer.epochs()]
    assert values[-1]["train/loss"] < 0.8 * values[0]["train/loss"]
    # four of eight scored tokens are EOS, always in the same places
    assert trainer.best.values["eval/token_accuracy"] > 0.7
