"""Names of the user attributes that a study and its trials have in Optuna."""

STUDY_ID = "hrm_sweep.study_id"
"""Of a study: its id, which its folder and its runs in MLflow have too."""
PLACES = "hrm_sweep.places"
"""Of a study: the places of its folders, see `hrm_sweep.runs.places`."""

RECIPE = "recipe"
"""Of a study: what may not change when it is resumed."""
FOLDER = "folder"
"""Of a study and of its trials: where they run. A trial that was added by Optuna's own means has
none."""
OWNER = "owner"
"""Of a trial: the lease of the sweep that runs it."""
JOB = "job"
"""Of a trial: the job of a cluster that ran its last attempt, such as SLURM_JOB_ID=12."""
ATTEMPT = "attempt"
"""Of a trial: how often it was started, interruptions not counted."""
ENDED_MS = "ended_ms"
"""Of a trial that was put back: when its last attempt ended, in ms since 1970. A later end
in its record is that of an attempt which Optuna does not know."""
