"""Every error this package raises on purpose.

    HrmSweepError
    ├── InputError (also ValueError)   bad input of the user: one line, exit code 2
    │   ├── ConfigError                a config key
    │   ├── SpaceError                 a search space
    │   ├── StudyError                 a study, its storage or its name
    │   ├── DataError                  a data set on disk
    │   ├── CheckpointError            a checkpoint
    │   ├── RecordError                the record in a run folder
    │   └── TrackingError              the tracking server or its database
    ├── Diverged                       a loss is not finite; the study continues
    ├── Interrupted                    the user asked the run to stop
    ├── WorkerDied                     the process of a run is gone: a signal, no memory left
    ├── BatchLost                      a launcher raised, and does not say for which run
    ├── TimedOut                       a run took longer than it may
    ├── NoWorkers                      a launcher cannot start the processes for runs
    ├── MachineFault                   a disk is full or gone: no fault of a run
    ├── Hopeless                       too many trials of a study fail
    └── DatabaseAway                   the database of a study does not answer

Anything else that reaches a user is a bug and keeps its traceback.
"""

from __future__ import annotations

LONGEST_WORD = 300
"""Characters of a value, or of a word, in a message; a path has fewer."""


class HrmSweepError(Exception):
    """The root: catch this to catch all of ours."""


class InputError(HrmSweepError, ValueError):
    """Bad input. The message is one line: what came, the rule, a way out."""

    def __str__(self) -> str:
        return " ".join(map(_shorten, super().__str__().split(" ")))


class ConfigError(InputError):
    """A config value breaks a rule.

    The key is given as its owner knows it (`hidden_dim`); who knows where the owner lives in the
    tree, and what the user typed, renames it: see `hrm_sweep.hrm.config.build`.
    """

    def __init__(self, key: str, value: object, rule: str, way_out: str = "") -> None:
        self.key, self.value, self.rule, self.way_out = key, value, rule, way_out
        super().__init__(key, value, rule, way_out)

    def below(self, group: str) -> ConfigError:
        """Return the error with its key as it stands in the tree, below a group."""
        return ConfigError(f"{group}.{self.key}", self.value, self.rule, self.way_out)

    def __str__(self) -> str:
        text = "null" if self.value is None else str(self.value)
        shown = _shorten(text if text.isprintable() else repr(text))
        return f"{self.key}={shown}: {self.rule}" + (f"; {self.way_out}" if self.way_out else "")


class SpaceError(InputError):
    """A sweep string or search space cannot be used."""


class StudyError(InputError):
    """A study, its name or its storage cannot be used."""


class DataError(InputError):
    """A data set on disk cannot be used."""


class CheckpointError(InputError):
    """A checkpoint is missing, damaged or of another model."""


class RecordError(InputError):
    """The record of a run is damaged, edited or incomplete."""


class TrackingError(InputError):
    """A tracking server or its database cannot be used."""


class Diverged(HrmSweepError):
    """A loss or weight is not finite any more."""


class Interrupted(HrmSweepError):
    """The run was asked to stop and has written down how far it came."""


class WorkerDied(HrmSweepError):
    """The process of a run died under it."""


class BatchLost(HrmSweepError):
    """A launcher raised for several runs at once: what each of them did stands in its record."""


class TimedOut(HrmSweepError):
    """A run took longer than it may, and its process was ended."""


class NoWorkers(HrmSweepError):
    """No process in which runs could be made can be started."""


class MachineFault(HrmSweepError):
    """A disk is full, broken or gone. Runs that met it wait until that is mended."""


class Hopeless(HrmSweepError):
    """More trials of a study fail than `hydra.sweeper.max_failure_rate` allows."""


class DatabaseAway(HrmSweepError):
    """The database of a study does not answer: stopped, locked, its disk is full.

    Args:
        where: the database, without its password.
        reason: what it said.
        way_out: what to do about it.
    """

    def __init__(self, where: str, reason: str, way_out: str = "nothing is lost") -> None:
        self.where, self.reason, self.way_out = where, reason, way_out
        super().__init__(where, reason, way_out)

    def __str__(self) -> str:
        does_not = (
            f"hydra.sweeper.storage={self.where}: the database does not answer ({self.reason})"
        )
        return f"{does_not}; {self.way_out}"


def _shorten(text: str) -> str:
    half = LONGEST_WORD // 2
    return text if len(text) <= LONGEST_WORD else f"{text[:half]}…{text[-half:]}"
