from __future__ import annotations

import math

import pytest
import torch
from small import hrm_config, small_task, transformer_config, trm_config
from torch import Tensor

from hrm_sweep.errors import CheckpointError, ConfigError
from hrm_sweep.hrm.models.act import ACT, Carry
from hrm_sweep.hrm.models.build import build_model
from hrm_sweep.hrm.models.configs import HRMConfig
from hrm_sweep.hrm.training import checkpoint

TASK = small_task()
BATCH = TASK.train.take(torch.tensor([0, 3, 9, 12, 17]))
ROWS = len(BATCH)


class PlainHRM:
    """The published equations, one row after the other, in float64, with autograd's own slopes."""

    def __init__(self, model: ACT, config: HRMConfig) -> None:
        self.config = config
        self.weights = {
            name: tensor.detach().double().requires_grad_(tensor.is_floating_point())
            for name, tensor in model.state_dict().items()
        }

    def segment(
        self, z_high: Tensor, z_low: Tensor, inputs: Tensor, identifier: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """States [T, D] of one row -> new states, logits [S, V], (halt, continue)."""
        x = self.embed(inputs, identifier)
        updates = [
            (cycle, step)
            for cycle in range(self.config.H_cycles)
            for step in range(self.config.L_cycles)
        ]
        for cycle, step in updates:
            last = (cycle, step) == updates[-1]
            with torch.set_grad_enabled(last):
                z_low = self.level("L", z_low + z_high + x)
                if step == self.config.L_cycles - 1:
                    z_high = self.level("H", z_high + z_low)
        prefix = len(x) - len(inputs)
        logits = z_high[prefix:] @ self.weights["inner.lm_head.weight"].T
        q = self.weights["inner.q_head.weight"] @ z_high[0] + self.weights["inner.q_head.bias"]
        return z_high, z_low, logits, q

    def embed(self, inputs: Tensor, identifier: Tensor) -> Tensor:
        size = self.config.hidden_dim
        x = self.weights["inner.embed_tokens.embedding_weight"][inputs]
        if self.config.puzzle_emb_ndim:
            puzzle = self.weights["inner.puzzle_emb.weights"][identifier]
            length = self.config.puzzle_emb_len or math.ceil(len(puzzle) / size)
            missing = length * size - len(puzzle)
            padded = torch.cat((puzzle, torch.zeros(missing, dtype=puzzle.dtype)))
            x = torch.cat((padded.view(-1, size), x))
        if self.config.pos_encodings == "learned":
            x = (x + self.weights["inner.embed_pos.embedding_weight"]) / math.sqrt(2)
        return x * math.sqrt(size)

    def level(self, name: str, x: Tensor) -> Tensor:
        for number in range(getattr(self.config, f"{name}_layers")):
            block = f"inner.{name}_level.layers.{number}."
            x = normed(x + self.attention(block + "self_attn.", x))
            x = normed(x + self.mlp(block + "mlp.", x))
        return x

    def attention(self, name: str, x: Tensor) -> Tensor:
        size = self.config.hidden_dim // self.config.num_heads
        parts = (x @ self.weights[name + "qkv_proj.weight"].T).chunk(3, dim=-1)
        heads = []
        for n in range(self.config.num_heads):
            q, k, v = (part[:, n * size : (n + 1) * size] for part in parts)
            if self.config.pos_encodings == "rope":
                q, k = rotated(q), rotated(k)
            heads.append((q @ k.T / math.sqrt(size)).softmax(dim=-1) @ v)
        return torch.cat(heads, dim=-1) @ self.weights[name + "o_proj.weight"].T

    def mlp(self, name: str, x: Tensor) -> Tensor:
        gate, up = (x @ self.weights[name + "gate_up_proj.weight"].T).chunk(2, dim=-1)
        return (gate * gate.sigmoid() * up) @ self.weights[name + "down_proj.weight"].T


def normed(x: Tensor) -> Tensor:
    return x / (x.square().mean(dim=-1, keepdim=True) + 1e-5).sqrt()


def rotated(x_TK: Tensor) -> Tensor:
    tokens, size = x_TK.shape
    angles = torch.outer(
        torch.arange(tokens, dtype=torch.float64),
        10_000.0 ** (-torch.arange(0, size, 2, dtype=torch.float64) / size),
    )
    x, y = x_TK.chunk(2, dim=-1)
    return torch.cat(
        (x * angles.cos() - y * angles.sin(), y * angles.cos() + x * angles.sin()), dim=-1
    )


def build(config, *, seed: int = 0, lively: bool = True) -> ACT:
    """A model whose puzzle embedding and Q head are not at their dull starting values."""
    torch.manual_seed(seed)
    model = build_model(config, TASK)
    if lively:
        with torch.no_grad():
            for name, tensor in model.state_dict().items():
                if "puzzle_emb" in name or "q_head" in name:
                    tensor.normal_()
    return model


def segments(model: ACT, count: int) -> list[tuple[Carry, object]]:
    carry, outputs = model.initial_carry(ROWS), []
    for _ in range(count):
        carry, output = model(carry, BATCH.inputs, BATCH.identifiers)
        outputs.append((carry, output))
    return outputs


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({}, id="published shape"),
        pytest.param({"H_layers": 2, "L_layers": 3}, id="several layers"),
        pytest.param({"H_cycles": 3, "L_cycles": 1}, id="3 x 1 cycles"),
        pytest.param({"H_cycles": 1, "L_cycles": 1}, id="1 x 1 cycles"),
        pytest.param({"pos_encodings": "learned"}, id="learned positions"),
        pytest.param({"puzzle_emb_ndim": 40}, id="prefix of three, padded"),
        pytest.param({"puzzle_emb_ndim": 40, "puzzle_emb_len": 5}, id="prefix of five"),
        pytest.param({"puzzle_emb_ndim": 0}, id="no prefix"),
    ],
)
def test_hrm_computes_the_published_equations(changes):
    config = hrm_config(**changes)
    model = build(config).eval()
    plain = PlainHRM(model, config)
    first = [plain.weights[f"inner.{name}_init"].detach() for name in ("H", "L")]
    tokens = model.tokens
    states = [[state.expand(tokens, -1) for state in first] for _ in range(ROWS)]
    for _, output in segments(model, 2):
        for row in range(ROWS):
            z_high, z_low, logits, q = plain.segment(
                *states[row], BATCH.inputs[row], BATCH.identifiers[row]
            )
            states[row] = [z_high.detach(), z_low.detach()]
            torch.testing.assert_close(output.logits[row].double(), logits, rtol=1e-4, atol=1e-4)
            values = torch.stack((output.q_halt[row], output.q_continue[row]))
            torch.testing.assert_close(values.double(), q, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("pos_encodings", ["rope", "learned"])
def test_hrm_has_the_one_step_gradient(pos_encodings):
    config = hrm_config(pos_encodings=pos_encodings)
    model = build(config).train()
    plain = PlainHRM(model, config)
    (_, output), *_ = segments(model, 1)
    weigh = torch.linspace(-1, 1, output.logits.numel()).view_as(output.logits)
    ((output.logits * weigh).sum() + output.q_halt.sum()).backward()
    expected = torch.zeros((), dtype=torch.float64)
    for row in range(ROWS):
        first = [plain.weights[f"inner.{name}_init"].detach() for name in ("H", "L")]
        states = (state.expand(model.tokens, -1) for state in first)
        *_, logits, q = plain.segment(*states, BATCH.inputs[row], BATCH.identifiers[row])
        expected = expected + (logits * weigh[row].double()).sum() + q[0]
    expected.backward()
    for name, gradient in gradients(model).items():
        torch.testing.assert_close(
            gradient.double(), plain.weights[name].grad, rtol=1e-3, atol=1e-4, msg=name
        )


def gradients(model: ACT) -> dict[str, Tensor]:
    """By name, and in the order of a checkpoint: a state of gradients instead of weights."""
    for parameter in model.parameters():
        parameter.data = parameter.grad
    names = {name for name, _ in model.named_parameters()}
    return {name: tensor for name, tensor in model.state_dict().items() if name in names}


def test_published_trm_weights_give_the_published_answers(tmp_path):
    """Its puzzle embedding fills the first of 16 positions; the code names tensors as here."""
    published = trm_config(puzzle_emb_len=16, H_cycles=2, L_cycles=3)
    plain = PlainHRM(build(published), published)
    weights = {f"_orig_mod.model.{name}": t.float().detach() for name, t in plain.weights.items()}
    torch.save(weights, tmp_path / "step_1000")
    off = {}
    for length in (16, None):
        model = build(trm_config(puzzle_emb_len=length, H_cycles=2, L_cycles=3), seed=1).eval()
        checkpoint.load_weights(model, tmp_path / "step_1000")
        ((_, output),) = segments(model, 1)
        wanted = torch.stack([trm_logits(plain, row) for row in range(ROWS)])
        off[length] = (output.logits.double() - wanted).abs().max().item()
    assert off[16] < 1e-4
    assert off[None] > 1e-2  # every tensor fits, and the function is another


@torch.no_grad()
def trm_logits(plain: PlainHRM, row: int) -> Tensor:
    """Of one row after one segment, [S, V]: one network updates the latent z and the answer y."""
    x = plain.embed(BATCH.inputs[row], BATCH.identifiers[row])
    y, z = (plain.weights[f"inner.{name}_init"].expand(len(x), -1) for name in ("H", "L"))
    for _ in range(plain.config.H_cycles):
        for _ in range(plain.config.L_cycles):
            z = plain.level("L", z + y + x)
        y = plain.level("L", y + z)
    return y[16:] @ plain.weights["inner.lm_head.weight"].T


def test_trm_uses_one_network_and_the_gradient_of_its_whole_last_cycle():
    config = trm_config(H_cycles=2, L_cycles=3, pos_encodings="learned")
    model = build(config).train()
    core = model.inner
    x = core.embed(BATCH.inputs, BATCH.identifiers).detach()
    y, z = (state.expand_as(x) for state in core.initial_states())
    network, layout = core.L_level.layers[0], core.layout
    for cycle in range(2):
        with torch.set_grad_enabled(cycle == 1):
            for _ in range(3):
                z = network(z + y + x, layout)
            y = network(y + z, layout)
    core.lm_head(y).square().sum().backward()
    expected = {name: p.grad.clone() for name, p in core.L_level.named_parameters()}
    model.zero_grad()
    answer, states = core.run_segment((core.H_init.expand_as(x), core.L_init.expand_as(x)), x)
    core.lm_head(answer).square().sum().backward()
    torch.testing.assert_close(states, (y, z))
    for name, parameter in core.L_level.named_parameters():
        torch.testing.assert_close(parameter.grad, expected[name], rtol=1e-3, atol=1e-4)
    assert not any("H_level" in name for name in model.state_dict())


def test_a_transformer_is_one_pass_of_as_many_weights():
    transformer = build(transformer_config(), lively=False)
    hrm = build(hrm_config(), lively=False)
    q_head = sum(p.numel() for p in hrm.inner.q_head.parameters())
    assert count_weights(transformer) == count_weights(hrm) - q_head
    carry, output = transformer(transformer.initial_carry(ROWS), BATCH.inputs, BATCH.identifiers)
    assert carry.halted.all()
    assert carry.states == ()
    assert output.q_halt is None
    assert output.logits.shape == (ROWS, TASK.seq_len, TASK.vocab_size)


def count_weights(model: ACT) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


def test_states_carry_no_gradient_into_the_next_segment():
    for carry, _ in segments(build(hrm_config()).train(), 2):
        assert not any(state.requires_grad for state in carry.states)


def test_a_halted_row_starts_anew_and_the_others_continue():
    model = build(hrm_config()).eval()
    (first, output), (second, later) = segments(model, 2)
    assert not torch.allclose(later.logits, output.logits)
    some = torch.tensor([True, False, True, False, False])
    mixed, again = model(first._replace(halted=some), BATCH.inputs, BATCH.identifiers)
    torch.testing.assert_close(again.logits[some], output.logits[some])
    torch.testing.assert_close(again.logits[~some], later.logits[~some])
    assert mixed.steps.tolist() == [1, 2, 1, 2, 2]
    assert second.steps.tolist() == [2] * ROWS


def with_q_head(model: ACT, halt: float, go_on: float) -> ACT:
    with torch.no_grad():
        model.inner.q_head.weight.zero_()
        model.inner.q_head.bias.copy_(torch.tensor([halt, go_on]))
    return model


@pytest.mark.parametrize(
    ("halting", "q_head", "halted"),
    [
        pytest.param("q_learning", (1.0, 0.5), [True], id="halting is worth more"),
        pytest.param("q_learning", (0.5, 1.0), [False, False, True], id="going on is worth more"),
        pytest.param("q_learning", (-5.0, -5.0), [False, False, True], id="equal at first"),
        pytest.param("bce", (0.1, 9.0), [True], id="solved, says bce"),
        pytest.param("bce", (-0.1, -9.0), [False, False, True], id="not solved, says bce"),
    ],
)
def test_in_training_a_row_halts_by_its_q_values_or_at_the_last_step(halting, q_head, halted):
    model = with_q_head(build(hrm_config(halting=halting)), *q_head).train()
    seen = [carry.halted for carry, _ in segments(model, len(halted))]
    assert [bool(rows.all()) for rows in seen] == halted
    assert [bool(rows.any()) for rows in seen] == halted


def test_in_evaluation_every_row_gets_all_segments():
    model = with_q_head(build(hrm_config()), 9.0, -9.0).eval()
    assert [carry.halted.all().item() for carry, _ in segments(model, 3)] == [False, False, True]


def test_exploration_makes_some_rows_stay():
    config = hrm_config(halt_exploration_prob=0.5, halt_max_steps=4)
    model = with_q_head(build(config), 9.0, -9.0).train()
    generator = torch.Generator().manual_seed(0)
    rows = 4000
    inputs, identifiers = BATCH.inputs[:1].expand(rows, -1), BATCH.identifiers[:1].expand(rows)
    with torch.no_grad():
        carry, _ = model(model.initial_carry(rows), inputs, identifiers, generator)
    assert carry.halted.float().mean().item() == pytest.approx(0.5, abs=0.03)
    with torch.no_grad():
        carry = carry._replace(halted=torch.zeros(rows, dtype=torch.bool))
        carry, _ = model(carry, inputs, identifiers, generator)
    assert carry.halted.float().mean().item() == pytest.approx(1 - 0.5 * 2 / 3, abs=0.03)


def test_the_q_target_is_the_better_value_one_segment_on():
    model = build(hrm_config(halt_max_steps=2)).train()
    carry, outputs = model.initial_carry(ROWS), []
    for _ in range(3):
        carry, output = model(carry, BATCH.inputs, BATCH.identifiers)
        carry = carry._replace(halted=torch.zeros(ROWS, dtype=torch.bool))
        outputs.append(output)
    first, second, third = outputs
    better = torch.maximum(second.q_halt, second.q_continue)
    torch.testing.assert_close(first.target_q_continue, better.sigmoid().detach())
    # the second segment is the last: there is no going on after the next
    torch.testing.assert_close(second.target_q_continue, third.q_halt.sigmoid().detach())


@pytest.mark.parametrize(
    ("config", "changes"),
    [
        pytest.param(hrm_config, {"halting": "bce"}, id="bce"),
        pytest.param(hrm_config, {"halt_max_steps": 1}, id="no choice to make"),
        pytest.param(trm_config, {}, id="trm"),
        pytest.param(transformer_config, {}, id="transformer"),
    ],
)
def test_no_target_where_nothing_is_bootstrapped(config, changes):
    (_, output), *_ = segments(build(config(**changes)).train(), 1)
    assert output.target_q_continue is None


def test_a_new_model_starts_as_published():
    model = build(hrm_config(hidden_dim=64), lively=False)
    _, output = segments(model, 1)[0]
    assert output.q_halt.tolist() == [-5.0] * ROWS
    assert output.q_continue.tolist() == [-5.0] * ROWS
    assert not model.inner.puzzle_emb.weights.any()
    assert model.inner.embed_tokens.embedding_weight.std().item() == pytest.approx(1 / 8, rel=0.1)
    assert model.inner.H_init.std().item() == pytest.approx(1, rel=0.3)


def test_equal_seeds_give_equal_weights():
    one, same, other = (build(hrm_config(), seed=seed).state_dict() for seed in (1, 1, 2))
    assert all(torch.equal(one[name], same[name]) for name in one)
    assert not all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize(
    "wrapped",
    [
        pytest.param(lambda weights: weights, id="bare names"),
        pytest.param(
            lambda weights: {f"_orig_mod.model.{name}": t for name, t in weights.items()},
            id="names of the published code",
        ),
        pytest.param(lambda weights: {"model": weights, "epoch": 3}, id="a checkpoint of ours"),
    ],
)
def test_a_model_starts_from_the_weights_of_a_file(tmp_path, wrapped):
    source = build(hrm_config(), seed=5)
    torch.save(wrapped(source.state_dict()), tmp_path / "step_100")
    model = build(hrm_config(init_from=str(tmp_path / "step_100")), lively=False)
    for name, tensor in source.state_dict().items():
        assert torch.equal(model.state_dict()[name], tensor), name


def test_weights_of_another_model_are_named(tmp_path):
    weights = build(hrm_config()).state_dict()
    weights["inner.q_head.bias"] = torch.zeros(3)
    weights["inner.extra"] = weights.pop("inner.H_init")
    torch.save(weights, tmp_path / "weights")
    with pytest.raises(CheckpointError) as error:
        build(hrm_config(init_from=str(tmp_path / "weights")))
    assert str(error.value) == (
        f"{tmp_path / 'weights'}: weights of another model: inner.q_head.bias is [3] and must be "
        "[2]; missing: inner.H_init; extra: inner.extra"
    )


def test_a_damaged_file_of_weights_is_not_used(tmp_path):
    path = tmp_path / "best_model.pth"
    checkpoint.save(path, {"model": build(hrm_config()).state_dict()})
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    with pytest.raises(CheckpointError, match=r"damaged, its SHA-256 is not that in best_model"):
        build(hrm_config(init_from=str(path)))


@pytest.mark.parametrize("config", [hrm_config, trm_config, transformer_config])
def test_without_mixing_a_token_decides_its_own_answer_alone(config):
    torch.manual_seed(0)
    task = small_task()
    model = build_model(config(mixing="none", puzzle_emb_ndim=0), task).eval()
    batch = task.eval.all()
    changed = batch.inputs.clone()
    changed[:, 0] = 11 - changed[:, 0]
    with torch.inference_mode():
        carry = model.initial_carry(len(batch))
        one, other = (
            model(carry, inputs, batch.identifiers)[1].logits for inputs in (batch.inputs, changed)
        )
    assert torch.equal(one[:, 1:], other[:, 1:])
    assert not torch.equal(one[:, 0], other[:, 0])


def test_mlp_t_is_the_published_name_of_a_way_of_mixing():
    assert trm_config(mlp_t=True).mixes_by == trm_config(mixing="mlp_t").mixes_by == "mlp_t"
    with pytest.raises(ConfigError, match=r"mlp_t=true: names another way of mixing.*set mixing"):
        trm_config(mlp_t=True, mixing="none")
