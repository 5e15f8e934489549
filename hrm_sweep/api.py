"""`hrm_sweep.sweep`: a study from Python, as the command line runs it."""

from __future__ import annotations

import inspect
import os
import warnings
from collections.abc import Callable, Sequence
from typing import Any

from hrm_sweep import cli
from hrm_sweep.commands.error_messages import LIBRARY_ERRORS, explain, is_hydra_value_error
from hrm_sweep.compat.hydra import parse_arguments
from hrm_sweep.compat.hydra_state import hydra_of_its_own
from hrm_sweep.errors import InputError
from hrm_sweep.hrm.description import APP
from hrm_sweep.results import StudyResult, load_study
from hrm_sweep.runs import layout
from hrm_sweep.system import call

SWEEPER = "hydra/sweeper="


def sweep(overrides: Sequence[str], task: Callable[..., Any] | None = None) -> StudyResult:
    """Run a study in this process, with its workers, and return it.

    It is what `python -m hrm_sweep -m OVERRIDES…` would run, or `python app.py -m OVERRIDES…`, with
    the same folder, record, lines and table, so every command finds it. In a notebook the live
    table is one output that is updated. Interrupting the kernel does what Ctrl-C does: running
    trials are saved, and KeyboardInterrupt is raised; a call with the same `study.name` resumes.
    From a thread other than the main one, signals are not handled; one call runs at a time.

    Args:
        overrides: as on the command line, without a shell's quotes: `["lr=1e-4,1e-3"]`.
        task: function of your own app, decorated with `hydra.main`, in a module of its own; None
            trains the app that ships with hrm_sweep.

    Returns:
        The study, also if no trial of it is complete.

    Raises:
        InputError: something cannot be used; nothing has been created.
        HrmSweepError: the study cannot continue, such as without its database; what was measured
            stays.
        KeyboardInterrupt: the study was stopped.
    """
    if isinstance(overrides, str):
        raise InputError(f"sweep: give a list of overrides, [{overrides!r}], not a text")
    if task is None:
        return _run(APP.command, overrides, _run_ours, explained=cli.explained)
    _check(task)
    if not any(text.startswith(SWEEPER) for text in overrides):
        overrides = [f"{SWEEPER}hrm_sweep", *overrides]
    command = _command(task)

    def explained(error: Exception) -> InputError:
        return InputError(
            explain(error, command=command, overrides=overrides, keys=(), commands=())
        )

    return _run(command, overrides, task, explained=explained, HYDRA_MAIN_MODULE="__main__")


def _run_ours() -> None:
    cli.prepare()
    cli.run_app()


def _run(
    command: Sequence[str],
    overrides: Sequence[str],
    main: Callable[[], Any],
    *,
    explained: Callable[[Exception], InputError],
    **variables: str,
) -> StudyResult:
    with (
        call.as_typed(command, ["-m", *overrides]) as called,
        hydra_of_its_own(**variables),
        warnings.catch_warnings(),
    ):
        warnings.filterwarnings("ignore", "IProgress not found")  # of Optuna, in a notebook
        if unknown := parse_arguments()[1]:
            raise InputError(f"{unknown[0]}: no flag of that name")
        try:
            main()
        except SystemExit as error:  # no trial has a result; the table says so
            if not called.folders:
                raise InputError(f"sweep: {[*overrides]} runs no study") from error
        except InputError:
            raise
        except (*LIBRARY_ERRORS, ValueError) as error:
            if isinstance(error, ValueError) and not is_hydra_value_error(error):
                raise
            raise explained(error) from error
    if not called.folders or not (called.folders[-1] / layout.RECORD).exists():
        raise InputError(f"sweep: {[*overrides]} runs no study, so there is none to return")
    return load_study(called.folders[-1])


def _check(task: Callable[..., Any]) -> None:
    """Check that workers, and commands later, can start a task.

    Raises:
        InputError: they cannot.
    """
    name = getattr(task, "__qualname__", repr(task))
    if not hasattr(task, "__wrapped__"):
        raise InputError(f"task={name}: must be decorated with @hydra.main, which has its configs")
    if task.__module__ == "__main__":
        raise InputError(
            f"task={name}: is defined in a notebook or in the program that calls; put it into a "
            "module, such as app.py, and import it: workers and `resume` start it from there"
        )


def _command(task: Callable[..., Any]) -> list[str]:
    """Return the command that starts the app of a task."""
    if "." in task.__module__:
        return ["python", "-m", task.__module__]
    return ["python", os.path.relpath(inspect.getfile(inspect.unwrap(task)))]
