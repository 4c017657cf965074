"""What following shows: plain lines in a pipe, a live picture of the steps at a terminal."""

from __future__ import annotations

import re
import sys
import time
from typing import Any, Self

from rich.console import Console, Group
from rich.live import Live
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from . import printing
from .errors import ExitCode
from .follow import OVER, Follower, Wanted, outcome
from .state import State
from .text import clean, duration, job, log_line, one_line, runs

_SPANS = re.compile(r"\d+ (second|minute|hour|day)s?")
_SAY_SECONDS = 30.0
"""How often lines tell how many runs of a step are done, beside its beginning and its end."""
_MARKS = {"SUCCEEDED": "✓", "FAILED": "✗", "CANCELLED": "■", "SKIPPED": "-", "RUNNING": "●"}


class Plain:
    """Lines: results on stdout, steps and notes on stderr. In JSON, an object a line.

    Args:
        status: whether the status of the execution is a result that was asked for.
    """

    def __init__(self, state: State, *, status: bool) -> None:
        self._state = state
        self._json = state.wants_json
        self._status = status
        self._shown: str | None = None
        self._steps: dict[str, str] = {}
        self._runs: dict[str, tuple[str, float]] = {}
        self._reason = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        return None

    def execution(self, execution: dict[str, Any]) -> None:
        """Says what has changed."""
        if self._json:
            return
        if self._status:
            self._said(execution)
        reason = _waits_for(execution)
        # What has lasted for five minutes is no news when it has lasted for six.
        known, self._reason = self._reason, _SPANS.sub("", reason)
        if self._reason not in ("", known):
            self.reason(reason)

    def _said(self, execution: dict[str, Any]) -> None:
        status, name = str(execution.get("status")), execution.get("id")
        if self._shown is None:
            self.line(f"Execution: ID: {name}, Status: {status}")
        elif status != self._shown:
            self.line(f"Execution ID: {name}, Status: {status}")
        self._shown = status
        for step in execution.get("steps") or ():
            name, status = str(step.get("name")), str(step.get("status"))
            if status not in ("PENDING", self._steps.get(name)):
                self._steps[name] = status
                spent = duration(step.get("started_at"), step.get("ended_at")) if status != "RUNNING" else ""
                self._tell(step, spent)
            elif status == "RUNNING":
                said, moment = self._runs[name]
                if runs(step) != said and time.monotonic() >= moment + _SAY_SECONDS:
                    self._tell(step, "")

    def _tell(self, step: dict[str, Any], spent: str) -> None:
        name = str(step.get("name"))
        self._runs[name] = runs(step), time.monotonic()
        self.step(name, str(step.get("status")), ", ".join(filter(None, (spent, runs(step), job(step.get("job"))))))

    def entry(self, entry: dict[str, Any]) -> None:
        """Shows an entry of the log."""
        if self._json:
            self._state.prints_entry(entry)
        else:
            self.line(log_line(entry))

    def line(self, text: str) -> None:
        """Shows a line of the result."""
        printing.line(text)

    def step(self, name: str, status: str, details: str) -> None:
        """Shows that a step has changed."""
        self._state.note(f"step {name}: {status}" + (f" ({details})" if details else ""))

    def reason(self, reason: str) -> None:
        """Shows what the execution waits for now."""
        self._state.note(reason)

    def note(self, message: str) -> None:
        """Shows something beside the result."""
        self._state.note(message)


class Picture(Plain):
    """Draws the steps with their times on stderr, a terminal, and prints everything else above them."""

    def __init__(self, state: State, *, status: bool) -> None:
        super().__init__(state, status=status)
        self._execution: dict[str, Any] = {}
        self._spinner = Spinner("dots", style="cyan")
        self._console = Console(stderr=True, highlight=False)
        self._live = Live(
            get_renderable=lambda: self._draw(self._execution),
            console=self._console,
            refresh_per_second=8,
            redirect_stdout=False,
        )

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def execution(self, execution: dict[str, Any]) -> None:
        """Draws it as it is now."""
        # What can't be drawn has to fail in this thread, not in that of the picture.
        self._draw(execution)
        self._execution = execution
        if not sys.stdout.isatty():
            super().execution(execution)

    def line(self, text: str) -> None:
        """Shows a line of the result above the picture."""
        if sys.stdout.isatty():
            self._console.print(Text(clean(text)), soft_wrap=True)
        else:
            super().line(text)

    def step(self, name: str, status: str, details: str) -> None:
        """The picture shows it."""

    def reason(self, reason: str) -> None:
        """The picture shows it."""

    def note(self, message: str) -> None:
        """Shows something beside the result above the picture."""
        self._console.print(Text(clean(message), style="yellow"), soft_wrap=True)

    def _draw(self, execution: dict[str, Any]) -> Group:
        status = str(execution.get("status", ""))
        head = Table.grid(padding=(0, 1))
        took = duration(execution.get("started_at") or execution.get("created_at"), execution.get("ended_at"))
        mark = Text(_MARKS.get(status, " ")) if status in OVER else self._spinner
        head.add_row(
            mark, Text(f"{one_line(execution.get('workflow_name'))} {status}", printing.STYLES.get(status, "")), took
        )
        steps = Table.grid(padding=(0, 1))
        for step in execution.get("steps") or ():
            state = one_line(step.get("status"))
            style = printing.STYLES.get(state, "dim")
            sign = self._spinner if state == "RUNNING" else Text(_MARKS.get(state, "·"), style)
            label = one_line(step.get("label") or step.get("name"))
            spent = duration(step.get("started_at"), step.get("ended_at"))
            steps.add_row(
                " ",
                sign,
                Text(label),
                Text(state, style),
                Text(spent, "dim"),
                Text(runs(step)),
                Text(job(step.get("job")), "dim"),
            )
        reason = _waits_for(execution)
        return Group(head, *([Text(f"  {reason}", "yellow")] if reason else []), steps)


def _waits_for(execution: dict[str, Any]) -> str:
    """The reason for which an execution that isn't over is as it is."""
    return "" if execution.get("status") in OVER else one_line(execution.get("reason"))


def watch(state: State, execution_id: str, *, status: bool, wanted: Wanted) -> ExitCode:
    """Follows an execution to its end and shows it.

    Args:
        status: whether the status is a result that was asked for, beside the log.

    Returns:
        the exit code that tells how it ended.
    """
    drawn = sys.stderr.isatty() and not (state.wants_json or state.quiet)
    reporter = (Picture if drawn else Plain)(state, status=status and not state.quiet)
    with reporter:
        execution = Follower(state.client, execution_id, reporter, wanted).run()
    code = outcome(execution)
    if state.wants_json:
        if status:
            if wanted.logs:
                state.prints_entry(execution)
            else:
                state.prints_json(execution)
        return code
    verdict = "SUCCESS" if code == ExitCode.OK else "ERROR"
    last = f"{verdict}: Execution ID: {execution_id}, Status: {execution.get('status')}"
    if status:
        state.line(last)
    else:
        state.note(last)
    if execution.get("reason"):
        state.note(f"Reason: {execution['reason']}")
    if code == ExitCode.OK and execution.get("outputs"):
        state.note(f"To download its outputs: waas executions outputs {execution_id} --download DIR")
    elif code != ExitCode.OK and not wanted.logs:
        state.note(f"To see its log: waas executions logs {execution_id}")
    return code
