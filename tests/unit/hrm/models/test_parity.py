"""HRM and TRM give the figures of the published code, to 1e-4, on weights filled by a formula.

The files are made by running that code; they are looked for beside the checkout, more come with
`--golden PATH`. What needs no file, a plain loop over the published equations, is in test_model.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from benchmarks.plain_hrm import PlainHRM
from paths import ROOT
from torch import Tensor, nn

from hrm_sweep.hrm.backends.eager import EagerBackend
from hrm_sweep.hrm.backends.native import NativeBackend
from hrm_sweep.hrm.backends.select import use_backend
from hrm_sweep.hrm.models.act import ACT, Carry, SegmentOutput
from hrm_sweep.hrm.models.build import build_model
from hrm_sweep.hrm.models.configs import HRMConfig, TRMConfig
from hrm_sweep.hrm.training.losses import Losses, TrainingLosses

BESIDE_THE_CHECKOUT = ROOT.parent / "shared" / "golden"
EXACT = 1e-4, 1e-6
"""Relative and absolute margin."""
SAME_NAME = (
    *("num_heads", "expansion", "pos_encodings", "puzzle_emb_ndim", "H_cycles", "L_cycles"),
    *("L_layers", "halt_max_steps", "halt_exploration_prob"),
)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    paths = [Path(path) for path in metafunc.config.getoption("golden")]
    paths += sorted(BESIDE_THE_CHECKOUT.glob("*_parity.json"))
    cases = [
        pytest.param(case, id=f"{path.stem}-{number}")
        for path in paths
        for number, case in enumerate(json.loads(path.read_text()))
    ]
    skipped = pytest.param(
        None, marks=pytest.mark.skip(reason="no figures of the published code; give --golden PATH")
    )
    metafunc.parametrize("case", cases or [skipped])


@pytest.mark.parametrize("backend", [EagerBackend(), NativeBackend()], ids=["eager", "native"])
def test_our_figures_are_those_of_the_published_code(case, backend):
    model = published_model(case)
    use_backend(backend, model, threads=1)
    read_losses = TrainingLosses(model, backend, threads=1)
    inputs, labels, identifiers = published_batch(case["config"])
    carry = model.initial_carry(len(inputs))
    for number, expected in enumerate(case["segments"]):
        model.zero_grad()
        carry, segment = model.segment(carry, inputs, identifiers)
        losses, _ = read_losses(segment, labels)
        losses.total.sum().backward()
        for name, value in figures(carry, model.output(segment), losses).items():
            if name in expected:
                close(value, expected[name], f"segment {number}: {name}")
        for name, norm in expected["grad_norms"].items():
            close(gradient(model, name).norm(), norm, f"segment {number}: gradient of {name}")


@pytest.mark.parametrize(("dtype", "margins"), [("float32", EXACT), ("bfloat16", (0.05, 0.02))])
def test_the_plain_model_of_the_benchmarks_gives_them_too(case, dtype, margins):
    if not is_hrm(case):
        pytest.skip("the benchmarks are of HRM")
    config = {**case["config"], "forward_dtype": dtype}
    model = PlainHRM(config, loss=case["loss"].removesuffix("_cross_entropy"))
    give_weights(model.train(case["train"]), case)
    inputs, labels, identifiers = published_batch(case["config"])
    carry = model.initial_carry()
    for number, expected in enumerate(case["segments"]):
        model.zero_grad()
        carry, found = model(carry, inputs, identifiers, labels)
        found["loss"].backward()
        logits = found["logits"].double()
        found |= {
            "logits_first": logits[0, 0],
            "logits_sum": logits.sum(),
            "logits_abs_sum": logits.abs().sum(),
            "q_halt_logits": found["q"][:, 0],
            "q_continue_logits": found["q"][:, 1],
            **carry,
        }
        for name in expected.keys() & found.keys():
            close(found[name], expected[name], f"segment {number}: {name}", margins)
        for name, norm in expected["grad_norms"].items():
            close(
                gradient(model, name).norm(), norm, f"segment {number}: gradient of {name}", margins
            )


def figures(carry: Carry, output: SegmentOutput, losses: Losses) -> dict[str, Tensor]:
    logits = output.logits.double()
    return {
        "loss": losses.total.sum(),
        "lm_loss": losses.lm.sum(),
        "q_halt_loss": losses.q_halt.sum(),
        "q_continue_loss": losses.q_continue.sum(),
        "logits_first": logits[0, 0],
        "logits_sum": logits.sum(),
        "logits_abs_sum": logits.abs().sum(),
        "q_halt_logits": output.q_halt,
        "q_continue_logits": output.q_continue,
        "halted": carry.halted,
        "steps": carry.steps,
    }


def close(value: Tensor, expected: Any, name: str, margins: tuple[float, float] = EXACT) -> None:
    relative, absolute = margins
    torch.testing.assert_close(
        value.detach().double(),
        torch.tensor(expected, dtype=torch.float64),
        rtol=relative,
        atol=absolute,
        msg=lambda text: f"{name}: {text}",
    )


def gradient(model: nn.Module, name: str) -> Tensor:
    if name == "inner.puzzle_emb (rows of the batch)":
        return model.inner.puzzle_emb.rows.grad
    return model.get_parameter(name).grad


def is_hrm(case: dict[str, Any]) -> bool:
    """Whether a case is of HRM, whose levels have a network each; TRM has a single one."""
    return any("H_level" in name for name in case["shapes"])


def published_model(case: dict[str, Any]) -> ACT:
    published = case["config"]
    learns_to_continue = not published.get("no_ACT_continue", False)
    values = dict(
        hidden_dim=published["hidden_size"],
        mlp_multiple_of=256,
        loss=case["loss"].removesuffix("_cross_entropy"),
        halting="q_learning" if learns_to_continue else "bce",
        mlp_t=published.get("mlp_t", False),
        puzzle_emb_len=published.get("puzzle_emb_len") or None,
        eval_halting="never",
        eval_max_steps=None,
        init_from=None,
        **{name: published[name] for name in SAME_NAME},
    )
    if is_hrm(case):
        config = HRMConfig(name="hrm", H_layers=published["H_layers"], **values)
    else:
        config = TRMConfig(name="trm", **values)
    sizes = SimpleNamespace(
        vocab_size=published["vocab_size"],
        seq_len=published["seq_len"],
        num_identifiers=published["num_puzzle_identifiers"],
    )
    model = build_model(config, sizes).train(case["train"])
    give_weights(model, case)
    return model


def give_weights(model: nn.Module, case: dict[str, Any]) -> None:
    shapes = {name: list(tensor.shape) for name, tensor in model.state_dict().items()}
    assert shapes == case["shapes"]
    model.load_state_dict(
        {name: by_formula(k, shapes[name]) for k, name in enumerate(sorted(shapes))}
    )


def by_formula(k: int, shape: list[int]) -> Tensor:
    """sin(0.7 i + 1.3 k + 0.5) by flattened index i, scaled down."""
    i = torch.arange(math.prod(shape), dtype=torch.float64)
    scale = 1 / math.sqrt(shape[-1]) if len(shape) > 1 else 0.5
    return (scale * torch.sin(0.7 * i + 1.3 * k + 0.5)).reshape(shape).float()


def published_batch(config: dict[str, Any]) -> tuple[Tensor, Tensor, Tensor]:
    b = torch.arange(config["batch_size"]).unsqueeze(1)
    s = torch.arange(config["seq_len"]).unsqueeze(0)
    labels = (7 * b + 2 * s + 1) % config["vocab_size"]
    labels[:, -2:] = -100
    inputs = (3 * b + 5 * s + b * s) % config["vocab_size"]
    return inputs, labels, b[:, 0] % config["num_puzzle_identifiers"]
