"""How Optuna's CMA-ES sampler keeps its state, read in 5.0.0: pickled, in attributes of trials.

Whoever may write to a shared database may write such an attribute, and unpickling runs whatever it
names. tests/unit/compat/test_optuna_cmaes_canary.py holds this to what is read here.
"""

from __future__ import annotations

import io
import pickle
from types import SimpleNamespace
from typing import Any

from optuna.samplers import _cmaes

from hrm_sweep.errors import StudyError

_KNOWN = frozenset(
    """
    cmaes._cma.CMA cmaes._sepcma.SepCMA cmaes._cmawm.CMAwM numpy.dtype numpy.ndarray
    numpy._core.multiarray._reconstruct numpy._core.multiarray.scalar
    numpy._core.numeric._frombuffer
    numpy.core.multiarray._reconstruct numpy.core.multiarray.scalar numpy.core.numeric._frombuffer
    """.split()
)
"""What a state is made of; NumPy 2 has renamed its core."""


def restrict_unpickling() -> None:
    """Let Optuna's sampler unpickle states of CMA-ES, which are arrays and numbers, and no others.

    From now on it raises StudyError for anything else, before anything of it is run.
    """
    restricted: Any = SimpleNamespace(dumps=pickle.dumps, loads=_loads)
    _cmaes.pickle = restricted  # type: ignore[attr-defined]


class _StatesAlone(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if f"{module}.{name}" not in _KNOWN:
            raise StudyError(
                "hydra/sweeper/sampler: the state of CMA-ES in Optuna's storage names "
                f"{module}.{name}, which could run any program, so it was not loaded; "
                "take hydra/sweeper/sampler=tpe, or another hydra.sweeper.study_name"
            )
        return super().find_class(module, name)


def _loads(data: bytes) -> Any:
    return _StatesAlone(io.BytesIO(data)).load()
