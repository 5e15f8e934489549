"""HRM, TRM and a transformer as cores: one segment, from tokens and states to an answer.

`act.ACT` wraps a core and decides how many segments a puzzle gets. Shapes as in `layers`; S is T
without the prefix of the puzzle embedding, and states are flat, [R, D].
"""

from __future__ import annotations

from typing import Protocol, TypeAlias

import torch
from torch import Tensor, nn
from torch.nn import functional

from hrm_sweep.hrm.backends.backend import (
    Backend,
    EmbeddingKernel,
    EmbeddingWeights,
    RecursionKernel,
    SequenceLayout,
    Updates,
)
from hrm_sweep.hrm.models.configs import HRMConfig, ModelConfig, TransformerConfig, TRMConfig
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

States: TypeAlias = tuple[Tensor, ...]
"""The recurrent states of a core, each [R, D]: z_high and z_low, or none."""


class TaskSizes(Protocol):
    """The sizes of a task that a model's parameters depend on."""

    @property
    def vocab_size(self) -> int:
        """Number of tokens, V."""

    @property
    def seq_len(self) -> int:
        """Tokens of a puzzle, S."""

    @property
    def num_identifiers(self) -> int:
        """Number of puzzle identifiers."""


class Core(nn.Module):
    """The input (tokens, identifiers, positions) and output (logits) that all models share."""

    def __init__(self, config: ModelConfig, sizes: TaskSizes) -> None:
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
        if self.positions == "rope" and config.mixes_by == "attention":
            table = rope_table(tokens, width // config.num_heads)
            self.layout = self.layout._replace(rope_table=table)
        if self.positions == "learned":
            self.embed_pos = Embedding(tokens, width, std=width**-0.5)
        self.lm_head = Head(width, sizes.vocab_size)
        self._embedding: EmbeddingKernel | None = None

    def use_backend(self, backend: Backend, threads: int) -> None:
        """Make the input states with this backend from now on; each block has its own."""
        weights = EmbeddingWeights(self.embed_tokens.embedding_weight)
        if self.positions == "learned":
            weights = weights._replace(positions=self.embed_pos.embedding_weight)
        self._embedding = backend.embedding(weights, self.layout.tokens, self.embed_scale, threads)

    def embed(self, inputs_BS: Tensor, identifiers_B: Tensor) -> Tensor:
        """Return the input states, [R, D]: in each row the puzzle embedding, then the tokens.

        The puzzle embedding is padded with zeros and split into `prefix` positions.
        """
        puzzle = self.puzzle_emb(identifiers_B) if self.prefix else None
        if self._embedding is not None:
            return self._embedding(inputs_BS, puzzle)
        x_BTD = self.embed_tokens(inputs_BS)
        if puzzle is not None:
            width = x_BTD.shape[-1]
            if missing := self.prefix * width - puzzle.shape[-1]:
                puzzle = functional.pad(puzzle, (0, missing))
            x_BTD = torch.cat((puzzle.unflatten(-1, (self.prefix, width)), x_BTD), dim=1)
        if self.positions == "learned":
            x_BTD = 0.5**0.5 * (x_BTD + self.embed_pos.embedding_weight)  # keeps the variance
        return self.embed_scale * x_BTD.flatten(0, 1)

    def initial_states(self) -> States:
        """Return the states, each [D], with which every token of a new puzzle starts."""
        return ()

    def run_segment(self, states: States, x_RD: Tensor) -> tuple[Tensor, States]:
        """Return the answer state [R, D], from which logits are read, and the new states [R, D]."""
        raise NotImplementedError

    def logits(self, answer_RD: Tensor) -> Tensor:
        """Return the logits [B, S, V] of an answer state."""
        return self.lm_head(answer_RD).unflatten(0, (-1, self.layout.tokens))[:, self.prefix :]


class RecursiveCore(Core):
    """A model of two states, updated in turn, and a halting head.

    A segment is H_cycles times: L_cycles low-level updates, z_low = low(z_low + z_high + x), then a
    high-level one, z_high = high(z_high + z_low). Only the last `grad_updates` low-level updates
    and the last high-level one have a gradient.
    """

    def __init__(self, config: HRMConfig | TRMConfig, sizes: TaskSizes, grad_updates: int) -> None:
        super().__init__(config, sizes)
        width = config.hidden_dim
        self.H_cycles, self.L_cycles = config.H_cycles, config.L_cycles
        self.grad_updates = grad_updates
        self.q_head = QHead(width)
        self.H_init: Tensor
        self.L_init: Tensor
        self.register_buffer("H_init", truncated_normal(width, std=1.0))
        self.register_buffer("L_init", truncated_normal(width, std=1.0))
        self.L_level = Level(config, config.L_layers, self.layout.tokens)
        self._recursion: RecursionKernel | None = None

    def use_backend(self, backend: Backend, threads: int) -> None:
        """Compute with this backend from now on, as the blocks do already."""
        super().use_backend(backend, threads)
        self._recursion = backend.recursion(self.L_level.kernels, self.high_level.kernels)

    @property
    def high_level(self) -> Level:
        """The network of the high-level updates."""
        raise NotImplementedError

    def initial_states(self) -> States:
        """Return the initial z_high and z_low, each [D], fixed when the model was made."""
        return self.H_init, self.L_init

    def run_segment(self, states: States, x_RD: Tensor) -> tuple[Tensor, States]:
        """Run all cycles of a segment."""
        with torch.inference_mode():
            last = self.L_cycles - self.grad_updates
            z_high, z_low = self._updates_without_gradient(states, x_RD, last)
        z_low = self._low(z_low, z_high + x_RD, self.grad_updates)
        z_high = self.high_level(z_high, z_low, self.layout)
        return z_high, (z_high, z_low)

    def q_values(self, answer_RD: Tensor) -> tuple[Tensor, Tensor]:
        """Return the logits [B] of halting and of continuing, read from the first position."""
        return self.q_head(answer_RD[:: self.layout.tokens])

    @torch.inference_mode()
    def next_q_values(self, states: States, x_RD: Tensor) -> tuple[Tensor, Tensor]:
        """Return `q_values` after one more segment, at a lower cost than running that segment."""
        z_high, z_low = self._updates_without_gradient(states, x_RD, self.L_cycles)
        return self.q_head(self.high_level.first_token(z_high, z_low, self.layout))

    def _updates_without_gradient(
        self, states: States, x_RD: Tensor, last: int
    ) -> tuple[Tensor, Tensor]:
        """Run all cycles but one, and then `last` updates of the low level."""
        z_high, z_low = states
        if self._recursion is not None:
            updates = Updates(self.H_cycles - 1, self.L_cycles, last)
            return self._recursion(z_high, z_low, x_RD, self.layout, updates)
        for _ in range(self.H_cycles - 1):
            z_low = self._low(z_low, z_high + x_RD, self.L_cycles)
            z_high = self.high_level(z_high, z_low, self.layout)
        return z_high, self._low(z_low, z_high + x_RD, last)

    def _low(self, z_low: Tensor, injection: Tensor, updates: int) -> Tensor:
        for _ in range(updates):
            z_low = self.L_level(z_low, injection, self.layout)
        return z_low


class HRM(RecursiveCore):
    """Hierarchical Reasoning Model, arXiv:2506.21734.

    Each level has a network of its own; the one-step gradient of section 2 goes through the last
    update of each.
    """

    def __init__(self, config: HRMConfig, sizes: TaskSizes) -> None:
        super().__init__(config, sizes, grad_updates=1)
        self.H_level = Level(config, config.H_layers, self.layout.tokens)

    @property
    def high_level(self) -> Level:
        """A network of its own."""
        return self.H_level


class TRM(RecursiveCore):
    """Tiny Recursive Model, arXiv:2510.04871, section 4.

    One network serves both levels (z_high is its answer y, z_low its latent z), and the gradient
    goes through the whole last cycle.
    """

    def __init__(self, config: TRMConfig, sizes: TaskSizes) -> None:
        super().__init__(config, sizes, grad_updates=config.L_cycles)

    @property
    def high_level(self) -> Level:
        """The network of the low level."""
        return self.L_level


class Transformer(Core):
    """A single pass through a stack of the same blocks."""

    def __init__(self, config: TransformerConfig, sizes: TaskSizes) -> None:
        super().__init__(config, sizes)
        self.layers = nn.ModuleList(
            Block(config, self.layout.tokens) for _ in range(config.num_layers)
        )

    def run_segment(self, states: States, x_RD: Tensor) -> tuple[Tensor, States]:
        """Run all layers; there are no states."""
        for layer in self.layers:
            x_RD = layer(x_RD, self.layout)
        return x_RD, states
