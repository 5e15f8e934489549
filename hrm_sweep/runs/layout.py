"""Names of the files and folders of runs and studies: the one place where they stand.

multirun/                     studies, and below `train/` single runs
    <study>/                  RECORD, SWEEP_CONFIG, STUDY_RESULTS, REPORT, FIGURES, ANNOTATIONS
        <trial>/              RECORD, RESULT, CONFIG, OVERRIDES, ENVIRONMENT, LOG, ANNOTATIONS
            <repeat>/         the same, but for the log
"""

from pathlib import Path

MULTIRUN = Path("multirun")
SINGLE_RUNS = MULTIRUN / "train"
REPRODUCED = MULTIRUN / "reproduced"
"""Copies by `reproduce` of trials of other apps, each a study of one point."""

RECORD = "record.jsonl"
"""What a run or a study wrote down: see `hrm_sweep.runs.record`."""
RESULT = "result.json"
"""Outcome and final values of a run."""
CONFIG = "config.yaml"
OVERRIDES = "overrides.yaml"
ENVIRONMENT = "environment.json"
REMOVED_MODELS = "removed_models.json"
"""Which model files of a run were removed to free space: see `hrm_sweep.runs.models`."""
LOG = "run.log"
"""Output of a Hydra job; the repeats of a trial share their trial's."""

SWEEP_CONFIG = "multirun.yaml"
"""Hydra's config of a sweep, in a study's folder only."""
STUDY_RESULTS = "optimization_results.yaml"
"""The best trials, in the form of Hydra's own Optuna sweeper."""
REPORT = "report.html"
FIGURES = "figures"
ANNOTATIONS = "annotations.json"
"""What the user says of a study or run: see `hrm_sweep.runs.annotations`."""
ANNOTATIONS_LOCK = ".annotations.lock"
SET_ASIDE = ".damaged"
"""End of the names of folders, and of records of studies, that were set aside."""
CACHED_RESULTS = ".recipes"
"""Folder with a file for each complete recipe of a study."""
JOBS = ".jobs"
"""Folder of a study for its jobs in a cluster's queue: see `hrm_sweep.runs.tickets`."""

EXPORT_STATE = "mlflow.json"
"""How far a run was exported: see `hrm_sweep.runs.export_state`."""
EXPORTER_LOCK = ".mlflow.lock"
EXPORTER_LOG = "projector.log"
"""What went wrong beside the runs: in the exporter, and in drawing."""
