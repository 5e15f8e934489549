"""Tables of a study's trials: the live one while they run, the final one, the best first."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial

from rich.console import Console
from rich.table import Table

from hrm_sweep import formatting
from hrm_sweep.engine.progress import TrialProgress
from hrm_sweep.engine.state import StudyState
from hrm_sweep.formatting import MetricFormat, shorten_middle
from hrm_sweep.terminal import trial_text
from hrm_sweep.terminal.tables import cells, fitting, short_names, table_of

FINAL_ROWS = 20


@dataclass(frozen=True)
class MetricColumns:
    """Which metrics a table shows, and how."""

    patterns: Sequence[str]
    """Names, `*` for any text; none: what the study is judged by."""
    format: MetricFormat

    def of(self, trials: Iterable[TrialProgress], state: StudyState) -> list[str]:
        """Return the metrics to show of some trials."""
        wanted = self.patterns or state.objectives.required
        found = (
            name
            for trial in trials
            for name in formatting.matching_metrics(trial.latest_values, wanted)
        )
        return list(dict.fromkeys(found))


def live_table(
    console: Console, trials: Sequence[TrialProgress], state: StudyState, columns: MetricColumns
) -> Table:
    """Return the table of trials that run or have ended lately, as wide as the console allows."""
    metrics = columns.of(trials, state)
    draw = partial(_live_table, trials, columns.format)
    return fitting(console, draw, metrics, state.objectives.required)


def _live_table(
    trials: Sequence[TrialProgress],
    metric_format: MetricFormat,
    metrics: Sequence[str],
    most: int | None,
) -> Table:
    searched = _searched(trials)
    after = ["step", *map(formatting.metric_label, metrics), "left"]
    table = table_of(["", "trial"], _headings(searched, most), after)
    for trial in trials:
        mark = ">" if trial.has_begun and trial.outcome is None else " "
        table.add_row(
            *(mark, str(trial.number)),
            *cells(_settings(trial, searched), most),
            trial_text.steps(trial),
            *(metric_format.metric(trial.latest_values, name) for name in metrics),
            trial_text.short_ending(trial),
        )
    return table


def final_table(console: Console, state: StudyState, columns: MetricColumns) -> Table | str:
    """Return the table of complete trials, or a sentence if there is none."""
    ranked = state.ranked()
    if not ranked:
        if state.is_left_to_others:
            return "No trial is complete yet."
        return "No trial is complete, so there is no best one."
    metrics = dict.fromkeys([*state.objectives.required, *columns.of(ranked[:1], state)])
    front = {trial.number for trial in state.front}
    draw = partial(_final_table, ranked, front, columns.format)
    return fitting(console, draw, metrics, state.objectives.required)


def _final_table(
    ranked: Sequence[TrialProgress],
    front: set[int],
    metric_format: MetricFormat,
    metrics: Sequence[str],
    most: int | None,
) -> Table:
    searched = _searched(ranked)
    after = [*map(formatting.metric_label, metrics), "time"]
    table = table_of(["", "trial"], _headings(searched, most), after)
    for trial in ranked[:FINAL_ROWS]:
        table.add_row(
            *("*" if trial.number in front else " ", str(trial.number)),
            *cells(_settings(trial, searched), most),
            *(metric_format.metric(trial.values, name) for name in metrics),
            formatting.format_duration(trial.seconds),
        )
    if len(ranked) > FINAL_ROWS:
        table.caption = f"and {len(ranked) - FINAL_ROWS} more"
    return table


def _searched(trials: Iterable[TrialProgress]) -> list[str]:
    """Return the keys that have a column."""
    return list(dict.fromkeys(name for trial in trials for name in trial.params))


def _headings(searched: Sequence[str], most: int | None) -> list[str]:
    names = short_names([name.lstrip("+") for name in searched])
    return [shorten_middle(name, most) for name in names]


def _settings(trial: TrialProgress, searched: Iterable[str]) -> list[str]:
    """Return what a trial has in the columns of the searched keys."""
    return [formatting.format_param(trial.params.get(name, "-")) for name in searched]
