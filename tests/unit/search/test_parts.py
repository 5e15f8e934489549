"""Samplers and pruners as options of Hydra's groups, made from their configs."""

import pytest
from hydra import compose, initialize
from omegaconf import DictConfig

from hrm_sweep.errors import InputError
from hrm_sweep.search.options import GROUPS
from hrm_sweep.search.parts import instantiate_part, part_config

REFUSED = ("motpe", "grid", "threshold")
"""Options that need more than themselves."""


def sweeper(*overrides: str) -> DictConfig:
    """`hydra.sweeper` of an app without a config of its own."""
    with initialize(version_base=None, config_path=None):
        chosen = ["hydra/sweeper=hrm_sweep", *overrides]
        composed: DictConfig = compose(overrides=chosen, return_hydra_config=True).hydra.sweeper
        return composed


def made(part: str, *overrides: str):
    return instantiate_part(part, part_config(part, sweeper(*overrides)[part]))


@pytest.mark.parametrize(
    ("part", "option"),
    [
        pytest.param(group.rpartition("/")[2], option, id=option)
        for group, options in GROUPS.items()
        for option in options
        if option not in REFUSED
    ],
)
def test_an_option_is_a_class_of_optuna(part, option):
    expected = GROUPS[f"hydra/sweeper/{part}"][option]["_target_"].rpartition(".")[2]
    assert type(made(part, f"hydra/sweeper/{part}={option}")).__name__ == expected


def test_without_a_choice_there_are_tpe_and_no_pruner():
    assert type(made("sampler")).__name__ == "TPESampler"
    assert type(made("pruner")).__name__ == "NopPruner"


def test_an_argument_is_set_by_its_own_name():
    pruner = made("pruner", "hydra/sweeper/pruner=median", "hydra.sweeper.pruner.n_warmup_steps=7")
    assert pruner._n_warmup_steps == 7


def test_a_class_is_given_in_the_place_of_an_option():
    asked = "{_target_: optuna.pruners.PercentilePruner, percentile: 10.0, n_warmup_steps: 3}"
    assert made("pruner", f"hydra.sweeper.pruner={asked}")._n_warmup_steps == 3


def test_a_pruner_wraps_another_one():
    wraps = "hydra/sweeper/pruner@hydra.sweeper.pruner.wrapped_pruner=median"
    patient = made("pruner", "hydra/sweeper/pruner=patient", wraps)
    assert type(patient._wrapped_pruner).__name__ == "MedianPruner"


@pytest.mark.parametrize(
    ("part", "overrides", "told"),
    [
        pytest.param(
            "sampler", ["hydra/sweeper/sampler=motpe"],
            "hydra/sweeper/sampler=motpe: Optuna has no MOTPESampler now; take "
            "hydra/sweeper/sampler=tpe, for several objectives too", id="a class that is gone",
        ),
        pytest.param(
            "sampler", ["hydra.sweeper.sampler.n_ehvi_candidates=24"],
            "hydra.sweeper.sampler.n_ehvi_candidates=24: TPESampler has no such argument; did you "
            "mean n_ei_candidates?", id="an argument that is gone",
        ),
        pytest.param(
            "sampler", ["hydra/sweeper/sampler=random", "hydra.sweeper.sampler.qmc_type=sobol"],
            "hydra.sweeper.sampler.qmc_type=sobol: RandomSampler has no such argument; it has seed",
            id="an argument of another one",
        ),
        pytest.param(
            "sampler", ["hydra.sweeper.sampler={_target_: optuna.samplers.Nope}"],
            "hydra.sweeper.sampler._target_=optuna.samplers.Nope: module 'optuna.samplers' has no "
            "attribute 'Nope'", id="no such class",
        ),
        pytest.param(
            "sampler", ["hydra.sweeper.sampler=gp"],
            "hydra.sweeper.sampler=gp: is chosen by hydra/sweeper/sampler=gp", id="a name alone",
        ),
        pytest.param(
            "pruner", ["hydra/sweeper/pruner=threshold"],
            "hydra.sweeper.pruner: ThresholdPruner: Either lower or upper must be specified.",
            id="what Optuna refuses",
        ),
        pytest.param(
            "pruner",
            ["hydra/sweeper/pruner=patient",
             "hydra/sweeper/pruner@hydra.sweeper.pruner.wrapped_pruner=median",
             "hydra.sweeper.pruner.wrapped_pruner.n_warmup=1"],
            "hydra.sweeper.pruner.wrapped_pruner.n_warmup=1: MedianPruner has no such argument; "
            "did you mean n_warmup_steps?", id="in a pruner that is wrapped",
        ),
    ],
)  # fmt: skip
def test_what_is_wrong_is_one_line(part, overrides, told):
    with pytest.raises(InputError) as caught:
        made(part, *overrides)
    assert str(caught.value) == told
