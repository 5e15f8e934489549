"""HRM, TRM and a plain transformer: one segment of thought, from tokens and states to an answer.

`act.ACT` around a core decides how many segments a puzzle gets. Shapes as in `layers`; S is T
without the prefix, and states are flat, [R, D].
"""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional

from hrm_sweep.hrm.backends.backend import SequenceLayout
from hrm_sweep.hrm.group_configs import HRMConfig, ModelConfig, TransformerConfig, TRMConfig
from hrm_sweep.hrm.models.layers import (
    Block,
    Embedding,
    Head,
    Level,
    PuzzleEmbedding,
    QHead,
    rope_table,
    truncated_normal,
)


class Sizes(Protocol):
    """What a model has to know of its task."""

    @property
    def vocab_size(self) -> int: ...
    @property
    def seq_len(self) -> int: ...
    @property
    def num_identifiers(self) -> int: ...


class Core(nn.Module):
    """The way in (tokens, identifier, places) and the way out (logits), the same for all three."""

    def __init__(self, config: ModelConfig, sizes: Sizes) -> None:
        super().__init__()
        width = config.hidden_dim
        self.embed_scale = width**0.5
        self.embed_tokens = Embedding(sizes.vocab_size, width, std=width**-0.5)
        self.prefix = config.puzzle_emb_len or -(-config.puzzle_emb_ndim // width)
        if self.prefix:
            self.puzzle_emb = PuzzleEmbedding(sizes.num_identifiers, config.puzzle_emb_ndim)
        tokens = self.prefix + sizes.seq_len
        self.positions = config.pos_encodings
        self.layout = SequenceLayout(tokens, config.num_heads, None)
        if self.positions == "rope":
            table = rope_table(tokens, width // config.num_heads)
            self.layout = self.layout._replace(rope_table=table)
        else:
            self.embed_pos = Embedding(tokens, width, std=width**-0.5)
        self.lm_head = Head(width, sizes.vocab_size)

    def embed(self, inputs_BS: Tensor, identifiers_B: Tensor) -> Tensor:
        """[R, D]: the puzzle embedding, cut into positions and padded, then tokens."""
        x_BTD = self.embed_tokens(inputs_BS)
        if self.prefix:
            width = x_BTD.shape[-1]
            puzzle = self.puzzle_emb(identifiers_B)
            if missing := self.prefix * width - puzzle.shape[-1]:
                puzzle = functional.pad(puzzle, (0, missing))
            x_BTD = torch.cat((puzzle.unflatten(-1, (self.prefix, width)), x_BTD), dim=1)
        if self.positions == "learned":
            x_BTD = 0.5**0.5 * (x_BTD + self.embed_pos.embedding_weight)  # keeps the variance
        return self.embed_scale * x_BTD.flatten(0, 1)

    def initial_states(self) -> tuple[Tensor, ...]:
        """The states [D] that every token of a new puzzle starts with."""
        return ()

    def think(self, states: tuple[Tensor, ...], x_RD: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
        """One segment: the answer [R, D], from which logits are read, and the new states [R, D]."""
        raise NotImplementedError

    def logits(self, answer_RD: Tensor) -> Tensor:
        """[B, S, V]."""
        return self.lm_head(answer_RD).unflatten(0, (-1, self.layout.tokens))[:, self.prefix :]


class RecursiveCore(Core):
    """Two states that two networks update in turn, and a head that values halting.

    A segment is H_cycles times: L_cycles low updates, z_low = low(z_low + z_high + x), then a high
    one, z_high = high(z_high + z_low). Only the end of the last cycle has a gradient.
    """

    def __init__(self, config: HRMConfig | TRMConfig, sizes: Sizes, low_updates: int) -> None:
        super().__init__(config, sizes)
        width = config.hidden_dim
        self.H_cycles, self.L_cycles = config.H_cycles, config.L_cycles
        self.low_updates = low_updates
        """Low updates with a gradient."""
        self.q_head = QHead(width)
        self.H_init: Tensor
        self.L_init: Tensor
        self.register_buffer("H_init", truncated_normal(width, std=1.0))
        self.register_buffer("L_init", truncated_normal(width, std=1.0))
        self.L_level = Level(config, config.L_layers)

    @property
    def high(self) -> Level:
        """The network of the high updates."""
        raise NotImplementedError

    def initial_states(self) -> tuple[Tensor, ...]:
        return self.H_init, self.L_init

    def think(self, states: tuple[Tensor, ...], x_RD: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
        with torch.inference_mode():
            z_high, z_low = self._up_to_gradient(states, x_RD)
        z_low = self._low(z_low, z_high + x_RD, self.low_updates)
        z_high = self.high(z_high, z_low, self.layout)
        return z_high, (z_high, z_low)

    def q_values(self, answer_RD: Tensor) -> tuple[Tensor, Tensor]:
        """Logits [B] of halting and going on, read from the first position."""
        return self.q_head(answer_RD[:: self.layout.tokens])

    @torch.inference_mode()
    def next_q_values(self, states: tuple[Tensor, ...], x_RD: Tensor) -> tuple[Tensor, Tensor]:
        """`q_values` of the answer after one more segment, which costs less than that segment."""
        z_high, z_low = self._up_to_gradient(states, x_RD)
        z_low = self._low(z_low, z_high + x_RD, self.low_updates)
        return self.q_head(self.high.first_token(z_high, z_low, self.layout))

    def _up_to_gradient(self, states: tuple[Tensor, ...], x_RD: Tensor) -> tuple[Tensor, Tensor]:
        z_high, z_low = states
        for _ in range(self.H_cycles - 1):
            z_low = self._low(z_low, z_high + x_RD, self.L_cycles)
            z_high = self.high(z_high, z_low, self.layout)
        return z_high, self._low(z_low, z_high + x_RD, self.L_cycles - self.low_updates)

    def _low(self, z_low: Tensor, injection: Tensor, updates: int) -> Tensor:
        for _ in range(updates):
            z_low = self.L_level(z_low, injection, self.layout)
        return z_low


class HRM(RecursiveCore):
    """Hierarchical Reasoning Model, arXiv:2506.21734: a network for each level, and the one-step
    gradient of section 2, through the last update of either."""

    def __init__(self, config: HRMConfig, sizes: Sizes) -> None:
        super().__init__(config, sizes, low_updates=1)
        self.H_level = Level(config, config.H_layers)

    @property
    def high(self) -> Level:
        return self.H_level


class TRM(RecursiveCore):
    """Tiny Recursive Model, arXiv:2510.04871, section 4: one network for both levels (z_high is its
    answer y, z_low its latent z), and the gradient of the whole last cycle."""

    def __init__(self, config: TRMConfig, sizes: Sizes) -> None:
        super().__init__(config, sizes, low_updates=config.L_cycles)

    @property
    def high(self) -> Level:
        return self.L_level


class Transformer(Core):
    """One pass through a stack of the same blocks."""

    def __init__(self, config: TransformerConfig, sizes: Sizes) -> None:
        super().__init__(config, sizes)
        self.layers = nn.ModuleList(Block(config) for _ in range(config.num_layers))

    def think(self, states: tuple[Tensor, ...], x_RD: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
        for layer in self.layers:
            x_RD = layer(x_RD, self.layout)
        return x_RD, states
