"""Other sweeps on the same study: which trials they run, and from whom trials may be taken over."""

from __future__ import annotations

import socket
from collections import Counter
from collections.abc import Mapping

import optuna
from optuna.trial import TrialState

from hrm_sweep.engine.attributes import OWNER
from hrm_sweep.errors import StudyError
from hrm_sweep.storage.leases import LeaseState, lease_state

Others = Counter[tuple[str, LeaseState]]
"""Number of running trials by machine and state of their lease."""


def running_of_others(study: optuna.Study, *, besides: Mapping[str, str] | None = None) -> Others:
    """Return the running trials of all sweeps but the one with the lease `besides`."""
    running = study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
    leases = [trial.user_attrs.get(OWNER, {}) for trial in running]
    return Counter(
        (lease.get("host", "?"), lease_state(lease))
        for lease in leases
        if lease and lease != besides
    )


def check_take_from(machine: str, others: Others) -> None:
    """Check that trials may be taken from a machine, and that it has some.

    Raises:
        StudyError: it has none, or its sweep is alive.
    """
    if others[machine, LeaseState.UNKNOWN]:
        return
    if others[machine, LeaseState.ALIVE]:
        why = "its sweep is alive, it holds its lock; stop it there"
    elif machine == socket.gethostname():
        why = "this is that machine, and what died on it is taken over anyway; leave it out"
    else:
        known = sorted({name for name, state in others if state is LeaseState.UNKNOWN})
        there = f"some run on {' and '.join(known)}" if known else "none runs on another machine"
        why = f"no trial of the study runs there; {there}"
    raise StudyError(f"take_from={machine}: {why}")
