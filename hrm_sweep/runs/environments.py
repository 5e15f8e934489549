"""The environments of several runs, as flat names and texts that can be laid side by side."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from hrm_sweep.runs.run import Run


def flat_environment(run: Run) -> dict[str, str]:
    """Return the environment of a run by name; nothing if it did not write it down."""
    return dict(_flat(run.environment)) if run.environment else {}


def _flat(kept: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    yield "Python", str(kept.get("python", ""))
    yield "platform", str(kept.get("platform", ""))
    yield "CPU", str(kept.get("cpu", ""))
    yield "CPU features", " ".join(sorted(kept.get("cpu_features") or ()))
    for name in ("cores", "threads"):
        yield name, str(kept.get(name, ""))
    yield "git commit", _commit(kept)
    yield from kept.get("packages", {}).items()


def _commit(kept: Mapping[str, Any]) -> str:
    commit = (kept.get("git_commit") or "not known")[:10]
    changes = str(kept.get("git_changes") or "")[:8]
    return f"{commit}, with changes {changes}".rstrip() if kept.get("git_dirty") else commit
