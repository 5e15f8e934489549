"""How a run can end, and what each end tells Optuna and MLflow: one table for everybody."""

from __future__ import annotations

from enum import Enum


class Outcome(Enum):
    """Value: (name in records, tags and tables; Optuna trial state; MLflow run status)."""

    COMPLETE = ("complete", "COMPLETE", "FINISHED")
    UNJUDGED = ("unjudged", "FAIL", "FINISHED")
    """The task came back, but with nothing that it could be judged by."""
    DIVERGED = ("diverged", "FAIL", "FAILED")
    """A loss or the objective is not finite."""
    FAILED = ("failed", "FAIL", "FAILED")
    """The task raised or called sys.exit."""
    KILLED = ("killed", "FAIL", "KILLED")
    """The process died: a signal, or no memory left."""
    INTERRUPTED = ("interrupted", "FAIL", "KILLED")
    """A person asked it to stop."""

    @property
    def word(self) -> str:
        return self.value[0]

    @property
    def optuna_state(self) -> str:
        """Name of an `optuna.trial.TrialState`."""
        return self.value[1]

    @property
    def mlflow_status(self) -> str:
        return self.value[2]

    @classmethod
    def named(cls, word: str) -> Outcome:
        return next(outcome for outcome in cls if outcome.word == word)
