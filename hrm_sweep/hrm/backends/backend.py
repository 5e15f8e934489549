"""The contract between a training and what computes its blocks and the update of its parameters.

A post-norm transformer block (arXiv:1706.03762, 1910.07467, 2002.05202, 2104.09864) maps the states
x of a batch of sequences to

    h = norm(x + W_out attention(W_qkv x)),    z = norm(h + W_down (silu(gate) · up)),

where (gate, up) = W_gate_up h, norm(y) = y / sqrt(mean(y²) + 1e-5) and attention is softmax(q·k) v
over all tokens of a sequence, after the rotation of queries and keys by their positions. A block
that mixes over tokens (`mlp_t` of TRM, arXiv:2510.04871) has another SwiGLU instead of attention:
transposed, so on the T numbers of each feature, h = norm(x + W_down (silu(gate) · up)). `eager`
computes with PyTorch's operators, `native` with a library compiled for the CPU at hand; `select`
chooses one of them for a training.

Shapes, in names of tensors: B sequences of a batch, T tokens, R = B · T both in one dimension,
D hidden, N heads, K = D / N size of a head, E = 3 D queries, keys and values, M width of the MLP,
L that of the SwiGLU over tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol, TypeVar

import torch
from torch import Tensor


class BlockWeights(NamedTuple):
    """The matrices of a block's linear layers, [outputs, inputs], all of one dtype."""

    qkv: Tensor
    """[E, D]. The two numbers of a head that rotate together are neighbours: `layers.Attention`."""
    out: Tensor
    """[D, D]."""
    gate_up: Tensor
    """[2 M, D]."""
    down: Tensor
    """[D, M]."""


class MixerWeights(NamedTuple):
    """The matrices of a block that mixes over tokens, [outputs, inputs], all of one dtype."""

    token_gate_up: Tensor
    """[2 L, T]."""
    token_down: Tensor
    """[T, L]."""
    gate_up: Tensor
    """[2 M, D]."""
    down: Tensor
    """[D, M]."""


class PointwiseWeights(NamedTuple):
    """The matrices of a block without mixing over tokens, [outputs, inputs], all of one dtype."""

    gate_up: Tensor
    """[2 M, D]."""
    down: Tensor
    """[D, M]."""


WeightsT = TypeVar("WeightsT", bound=tuple[Tensor, ...], contravariant=True)


class SequenceLayout(NamedTuple):
    """The structure of flat states [R, D]: sequences of equal length, and heads."""

    tokens: int
    num_heads: int
    rope_table: Tensor | None
    """[T, K / 2, 2], the complex factors of rotary positions, scaled by K^-1/4
    (`layers.rope_table`). None: no rotation, and the scale is applied by itself."""


class BlockKernel(Protocol[WeightsT]):
    """Forward and backward pass of one block, with weights prepared for it.

    A result is differentiable with respect to the states and to the parameters or weights that the
    kernel was given; not twice.
    """

    def prepare(self, weights: WeightsT) -> None:
        """Take over the weights to compute with; to be repeated whenever they change."""

    def __call__(self, x_RD: Tensor, layout: SequenceLayout) -> Tensor:
        """Return the states after the block, [R, D]."""

    def first_token(self, x_RD: Tensor, layout: SequenceLayout) -> Tensor:
        """Return the state of each sequence's first token after the block, [B, D].

        It has no gradient, and costs a part of what all tokens cost.
        """


class Updates(NamedTuple):
    """Updates of two states: whole cycles, then some of the low-level state alone."""

    cycles: int
    low_updates: int
    """Updates of the low-level state in a cycle; one of the high-level state follows."""
    last: int
    """Those of the low-level state after all cycles."""


class RecursionKernel(Protocol):
    """Updates of two states without a gradient, `cores.RecursiveCore`."""

    def __call__(
        self, z_high: Tensor, z_low: Tensor, x_RD: Tensor, layout: SequenceLayout, updates: Updates
    ) -> tuple[Tensor, Tensor]:
        """Return both states after the updates, [R, D], detached."""


class AdamVectors(NamedTuple):
    """What Adam reads and writes of all parameters, contiguous vectors of P numbers in fp32."""

    parameters: Tensor
    gradient: Tensor
    mean: Tensor
    """The moving average of the gradient."""
    square: Tensor
    """That of its square."""
    copies: Tensor
    """bf16 copies of the first parameters, maybe of none."""


class AdamStep(NamedTuple):
    """The numbers of one update."""

    number: int
    """Counted from 1."""
    lr: float
    scale: float
    """Factor of the gradient, from clipping."""
    beta1: float
    beta2: float
    weight_decay: float
    atan2: bool
    """Whether the update is atan2(m, sqrt(v)) (arXiv:2407.05872) instead of m / (sqrt(v) + eps)."""
    epsilon: float = 1e-8

    @property
    def bias1(self) -> float:
        """Sum of the weights that the average of the gradient has so far, 0 to 1."""
        return 1 - self.beta1**self.number

    @property
    def bias2(self) -> float:
        """That of its square."""
        return 1 - self.beta2**self.number


