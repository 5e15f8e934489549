"""Optuna's storage: how a database is opened, shared between processes and shown."""
