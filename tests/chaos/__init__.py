"""Chaos: faults thrown at whole studies, and what each of them cost.

`python -m tests.chaos --faults 500` runs studies of a small foreign app and of the shipped one,
throws seeded faults at them, lets each study end and compares everything that it left with a study
of the same seeds without faults. See docs/faults.md.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))  # the tests' modules, where pytest has them
