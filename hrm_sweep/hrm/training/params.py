"""All parameters of a model as one vector."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from hrm_sweep.hrm.models.layers import Block, Linear


class FlatParams:
    """All parameters of a model as one fp32 vector, and their gradients as another.

    The model's parameters become views of `vector`, so that clipping, the optimizer and the moving
    average each take a single pass over memory. In bf16 the linear layers compute with copies that
    are cast once per optimizer step (`sync_compute_copies`); `collect_grads` moves their gradients
    to `gradient`. Do not move the model or replace its parameters while this object is in use.
    """

    def __init__(self, model: nn.Module, dtype: torch.dtype) -> None:
        linear = [module for module in model.modules() if isinstance(module, Linear)]
        first = [module.weight for module in linear]
        ids = set(map(id, first))
        parameters = [*first, *(p for p in model.parameters() if id(p) not in ids)]
        self.vector = nn.Parameter(torch.cat([p.detach().flatten() for p in parameters]))
        self.gradient = self.vector.grad = torch.zeros_like(self.vector)
        values = _views(self.vector.detach(), parameters)
        gradients = _views(self.gradient, parameters)
        for parameter, value, gradient in zip(parameters, values, gradients, strict=True):
            parameter.data, parameter.grad = value, gradient
        self._blocks = [module for module in model.modules() if isinstance(module, Block)]
        self._linear = linear if dtype != torch.float32 else []
        num_copied = sum(module.weight.numel() for module in self._linear)
        self.copies = torch.empty(num_copied, dtype=torch.bfloat16)
        """Of the first parameters; of none in fp32."""
        copies = _views(self.copies, [module.weight for module in self._linear])
        for module, copy in zip(self._linear, copies, strict=True):
            module.compute_copy = copy.requires_grad_()
        self._copies_and_gradients = [*zip(copies, gradients[: len(copies)], strict=True)]
        self.sync_compute_copies()
        model.register_load_state_dict_post_hook(lambda *_: self.sync_compute_copies())

    @torch.no_grad()
    def sync_compute_copies(self) -> None:
        """Bring the weights that layers compute with up to date, after every change of `vector`.

        Loading a state dict into the model does so by itself.
        """
        self.copies.copy_(self.vector[: len(self.copies)])
        self.refresh_blocks()

    def refresh_blocks(self) -> None:
        """Let the blocks prepare their weights, after every change of the copies."""
        for block in self._blocks:
            block.refresh()

    @torch.no_grad()
    def collect_grads(self) -> None:
        """Complete `gradient` after a backward pass."""
        for copy, gradient in self._copies_and_gradients:
            if copy.grad is not None:
                gradient.copy_(copy.grad)
                copy.grad = None

    @contextmanager
    def replaced_by(self, vector: Tensor) -> Iterator[None]:
        """Let the model compute with the parameters in `vector` inside the context."""
        own = self.vector.detach().clone()
        try:
            self._set(vector)
            yield
        finally:
            self._set(own)

    @torch.no_grad()
    def _set(self, vector: Tensor) -> None:
        self.vector.copy_(vector)
        self.sync_compute_copies()


def _views(vector: Tensor, like: list[nn.Parameter]) -> list[Tensor]:
    parts = vector.split([p.numel() for p in like]) if like else []
    return [part.view_as(p) for part, p in zip(parts, like, strict=True)]
