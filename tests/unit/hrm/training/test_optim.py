from __future__ import annotations

import copy
import math

import pytest
import torch
from small import adamw_config, atan2_config, hrm_config, small_task
from torch import nn

from hrm_sweep.hrm.backends.eager import EagerBackend
from hrm_sweep.hrm.models.act import ACT
from hrm_sweep.hrm.models.build import build_model
from hrm_sweep.hrm.models.layers import PuzzleEmbedding
from hrm_sweep.hrm.training.adam import Adam
from hrm_sweep.hrm.training.optim import (
    EMA,
    OptimizerStep,
    SignSGD,
    compute_dtype,
    schedule,
)
from hrm_sweep.hrm.training.params import FlatParams
from hrm_sweep.system import environment

TASK = small_task()
BATCH = TASK.train.take(torch.arange(4))


def build(seed: int = 0) -> ACT:
    torch.manual_seed(seed)
    return build_model(hrm_config(), TASK).train()


def backward(model: ACT, scale: float = 1.0) -> None:
    _, output = model(model.initial_carry(4), BATCH.inputs, BATCH.identifiers)
    (scale * output.logits.square().mean()).backward()


@pytest.mark.parametrize(
    ("progress", "share"),
    [
        pytest.param(0.0, 0.0, id="start"),
        pytest.param(0.05, 0.5, id="half way up"),
        pytest.param(0.1, 1.0, id="top"),
        pytest.param(0.55, 0.6, id="half way down"),
        pytest.param(1.0, 0.2, id="end"),
        pytest.param(1.1, 0.2, id="after the end"),
    ],
)
def test_the_schedule_rises_in_a_line_and_falls_in_a_cosine(progress, share):
    assert schedule(progress, warmup=0.1, lowest=0.2) == pytest.approx(share)


def test_a_schedule_may_be_constant_or_all_warmup():
    assert [schedule(p, warmup=0.0, lowest=1.0) for p in (0.0, 0.5, 1.0)] == [1.0] * 3
    assert schedule(0.5, warmup=1.0, lowest=0.0) == 0.5
    assert schedule(1.0, warmup=1.0, lowest=0.0) == 1.0


def test_one_vector_steps_as_adamw_does_tensor_by_tensor():
    model, twin = build(), build()
    config = adamw_config(max_grad_norm=0.5, puzzle_emb_lr=0.0)
    optimizer = OptimizerStep(model, FlatParams(model, torch.float32), config)
    plain = torch.optim.AdamW(twin.parameters(), betas=(0.9, 0.95), weight_decay=0.1)
    for number in range(1, 4):
        backward(model)
        backward(twin)
        for parameter in twin.parameters():  # the Q head is outside this loss
            parameter.grad = (
                torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
            )
        wanted = torch.nn.utils.clip_grad_norm_(twin.parameters(), 0.5).item()
        norm = optimizer.step(number / 10)
        plain.param_groups[0]["lr"] = optimizer.lr
        plain.step()
        plain.zero_grad()
        assert norm == pytest.approx(wanted, rel=1e-5)
        assert norm > 0.5
        assert optimizer.lr == pytest.approx(1e-2 * schedule(number / 10, warmup=0.1, lowest=0.1))
    for (name, ours), theirs in zip(model.named_parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-6, msg=name)


def test_working_copies_follow_the_weights_and_give_their_gradient_back():
    model, twin = build(), build()
    weights = FlatParams(model, torch.bfloat16)
    projection = model.inner.L_level.layers[0].mlp.gate_up_proj
    assert torch.equal(projection.compute_copy, projection.weight.bfloat16())
    backward(model)
    backward(twin)
    assert not projection.weight.grad.any()
    weights.collect_grads()
    for (name, ours), theirs in zip(model.named_parameters(), twin.parameters(), strict=True):
        if theirs.grad is not None:
            error = (ours.grad - theirs.grad).norm() / theirs.grad.norm()
            assert error < 0.05, f"{name}: {error}"
    before = projection.compute_copy.clone()
    OptimizerStep(model, weights, adamw_config()).step(0.5)
    assert not torch.equal(projection.compute_copy, before)
    assert torch.equal(projection.compute_copy, projection.weight.bfloat16())
    assert not weights.gradient.any()


def test_a_gradient_that_is_not_finite_moves_nothing():
    model = build()
    optimizer = OptimizerStep(model, FlatParams(model, torch.float32), adamw_config())
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    backward(model, scale=math.inf)
    assert not math.isfinite(optimizer.step(0.5))
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())


def test_a_puzzle_embedding_moves_by_the_sign_of_its_summed_gradient():
    embedding = PuzzleEmbedding(4, 2)
    embedding.weights.copy_(torch.tensor([[1.0, 1.0], [2.0, 2.0], [3.0, 3.0], [4.0, 4.0]]))
    rows = embedding(torch.tensor([2, 0, 2]))
    (rows * torch.tensor([[5.0, -1.0], [0.0, 1.0], [-1.0, -2.0]])).sum().backward()
    SignSGD(embedding, lr=0.2, weight_decay=0.5).step(share=0.5)
    # lr 0.1, decay 0.95; row 2 metrics to (4, -3), row 0 has (0, 1)
    expected = [[0.95, 0.85], [2.0, 2.0], [2.75, 2.95], [4.0, 4.0]]
    torch.testing.assert_close(embedding.weights, torch.tensor(expected))


