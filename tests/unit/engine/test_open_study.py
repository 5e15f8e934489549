"""A study is opened whole or not at all."""

from __future__ import annotations

import pytest
from fakes import space_of
from omegaconf import OmegaConf

from hrm_sweep.engine.open_study import open_study
from hrm_sweep.engine.plugin_config import SweeperConfig
from hrm_sweep.engine.study_dir import StudyDir
from hrm_sweep.errors import StudyError
from hrm_sweep.search.budget import Budget
from hrm_sweep.search.objectives import parse_objectives
from hrm_sweep.storage.optuna_storage import SharedStorage


def test_a_study_that_is_deleted_while_it_is_opened_is_refused(tmp_path, monkeypatch):
    opens = SharedStorage.open_study

    def and_another_process_deletes_it(self, name, directions):
        study = opens(self, name, directions)
        with self.removing_study(name):
            return study

    monkeypatch.setattr(SharedStorage, "open_study", and_another_process_deletes_it)
    where = {"sweep": {"dir": str(tmp_path / "study"), "subdir": "${hydra.job.num}"}}
    study_dir = StudyDir(OmegaConf.create({"hydra": where}), OmegaConf.create)
    with pytest.raises(StudyError, match=r"study_name=otter: was deleted while it was opened"):
        open_study(
            "otter",
            SweeperConfig(storage=f"sqlite:///{tmp_path}/optuna.db"),
            Budget(space_of("x=1"), None),
            parse_objectives(["loss"], ["minimize"], {}, tie_breaker=None),
            study_dir,
            recipe={},
            pruner=None,
        )
    assert not study_dir.path.exists()
