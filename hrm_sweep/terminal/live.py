"""What a person sees of a study: a head, trials while they run, a table and the next commands.

On a terminal the trials are a live table; in a pipe, a file or a dumb terminal they are plain
lines, one for each tenth of a trial and one for its end. Of a trial with repeats both show which
one runs, and its steps.
"""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from functools import partial

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from hrm_sweep import formatting
from hrm_sweep.engine.progress import TrialProgress
from hrm_sweep.engine.scheduler import Scheduler
from hrm_sweep.engine.trial_queue import Others
from hrm_sweep.formatting import shorten_middle
from hrm_sweep.runs.outcomes import Outcome
from hrm_sweep.system import process
from hrm_sweep.terminal.tables import cells, fitting, folded, short_names, table_of

WIDE = 1000
"""Columns of a pipe: a table takes what it needs."""
LIVE_ROWS = 12
LINES_AROUND = 8
"""Of a terminal, that the live table leaves to what is above and below it."""
FINAL_ROWS = 20
SECONDS_BETWEEN_PICTURES = 0.25


class _Console(Console):
    """`… | head -1` has enough, and the study goes on."""

    def on_broken_pipe(self) -> None:
        process.silence_stdout()


class Screen:
    """Watches an engine and tells a person.

    Args:
        head: lines about the study, printed first.
        columns: metrics to show, by name; `*` stands for any rest.
        of_others: what to say of trials that other sweeps still run when this one ends.
    """

    def __init__(
        self,
        *,
        head: Sequence[str],
        columns: Sequence[str],
        of_others: Callable[[Others], Iterable[str]],
    ) -> None:
        self._console = _Console(highlight=False, soft_wrap=True, markup=False, emoji=False)
        if not self._console.is_terminal:
            self._console.width = WIDE
        self._head, self._columns, self._of_others = head, columns, of_others
        self._live: Live | None = None
        self._drawn = 0.0
        self._said: Counter[int] = Counter()
        self._trouble = ""

    def begin(self, engine: Scheduler) -> None:
        self._engine, self._begin = engine, time.monotonic()
        self._say_head()
        if self._console.is_terminal and not self._console.is_dumb_terminal:
            self._width = self._console.width
            self._live = Live(console=self._console, auto_refresh=False, transient=True)
            self._live.start()

    def tick(self) -> None:
        if bool(self._engine.trouble) != bool(self._trouble):
            self._trouble = self._engine.trouble
            self._console.print(folded(self._console, _of_the_database(self._trouble)))
        if self._live is None:
            for row in self._engine.running():
                self._say_tenth(row)
        elif time.monotonic() - self._drawn >= SECONDS_BETWEEN_PICTURES:
            self._drawn = time.monotonic()
            if self._console.width < self._width:
                self._begin_anew()
            self._width = self._console.width
            self._live.update(self._picture(), refresh=True)

    def settled(self, row: TrialProgress) -> None:
        if self._live is None:
            values = formatting.format_metrics(row.values, self._metrics(row))
            self._console.print(_line(row, values, self._ending(row)))

    def end(self) -> None:
        if self._live is not None:
            self._live.stop()
        else:
            self._console.print()
        outcomes = self._engine.outcomes()
        told = ", ".join(f"{number} {outcome.spoken}" for outcome, number in outcomes.items())
        took = formatting.format_duration(time.monotonic() - self._begin)
        how = "Stopped after" if self._engine.is_stopped else "Finished in"
        if told:
            self._console.print(f"{how} {took}: {told}\n")
        if untold := self._engine.num_pending_tells:
            which = formatting.pluralize(untold, "trial")
            self._console.print(f"Not in the database yet: {which}, kept in the study's folder\n")
        for line in self._of_others(self._engine.others()):
            self._console.print(f"{folded(self._console, line)}\n")
        self._console.print(self._final_table())
        self._say_reasons()

    def _metrics(self, row: TrialProgress) -> list[str]:
        """The columns' metrics that this row has; the goals if no columns were asked for."""
        return formatting.matching_metrics(
            row.newest, self._columns or self._engine.objectives.required
        )

    # Plain lines

    def _say_tenth(self, row: TrialProgress) -> None:
        if (doing := _doing(row)) and row.number not in self._said:
            self._said[row.number] = 0
            self._console.print(_line(row, "", doing))
        tenths = 10 * row.steps_done // row.num_steps if row.num_steps else row.step
        if tenths > self._said[row.number] and row.steps_done < (row.num_steps or math.inf):
            self._said[row.number] = int(tenths)
            values = formatting.format_metrics(row.newest, self._metrics(row))
            self._console.print(_line(row, values, _left(row)))

    def _ending(self, row: TrialProgress) -> str:
        assert row.outcome is not None
        if row.outcome is Outcome.COMPLETE:
            broken = (f"breaks {each}" for each in self._engine.objectives.broken(row.values))
            notes = [
                f"done in {formatting.format_duration(row.seconds)}",
                _attempt(row),
                row.reason,
                *broken,
            ]
            return ", ".join(note for note in notes if note)
        told = f"{row.outcome.spoken}: {' '.join(row.reason.split())}"
        return f"{told}, {_attempt(row)}" if row.attempt > 1 else told

    def _say_head(self) -> None:
        for line in self._head:
            self._console.print(folded(self._console, line))
        self._console.print()

    # The live table

    def _begin_anew(self) -> None:
        """A terminal that gets narrower breaks the lines that are there, and nobody knows how many
        they are then."""
        assert self._live is not None
        self._live.stop()
        self._console.clear()
        self._say_head()
        self._live = Live(console=self._console, auto_refresh=False, transient=True)
        self._live.start()

    def _picture(self) -> Group:
        rows = self._shown()
        metrics = dict.fromkeys(name for row in rows for name in self._metrics(row))
        table = self._fitting(partial(self._live_table, rows), metrics)
        status = Text(self._status())
        status.truncate(self._console.width - len("^C^C"), overflow="ellipsis")  # room to echo them
        return Group(table, status)

    def _shown(self) -> list[TrialProgress]:
        """The trials that run or wait for another attempt, and the newest others, as many as there
        is place for."""
        most = max(1, min(LIVE_ROWS, self._console.height - LINES_AROUND))
        rows = self._engine.rows.values()
        running = [row for row in rows if row.outcome is None and (row.has_begun or row.step)]
        ended = [row for row in rows if row.outcome and row.has_begun]
        newest = ended[max(0, len(ended) + len(running) - most) :]
        return sorted([*running[:most], *newest], key=lambda row: row.number)

    def _live_table(
        self, rows: Sequence[TrialProgress], metrics: Sequence[str], most: int | None
    ) -> Table:
        after = ["step", *map(formatting.metric_label, metrics), "left"]
        table = table_of(["", "trial"], _names(rows, most), after)
        for row in rows:
            is_running = row.has_begun and row.outcome is None
            mark, ending = ">" if is_running else " ", _short_ending(row)
            values = [formatting.format_metric(row.newest, name) for name in metrics]
            settings = _settings(row, most)
            table.add_row(mark, str(row.number), *settings, _progress(row), *values, ending)
        return table

    def _fitting(
        self, draw: Callable[[Sequence[str], int | None], Table], metrics: Iterable[str]
    ) -> Table:
        return fitting(self._console, draw, metrics, self._engine.objectives.required)

    def _status(self) -> str:
        engine = self._engine
        done = sum(engine.outcomes().values())
        parts = [f"  {done} of {engine.plan.num_trials} done"]
        if engine.objectives.is_multi_objective:
            parts.append(f"{formatting.pluralize(len(engine.front), 'trial')} on the front")
        elif engine.front:
            best, (objective,) = engine.front[0], engine.objectives.names
            parts.append(
                f"best {formatting.format_metric(best.values, objective)} (trial {best.number})"
            )
        if (seconds := self._study_seconds_left()) is not None:
            parts.append(f"about {formatting.format_duration(seconds)} left")
        return " · ".join(parts)

    def _study_seconds_left(self) -> float | None:
        engine, running = self._engine, self._engine.running()
        done = [row.seconds for row in engine.rows.values() if row.outcome is Outcome.COMPLETE]
        if not done:
            return None
        mean = sum(done) / len(done)
        left = [mean if row.seconds_left is None else row.seconds_left for row in running]
        waiting = engine.plan.num_trials - sum(row.has_begun for row in engine.rows.values())
        return max([*left, (sum(left) + waiting * mean) / engine.slots.num_slots])

    # The end

    def _final_table(self) -> Table | str:
        best = self._engine.best()
        if not best and self._engine.is_left_to_others:
            return "No trial is complete yet."
        if not best:
            return "No trial is complete, so there is no best one."
        metrics = dict.fromkeys([*self._engine.objectives.required, *self._metrics(best[0])])
        return self._fitting(partial(self._table_of, best), metrics)

    def _table_of(
        self, best: Sequence[TrialProgress], metrics: Sequence[str], most: int | None
    ) -> Table:
        after = [*map(formatting.metric_label, metrics), "time"]
        table = table_of(["", "trial"], _names(best, most), after)
        for row in best[:FINAL_ROWS]:
            values = [formatting.format_metric(row.values, name) for name in metrics]
            mark, took = (
                "*" if row in self._engine.front else " ",
                formatting.format_duration(row.seconds),
            )
            table.add_row(mark, str(row.number), *_settings(row, most), *values, took)
        if len(best) > FINAL_ROWS:
            table.caption = f"and {len(best) - FINAL_ROWS} more"
        return table

    def _say_reasons(self) -> None:
        """Of what did not end well, of values that were taken over, of broken constraints."""
        told = [row for row in self._engine.rows.values() if self._is_to_be_told(row)]
        lines = [_line(row, "", self._ending(row)) for row in told[:FINAL_ROWS]]
        if len(told) > FINAL_ROWS:
            lines.append(f"and {len(told) - FINAL_ROWS} more, see the report")
        for line in ["", *lines] if lines else []:
            self._console.print(folded(self._console, line))
        self._console.print()

    def _is_to_be_told(self, row: TrialProgress) -> bool:
        if row.outcome is not Outcome.COMPLETE:
            return row.outcome not in (None, Outcome.PRUNED)  # a pruned one says what it measured
        return bool(row.reason or row.attempt > 1 or self._engine.objectives.broken(row.values))


