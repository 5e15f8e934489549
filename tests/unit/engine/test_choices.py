"""Options of the sweeper's groups in an app that has a group of its own for them."""

import pytest
from omegaconf import OmegaConf

from hrm_sweep.engine.choices import check_choices
from hrm_sweep.errors import StudyError

OWN = OmegaConf.create(
    {
        "hydra": {"sweeper": {"sampler": "${study.sampler}", "pruner": {"_target_": "a.B"}}},
        "study": {"sampler": {"_target_": "a.C"}},
    }
)


def test_an_option_that_the_app_replaces_is_refused():
    with pytest.raises(StudyError) as caught:
        check_choices(OWN, ["hydra.mode=MULTIRUN", "hydra/sweeper/sampler=gp"])
    assert str(caught.value) == (
        "sampler=gp of hydra/sweeper: has no effect, as this app takes its sampler from "
        "study.sampler; type study/sampler=gp"
    )


def test_any_other_option_is_left_alone():
    check_choices(OWN, ["hydra/sweeper/pruner=median", "hydra/sweeper=hrm_sweep", "hydra/x=y"])
