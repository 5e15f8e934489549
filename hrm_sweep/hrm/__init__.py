"""The app that ships with the engine: trains the Hierarchical Reasoning Model on a CPU."""

PRELOAD = ["hrm_sweep.hrm.app", "hrm_sweep.hrm.train"]
"""What a worker imports before its first job: the task as it is sent, and all that it will need."""
