"""Options of the sweeper's groups in an app that has a group of its own for them."""

import pytest
from omegaconf import OmegaConf

from hrm_sweep.engine.choices import check_choices, set_workers
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


@pytest.mark.parametrize(
    ("key", "number", "n_jobs", "expected"),
    [
        pytest.param("workers", None, 3, 3, id="not set"),
        pytest.param("workers", 3, 3, 3, id="the same number"),
        pytest.param("workers", 4, None, 4, id="no jobs are named"),
        pytest.param("max_jobs", None, 3, 3, id="a launcher with a queue"),
    ],
)
def test_jobs_of_optunas_sweeper_are_workers_of_the_pool(key, number, n_jobs, expected):
    launcher = OmegaConf.create({key: number})
    assert set_workers(launcher, n_jobs=n_jobs) == []
    assert launcher[key] == expected


def test_workers_that_are_set_count_and_that_is_said():
    launcher = OmegaConf.create({"workers": 4})
    told = "hydra.sweeper.n_jobs=1: has no effect beside hydra.launcher.workers=4"
    assert set_workers(launcher, n_jobs=1) == [told]
    assert launcher.workers == 4


def test_a_launcher_without_workers_is_left_as_it_is():
    launcher = OmegaConf.create({"n_jobs": -1})
    assert set_workers(launcher, n_jobs=2) == []
    assert launcher == {"n_jobs": -1}
