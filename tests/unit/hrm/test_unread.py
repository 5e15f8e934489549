"""Keys that somebody adds to the shipped config, and that nothing reads."""

import hydra
import pytest

from hrm_sweep.compat.hydra import VERSION_BASE
from hrm_sweep.errors import ConfigError
from hrm_sweep.hrm import config, unread


@pytest.fixture
def composed():
    config.register_resolvers()

    def compose(*overrides):
        with hydra.initialize_config_dir(str(config.CONF), **VERSION_BASE):
            return hydra.compose("config", list(overrides))

    return compose


@pytest.mark.parametrize(
    ("overrides", "lines"),
    [
        pytest.param(["lr=1e-2"], [], id="a known key"),
        pytest.param(
            ["+epoch=3"], ["epoch: nothing reads this key; did you mean epochs"], id="near"
        ),
        pytest.param(["+mine.deep=3"], ["mine: nothing reads this key; see --help"], id="a group"),
        pytest.param(["+base=1e-3", "lr=${base}"], [], id="read by another key"),
        pytest.param(["+mine.base=1e-3", "lr=${mine.base}"], [], id="a group, read"),
        pytest.param(["+base=1", "+other=2"], ["base: nothing", "other: nothing"], id="two"),
    ],
)
def test_each_key_that_nothing_reads_is_named_in_a_line(composed, overrides, lines):
    found = list(unread.describe_unread(composed(*overrides)))
    assert len(found) == len(lines)
    for line, begin in zip(found, lines, strict=True):
        assert line.startswith(begin)


def test_the_check_of_a_sweep_warns(composed):
    with pytest.warns(UserWarning, match="epoch: nothing reads this key"):
        unread.check(composed("+epoch=3"))


def test_an_unknown_key_of_a_group_is_an_error_with_the_nearest_ones(composed):
    with pytest.raises(
        ConfigError, match=r"trainer\.epoch=1: no key of that name; did you mean trainer\.epochs"
    ):
        config.build(composed("+trainer.epoch=1"))
