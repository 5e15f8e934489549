"""Live view of a study: a head, trials while they run, a final table.

On a terminal, and in the cell of a notebook, the trials are a live table; in a pipe, a file or a
dumb terminal they are plain lines, one for each tenth of a trial and one for its end. Of a trial
with repeats both show the current repeat and its steps.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence

from rich.console import Console, Group
from rich.live import Live
from rich.status import Status
from rich.text import Text

from hrm_sweep import formatting
from hrm_sweep.engine.interfaces import Clock
from hrm_sweep.engine.other_sweeps import Others
from hrm_sweep.engine.progress import TrialProgress
from hrm_sweep.engine.state import StudyState, by_number
from hrm_sweep.formatting import MetricFormat
from hrm_sweep.terminal import notebook, trial_text
from hrm_sweep.terminal.notebook import NotebookLive
from hrm_sweep.terminal.study_tables import FINAL_ROWS, MetricColumns, final_table, live_table
from hrm_sweep.terminal.tables import folded

LIVE_ROWS = 12
LINES_AROUND = 8
"""Lines of a terminal that the live table leaves to what is above and below it."""
SECONDS_BETWEEN_FRAMES = 0.25


class LiveView:
    """Observer that shows a study to the user.

    Args:
        head: lines about the study, printed first.
        columns: metrics to show, by name; `*` stands for any rest.
        describe_others: lines about trials that other sweeps still run when this one ends.
        after_end: what the sweep does between the end of the last trial and its last lines.
        seconds_before: how long the study ran before this view began.
    """

    def __init__(
        self,
        console: Console,
        clock: Clock,
        *,
        head: Sequence[str],
        columns: MetricColumns,
        describe_others: Callable[[Others], Iterable[str]],
        after_end: str = "",
        seconds_before: float = 0.0,
    ) -> None:
        self._console, self._clock = console, clock
        self._head, self._columns, self._describe_others = head, columns, describe_others
        self._after_end, self._seconds_before = after_end, seconds_before
        self._live: Live | NotebookLive | None = None
        self._width = console.width
        self._began = self._drawn = -math.inf
        self._tenths: Counter[int] = Counter()
        """Tenths of each trial that have a line, by number."""
        self._endings_said: set[tuple[int, int]] = set()
        """Number and attempt of each trial whose end has a line."""
        self._database_error = ""
        self._is_stopping_said = False
        self._waiting: Status | None = None

    def begin(self, state: StudyState) -> None:
        """Print the head; on a terminal, start the live table."""
        self._state, self._began = state, self._clock.monotonic() - self._seconds_before
        self._print_head()
        if notebook.kernel() or (self._console.is_terminal and not self._console.is_dumb_terminal):
            self._start_live()

    def tick(self) -> None:
        """Print lines that are due, or draw the table again."""
        if bool(self._state.database_error) != bool(self._database_error):
            self._database_error = self._state.database_error
            self._print(_about_database(self._database_error))
        if self._state.is_stopping and not self._is_stopping_said:
            self._is_stopping_said = True
            self._print(trial_text.stopping(self._state.running))
        if self._live is None:
            for trial in self._state.running:
                if trial.outcome is None:
                    self._print_tenth(trial)
                elif trial_text.is_done(trial):
                    self._print_ending(trial)  # its batch has not ended
        elif self._clock.monotonic() - self._drawn >= SECONDS_BETWEEN_FRAMES:
            self._drawn = self._clock.monotonic()
            self._draw(self._live)

    def trial_ended(self, trial: TrialProgress) -> None:
        """Print the line of a trial that has ended."""
        if self._live is None:
            self._print_ending(trial)

    def end(self) -> None:
        """Print what came out: counts, the final table, and what went wrong."""
        if self._live is not None:
            self._live.stop()
        else:
            self._console.print()
        for line in self._summary():
            self._console.print(f"{folded(self._console, line)}\n")
        self._console.print(final_table(self._console, self._state, self._columns))
        for line in self._endings():
            self._print(line)
        self._console.print()
        if self._after_end and self._console.is_terminal:
            self._waiting = self._console.status(self._after_end)
            self._waiting.start()

    def close(self) -> None:
        """Remove what is not to stay: the table, the line on what the sweep does after the end."""
        if self._live is not None:
            self._live.stop()
        if self._waiting is not None:
            self._waiting.stop()

    def _print(self, line: str) -> None:
        self._console.print(folded(self._console, line))

    def _print_head(self) -> None:
        for line in self._head:
            self._print(line)
        self._console.print()

    def _format_values(self, trial: TrialProgress) -> str:
        names = self._columns.of([trial], self._state)
        return self._columns.format.metrics(trial.latest_values, names)

    # Plain lines

    def _print_tenth(self, trial: TrialProgress) -> None:
        number, status = trial.number, trial_text.status(trial)
        if status and number not in self._tenths:
            self._tenths[number] = 0
            self._console.print(trial_text.line(trial, "", status))
        steps, num_steps = trial.steps_done, trial.num_steps
        tenths = 10 * steps // num_steps if num_steps else trial.step
        if tenths > self._tenths[number] and steps < (num_steps or math.inf):
            self._tenths[number] = int(tenths)
            left = trial_text.remaining(trial)
            self._console.print(trial_text.line(trial, self._format_values(trial), left))

    def _print_ending(self, trial: TrialProgress) -> None:
        if (attempt := (trial.number, trial.attempt)) not in self._endings_said:
            self._endings_said.add(attempt)
            ending = trial_text.ending(trial, self._state.objectives)
            self._console.print(trial_text.line(trial, self._format_values(trial), ending))

    # The live table

    def _start_live(self) -> None:
        self._width = self._console.width
        self._live = (
            NotebookLive(self._console)
            if notebook.kernel()
            else Live(console=self._console, auto_refresh=False, transient=True)
        )
        self._live.start()

    def _draw(self, live: Live | NotebookLive) -> None:
        if self._console.width < self._width:  # it has broken lines, into an unknown number
            live.stop()
            self._console.clear()
            self._print_head()
            self._start_live()
        self._width = self._console.width
        assert self._live is not None
        self._live.update(self._frame(), refresh=True)

    def _frame(self) -> Group:
        table = live_table(self._console, self._shown(), self._state, self._columns)
        status = Text(_study_status(self._state, self._columns.format))
        status.truncate(self._console.width - len("^C^C"), overflow="ellipsis")  # room to echo them
        return Group(table, status)

    def _shown(self) -> list[TrialProgress]:
        """Return begun trials in flight, and the last ended ones that there is room for."""
        most = max(1, min(LIVE_ROWS, self._console.height - LINES_AROUND))
        in_flight = self._state.in_flight.values()
        running = [trial for trial in in_flight if trial.has_begun or trial.step][:most]
        ended = [*self._state.ended.values()]
        return by_number([*running, *ended[max(0, len(ended) + len(running) - most) :]])

    # The end

    def _summary(self) -> Iterator[str]:
        state = self._state
        counts = [f"{number} {outcome.spoken}" for outcome, number in state.outcomes().items()]
        if counts:
            took = formatting.format_duration(self._clock.monotonic() - self._began)
            how = "Stopped after" if state.is_stopped else "Finished in"
            yield f"{how} {took}: {', '.join(counts)}"
        if state.num_pending_tells:
            trials = formatting.pluralize(state.num_pending_tells, "trial")
            yield f"Not in the database yet: {trials}, kept in the study's folder"
        yield from self._describe_others(state.others)

    def _endings(self) -> Iterator[str]:
        objectives = self._state.objectives
        ended = by_number(self._state.ended.values())
        trials = [trial for trial in ended if trial_text.is_remarkable(trial, objectives)]
        if trials:
            yield ""
        for trial in trials[:FINAL_ROWS]:
            yield trial_text.line(trial, "", trial_text.ending(trial, objectives))
        if len(trials) > FINAL_ROWS:
            yield f"and {len(trials) - FINAL_ROWS} more, see the report"


def _study_status(state: StudyState, metrics: MetricFormat) -> str:
    in_batch = sum(trial_text.is_done(trial) for trial in state.in_flight.values())
    parts = [f"  {state.num_done + in_batch} of {state.num_to_do} done"]
    if state.objectives.is_multi_objective:
        parts.append(f"{formatting.pluralize(len(state.front), 'trial')} on the front")
    elif state.best is not None:
        best = metrics.metric(state.best.values, state.objectives.names[0])
        parts.append(f"best {best} (trial {state.best.number})")
    if state.seconds_left is not None:
        parts.append(f"about {formatting.format_duration(state.seconds_left)} left")
    return " · ".join(parts)


def _about_database(error: str) -> str:
    if not error:
        return "The study's database answers again"
    return f"The study's database does not answer ({error}); trials continue, trying again"