class AdamKernel(Protocol):
    """The update of all parameters, by vectors that it was given."""

    def norm(self) -> float:
        """Return the L2 norm of the gradient."""

    def update(self, step: AdamStep) -> None:
        """Update the parameters, both moments and the copies; the gradient becomes zero."""


class EmbeddingWeights(NamedTuple):
    """The fp32 parameters of a model's input; V tokens in its vocabulary."""

    tokens: Tensor
    """[V, D]."""
    positions: Tensor | None = None
    """[T, D], learned; None: there are none."""


class EmbeddingKernel(Protocol):
    """The input states of a model, `cores.Core.embed`."""

    def __call__(self, inputs_BS: Tensor, puzzles_BP: Tensor | None) -> Tensor:
        """Return the input states, [R, D].

        Args:
            inputs_BS: int64 tokens, of the last S of T positions.
            puzzles_BP: fp32 vectors of the rows' puzzles, of which the first positions are made;
                None: all positions are tokens.
        """


class ReadoutWeights(NamedTuple):
    """The fp32 parameters of a model's heads; V tokens in its vocabulary."""

    head: Tensor
    """[V, D]."""
    q: Tensor | None = None
    """[2, D], of halting and of continuing; None without a halting head."""
    q_bias: Tensor | None = None
    """[2]."""


class Readout(NamedTuple):
    """Losses and counts of one segment, each [B] in fp32; `losses.Losses` says what they are.

    The first two are differentiable.
    """

    total: Tensor
    padding: Tensor
    lm: Tensor
    q_halt: Tensor
    q_continue: Tensor
    tokens: Tensor
    """Tokens of the row that have a label."""
    correct: Tensor
    """Those of them that are predicted correctly."""


class ReadoutKernel(Protocol):
    """What a training reads from the states of an answer."""

    def __call__(self, answer_RD: Tensor, labels_BS: Tensor, target_B: Tensor | None) -> Readout:
        """Return losses and counts.

        Args:
            answer_RD: fp32; of each row, the last S positions have labels.
            labels_BS: int64, tokens or IGNORE.
            target_B: Target of the value of continuing, 0 to 1; None: it has no loss.
        """


class Backend(Protocol):
    """A way to compute blocks, losses and the update of all parameters on this machine."""

    @property
    def name(self) -> str:
        """Value of a run's tag `compiled`: the library's name, or "no".

        It differs wherever a bit of the results may differ.
        """

    def missing(self) -> str | None:
        """Return what this machine lacks for the backend; None: nothing, as far as is known."""

    def load(self) -> None:
        """Make the backend ready, which may take seconds.

        Raises:
            InputError: it cannot be used here.
        """

    def block(self, parameters: BlockWeights, threads: int) -> BlockKernel[BlockWeights]:
        """Return a kernel for one block of a model; `load` comes first.

        Args:
            parameters: fp32 parameters of the block. They are prepared as weights, too.
            threads: Number of threads that compute; it changes no bit of the results.
        """

    def mixer(self, parameters: MixerWeights, threads: int) -> BlockKernel[MixerWeights]:
        """Return a kernel for one block that mixes over tokens, as `block` does."""

    def pointwise(
        self, parameters: PointwiseWeights, threads: int
    ) -> BlockKernel[PointwiseWeights]:
        """Return a kernel for one block without attention, as `block` does: norm(x + SwiGLU x)."""

    def recursion(
        self, low: Sequence[BlockKernel[Any]], high: Sequence[BlockKernel[Any]]
    ) -> RecursionKernel | None:
        """Return a kernel for updates by these blocks; None: the model runs block by block.

        Args:
            low: Kernels of this backend, of the low level; their weights may change.
            high: Those of the high level.
        """

    def embedding(
        self, weights: EmbeddingWeights, tokens: int, scale: float, threads: int
    ) -> EmbeddingKernel | None:
        """Return a kernel for the input states; None: PyTorch's operators make them.

        Args:
            weights: Parameters, to whose `.grad` gradients are added.
            tokens: T.
            scale: Factor of all states.
            threads: As for `block`.
        """

    def readout(
        self, weights: ReadoutWeights, tokens: int, loss: str, threads: int
    ) -> ReadoutKernel | None:
        """Return a kernel for the losses of a training; None: `losses` computes them.

        Args:
            weights: Parameters, to whose `.grad` gradients are added.
            tokens: T.
            loss: `model.loss`, see `losses.token_losses`.
            threads: As for `block`.
        """

    def adam(self, vectors: AdamVectors, threads: int) -> AdamKernel:
        """Return a kernel for the update of all parameters; `threads` as for `block`."""


def refuse_second_derivative() -> None:
    """Check, within a backward pass, that autograd does not record it.

    Raises:
        RuntimeError: It does (`create_graph=True`), and would take the result for a constant.
    """
    if torch.is_grad_enabled():
        raise RuntimeError("a block has no second derivative: differentiate without create_graph")
