"""What a task returned, as the final values of its run."""

from __future__ import annotations

import difflib
import math
import statistics
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from hrm_sweep.runs.handle import RunHandle
from hrm_sweep.runs.numbers import as_number
from hrm_sweep.runs.outcomes import Outcome

MOST_SHOWN = 6
"""Metrics of a run that are named to a user who asked for another one."""
FORMS = "a number, a tuple of numbers or a dict of named numbers"


def take_values(handle: RunHandle, returned: Any, objectives: Sequence[str]) -> None:
    """Take a run's final values from what its task returned: a number, a tuple or a dict.

    An objective that it did not return has the last value that it logged. Without all objectives,
    or with a tuple of more, the run is unjudged; with one that is not finite it has diverged.
    """
    logged = handle.last_values
    values = _named(returned, objectives)
    if not _is_too_long(returned, objectives):
        values = {name: logged[name] for name in objectives if name in logged} | values
    if missing := [name for name in objectives if name not in values]:
        known = {**values, **logged}
        complaint = _complaint(returned, objectives)
        complaint += _several_known(known) if len(objectives) > 1 else _nearest(missing[0], known)
        handle.set_outcome(Outcome.UNJUDGED, complaint)
        return
    handle.values = values
    for name in objectives:
        if not math.isfinite(values[name]):
            handle.set_outcome(Outcome.DIVERGED, f"{name} is {values[name]}")


def finite(values: Mapping[str, float]) -> dict[str, float]:
    """Return the finite values, as the run folder keeps them."""
    return {name: value for name, value in values.items() if math.isfinite(value)}


def means_and_deviations(repeats: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Return the mean of each value that all repeats have.

    `<name>/std` is its standard deviation with n - 1 degrees of freedom.
    """
    values: dict[str, float] = {}
    for name in [name for name in repeats[0] if all(name in repeat for repeat in repeats)]:
        of_all = [repeat[name] for repeat in repeats]
        values[name] = statistics.fmean(of_all)
        values[f"{name}/std"] = statistics.stdev(of_all)
    return values


def _named(returned: Any, objectives: Sequence[str]) -> dict[str, float]:
    """Return the numbers among what was returned, by name; other entries of a dict are ignored."""
    if isinstance(returned, Mapping):
        values = {str(name): as_number(value) for name, value in returned.items()}
    else:
        if _is_too_long(returned, objectives):
            return {}
        several = _several(returned, objectives) or [returned]
        values = dict(zip(objectives, map(as_number, several), strict=False))
    return {name: value for name, value in values.items() if value is not None}


def _several(returned: Any, objectives: Sequence[str]) -> Sequence[Any]:
    """Return the elements of a tuple or list, for several objectives also of an array; else ()."""
    if len(objectives) > 1 and getattr(returned, "ndim", 0) == 1:
        returned = returned.tolist()
    return returned if isinstance(returned, (tuple, list)) else ()


def _is_too_long(returned: Any, objectives: Sequence[str]) -> bool:
    return len(_several(returned, objectives)) > len(objectives)


def _nearest(name: str, known: Collection[str]) -> str:
    """Return which metric may have been meant; empty if the run has none."""
    if not known:
        return ""
    shown = ", ".join(list(known)[:MOST_SHOWN]) + (", …" if len(known) > MOST_SHOWN else "")
    near = difflib.get_close_matches(name, known, n=1, cutoff=0)[0]
    return f". It has {shown}; try hydra.sweeper.objective={near}"


def _several_known(known: Collection[str]) -> str:
    """Return which metrics there are for several objectives; empty if the run has none."""
    names = ",".join(list(known)[:MOST_SHOWN])
    return f". Name them, such as hydra.sweeper.objective=[{names}]" if known else ""


def _complaint(returned: Any, objectives: Sequence[str]) -> str:
    names = ", ".join(objectives)
    if _is_too_long(returned, objectives):
        return (
            f"the task returned {len(returned)} values, {returned!r}, and the study names "
            f"{len(objectives)}: {names}; return as many, or a dict of named numbers, or name each "
            "value as an objective with its direction"
        )
    return f"the task returned {returned!r}; it must return {names}: {FORMS}, or log it"
