"""Tracked, reproducible hyper-parameter studies on Hydra, Optuna and MLflow."""

from hrm_sweep.study import trial

__all__ = ["trial"]
__version__ = "0.1.0"
