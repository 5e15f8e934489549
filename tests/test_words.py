"""Numbers as a person reads and types them."""

import pytest

from hrm_sweep.study import words


@pytest.mark.parametrize(
    ("override", "typed"),
    [
        pytest.param("lr=0.001", "lr=1e-3", id="a power of ten"),
        pytest.param("lr=1e-05", "lr=1e-5", id="as Python writes it"),
        pytest.param("lr=-0.00025", "lr=-2.5e-4", id="negative"),
        pytest.param("lr=0.00031622776601683794", "lr=0.00031622776601683794", id="to the bit"),
        pytest.param("dropout=0.5", "dropout=0.5", id="short already"),
        pytest.param("n=100000", "n=100000", id="whole numbers stay whole"),
        pytest.param("+end=inf", "+end=inf", id="no number with digits"),
        pytest.param("model=hrm", "model=hrm", id="a word"),
        pytest.param("~seed", "~seed", id="no value"),
    ],
)
def test_an_override_as_a_person_types_it(override, typed):
    assert words.typed(override) == typed
