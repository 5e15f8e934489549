"""Durations as people type them."""

import pytest

from hrm_sweep.errors import ConfigError
from hrm_sweep.system.durations import seconds_of


@pytest.mark.parametrize(
    ("typed", "seconds"),
    [
        pytest.param(None, None, id="no limit"),
        pytest.param(90, 90.0, id="a number"),
        pytest.param("90", 90.0, id="a number as text"),
        pytest.param("1e3", 1000.0, id="a number with an exponent"),
        pytest.param("45s", 45.0, id="seconds"),
        pytest.param("10min", 600.0, id="minutes"),
        pytest.param("10m", 600.0, id="minutes, short"),
        pytest.param("10 minutes", 600.0, id="minutes, long"),
        pytest.param("1.5h", 5400.0, id="a part of an hour"),
        pytest.param("1h30min", 5400.0, id="several units"),
        pytest.param("2d 12h", 216_000.0, id="days, with a space"),
    ],
)
def test_is_read(typed, seconds):
    assert seconds_of("timeout", typed) == seconds


@pytest.mark.parametrize("typed", ["soon", "10 moons", "10min!", "min", "", "1:30", True, [1]])
def test_anything_else_is_refused(typed):
    with pytest.raises(ConfigError, match="must be seconds, or a time with units; such as 10min"):
        seconds_of("timeout", typed)
