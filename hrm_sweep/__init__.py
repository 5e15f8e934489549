"""Tracked, resumable, reproducible hyper-parameter studies on Hydra, Optuna and MLflow."""

__version__ = "0.1.0"
