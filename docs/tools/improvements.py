"""The table of docs/improvements.md, run again: one study for each of its rows.

    python docs/tools/improvements.py [ROW ...]

prints the rows (all, or those of these numbers, from 1) with fresh figures. Studies are in
`multirun/improvements-ROW` of the folder it is run in; one that is there is resumed, or read if it
is complete. A row takes some minutes of one core.
"""

from __future__ import annotations

import platform
import re
import shlex
import subprocess
import sys
from pathlib import Path

from hrm_sweep import __version__, load_study

PAGE = Path(__file__).parents[1] / "improvements.md"
PATTERNS = ("copy", "increment")


def command(page: str) -> list[str]:
    """Return the command of the page to which each row adds; the base's number of puzzles aside."""
    line = re.search(r"^\$ python (-m hrm_sweep -m .*)$", page, re.M)
    assert line is not None
    return [word for word in shlex.split(line[1]) if not word.startswith("data.num_puzzles=")]


def rows(page: str) -> list[tuple[str, str]]:
    """Return what each row of the table is called, and what it adds to the command."""
    return re.findall(r"^\| ([^|]+?) \| `(data\.[^|]+?)` \|", page, re.M)


def run(number: int, base: list[str], added: str) -> list[str]:
    """Run or resume the study of a row; return the cells of its patterns."""
    name = f"improvements-{number}"
    if "model=transformer" in added:  # which has no halting head
        base = [word for word in base if not word.startswith("model.halting=")]
    line = [sys.executable, *base, *shlex.split(added), f"study.name={name}", "tracking=off"]
    subprocess.run(line, check=True)
    trials = load_study(Path("multirun") / name).trials  # evaluated once, after the last epoch
    return [_cell(trials[f"eval/exact_match/{pattern}"].tolist()) for pattern in PATTERNS]


def _cell(shares: list[float]) -> str:
    mean = sum(shares) / len(shares)
    return f"{mean:.0%} ({min(shares) * 100:.0f} to {max(shares) * 100:.0f})"


def main() -> None:
    """Run the rows that are asked for and print them."""
    page = PAGE.read_text(encoding="utf-8")
    found = rows(page)
    wanted = [int(number) for number in sys.argv[1:]] or range(1, len(found) + 1)
    lines = []
    for number in wanted:
        title, added = found[number - 1]
        cells = run(number, command(page), added)
        lines.append(f"| {title} | `{added}` | {' | '.join(cells)} |")
    print(f"hrm_sweep {__version__}, {platform.machine()}, Python {platform.python_version()}\n")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
