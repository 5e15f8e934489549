from __future__ import annotations

import json
from dataclasses import replace

import pytest
import torch
from small import hrm_config, small_task, transformer_config, trm_config

from hrm_sweep.hrm.data.task import Task
from hrm_sweep.hrm.data.tokens import IGNORE
from hrm_sweep.hrm.models.act import ACT
from hrm_sweep.hrm.models.build import build_model
from hrm_sweep.hrm.training import evaluate as module
from hrm_sweep.hrm.training.evaluate import evaluate, examples, other_halting, solve
from hrm_sweep.hrm.training.losses import token_losses

TASK = small_task(num_eval_puzzles=14)
MODELS = [
    pytest.param(hrm_config(halt_max_steps=4, puzzle_emb_ndim=0), id="hrm"),
    pytest.param(trm_config(halt_max_steps=4, puzzle_emb_ndim=0), id="trm"),
    pytest.param(
        hrm_config(halt_max_steps=4, puzzle_emb_ndim=0, eval_halting="never"), id="all segments"
    ),
    pytest.param(
        hrm_config(halt_max_steps=2, eval_max_steps=5, puzzle_emb_ndim=0, eval_halting="never"),
        id="more segments than in training",
    ),
    pytest.param(transformer_config(), id="transformer"),
]


def build(config) -> ACT:
    """A model whose halting head lets half of the puzzles go after their first segment."""
    torch.manual_seed(3)
    model = build_model(config, TASK).eval()
    if model.max_steps > 1:
        head, batch = model.inner.q_head, TASK.eval.all()
        with torch.no_grad():
            head.weight.normal_()
            head.bias.zero_()
            carry = model.initial_carry(len(batch))
            _, output = model(carry, batch.inputs, batch.identifiers)
            wish = output.q_halt - (0.0 if output.q_continue is None else output.q_continue)
            head.bias[0] = -wish.median() - 1e-3
    return model


@pytest.mark.parametrize("config", MODELS)
def test_metrics_are_those_of_a_loop_over_the_puzzles(config):
    model = build(config)
    batch = TASK.eval.all()
    losses, segments, tokens, exact, said = [], [], [], [], []
    for row in range(len(batch)):
        carry, wished_at = model.initial_carry(1), 0
        inputs, identifier = batch.inputs[row : row + 1], batch.identifiers[row : row + 1]
        labels = batch.labels[row]
        while True:
            with torch.no_grad():
                carry, output = model(carry, inputs, identifier)
            if not wished_at and (carry.halted.item() or wants_to_halt(output)):
                wished_at = int(carry.steps)
            if carry.halted.item() or (wished_at and model.eval_halting == "early"):
                break
        if config.name != "transformer" and config.eval_halting == "never":
            assert carry.steps == (config.eval_max_steps or config.halt_max_steps)
        prediction = output.logits[0].argmax(dim=-1)
        scored = labels != IGNORE
        right = (prediction == labels)[scored]
        tokens.append(right.tolist())
        exact.append(bool(right.all()))
        said += prediction[scored].tolist()
        segments.append(wished_at)
        loss = token_losses(output.logits, labels[None], model.loss).sum() / scored.sum()
        if output.q_halt is not None:
            target = torch.tensor([float(exact[-1])])
            loss = loss + 0.5 * torch.nn.functional.binary_cross_entropy_with_logits(
                output.q_halt, target
            )
        losses.append(float(loss))
    found = evaluate(model, TASK)
    assert found["eval/loss"] == pytest.approx(sum(losses) / 14, rel=1e-4)
    assert found["eval/segments"] == pytest.approx(sum(segments) / 14)
    assert found["eval/mode_share"] == max(map(said.count, said)) / len(said)
    per_puzzle = sum(sum(hits) / len(hits) for hits in tokens) / 14
    assert found["eval/token_accuracy_per_puzzle"] == pytest.approx(per_puzzle)
    names = {"": range(14), "/copy": range(7), "/increment": range(7, 14)}
    for suffix, rows in names.items():
        hits = [hit for row in rows for hit in tokens[row]]
        assert found[f"eval/token_accuracy{suffix}"] == pytest.approx(sum(hits) / len(hits))
        solved = [exact[row] for row in rows]
        assert found[f"eval/exact_match{suffix}"] == pytest.approx(sum(solved) / len(solved))
    if model.max_steps > 1:
        assert len(set(segments)) > 1


def wants_to_halt(output) -> bool:
    if output.q_halt is None:
        return True
    rival = 0.0 if output.q_continue is None else output.q_continue.item()
    return output.q_halt.item() > rival


