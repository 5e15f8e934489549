"""The input states that compiled code makes, held to those of PyTorch's operators."""

import shutil

import pytest
import torch
from torch import Tensor, nn

from hrm_sweep.hrm.backends import toolchain
from hrm_sweep.hrm.backends.backend import EmbeddingWeights
from hrm_sweep.hrm.backends.native_embedding import NativeEmbedding

pytestmark = pytest.mark.skipif(
    shutil.which(toolchain.compiler()) is None, reason="no C++ compiler"
)
ROWS, SCORED, HIDDEN, VOCABULARY, SCALE = 3, 6, 20, 5, 4.5
SIZES = [
    pytest.param(0, 0, id="no puzzle"),
    pytest.param(1, 20, id="one position"),
    pytest.param(2, 33, id="two positions, padded"),
    pytest.param(3, 7, id="mostly padding"),
]
"""Positions of a puzzle's vector and its size."""


def states(
    weights: EmbeddingWeights, inputs: Tensor, puzzles: Tensor | None, prefix: int
) -> Tensor:
    """Return the formula of kernels/embedding.h."""
    x = weights.tokens[inputs]
    if puzzles is not None:
        padded = nn.functional.pad(puzzles, (0, prefix * HIDDEN - puzzles.shape[1]))
        x = torch.cat((padded.unflatten(-1, (prefix, HIDDEN)), x), dim=1)
    if weights.positions is not None:
        x = 0.5**0.5 * (x + weights.positions)
    return SCALE * x.flatten(0, 1)


@pytest.mark.parametrize("learned", [False, True], ids=["", "learned positions"])
@pytest.mark.parametrize(("prefix", "size"), SIZES)
def test_states_and_gradients_are_those_of_the_formula(prefix, size, learned):
    torch.manual_seed(0)
    tokens = prefix + SCORED
    inputs = torch.randint(0, VOCABULARY, (ROWS, SCORED))
    drawn = [torch.randn(VOCABULARY, HIDDEN), torch.randn(tokens, HIDDEN), torch.randn(ROWS, size)]
    upstream = torch.randn(ROWS * tokens, HIDDEN)
    outcomes = []
    for compiled in (False, True):
        table, positions, puzzle = (x.clone().requires_grad_() for x in drawn)
        table.grad = torch.ones_like(table)  # is added to
        weights = EmbeddingWeights(table, positions if learned else None)
        puzzles = puzzle if prefix else None
        if compiled:
            x = NativeEmbedding(weights, tokens, SCALE, threads=2)(inputs, puzzles)
        else:
            x = states(weights, inputs, puzzles, prefix)
        x.backward(upstream)
        outcomes.append([x, table.grad, positions.grad, puzzle.grad])
    for wanted, found in zip(*outcomes, strict=True):
        torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-5)


def test_an_input_that_is_no_token_is_refused():
    kernel = NativeEmbedding(EmbeddingWeights(torch.zeros(VOCABULARY, HIDDEN)), SCORED, 1.0, 1)
    for wrong in (-1, VOCABULARY):
        with pytest.raises(RuntimeError, match="embedding_forward"):
            kernel(torch.full((ROWS, SCORED), wrong), None)


NOT_OURS = [
    pytest.param(torch.zeros(3, 7).long(), None, r"inputs \[B, 6 or less\]", id="too many"),
    pytest.param(torch.zeros(3, 4), None, "torch.int64", id="no integers"),
    pytest.param(torch.zeros(3, 5).long(), torch.zeros(3, 21), r"\[3, 20 or less\]", id="no room"),
    pytest.param(torch.zeros(3, 5).long(), torch.zeros(2, 20), r"\[3, 20 or less\]", id="rows"),
]


@pytest.mark.parametrize(("inputs", "puzzles", "words"), NOT_OURS)
def test_what_compiled_code_cannot_read_is_refused(inputs, puzzles, words):
    kernel = NativeEmbedding(EmbeddingWeights(torch.zeros(VOCABULARY, HIDDEN)), SCORED, 1.0, 1)
    with pytest.raises(ValueError, match=f"^the compiled embedding takes .*{words}"):
        kernel(inputs, puzzles)
