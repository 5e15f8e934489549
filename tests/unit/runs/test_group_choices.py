"""What is read from Hydra's own part of a composed config."""

import hydra
from paths import TESTS

from hrm_sweep.runs.configs import group_choices


def test_chosen_options_are_those_of_the_apps_own_groups():
    with hydra.initialize_config_dir(str(TESTS / "apps/template/configs"), version_base="1.3"):
        overrides = ["hydra/sweeper=basic", "hydra/launcher=basic"]
        config = hydra.compose("train", overrides, return_hydra_config=True)
    chosen = group_choices(config.hydra)
    assert {"data": "line", "model": "sgd"}.items() <= chosen.items()
    assert not [name for name in chosen if name.startswith("hydra")]
    assert None not in chosen.values()
