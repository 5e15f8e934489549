"""The command line: Hydra's, with errors in one line.

Exit codes: 0 done, 1 no result (the run failed, no trial is complete), 2 bad input,
130 interrupted (143 by SIGTERM, 129 by SIGHUP), 141 the reader of a pipe left.
"""

from __future__ import annotations

import atexit
import errno
import gc
import os
import signal
import sys
from pathlib import Path
from typing import NoReturn, TypeGuard

from omegaconf import DictConfig, OmegaConf

from hrm_sweep.commands import COMMANDS, completion, synonyms
from hrm_sweep.commands.command import Command
from hrm_sweep.commands.error_messages import LIBRARY_ERRORS, explain, is_hydra_value_error
from hrm_sweep.compat.hydra import parse_arguments
from hrm_sweep.errors import HrmSweepError, InputError
from hrm_sweep.hrm import app, config
from hrm_sweep.hrm.description import APP
from hrm_sweep.runs.app import register
from hrm_sweep.runs.own_keys import in_own_keys, own_keys
from hrm_sweep.search import grammar
from hrm_sweep.system import machine, output, process


def main() -> None:
    """`python -m hrm_sweep` and `hrm-sweep`."""
    output.escape_characters()
    with output.printable_streams(), process.stop_signals():
        _main()


def _main() -> None:
    atexit.register(gc.freeze)  # nothing to collect in a process that ends: it takes half a second
    prepare()
    wants_tracebacks = os.environ.get("HYDRA_FULL_ERROR") == "1"
    os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra raises instead of printing: the words are ours
    try:
        if completion.is_requested(sys.argv[1:]):
            _complete()
        sys.argv[1:] = synonyms.understood(sys.argv[1:], COMMANDS)
        if sys.argv[1:] == ["--version"]:
            print(synonyms.versions())
            _exit(0)
        if sys.argv[1:2] and sys.argv[1] in COMMANDS:
            _run_command(COMMANDS[sys.argv[1]])
        _put_flags_first()
        run_app()
    except (InputError, *LIBRARY_ERRORS) as error:
        if wants_tracebacks:
            raise
        _exit(2, _with_disk(error if isinstance(error, InputError) else explained(error)))
    except ValueError as error:
        if wants_tracebacks or not is_hydra_value_error(error):
            raise
        _exit(2, str(explained(error)))
    except HrmSweepError as error:
        _exit(1, _with_disk(error))
    except KeyboardInterrupt as error:
        _exit(process.exit_code(error))
    except BrokenPipeError:  # `--help | head`: who read has enough
        output.silence(sys.stdout)
        _exit(128 + signal.SIGPIPE)
    except Exception as error:  # of any library
        if not wants_tracebacks and _is_long_name(error):
            name = Path(str(error.filename)).name
            _exit(
                2, str(InputError(f"{name}: is too long for the name of a file, study or option"))
            )
        if wants_tracebacks or not (fault := machine.describe(error)):
            raise
        _exit(1, f"{fault}; once that is mended, repeat the command")


def _complete() -> NoReturn:
    """Print what may stand where the user has pressed tab."""
    if not completion.print_completions():
        with completion.explaining(app.completions):
            app.run()
    _exit(0)


def prepare() -> None:
    """Make the app known to this process, and to Hydra what its configs use."""
    config.register_resolvers()
    grammar.extend()
    register(APP, runner=app)


def _run_command(command: Command) -> None:
    """Run a command; one that returns arguments for Hydra continues as if they had been typed."""
    for_hydra = command.run(command.parse(sys.argv[2:]))
    if for_hydra is None:
        _exit(0)
    sys.argv[1:] = for_hydra


def run_app() -> None:
    """Run the app with errors in its own keys: `study.direction`, not `hydra.sweeper.direction`."""
    try:
        app.run()
    except HrmSweepError as error:
        words = in_own_keys(str(error), own_keys(_app_config()))
        raise (InputError if isinstance(error, InputError) else HrmSweepError)(words) from error


def _put_flags_first() -> None:
    """`lr=1e-3 -m seed=0,1` is understood as `-m lr=1e-3 seed=0,1`, which Hydra demands.

    Raises:
        InputError: a flag is unknown.
    """
    sys.argv[1:] = sorted(sys.argv[1:], key=lambda word: word not in ("-m", "--multirun"))
    if unknown := parse_arguments()[1]:
        raise InputError(f"{unknown[0]}: no flag of that name; see --help")


def _app_config() -> DictConfig:
    """Return the app's config without overrides; an empty one where flags name no config."""
    try:
        return app.compose([])
    except LIBRARY_ERRORS:
        return OmegaConf.create({"hydra": {}})


def explained(error: Exception) -> InputError:
    """Return an error of Hydra, met in what the user typed, as one line."""
    overrides = parse_arguments()[0].overrides
    keys = app.flat(_app_config())
    return InputError(
        explain(
            error,
            command=process.launch_command(),
            overrides=overrides,
            keys=keys,
            commands=COMMANDS,
        )
    )


def _is_long_name(error: Exception) -> TypeGuard[OSError]:
    return isinstance(error, OSError) and error.errno == errno.ENAMETOOLONG


def _with_disk(error: HrmSweepError) -> str:
    """Return a message, with the disk that is full where the message does not name it."""
    disks = machine.full_disk(".") if machine.fault_of(error) else ""
    return str(error) if "the disk of" in str(error) else f"{error}{disks}"


def _exit(code: int, words: str = "") -> NoReturn:
    if words:
        print(words, file=sys.stderr)
    sys.exit(code)
