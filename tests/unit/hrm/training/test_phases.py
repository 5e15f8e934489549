"""The phases of a training, from stated thresholds."""

import pytest

from hrm_sweep.hrm.training.phases import phase_name, phase_of


@pytest.mark.parametrize(
    ("mode_share", "exact_match", "number", "name"),
    [
        pytest.param(1.0, 0.0, 1, "mode value", id="one token everywhere"),
        pytest.param(0.51, 0.49, 1, "mode value", id="mostly one token"),
        pytest.param(0.5, 0.49, 2, "pattern recognition", id="several tokens"),
        pytest.param(0.1, 0.5, 3, "specialization", id="half is solved"),
        pytest.param(0.9, 0.5, 3, "specialization", id="one token is the solution"),
    ],
)
def test_thresholds(mode_share, exact_match, number, name):
    values = {"eval/mode_share": mode_share, "eval/exact_match": exact_match}
    assert phase_of(values) == number
    assert phase_name(phase_of(values)) == name
