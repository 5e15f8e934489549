"""Other sweeps on the same study: which trials they run, and from whom trials may be taken over."""

from __future__ import annotations

import contextlib
import socket
import time
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import optuna
from optuna.trial import FrozenTrial, TrialState

from hrm_sweep.engine.attributes import FOLDER, OWNER
from hrm_sweep.errors import RecordError, StudyError
from hrm_sweep.runs import record
from hrm_sweep.runs.writers import unknown_writer
from hrm_sweep.storage.leases import lease_state
from hrm_sweep.system.writers import LeaseState

PATIENCE_SECONDS = 2.0
"""How long the workers of a sweep may outlive it: they die of its death, a moment later."""

Others = Counter[tuple[str, LeaseState]]
"""Number of running trials by machine and state of their lease."""


def running_of_others(study: optuna.Study, *, besides: Mapping[str, str] | None = None) -> Others:
    """Return the running trials of all sweeps but the one with the lease `besides`."""
    return Counter(
        who_runs(trial) for trial in _running(study) if trial.user_attrs[OWNER] != besides
    )


def who_runs(trial: FrozenTrial) -> tuple[str, LeaseState]:
    """Return the machine that runs a trial with a lease, and what is seen of it from here.

    A run may outlive its sweep, as a job of a cluster does: then its record says where it is.
    """
    lease = trial.user_attrs[OWNER]
    machine, state = lease.get("host", "?"), lease_state(lease)
    if state is LeaseState.ALIVE:
        return machine, state
    with contextlib.suppress(RecordError):  # it has not begun, or its folder is elsewhere
        writer, seen = record.writer_of(_folder(trial))
        if seen is not LeaseState.EXPIRED:
            return writer.get("host", machine), seen
    return machine, state


def has_lost_sweep(trial: FrozenTrial, *, take_from: str | None = None) -> bool:
    """Return whether the sweep of a running trial is dead; its job may live.

    Args:
        take_from: a machine whose sweeps count as dead if nothing is seen of them here.
    """
    if not (lease := trial.user_attrs.get(OWNER)):  # run by Optuna's own means
        return False
    state = lease_state(lease)
    is_given_up = state is LeaseState.UNKNOWN and lease.get("host") == take_from
    return state is LeaseState.EXPIRED or is_given_up


def await_orphans(study: optuna.Study) -> None:
    """Wait a moment for the end of runs whose sweep has died."""
    end = time.monotonic() + PATIENCE_SECONDS
    while any(map(_is_orphan, _running(study))) and time.monotonic() < end:
        time.sleep(0.05)


def check_take_from(machine: str, others: Others, folder: Path) -> None:
    """Check that trials may be taken from a machine, and that it has some.

    Args:
        folder: of the study, whose record a sweep on that machine may have left open.

    Raises:
        StudyError: it has none, or its sweep is alive.
    """
    if others[machine, LeaseState.UNKNOWN] or unknown_writer(folder).get("host") == machine:
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


def _running(study: optuna.Study) -> list[FrozenTrial]:
    """Return the trials that sweeps run; those that Optuna's own means run have no lease."""
    running = study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
    return [trial for trial in running if trial.user_attrs.get(OWNER)]


def _is_orphan(trial: FrozenTrial) -> bool:
    is_alive = who_runs(trial)[1] is LeaseState.ALIVE
    return is_alive and lease_state(trial.user_attrs[OWNER]) is LeaseState.EXPIRED


def _folder(trial: FrozenTrial) -> Path:
    """Return a trial's folder, also where it was named from another folder than this one."""
    named = Path(trial.user_attrs.get(FOLDER, str(trial.number)))
    return named if named.exists() else Path(trial.user_attrs[OWNER]["lock"]).parent / named.name
