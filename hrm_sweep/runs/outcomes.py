"""How a run can end, and what each end means to Optuna, to MLflow and to the study: one table."""

from __future__ import annotations

from enum import Enum

from hrm_sweep.errors import RecordError


class Outcome(Enum):
    """Value: (word in records, tags and tables; Optuna trial state; MLflow run status).

    The state WAITING puts the trial back: it is tried again under its number, from its last
    checkpoint if it has one.
    """

    COMPLETE = ("complete", "COMPLETE", "FINISHED")
    UNJUDGED = ("unjudged", "FAIL", "FINISHED")
    """The task came back, but with nothing that it could be judged by."""
    PRUNED = ("pruned", "PRUNED", "KILLED")
    """The study's pruner saw no hope in it."""
    DIVERGED = ("diverged", "FAIL", "FAILED")
    """A loss or the objective is not finite."""
    FAILED = ("failed", "FAIL", "FAILED")
    """The task raised or called sys.exit; it would again."""
    KILLED = ("killed", "WAITING", "KILLED")
    """The process died: a signal, no memory left. FAIL after `study.max_attempts` of them."""
    TIMED_OUT = ("timed_out", "WAITING", "KILLED")
    """It took longer than `study.trial_timeout`. Counts like a killed one."""
    INTERRUPTED = ("interrupted", "WAITING", "KILLED")
    """The user asked it to stop. Put back, and nothing counted against it."""

    @property
    def is_failure(self) -> bool:
        """Something that should not happen, and counts for `study.max_failure_rate`."""
        return self in (Outcome.FAILED, Outcome.KILLED, Outcome.TIMED_OUT)

    @property
    def word(self) -> str:
        """In records, tags and tables for machines."""
        return self.value[0]

    @property
    def spoken(self) -> str:
        """In text for the user."""
        return self.word.replace("_", " ")

    @property
    def optuna_state(self) -> str:
        """Name of an `optuna.trial.TrialState`."""
        return self.value[1]

    @property
    def mlflow_status(self) -> str:
        """Status of a run in MLflow."""
        return self.value[2]

    @classmethod
    def named(cls, word: str) -> Outcome:
        """Return the outcome with this word.

        Raises:
            RecordError: there is none in this version.
        """
        for outcome in cls:
            if outcome.word == word:
                return outcome
        raise RecordError(
            f"{word}: no outcome of this version; a newer hrm_sweep wrote it, use that"
        )