def _of_the_database(trouble: str) -> str:
    if not trouble:
        return "The study's database answers again"
    return f"The study's database does not answer ({trouble}); trials go on, trying again"


def _line(row: TrialProgress, values: str, ending: str) -> str:
    parts = [
        f"trial {row.number}",
        formatting.format_point(row.params),
        _progress(row),
        values,
        ending,
    ]
    return "  ".join(part for part in parts if part)


def _names(rows: Sequence[TrialProgress], most: int | None) -> list[str]:
    return (
        [shorten_middle(name, most) for name in short_names(list(rows[0].params))] if rows else []
    )


def _settings(row: TrialProgress, most: int | None) -> list[Text]:
    return cells(map(formatting.format_param, row.params.values()), most)


def _attempt(row: TrialProgress) -> str:
    return f"attempt {row.attempt}" if row.attempt > 1 else ""


def _progress(row: TrialProgress) -> str:
    """`7/20`, or `repeat 2/3  7/20`."""
    if row.part is not None:
        return f"{row.doing}  {_progress(row.part)}".rstrip()
    return f"{row.step}/{row.num_steps}" if row.num_steps else str(row.step or "")


def _doing(row: TrialProgress) -> str:
    return row.doing if row.part is None else row.part.doing


def _left(row: TrialProgress) -> str:
    seconds = row.seconds_left
    return _doing(row) if seconds is None else f"{formatting.format_duration(seconds)} left"


def _short_ending(row: TrialProgress) -> str:
    if row.outcome is None:
        return _left(row) if row.has_begun else "waits again"
    is_done = row.outcome is Outcome.COMPLETE
    return f"done {formatting.format_duration(row.seconds)}" if is_done else row.outcome.spoken
