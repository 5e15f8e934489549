"""When numbers belong on a logarithmic scale."""

import pytest

from hrm_sweep.search.scale import is_logarithmic, is_numeric


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        pytest.param(1e-4, 1e-3, True, id="a decade"),
        pytest.param(1, 9, False, id="less than a decade"),
        pytest.param(0, 100, False, id="from zero"),
        pytest.param(-1, 100, False, id="negative"),
    ],
)
def test_positive_numbers_that_span_a_decade_are_logarithmic(low, high, expected):
    assert is_logarithmic(low, high) is expected


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        pytest.param([1, 2.5], True, id="numbers"),
        pytest.param([True, 1], False, id="a truth value"),
        pytest.param(["1"], False, id="text"),
        pytest.param([None], False, id="null"),
    ],
)
def test_truth_values_are_no_numbers(values, expected):
    assert is_numeric(values) is expected
