"""Tracked, reproducible hyper-parameter studies on Hydra, Optuna and MLflow."""

import warnings
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hrm_sweep.api import sweep
    from hrm_sweep.hrm.load import load_run
    from hrm_sweep.results import load_study
    from hrm_sweep.runs import handle as trial
    from hrm_sweep.runs.handle import log_metrics

__all__ = ["load_run", "load_study", "log_metrics", "sweep", "trial"]
__version__ = "0.1.0"


_LATER = {
    "load_run": "hrm_sweep.hrm.load",  # imports torch
    "load_study": "hrm_sweep.results",
    "log_metrics": "hrm_sweep.runs.handle",  # imports Hydra
    "sweep": "hrm_sweep.api",
}
"""Name -> the module that has it, which is imported when it is used."""


def __getattr__(name: str) -> Any:
    if name == "trial":
        return import_module("hrm_sweep.runs.handle")
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "IProgress not found")  # of Optuna, in a notebook
        return getattr(import_module(_LATER[name]), name)
