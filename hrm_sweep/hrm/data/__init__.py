"""Data sets: the tasks that a model can be trained on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hrm_sweep.hrm.data.configs import CopyIncrementConfig, DataConfig, PuzzlesConfig, SudokuConfig

if TYPE_CHECKING:
    from hrm_sweep.hrm.data.task import Task


def build_task(config: DataConfig, *, seed: int) -> Task:
    """Return the task of `config`: its puzzles, orders and draws are a function of it and `seed`.

    Raises:
        ConfigError: There are fewer puzzles than asked for.
        DataError: A data set on disk is missing or wrong.
    """
    # imported here, as the configs of this package are read at every start, without PyTorch
    if isinstance(config, CopyIncrementConfig):
        from hrm_sweep.hrm.data.copy_increment import build_copy_increment

        return build_copy_increment(config, seed=seed)
    if isinstance(config, SudokuConfig):
        from hrm_sweep.hrm.data.sudoku import build_sudoku

        return build_sudoku(config, seed=seed)
    if isinstance(config, PuzzlesConfig):
        from hrm_sweep.hrm.data.puzzles import build_puzzles

        return build_puzzles(config, seed=seed)
    from hrm_sweep.hrm.data.seed import build_seed

    return build_seed(config)
