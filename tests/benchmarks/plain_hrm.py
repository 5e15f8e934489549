"""HRM as the paper and the published code write it down, in plain PyTorch, one operator at a time:
what a training step is measured against.

With `forward_dtype: bfloat16` it casts where the published code does: weights and embeddings before
they are used, norms and rotations to fp32 and back. Nothing here is fast on purpose or slow on
purpose. It gives the figures of the published code (tests/unit/hrm/models/test_parity.py), with the
same names of weights. Shapes as in `hrm_sweep.hrm.models.layers`.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

IGNORE = -100


class CastedLinear(nn.Linear):
    """Weights are fp32, and computed with in the input's dtype."""

    def forward(self, x: Tensor) -> Tensor:
        bias = None if self.bias is None else self.bias.to(x.dtype)
        return functional.linear(x, self.weight.to(x.dtype), bias)


class Attention(nn.Module):
    def __init__(self, hidden_dim: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.qkv_proj = CastedLinear(hidden_dim, 3 * hidden_dim, bias=False)
        self.o_proj = CastedLinear(hidden_dim, hidden_dim, bias=False)

    def forward(self, x_BTD: Tensor, *turn: Tensor) -> Tensor:
        heads = self.qkv_proj(x_BTD).unflatten(-1, (3 * self.num_heads, -1)).transpose(1, 2)
        q, k, v = heads.chunk(3, dim=1)
        if turn:
            q, k = (turned(x.float(), *turn).to(x.dtype) for x in (q, k))
        seen = functional.scaled_dot_product_attention(q, k, v)
        return self.o_proj(seen.transpose(1, 2).flatten(-2))


def turned(x: Tensor, cos_TK: Tensor, sin_TK: Tensor) -> Tensor:
    return x * cos_TK + half_turned(x) * sin_TK


def half_turned(x: Tensor) -> Tensor:
    first, second = x.chunk(2, dim=-1)
    return torch.cat((-second, first), dim=-1)


class SwiGLU(nn.Module):
    def __init__(self, hidden_dim: int, width: int) -> None:
        super().__init__()
        self.gate_up_proj = CastedLinear(hidden_dim, 2 * width, bias=False)
        self.down_proj = CastedLinear(width, hidden_dim, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        gate, up = self.gate_up_proj(x).chunk(2, dim=-1)
        return self.down_proj(functional.silu(gate) * up)


def rms_norm(x: Tensor) -> Tensor:
    wide = x.float()
    return (wide * torch.rsqrt(wide.square().mean(dim=-1, keepdim=True) + 1e-5)).to(x.dtype)


class Block(nn.Module):
    def __init__(self, hidden_dim: int, num_heads: int, width: int) -> None:
        super().__init__()
        self.self_attn = Attention(hidden_dim, num_heads)
        self.mlp = SwiGLU(hidden_dim, width)

    def forward(self, x: Tensor, *turn: Tensor) -> Tensor:
        x = rms_norm(x + self.self_attn(x, *turn))
        return rms_norm(x + self.mlp(x))


class Level(nn.Module):
    def __init__(self, num_layers: int, *block: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(Block(*block) for _ in range(num_layers))

    def forward(self, state: Tensor, injection: Tensor, *turn: Tensor) -> Tensor:
        x = state + injection
        for layer in self.layers:
            x = layer(x, *turn)
        return x


class Embedding(nn.Module):
    def __init__(self, count: int, size: int) -> None:
        super().__init__()
        self.embedding_weight = nn.Parameter(torch.randn(count, size) / size**0.5)


class PuzzleEmbedding(nn.Module):
    """A table of vectors; in training those of the batch are a leaf of their own."""

    def __init__(self, count: int, size: int) -> None:
        super().__init__()
        self.weights: Tensor
        self.register_buffer("weights", torch.zeros(count, size))
        self.rows: Tensor | None = None

    def forward(self, ids: Tensor) -> Tensor:
        if not torch.is_grad_enabled():
            return self.weights[ids]
        self.rows = self.weights[ids].requires_grad_()
        return self.rows


class Inner(nn.Module):
    def __init__(self, config: dict[str, Any]) -> None:
        super().__init__()
        width = config["hidden_size"]
        mlp = -(-round(config["expansion"] * width * 2 / 3) // 256) * 256
        block = (width, config["num_heads"], mlp)
        self.config, self.dtype = config, getattr(torch, config["forward_dtype"])
        self.prefix = -(-config["puzzle_emb_ndim"] // width)
        self.embed_tokens = Embedding(config["vocab_size"], width)
        if self.prefix:
            size = config["puzzle_emb_ndim"]
            self.puzzle_emb = PuzzleEmbedding(config["num_puzzle_identifiers"], size)
        self.lm_head = CastedLinear(width, config["vocab_size"], bias=False)
        self.q_head = CastedLinear(width, 2)
        self.H_level = Level(config["H_layers"], *block)
        self.L_level = Level(config["L_layers"], *block)
        self.register_buffer("H_init", torch.randn(width))
        self.register_buffer("L_init", torch.randn(width))
        self.turn: tuple[Tensor, ...] = ()
        if config["pos_encodings"] == "learned":
            self.embed_pos = Embedding(self.tokens, width)
        else:
            self.turn = rotations(self.tokens, width // config["num_heads"])
        nn.init.zeros_(self.q_head.weight)
        nn.init.constant_(self.q_head.bias, -5.0)

    @property
    def tokens(self) -> int:
        return self.prefix + self.config["seq_len"]

    def embedded(self, inputs: Tensor, ids: Tensor) -> Tensor:
        """The input of both levels, [B, T, D]; puzzle embeddings fill the first positions."""
        width = self.config["hidden_size"]
        x = functional.embedding(inputs, self.embed_tokens.embedding_weight.to(self.dtype))
        if self.prefix:
            puzzle = self.puzzle_emb(ids).to(self.dtype)
            puzzle = functional.pad(puzzle, (0, self.prefix * width - puzzle.shape[-1]))
            x = torch.cat((puzzle.view(-1, self.prefix, width), x), dim=1)
        if self.config["pos_encodings"] == "learned":
            x = 0.5**0.5 * (x + self.embed_pos.embedding_weight.to(self.dtype))
        return width**0.5 * x

    def forward(
        self, states: tuple[Tensor, Tensor], inputs: Tensor, ids: Tensor
    ) -> tuple[tuple[Tensor, Tensor], Tensor, Tensor]:
        """The states one segment on, the logits [B, S, V] and the Q values [B, 2]."""
        x, turn = self.embedded(inputs, ids), self.turn
        z_high, z_low = states
        with torch.no_grad():
            for cycle in range(self.config["H_cycles"]):
                last = cycle == self.config["H_cycles"] - 1
                for _ in range(self.config["L_cycles"] - last):
                    z_low = self.L_level(z_low, z_high + x, *turn)
                if not last:
                    z_high = self.H_level(z_high, z_low, *turn)
        z_low = self.L_level(z_low, z_high + x, *turn)
        z_high = self.H_level(z_high, z_low, *turn)
        logits, q = self.lm_head(z_high)[:, self.prefix :], self.q_head(z_high[:, 0])
        return (z_high.detach(), z_low.detach()), logits, q.float()


def rotations(tokens: int, head_size: int) -> tuple[Tensor, Tensor]:
    speeds = 1 / 10_000 ** (torch.arange(0, head_size, 2).float() / head_size)
    angles = torch.outer(torch.arange(tokens).float(), speeds).repeat(1, 2)
    return angles.cos(), angles.sin()


class PlainHRM(nn.Module):
    """One segment of every row, with its losses; `config` has the names of the published code."""

    def __init__(self, config: dict[str, Any], *, loss: str) -> None:
        super().__init__()
        self.inner = Inner(config)
        self.config, self.loss = config, loss

    def initial_carry(self) -> dict[str, Any]:
        rows = self.config["batch_size"]
        shape = rows, self.inner.tokens, self.config["hidden_size"]
        zeros = torch.zeros(shape, dtype=self.inner.dtype)
        return {
            "states": (zeros, zeros),
            "steps": torch.zeros(rows, dtype=torch.int64),
            "halted": torch.ones(rows, dtype=torch.bool),
        }

    def forward(
        self, carry: dict[str, Any], inputs: Tensor, ids: Tensor, labels: Tensor
    ) -> tuple[dict[str, Any], dict[str, Tensor]]:
        """The next carry, and the figures of this segment; `loss` is the sum over the rows."""
        anew = carry["halted"].view(-1, 1, 1)
        states = tuple(
            torch.where(anew, first.to(state.dtype), state)
            for first, state in zip(
                (self.inner.H_init, self.inner.L_init), carry["states"], strict=True
            )
        )
        states, logits, q = self.inner(states, inputs, ids)
        steps = torch.where(carry["halted"], 0, carry["steps"]) + 1
        last = halted = steps >= self.config["halt_max_steps"]
        q_halt, q_continue = q[:, 0], q[:, 1]
        scored = labels != IGNORE
        count = scored.sum(dim=-1)
        solved = ((logits.argmax(dim=-1) == labels) & scored).sum(dim=-1) == count
        figures = {
            "lm_loss": (self.token_losses(logits, labels) / count.unsqueeze(-1)).sum(),
            "q_halt_loss": bce(q_halt, solved),
        }
        halting = figures["q_halt_loss"]
        if self.training:
            halted = self.explored(last | (q_halt > q_continue), steps)
            with torch.no_grad():
                following = self.inner(states, inputs, ids)[-1]
            best = torch.where(last, following[:, 0], following.amax(dim=-1))
            figures["q_continue_loss"] = bce(q_continue, torch.sigmoid(best))
            halting = halting + figures["q_continue_loss"]
        figures["loss"] = figures["lm_loss"] + 0.5 * halting
        carry = {"states": states, "steps": steps, "halted": halted}
        return carry, {**figures, "logits": logits, "q": q}

    def explored(self, halted: Tensor, steps: Tensor) -> Tensor:
        longest = self.config["halt_max_steps"]
        chosen = torch.rand(len(steps)) < self.config["halt_exploration_prob"]
        return halted & (steps >= chosen * torch.randint(2, longest + 1, steps.shape))

    def token_losses(self, logits: Tensor, labels: Tensor) -> Tensor:
        if self.loss == "softmax":
            return functional.cross_entropy(
                logits.float().flatten(0, 1),
                labels.flatten(),
                ignore_index=IGNORE,
                reduction="none",
            ).view_as(labels)
        wide = logits.double()  # as published
        s = torch.where(wide < 0, 1 / (1 - wide + 1e-30), wide + 1)  # 1 - 1 has a gradient, too
        log_p = torch.log(s / s.sum(dim=-1, keepdim=True))
        places = labels.clamp_min(0).unsqueeze(-1)
        return -log_p.gather(-1, places).squeeze(-1) * (labels != IGNORE)


def bce(logits: Tensor, targets: Tensor) -> Tensor:
    return functional.binary_cross_entropy_with_logits(
        logits, targets.to(logits.dtype), reduction="sum"
    )


class PlainTraining:
    """One optimizer step for each segment, rows refilled as they halt."""

    def __init__(self, model: PlainHRM, *, lr: float, puzzle_lr: float = 1e-2) -> None:
        self.model = model.train()
        self.puzzle_lr, self.weight_decay = puzzle_lr, 0.1
        self.optimizer = torch.optim.AdamW(
            model.parameters(), lr=lr, betas=(0.9, 0.99), weight_decay=self.weight_decay
        )
        self.carry = model.initial_carry()

    def step(self, inputs: Tensor, ids: Tensor, labels: Tensor) -> float:
        """A segment and a step; the loss, a mean over rows."""
        self.carry, figures = self.model(self.carry, inputs, ids, labels)
        loss = figures["loss"] / len(inputs)
        loss.backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.step_puzzles(ids)
        return loss.item()

    @torch.no_grad()
    def step_puzzles(self, ids: Tensor) -> None:
        """Sign-SGD on the puzzle embeddings of the batch, as published."""
        embedding = self.model.inner.puzzle_emb
        touched, places = ids.unique(return_inverse=True)
        gradient = torch.zeros(len(touched), embedding.rows.shape[1])
        gradient.index_add_(0, places, embedding.rows.grad)
        kept = embedding.weights[touched] * (1 - self.puzzle_lr * self.weight_decay)
        embedding.weights[touched] = kept - self.puzzle_lr * gradient.sign()