def test_the_average_of_the_weights():
    model = build()
    weights = FlatParams(model, torch.float32)
    average = EMA(weights, decay=0.3)
    expected = weights.vector.detach().clone()
    for number in range(1, 6):
        with torch.no_grad():
            weights.vector.add_(1.0)
        average.update()
        decay = min(0.3, (1 + number) / (10 + number))
        expected = decay * expected + (1 - decay) * weights.vector.detach()
    torch.testing.assert_close(average.vector, expected)


def test_the_average_at_a_constant_rate():
    weights = FlatParams(build(), torch.float32)
    average = EMA(weights, decay=0.9, warmup=False)
    expected = weights.vector.detach().clone()
    for _ in range(3):
        with torch.no_grad():
            weights.vector.add_(1.0)
        average.update()
        expected = 0.9 * expected + 0.1 * weights.vector.detach()
    torch.testing.assert_close(average.vector, expected)


def test_a_warmup_in_steps_and_the_published_cosine_behind_it():
    config = adamw_config(warmup_steps=4, lr_min_ratio=0.2)
    model = build()
    optimizer = OptimizerStep(model, FlatParams(model, torch.float32), config)
    found = []
    for number in range(1, 11):
        if number == 7:  # as after a resumption
            state = {key: copy.deepcopy(value) for key, value in optimizer.state().items()}
            model = build()
            optimizer = OptimizerStep(model, FlatParams(model, torch.float32), config)
            optimizer.load_state(state)
        backward(model)
        optimizer.step(number / 10)
        found.append(optimizer.lr / config.lr)
    falling = [0.2 + 0.4 * (1 + math.cos(math.pi * (number - 4) / 6)) for number in range(5, 11)]
    assert found == pytest.approx([0.25, 0.5, 0.75, 1.0, *falling])


def test_frozen_weights_leave_the_puzzle_embedding_to_train():
    model = build()
    optimizer = OptimizerStep(model, FlatParams(model, torch.float32), adamw_config(), freeze=True)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    backward(model)
    optimizer.step(0.5)
    after = model.state_dict()
    changed = [name for name, tensor in before.items() if not torch.equal(tensor, after[name])]
    assert changed == ["inner.puzzle_emb.weights"]


def test_other_weights_take_the_place_of_ours_for_a_while():
    model = build()
    weights = FlatParams(model, torch.bfloat16)
    own = weights.vector.detach().clone()
    projection = model.inner.L_level.layers[0].mlp.down_proj
    with weights.replaced_by(torch.ones_like(own)):
        assert (projection.weight == 1).all()
        assert (projection.compute_copy == 1).all()
    assert torch.equal(weights.vector, own)
    assert torch.equal(projection.compute_copy, projection.weight.bfloat16())


def test_a_state_that_is_loaded_reaches_the_working_copies():
    model = build()
    FlatParams(model, torch.bfloat16)
    other = build(seed=1)
    model.load_state_dict(other.state_dict())
    projection = model.inner.H_level.layers[0].self_attn.qkv_proj
    twin = other.inner.H_level.layers[0].self_attn.qkv_proj
    assert torch.equal(projection.compute_copy, twin.weight.bfloat16())


def test_atan2_steps_as_the_published_package():
    model = build()
    weights = FlatParams(model, torch.float32)
    config = atan2_config(max_grad_norm=None)
    optimizer = OptimizerStep(model, weights, config)
    expected = weights.vector.detach().double()
    mean, square = torch.zeros_like(expected), torch.zeros_like(expected)
    for number in range(1, 6):  # adam-atan2 0.0.3, in float64
        backward(model)
        weights.collect_grads()
        gradient = weights.gradient.double()
        optimizer.step(number / 10)
        lr = optimizer.lr
        mean = config.beta1 * mean + (1 - config.beta1) * gradient
        square = config.beta2 * square + (1 - config.beta2) * gradient**2
        root = (square / (1 - config.beta2**number)).sqrt()
        expected = expected * (1 - lr * config.weight_decay)
        expected = expected - lr / (1 - config.beta1**number) * torch.atan2(mean, root)
    torch.testing.assert_close(weights.vector.detach().double(), expected, rtol=1e-5, atol=1e-6)


def test_the_first_step_of_atan2_is_nearly_as_long_as_the_learning_rate():
    params = FlatParams(nn.Linear(2, 1, bias=False), torch.float32)
    with torch.no_grad():
        params.vector.zero_()
    params.gradient.copy_(torch.tensor([3.0, -0.001]))
    Adam(params, atan2_config(weight_decay=0.0), EagerBackend()).step(0.5)
    length = 0.5 / 0.1 * math.atan(0.1)  # m is g / 10, sqrt(v / bias2) is |g|
    torch.testing.assert_close(params.vector.detach(), torch.tensor([-length, length]))


@pytest.mark.parametrize(
    ("precision", "vendor", "cpu_has_bf16", "dtype"),
    [
        pytest.param("fp32", "AuthenticAMD", True, torch.float32, id="fp32"),
        pytest.param("bf16", "GenuineIntel", False, torch.bfloat16, id="bf16, though slow"),
        pytest.param("auto", "AuthenticAMD", True, torch.bfloat16, id="auto where bf16 is faster"),
        pytest.param("auto", "AuthenticAMD", False, torch.float32, id="auto on one without bf16"),
        pytest.param("auto", "GenuineIntel", True, torch.float32, id="auto where bf16 is slower"),
        pytest.param("auto", "", True, torch.float32, id="auto on an unknown CPU"),
    ],
)
def test_the_precision(monkeypatch, precision, vendor, cpu_has_bf16, dtype):
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: cpu_has_bf16)
    monkeypatch.setattr(environment, "cpu_vendor", lambda: vendor)
    assert compute_dtype(precision) == dtype
