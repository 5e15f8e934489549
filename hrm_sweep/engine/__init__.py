"""The loop that runs a study: scheduler, trial queue, exchange with Optuna, progress, records."""
