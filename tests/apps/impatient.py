"""The parabola, in a study that does not wait long for its database."""

import runpy
from pathlib import Path

from hrm_sweep.storage import database, retry

if __name__ == "__main__":
    retry.PATIENCE_SECONDS = 3.0
    database.SECONDS_FOR_A_WRITER = 1
    runpy.run_path(str(Path(__file__).with_name("parabola.py")), run_name="__main__")
