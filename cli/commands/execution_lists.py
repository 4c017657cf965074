"""`waas executions list`, `wait` and `steps`."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click

from ..api import answers, calls
from ..base import MOST_LISTED, Command, owner_option, page_options
from ..errors import ExitCode, Interrupted, NotFound
from ..id_completion import complete_execution, complete_workflow
from ..moments import moment
from ..shaping import Columns
from ..state import State, pass_state
from ..text import compact, runs, show_time, spent

if TYPE_CHECKING:
    from ..watching import Whose

_STATUSES = ["PENDING", "RUNNING", "SUCCEEDED", "FAILED", "CANCELLING", "CANCELLED", "UNKNOWN"]
_COLUMNS: Columns = {
    "Execution ID": "id",
    "Status": "status",
    "Workflow": "workflow_id",
    "Triggered": lambda execution: show_time(execution.get("created_at")),
    "Time": spent,
    "Site": "site",
}
_STEP_COLUMNS: Columns = {
    "Name": "name",
    "Status": "status",
    "Time": spent,
    "Job": lambda step: (step.get("job") or {}).get("id"),
    "State": lambda step: (step.get("job") or {}).get("state"),
    "Node": lambda step: (step.get("job") or {}).get("node"),
    "Runs": runs,
}


@click.command("list", cls=Command, aliases=("ls",))
@click.option(
    "--workflow", metavar="ID", help="List only executions of this workflow.", shell_complete=complete_workflow
)
@click.option(
    "--status",
    "statuses",
    multiple=True,
    type=click.Choice(_STATUSES, case_sensitive=False),
    help="List only executions with this status; may be repeated.",
)
@click.option(
    "--since",
    metavar="MOMENT",
    callback=moment,
    help="List only executions triggered at MOMENT or later: a date or time in UTC, such as 2026-11-23 or "
    "2026-11-23T09:25, or how long ago: 30m, 2h, 3d, 1w.",
)
@click.option("--until", metavar="MOMENT", callback=moment, help="List only executions triggered before MOMENT.")
@page_options
@owner_option
@click.option("--shared", is_flag=True, help="List the executions that others share with you, instead of your own.")
@click.option("--watch", is_flag=True, help="Go on showing them as they change, until all have ended.")
@pass_state
def list_executions(
    state: State,
    workflow: str | None,
    statuses: tuple[str, ...],
    since: str | None,
    until: str | None,
    limit: int,
    everything: bool,
    owner: str | None,
    shared: bool,
    watch: bool,
) -> None:
    """List your executions, the newest first. With --owner or --shared, the last column is the owner.

    With --watch the list is drawn anew at a terminal when something changes. Elsewhere, each change is a line, or with
    `-o json` an object. The service is asked once for the whole list, soon after a change and less often while nothing
    changes. The command ends when none of those that are listed goes on.

    Examples:
      waas executions list --status RUNNING --status PENDING
      waas executions list --since 2d --sort status,-created_at
      waas executions list --workflow word-statistics --all
      waas executions list --status RUNNING --quiet | xargs waas executions cancel
      waas executions list --columns id,status,reason
      waas executions list --watch
      waas executions list --shared
    """
    first = calls.list_executions(
        owner=owner,
        shared=shared,
        workflow=workflow,
        statuses=statuses,
        created_after=since,
        created_before=until,
        limit=MOST_LISTED if everything else limit,
    )

    def ask() -> Sequence[Mapping[str, Any]]:
        return list(state.client.pages(first, "executions", everything=everything))

    def show(found: Sequence[Mapping[str, Any]]) -> None:
        columns = dict(_COLUMNS)
        if sys.stdout.isatty() and all(execution.get("site") in (None, "local") for execution in found):
            del columns["Site"]
        state.show_list(found, columns, empty="No executions found.", owner=shared or owner is not None)

    if watch:
        _watch(
            state,
            ask,
            show,
            {"owner": owner, "shared": shared},
            complete=lambda found: everything or len(found) < limit,
        )
    else:
        show(ask())


def _watch(
    state: State,
    ask: Callable[[], Sequence[Mapping[str, Any]]],
    show: Callable[[Sequence[Mapping[str, Any]]], None],
    whose: Whose,
    *,
    complete: Callable[[Sequence[Mapping[str, Any]]], bool],
) -> None:
    """Shows a list until all in it have ended.

    Args:
        whose: who owns the executions in it.
        complete: whether a list holds all that there are: only then what isn't in it any more is known to have changed.
    """
    from ..streams import News
    from ..watching import Several, looks, over

    drawn = sys.stdout.isatty() and not (state.wants_json or state.quiet)
    known: dict[str, Mapping[str, Any]] = {}
    first = True
    try:
        shared = {"shared": "true"} if whose.get("shared") else None
        news = News(state.client, "/executions/events", shared, tells=lambda: whose.get("owner") is None)
        for found in looks(state, ask, news):
            now = {str(each["id"]): each for each in found}
            if complete(found):
                # What a filter by status doesn't show any more has ended, or will.
                gone = [each for each, last in known.items() if each not in now and not over(last)]
                now |= {str(each["id"]): each for each in Several(state, gone, **whose)()}
            changed = [each for name, each in now.items() if each.get("status") != known.get(name, {}).get("status")]
            if drawn:
                if changed or first or any(not over(each) for each in now.values()):
                    click.clear()
                    show(list(now.values()))
            elif state.wants_json:
                for each in reversed(changed):
                    state.prints_entry(each)
            elif changed or first:
                show(list(reversed(changed)))
            known |= now
            first = False
            if all(over(each) for each in now.values()):
                return
    except KeyboardInterrupt:
        raise Interrupted("You stopped watching. The executions go on.") from None


@click.command("wait", cls=Command)
@click.argument("ids", metavar="EXECUTION_ID...", nargs=-1, required=True, shell_complete=complete_execution)
@pass_state
def wait(state: State, ids: tuple[str, ...]) -> ExitCode:
    """Wait until executions have ended, and tell how each of them did.

    A line is printed for each when it has ended. With `-o json` a list of all is printed at the end, with `-o jsonl` an
    object for each when it has ended. The exit code is 0 when all SUCCEEDED, 3 when one FAILED, else 4 when one was
    CANCELLED. The service is asked for all of them at once.

    Examples:
      waas executions wait EXECUTION_ID && echo it succeeded
      waas executions list --status RUNNING --quiet | xargs waas executions wait
    """
    from ..follow import outcome
    from ..watching import Several, looks, over

    told: dict[str, ExitCode] = {}
    try:
        several = Several(state, ids)
        for found in looks(state, several, several.news()):
            for each in found:
                if over(each) and each["id"] not in told:
                    told[each["id"]] = outcome(each)
                    if state.config.output in ("jsonl", "yaml"):
                        state.prints_entry(each)
                    state.line(f"Execution ID: {each['id']}, Status: {each['status']}")
                    if each.get("reason"):
                        state.note(f"{each['id']}: {compact(each['reason'])}")
            if len(told) == len(found):
                if state.config.output == "json":
                    state.prints_json(found)
                break
    except KeyboardInterrupt:
        raise Interrupted(
            "You stopped waiting. The executions go on.",
            hint=f"To wait again: waas executions wait {' '.join(each for each in ids if each not in told)}",
        ) from None
    codes = set(told.values())
    worst = (ExitCode.FAILED, ExitCode.CANCELLED, ExitCode.ERROR)
    return next((code for code in worst if code in codes), ExitCode.OK)


@click.command("steps", cls=Command, aliases=("step",))
@click.argument("execution_id", shell_complete=complete_execution)
@pass_state
def steps(state: State, execution_id: str) -> None:
    """List the steps of an execution: status and time, for a step that runs once for each of several values how many of
    its runs are done, and where a scheduler runs them, the job that it started last.

    Examples:
      waas executions steps EXECUTION_ID
      waas executions steps EXECUTION_ID --sort=-started_at --columns name,status,time
      waas executions steps EXECUTION_ID -o jsonl
    """
    found = execution(state, execution_id).get("steps") or []
    columns = dict(_STEP_COLUMNS)
    if sys.stdout.isatty():
        for heading, cell in _STEP_COLUMNS.items():
            if callable(cell) and heading != "Time" and not any(cell(step) for step in found):
                del columns[heading]
    state.show_list(found, columns, empty="The execution has no steps.")


def execution(state: State, execution_id: str) -> answers.Execution:
    """An execution as it is now.

    Raises:
        NotFound: there is none.
    """
    found = state.client.call(calls.get_execution(execution_id))
    if not found.get("id"):
        # That is how an older service says it.
        raise NotFound(f"There is no execution with the id {execution_id}.")
    return found
