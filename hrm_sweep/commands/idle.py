"""Whether another process works on a study, which keeps its folder and its name then."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hrm_sweep import formatting
from hrm_sweep.errors import StudyError
from hrm_sweep.runs.study import Study
from hrm_sweep.runs.writers import describe_unknown
from hrm_sweep.storage.leases import sweeps_in
from hrm_sweep.system import process
from hrm_sweep.system.writers import LeaseState

if TYPE_CHECKING:
    from hrm_sweep.engine.other_sweeps import Others


def check_idle(study: Study) -> None:
    """Check that no other process works in the study's folder.

    Raises:
        StudyError: one does, or may do so.
    """
    if study.is_running:
        raise StudyError(f"{study.name}: is running; stop it first (Ctrl-C where it runs)")
    for writer in study.unknown_writers:
        raise StudyError(f"{study.name}: {describe_unknown(writer, study.reference)}")
    check_no_sweep_in(study)


def check_no_sweep_in(study: Study) -> None:
    """Check that no sweep has opened the study's folder.

    Raises:
        StudyError: one has, or may have.
    """
    for works_there in sweeps_in(study.folder):
        raise StudyError(f"{study.folder}: a sweep {works_there}; stop it first")


def check_no_sweep_runs(study: Study, running: Others) -> None:
    """Check that no sweep anywhere runs trials of a study.

    Args:
        running: what sweeps run of it, by Optuna.

    Raises:
        StudyError: one does, or may do so.
    """
    for (machine, lease), number in running.items():
        trials = formatting.pluralize(number, "trial")
        if lease is LeaseState.ALIVE:
            raise StudyError(f"{study.name}: a sweep on {machine} runs {trials}; stop it first")
        if lease is LeaseState.UNKNOWN:
            take = process.hrm_sweep_command("resume", study.reference, "--take-from", machine)
            raise StudyError(
                f"{study.name}: {trials} may still run on {machine}, which cannot be seen from "
                f"here; stop that sweep there, or, if the machine is gone for good: {take}"
            )
