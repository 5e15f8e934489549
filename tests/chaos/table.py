"""Table: what each kind of fault has cost."""

from __future__ import annotations

from collections.abc import Sequence

from tests.chaos.episode import Episode

COUNTED = ("lost", "doubled", "wrong", "left")
HEAD = ("fault", "faults", "studies", "trials", *COUNTED)


def markdown(episodes: Sequence[Episode]) -> str:
    """Return a Markdown table with a row for each kind of fault and one for all."""
    kinds = list(dict.fromkeys(episode.fault for episode in sorted(episodes, key=_order)))
    rows = [_row(kind, [each for each in episodes if each.fault == kind]) for kind in kinds]
    rows.append(_row("**all**", list(episodes)))
    lines = [HEAD, ("---", *["---:"] * (len(HEAD) - 1)), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _order(episode: Episode) -> int:
    return episode.number


def _row(name: str, episodes: list[Episode]) -> tuple[str, ...]:
    faults = sum(episode.num_faults for episode in episodes)
    trials = sum(episode.num_trials for episode in episodes)
    counts = [sum(len(getattr(episode, what)) for episode in episodes) for what in COUNTED]
    return (name, *map(str, (faults, len(episodes), trials, *counts)))
