"""Names of the user attributes that a study and its trials have in Optuna."""

RECIPE = "recipe"
"""Of a study: what may not change when it is resumed."""
FOLDER = "folder"
"""Of a study and of its trials: where they run. A trial that was added by Optuna's own means has
none."""
OWNER = "owner"
"""Of a trial: the lease of the sweep that runs it."""
ATTEMPT = "attempt"
"""Of a trial: how often it was started, interruptions not counted."""
