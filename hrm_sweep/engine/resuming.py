"""Restart or resume: whether there may be, or has to be, a study of the name already."""

from __future__ import annotations

from hrm_sweep.engine.plugin_config import RESUME, STUDY_NAME, SweeperConfig
from hrm_sweep.errors import StudyError
from hrm_sweep.system.process import hrm_sweep_command

AUTO, MUST, NEVER = "auto", "must", "never"


def check_resume(config: SweeperConfig, *, reference: str, exists: bool) -> None:
    """Check that a study is resumed, or is new, as it was asked for.

    Args:
        reference: what names the study in a command.
        exists: whether it is there already.

    Raises:
        StudyError: it is not as it was asked for, or that cannot be understood.
    """
    asked = config.resume
    if asked not in (AUTO, MUST, NEVER):
        raise StudyError(f"{RESUME}{asked}: must be {AUTO}, {MUST} or {NEVER}")
    if asked == NEVER and exists:
        raise StudyError(f"{RESUME}{asked}: study {reference} is there already; {anew(reference)}")
    if asked == MUST and not exists:
        there_is = f"{STUDY_NAME} is not given"
        if config.study_name is not None:
            there_is = f"there is no study {config.study_name}"
        listed = f"those that can be resumed: {hrm_sweep_command('list')}"
        raise StudyError(f"{RESUME}{asked}: {there_is}; {listed}")


def anew(reference: str) -> str:
    """Return in words how a study is not resumed, but begun again."""
    delete = hrm_sweep_command("delete", reference)
    return f"to start anew, take another {STUDY_NAME}, or delete it first: {delete}"
