"""Numbers as a person reads and types them."""

import pytest

from hrm_sweep import formatting
from hrm_sweep.errors import ConfigError, InputError
from hrm_sweep.hrm.description import APP


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
    assert formatting.format_override(override) == typed


@pytest.mark.parametrize(
    ("metric", "value", "deviation", "shown"),
    [
        pytest.param("eval/exact_match", 0.984, None, "98.4 %", id="a share of ours"),
        pytest.param("eval/exact_match", 0.984, 0.006, "98.4 ± 0.6 %", id="with a deviation"),
        pytest.param("eval/token_accuracy/copy", 1.0, None, "100.0 %", id="of a pattern"),
        pytest.param("best/train/exact_match", 0.0, None, "0.0 %", id="of a study"),
        pytest.param("eval/loss", 0.0122, 0.001, "0.0122 ± 0.001", id="a loss of ours"),
        pytest.param("top5_accuracy", 98.3, None, "98.3", id="somebody's, in per cent"),
        pytest.param("val/accuracy", 0.983, None, "0.983", id="somebody's, a share"),
        pytest.param("shared_loss", 1.7, None, "1.7", id="a word within a word"),
        pytest.param("eval/exact_match", None, None, "-", id="not there yet"),
    ],
)
def test_a_measurement_as_a_person_reads_it(metric, value, deviation, shown):
    assert APP.metrics.value(metric, value, deviation) == shown


@pytest.mark.parametrize(
    ("text", "escaped"),
    [
        pytest.param("my_study lr=1e-3", "my_study lr=1e-3", id="plain"),
        pytest.param("[here](http://evil)", r"\[here\](http://evil)", id="link"),
        pytest.param("<img src=x>", r"\<img src=x\>", id="HTML"),
        pytest.param("a\n\n# b", "a  # b", id="lines"),
    ],
)
def test_markdown_shows_a_text_as_it_is(text, escaped):
    assert formatting.escape_markdown(text) == escaped


@pytest.mark.parametrize(
    ("text", "code"),
    [
        pytest.param("a/b", "`a/b`", id="plain"),
        pytest.param("a`b", "`` a`b ``", id="backtick"),
        pytest.param("a\nb", "`a b`", id="lines"),
    ],
)
def test_code_in_markdown_ends_where_it_should(text, code):
    assert formatting.markdown_code(text) == code


def test_a_long_value_is_cut_where_it_is_read_and_stays_whole_where_it_is_pasted():
    long = "abcdefghi-" * 400
    assert formatting.format_param(long) == f"{long[:30]}…{long[-29:]}"
    assert formatting.format_param("short") == "short"
    assert len(formatting.format_point({"a": long, "b": 1})) < 70
    assert formatting.format_recipe(["lr=0.001", "n=3"]) == "lr=1e-3 n=3"
    assert len(formatting.format_recipe([f"a={long}"])) == formatting.LONGEST_VALUE
    assert formatting.format_override(f"a={long}") == f"a={long}"


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (0, "0 bytes"),
        (1, "1 byte"),
        (999, "999 bytes"),
        (64_100, "64 kB"),
        (1_240_000, "1.2 MB"),
        (3_400_000_000, "3.4 GB"),
    ],
)
def test_bytes_as_a_person_reads_them(number, text):
    assert formatting.format_bytes(number) == text


def test_a_message_shows_the_ends_of_a_long_value():
    long = "abcdefghi-" * 400
    for error in (ConfigError("lr", long, "must be a number"), InputError(f"x={long}: is wrong")):
        said = str(error)
        assert len(said) < 400
        assert said.startswith(("lr=abcdefghi-", "x=abcdefghi-"))
        assert said.endswith(("fghi-: must be a number", "fghi-: is wrong"))
    assert str(InputError("two  spaces, and a path /a/b")) == "two  spaces, and a path /a/b"
