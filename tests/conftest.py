from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from hrm_sweep.learning.configs import HRMConfig


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--golden",
        action="append",
        default=[],
        metavar="PATH",
        help="further files of figures of the published HRM code, for test_parity",
    )


@pytest.fixture
def hrm_config() -> Callable[..., HRMConfig]:
    """A small HRM's config, with changes."""

    def config(**changes: Any) -> HRMConfig:
        values = {
            "name": "hrm",
            "hidden_dim": 16,
            "num_heads": 2,
            "H_layers": 1,
            "L_layers": 1,
            "H_cycles": 2,
            "L_cycles": 2,
            "expansion": 2,
            "mlp_multiple_of": 8,
            "pos_encodings": "rope",
            "puzzle_emb_ndim": 16,
            "halting": "q_learning",
            "halt_max_steps": 3,
            "halt_exploration_prob": 0.0,
            "loss": "stablemax",
            "init_from": None,
        }
        return HRMConfig(**{**values, **changes})

    return config
