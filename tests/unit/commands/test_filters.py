"""What `list --filter` selects, and what it says of a filter that it cannot use."""

from __future__ import annotations

import pytest

from hrm_sweep.commands.filters import Filter
from hrm_sweep.commands.listed import Listed, listed
from hrm_sweep.errors import InputError
from hrm_sweep.runs.annotations import annotate
from hrm_sweep.runs.record import Record
from hrm_sweep.runs.run import Run


@pytest.fixture(scope="module")
def lines(tmp_path_factory) -> list[Listed]:
    """Three single runs: `slow`, `fast` and `lost`, which failed without a value."""
    root = tmp_path_factory.mktemp("runs")
    for name, lr, value in (("slow", 1e-4, 0.5), ("fast", 1e-2, 0.975), ("lost", 0.1, None)):
        with Record(root / name) as record:
            config = {"lr": lr, "model.name": "hrm", "model.dim": 64, "data.dim": 2, "ema": None}
            record.append(
                "started",
                kind="train",
                name=name,
                description="",
                params={**config, "is_bf16": True, "study.objective": "eval/exact"},
                tags={},
            )
            outcome = "failed" if value is None else "complete"
            best = {} if value is None else {"eval/exact": value, "train/loss": 1 - value}
            record.append("finished", outcome=outcome, best=best, reason="")
    annotate(root / "fast", tags={"stage": "paper", "two words": "a b"}, note="keep")
    return listed(Run.open(root / name) for name in ("slow", "fast", "lost"))


@pytest.mark.parametrize(
    ("text", "names"),
    [
        pytest.param("lr<1e-3", "slow", id="number"),
        pytest.param("lr <= 0.01", "slow fast", id="spaces"),
        pytest.param("lr=1e-2", "fast", id="equal numbers"),
        pytest.param("lr!=0.01", "slow lost", id="not equal"),
        pytest.param("params.lr>1e-3 and params.lr < 0.05", "fast", id="MLflow's form, twice"),
        pytest.param("eval/exact>0.9", "fast", id="metric"),
        pytest.param("eval/exact > 90%", "fast", id="per cent"),
        pytest.param('metrics."eval/exact" < 0.9', "slow", id="quoted metric"),
        pytest.param("metrics.`train/loss` < 0.1", "fast", id="quoted by backticks"),
        pytest.param("exact>=0.5 AND outcome=complete", "slow fast", id="last word of a metric"),
        pytest.param("model.dim=64", "slow fast lost", id="dotted key"),
        pytest.param("outcome=failed", "lost", id="outcome"),
        pytest.param("status != 'failed'", "slow fast", id="status"),
        pytest.param("tags.stage = 'paper'", "fast", id="tag"),
        pytest.param('tags."two words" = "a b"', "fast", id="tag of two words"),
        pytest.param("stage=paper", "fast", id="tag by its short name"),
        pytest.param("note=keep", "fast", id="note"),
        pytest.param("name like 's%'", "slow", id="like"),
        pytest.param("name like '%st'", "fast lost", id="like at the end"),
        pytest.param("attributes.kind=run", "slow fast lost", id="kind"),
        pytest.param("is_bf16=true", "slow fast lost", id="true"),
        pytest.param("ema=null", "slow fast lost", id="null"),
    ],
)
def test_a_filter_selects(text, names, lines):
    assert [line.name for line in Filter([text]).select(lines)] == names.split()


def test_all_filters_hold(lines):
    (line,) = Filter(["lr<0.05", "exact>0.9"]).select(lines)
    assert line.name == "fast"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        pytest.param("", "cannot be read from 'its end' on; write 'lr<1e-3 and", id="empty"),
        pytest.param("lr", "cannot be read from 'lr' on", id="key alone"),
        pytest.param("lr<", "cannot be read from 'lr<' on", id="no value"),
        pytest.param("lr<1 or lr>2", "cannot be read from 'or lr>2' on", id="or"),
        pytest.param("lr<1 and", "cannot be read from 'its end' on", id="and alone"),
        pytest.param("lr<small", "< compares numbers, and small is none", id="no number"),
        pytest.param(
            "lrr<1", "no parameter, metric or tag is called lrr; did you mean lr", id="typo"
        ),
        pytest.param(
            "metrics.lr<1", "no metric is called lr; there are eval/exact", id="other kind"
        ),
        pytest.param("dim=64", "may be data.dim or model.dim; write one of them", id="two keys"),
        pytest.param(
            "xyzzy=1", "there are app, folder, kind, name, note, outcome", id="unknown key"
        ),
    ],
)
def test_a_filter_that_cannot_be_used_is_one_line(text, words, lines):
    with pytest.raises(InputError) as caught:
        Filter([text]).select(lines)
    assert words in str(caught.value)
    assert str(caught.value).startswith(f"--filter {text!r}: ")
    assert "\n" not in str(caught.value)


def test_a_filter_of_nothing_selects_nothing():
    assert Filter(["lr<1"]).select([]) == []