@pytest.mark.parametrize("config", MODELS)
def test_the_size_of_a_chunk_changes_no_answer(monkeypatch, config):
    model = build(config)
    whole = solve(model, TASK.eval.all())
    monkeypatch.setattr(module, "TOKENS_AT_ONCE", 3 * model.tokens)
    pieces = solve(model, TASK.eval.all())
    assert torch.equal(whole.predictions, pieces.predictions)
    assert torch.equal(whole.segments, pieces.segments)
    torch.testing.assert_close(whole.losses, pieces.losses)


def task_with(**tensors) -> Task:
    return Task(
        TASK.name,
        train=TASK.train,
        held_out=replace(TASK.eval, **tensors),
        patterns=TASK.patterns,
        vocab_size=TASK.vocab_size,
        num_identifiers=TASK.num_identifiers,
        shape=TASK.shape,
        seed=0,
    )


def test_puzzles_with_nothing_to_score_never_count():
    labels = TASK.eval.labels.clone()
    labels[3:7] = IGNORE
    keep = [0, 1, 2, *range(7, 14)]
    kept = {
        name: getattr(TASK.eval, name)[keep]
        for name in ("inputs", "labels", "identifiers", "patterns")
    }
    model = build(hrm_config())
    assert evaluate(model, task_with(labels=labels)) == pytest.approx(
        evaluate(model, task_with(**kept))
    )


def test_a_pattern_without_puzzles_has_no_metrics():
    patterns = torch.zeros_like(TASK.eval.patterns)
    found = evaluate(build(hrm_config()), task_with(patterns=patterns))
    assert found["eval/exact_match/copy"] == found["eval/exact_match"]
    assert "eval/exact_match/increment" not in found


def test_a_model_that_always_says_the_same_has_mode_share_1():
    model = build(hrm_config())
    with torch.no_grad():
        model.inner.lm_head.weight.zero_()
    assert evaluate(model, TASK)["eval/mode_share"] == 1.0


def test_what_a_task_measures_beside_is_averaged_too():
    class Evens(Task):
        def extra_metrics(self, inputs, predictions):
            return {"evens": (predictions % 2 == 0).float().mean(dim=-1)}

    source = task_with()
    task = Evens(
        **{
            "name": source.name,
            "train": source.train,
            "held_out": source.eval,
            "patterns": source.patterns,
            "vocab_size": source.vocab_size,
            "num_identifiers": source.num_identifiers,
            "shape": source.shape,
            "seed": 0,
        }
    )
    model = build(hrm_config())
    predictions = solve(model, TASK.eval.all()).predictions
    expected = (predictions % 2 == 0).float().mean().item()
    assert evaluate(model, task)["eval/evens"] == pytest.approx(expected)


@pytest.mark.parametrize("training", [True, False])
def test_evaluation_leaves_the_model_as_it_was(training):
    model = build(hrm_config()).train(training)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    evaluate(model, TASK)
    assert model.training is training
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())
    assert torch.is_grad_enabled()


def test_examples_show_every_pattern_as_grids():
    model = build(hrm_config())
    shown = examples(model, TASK, per_pattern=2)
    assert json.loads(json.dumps(shown)) == shown
    assert [example["pattern"] for example in shown] == ["copy"] * 2 + ["increment"] * 2
    first = shown[0]
    # 2x2 colours, EOS (-1) closing rows and columns, the corner of the canvas outside (-2)
    assert [[cell >= 0 for cell in row] for row in first["truth"]] == [
        [True, True, False],
        [True, True, False],
        [False, False, False],
    ]
    assert first["truth"][2][2] == -2
    assert first["input"] == first["truth"]
    assert first["scored"] == [[1, 1, 1], [1, 1, 1], [1, 1, 0]]
    assert first["prediction"][2][2] == -2
    whole = solve(model, TASK.eval.all()).predictions[0].view(3, 3) - 2
    assert first["prediction"][0] == whole[0].tolist()


@pytest.mark.parametrize("config", MODELS)
def test_the_exact_match_of_the_other_halting_is_that_of_a_model_which_chose_it(config):
    model = build(config)
    if model.halting is None:
        assert other_halting(model, TASK) == {}
        return
    other = "never" if config.eval_halting == "early" else "early"
    chooser = build(replace(config, eval_halting=other))
    expected = evaluate(chooser, TASK)["eval/exact_match"]
    assert other_halting(model, TASK) == {f"eval/exact_match_{other}": expected}
    assert model.eval_halting == config.eval_halting
    assert other_halting(build(replace(config, halt_max_steps=1, eval_max_steps=1)), TASK) == {}
