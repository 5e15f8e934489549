"""Which process writes a run, for commands: whether it lives is not seen from everywhere.

Only the machine, or the container, where a run was started can see that its process is dead. From
elsewhere its state is unknown, and the user says that it has ended (`--take-from`).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from hrm_sweep.errors import RecordError
from hrm_sweep.runs import layout, record
from hrm_sweep.system import process
from hrm_sweep.system.writers import LeaseState, describe_writer


def seen_writer(folder: Path) -> tuple[dict[str, str], LeaseState]:
    """Return `record.writer_of`, without reading the record of a run that is seen to be alive.

    Of a damaged record the lock alone decides.
    """
    if record.is_held(folder):
        return {}, LeaseState.ALIVE
    try:
        return record.writer_of(folder)
    except RecordError:
        return {}, LeaseState.EXPIRED


def unknown_writer(folder: Path) -> dict[str, str]:
    """Return the writer of an unfinished run of which nothing is seen from here, else nothing."""
    if not (folder / layout.RECORD).exists():
        return {}
    writer, state = seen_writer(folder)
    return writer if state is LeaseState.UNKNOWN else {}


def describe_unknown(writer: Mapping[str, str], reference: str) -> str:
    """Return that a run may be alive, and what to do if it is not.

    Args:
        reference: what names the study or the single run in a command.
    """
    take = process.hrm_sweep_command("resume", reference, "--take-from", writer["host"])
    return (
        f"it may still run on {describe_writer(writer)}, which cannot be seen from here; "
        f"if it has ended there: {take}"
    )


def check_not_elsewhere(folder: Path) -> None:
    """Check that a single run may continue here.

    Raises:
        RecordError: a process that cannot be seen from here may still run it.
    """
    if writer := unknown_writer(folder):
        raise RecordError(f"{folder}: {describe_unknown(writer, str(folder))}")


def take_over(folder: Path, machine: str | None) -> bool:
    """Write that a run has ended whose process on a machine the user gives up.

    Returns:
        Whether there was such a run.
    """
    writer = unknown_writer(folder)
    return writer.get("host") == machine is not None and record.write_end(folder, has_ended=True)
