"""The losses that compiled code reads from an answer, held to those of PyTorch's operators."""

import shutil

import pytest
import torch
from torch import Tensor

from hrm_sweep.hrm.backends import toolchain
from hrm_sweep.hrm.backends.backend import Readout, ReadoutWeights
from hrm_sweep.hrm.backends.native_readout import NativeReadout
from hrm_sweep.hrm.data.tokens import IGNORE
from hrm_sweep.hrm.models.act import SegmentOutput
from hrm_sweep.hrm.training.losses import score_predictions, segment_losses

pytestmark = pytest.mark.skipif(
    shutil.which(toolchain.compiler()) is None, reason="no C++ compiler"
)
SIZES = [
    pytest.param((3, 5, 1, 8, 4), id="small"),
    pytest.param((2, 37, 1, 64, 12), id="the default's"),
    pytest.param((2, 6, 0, 17, 16), id="no prefix, a whole vector of tokens"),
    pytest.param((4, 9, 3, 30, 70), id="a vocabulary wider than a tile"),
    pytest.param((1, 1, 0, 1, 1), id="one of each"),
]
"""Rows, tokens, prefix, hidden size, vocabulary."""


class Case:
    """Random states, weights, labels and targets; the first row has no labels if there are more."""

    def __init__(self, rows: int, tokens: int, prefix: int, hidden: int, vocabulary: int) -> None:
        torch.manual_seed(tokens)
        self.rows, self.tokens, self.prefix = rows, tokens, prefix
        self.answer = torch.randn(rows * tokens, hidden)
        self.weights = ReadoutWeights(
            torch.randn(vocabulary, hidden), torch.randn(2, hidden), torch.randn(2)
        )
        self.labels = torch.randint(0, vocabulary, (rows, tokens - prefix))
        self.labels[torch.rand(self.labels.shape) < 0.2] = IGNORE
        if rows > 1:
            self.labels[0] = IGNORE
            self.labels[1] = self._logits(self.answer, self.weights.head)[1].argmax(dim=-1)
        self.target = torch.rand(rows)

    def _logits(self, answer: Tensor, head: Tensor) -> Tensor:
        return (answer @ head.T).unflatten(0, (self.rows, self.tokens))[:, self.prefix :]

    def expected(self, loss: str, heads: str) -> tuple[Readout, list[Tensor]]:
        """Return what is read, and the gradients of a sum of both losses, in float64."""
        leaves = [self.answer, *self.weights]
        answer, head, q, bias = (leaf.double().requires_grad_() for leaf in leaves)
        halt, go_on = (answer[:: self.tokens] @ q.T + bias).unbind(dim=-1)
        output = SegmentOutput(self._logits(answer, head))
        if heads != "none":
            output = output._replace(q_halt=halt)
        if heads == "both":
            output = output._replace(q_continue=go_on, target_q_continue=self.target.double())
        score = score_predictions(output.logits.argmax(dim=-1), self.labels)
        losses = segment_losses(output, self.labels, score, loss=loss)
        summed(losses).backward()
        grads = [torch.zeros_like(x) if x.grad is None else x.grad for x in (answer, head, q, bias)]
        return Readout(*losses, score.tokens, score.correct), grads

    def found(self, loss: str, heads: str, threads: int = 1) -> tuple[Readout, list[Tensor]]:
        leaves = [self.answer, *self.weights]
        answer, *parameters = (leaf.clone().requires_grad_() for leaf in leaves)
        for parameter in parameters:
            parameter.grad = torch.ones_like(parameter)  # is added to
        weights = ReadoutWeights(*parameters) if heads != "none" else ReadoutWeights(parameters[0])
        kernel = NativeReadout(weights, self.tokens, loss, threads)
        read = kernel(answer, self.labels, self.target if heads == "both" else None)
        summed(read).backward()
        return read, [answer.grad, *(parameter.grad - 1 for parameter in parameters)]


def summed(losses: Readout) -> Tensor:
    """Return a sum in which each row weighs another amount."""
    weights = torch.arange(1, len(losses.total) + 1).to(losses.total.dtype)
    return (weights * (losses.total + 0.3 * losses.padding)).sum()


@pytest.mark.parametrize("heads", ["none", "halting", "both"])
@pytest.mark.parametrize("loss", ["softmax", "stablemax"])
@pytest.mark.parametrize("sizes", SIZES)
def test_losses_counts_and_gradients_are_those_of_the_formulas(sizes, loss, heads):
    case = Case(*sizes)
    (wanted, wanted_grads), (found, grads) = case.expected(loss, heads), case.found(loss, heads)
    for name in Readout._fields:
        close = getattr(found, name).double(), getattr(wanted, name).double()
        torch.testing.assert_close(*close, rtol=1e-5, atol=1e-5)
    for gradient, expected in zip(grads, wanted_grads, strict=True):
        torch.testing.assert_close(gradient.double(), expected, rtol=1e-4, atol=1e-5)


def test_a_single_loss_may_be_differentiated():
    case = Case(3, 5, 1, 8, 4)
    answer = case.answer.clone().requires_grad_()
    kernel = NativeReadout(case.weights, case.tokens, "softmax", 1)
    kernel(answer, case.labels, None).total.sum().backward()
    assert not answer.grad[:5].any()  # it has no labels
    assert answer.grad[6:].any()


def test_threads_change_no_bit_of_the_losses():
    case = Case(5, 20, 1, 24, 12)
    one, three = case.found("softmax", "both"), case.found("softmax", "both", threads=3)
    for ours, theirs in zip((*one[0], *one[1]), (*three[0], *three[1]), strict=True):
        assert torch.equal(ours, theirs)


@pytest.mark.parametrize("label", [-1, 4, 2**40])
def test_a_label_that_is_no_token_is_no_memory_access(label):
    case = Case(2, 5, 1, 8, 4)
    case.labels[0, 2] = label
    read, grads = case.found("softmax", "halting")
    assert read.lm[0].isnan()
    assert read.lm[1].isfinite()
    assert not grads[1].isnan().any()


NOT_OURS = [
    pytest.param({"answer": torch.zeros(9, 8)}, r"states \[10, 8\]", id="rows"),
    pytest.param({"answer": torch.zeros(10, 8).double()}, r"states \[10, 8\]", id="dtype"),
    pytest.param({"labels": torch.zeros(2, 4)}, r"labels \[B, 5 or less\]", id="labels"),
    pytest.param(
        {"labels": torch.zeros(4, 2, dtype=torch.int64).T}, "contiguous labels", id="memory"
    ),
]


@pytest.mark.parametrize(("changes", "words"), NOT_OURS)
def test_what_compiled_code_cannot_read_is_refused(changes, words):
    case = Case(2, 5, 1, 8, 4)
    vars(case).update(changes)
    with pytest.raises(ValueError, match=f"^the compiled readout takes .*{words}"):
        case.found("softmax", "halting")
