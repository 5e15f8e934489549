"""Each key of the shipped app, in each option of each group, has words of its own."""

import pytest

from hrm_sweep.hrm import app, config, help_text
from hrm_sweep.keys.sources import Sources
from hrm_sweep.keys.tree import keys_of

OPTIONS = sorted(
    f"{path.parent.relative_to(config.CONF).as_posix()}={path.stem}"
    for path in config.CONF.rglob("*.yaml")
    if path.parent != config.CONF
)


@pytest.mark.parametrize("option", OPTIONS)
def test_keys_have_words(option):
    with app.initialized() as compose:
        cfg = compose([option])
        keys = keys_of(cfg, help_text.schemas(cfg)).values()
    own = [key for key in keys if not key.name.startswith("hydra.") and "." in key.name]
    assert [key.name for key in own if not key.words] == []


def test_options_have_words():
    with app.initialized() as compose:
        sources = Sources(compose([]))
    assert [each for each in OPTIONS if not sources.heading(*each.split("="))] == []
