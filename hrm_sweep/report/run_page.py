"""The page of one run: a single one, a trial, or one repeat of a trial."""

from __future__ import annotations

from hrm_sweep import formatting
from hrm_sweep.report import facts
from hrm_sweep.report.facts import Fact
from hrm_sweep.report.html import pictures_of, write_page
from hrm_sweep.report.run_figures import drawn
from hrm_sweep.runs.run import Run
from hrm_sweep.runs.run_names import label


def write(run: Run, *, follows: bool = False) -> list[str]:
    """Write `report.html` and `figures/*.png` into the folder of a run.

    Args:
        follows: whether the page loads itself again every few seconds.

    Returns:
        The names of the files, below the folder.
    """
    headline = _headline(run)
    return write_page(
        run.folder,
        "run.html.jinja",
        drawn(run),
        follows=follows,
        name=label(run),
        outcome=run.word,
        began=facts.moment(run.first.time_ms),
        label=formatting.metric_label(headline) if headline else "outcome",
        headline=run.app.metrics.metric(run.values, headline) if headline else run.word,
        result=[*_reason(run), *_values(run, headline), *_own_tags(run)],
        what=list(facts.of_run(run)),
        traceback=run.traceback,
        pictures=list(pictures_of(run)),
        config=facts.config_of(run),
    )


def _headline(run: Run) -> str | None:
    """Return the share of held-out examples solved, else the first value; None if it has none."""
    return next(filter(run.app.is_proportion, run.values), next(iter(run.values), None))


def _reason(run: Run) -> list[Fact]:
    return [Fact("reason", run.reason)] if run.reason else []


def _values(run: Run, headline: str | None) -> list[Fact]:
    names = [name for name in run.values if not name.endswith("/std") and name != headline]
    return [Fact(name, run.app.metrics.metric(run.values, name)) for name in names]


def _own_tags(run: Run) -> list[Fact]:
    """Return the tags that the run set itself, such as what its app found out of the result."""
    return [Fact(name, text) for name, text in run.facts.items()]
