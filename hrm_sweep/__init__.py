"""Tracked, reproducible hyper-parameter studies on Hydra, Optuna and MLflow."""

from typing import TYPE_CHECKING, Any

from hrm_sweep.runs import handle as trial
from hrm_sweep.runs.handle import log_metrics

if TYPE_CHECKING:
    from hrm_sweep.commands.export import load_study
    from hrm_sweep.hrm.load import load_run

__all__ = ["load_run", "load_study", "log_metrics", "trial"]
__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    if name == "load_run":
        from hrm_sweep.hrm.load import load_run  # imports torch

        return load_run
    if name == "load_study":
        from hrm_sweep.commands.export import load_study

        return load_study
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
