"""`waas executions`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from . import output
from .commands import Group, owner_option
from .complete import complete_execution, complete_workflow
from .errors import ExitCode, NotFound
from .many import each
from .outputs import COLUMNS, rows_of
from .shares import share, shares, unshare
from .state import State, pass_state
from .text import compact, described, duration, log_line, show_time
from .urls import path

_STATUSES = ["PENDING", "RUNNING", "SUCCEEDED", "FAILED", "CANCELLING", "CANCELLED", "UNKNOWN"]
_ALL_LEVELS = 15


@click.group(cls=Group, name="executions", aliases=("execution", "exec", "e"))
@click.pass_context
def command(ctx: click.Context) -> None:
    """Follow and cancel executions, fetch their logs and outputs.

    Examples:
      waas executions list
      waas executions logs EXECUTION_ID --follow
      waas executions outputs EXECUTION_ID --download results
    """
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help())


command.add_command(share)
command.add_command(unshare)
command.add_command(shares)


@command.command("list", aliases=("ls",))
@click.option("--workflow", metavar="ID", help="Only executions of this workflow.", shell_complete=complete_workflow)
@click.option(
    "--status",
    "statuses",
    multiple=True,
    type=click.Choice(_STATUSES, case_sensitive=False),
    help="Only executions with this status; may be repeated.",
)
@click.option(
    "--limit", metavar="N", type=click.IntRange(1, 1000), default=50, show_default=True, help="At most so many."
)
@click.option("--all", "everything", is_flag=True, help="All of them.")
@owner_option
@click.option("--shared", is_flag=True, help="Those that others share with you, in place of your own.")
@pass_state
def list_executions(
    state: State,
    workflow: str | None,
    statuses: tuple[str, ...],
    limit: int,
    everything: bool,
    owner: str | None,
    shared: bool,
) -> None:
    """List your executions, newest first. With --owner or --shared, the last column is the owner.

    Examples:
      waas executions list --status RUNNING --status PENDING
      waas executions list --workflow word-statistics --all
      waas executions list --status RUNNING -o json | jq -r '.[].id'
      waas executions list --shared
    """
    found = list(
        state.client.pages(
            "/executions",
            "executions",
            everything=everything,
            workflow=workflow,
            status=",".join(statuses) or None,
            limit=1000 if everything else limit,
            owner=owner,
            shared="true" if shared else None,
        )
    )
    others = shared or owner is not None
    if state.json:
        output.json(found)
    elif not found:
        state.note("No executions found.")
    else:
        output.table(
            ("Execution ID", "Status", "Workflow", "Triggered", "Time", *(["Owner"] if others else [])),
            (
                (
                    execution["id"],
                    execution["status"],
                    execution.get("workflow_id"),
                    show_time(execution.get("created_at")),
                    duration(execution.get("started_at"), execution.get("ended_at")),
                    *([execution.get("owner")] if others else []),
                )
                for execution in found
            ),
        )


@command.command("status", aliases=("stat", "get", "g", "s"))
@click.argument("execution_id", shell_complete=complete_execution)
@click.option("-f", "--follow", is_flag=True, help="Follow it to its end; the exit code tells how it ended.")
@pass_state
def status(state: State, execution_id: str, follow: bool) -> ExitCode | None:
    """Say where an execution stands.

    The exit code is 0 whatever the status is; with --follow it tells how the execution ended. With `-o json` the
    execution is printed, with --follow once it is over.

    Examples:
      waas executions status EXECUTION_ID
      waas executions status EXECUTION_ID --follow && echo it succeeded
    """
    if follow:
        from .display import watch
        from .follow import Wanted

        return watch(state, execution_id, status=True, wanted=Wanted())
    execution = _execution(state, execution_id)
    if state.json:
        output.json(execution)
    else:
        output.line(f"Execution: ID: {execution['id']}, Status: {execution['status']}")
        _note_staleness(state, execution)
    return None


def _note_staleness(state: State, execution: dict[str, Any]) -> None:
    since = execution.get("stale_since")
    if since:
        state.note(f"Its engine doesn't answer since {show_time(since)}: this is what was known then.")


@command.command("show", aliases=("describe", "info"))
@click.argument("execution_id", shell_complete=complete_execution)
@pass_state
def show(state: State, execution_id: str) -> None:
    """Show an execution: status, times, inputs, steps and outputs.

    Example:
      waas executions show EXECUTION_ID
    """
    execution = _execution(state, execution_id)
    if state.json:
        output.json(execution)
        return
    spent = duration(execution.get("started_at"), execution.get("ended_at"))
    facts = {
        "Execution": execution["id"],
        "Workflow": execution.get("workflow_id"),
        "Status": execution["status"],
        "Reason": execution.get("reason"),
        "Owner": execution.get("owner"),
        "Triggered": execution.get("created_at") and show_time(execution["created_at"]),
        "Started": execution.get("started_at") and show_time(execution["started_at"]),
        "Ended": execution.get("ended_at") and show_time(execution["ended_at"]),
        "Time": spent,
    }
    for name, value in facts.items():
        if value:
            output.line(f"{name + ':':<11}{compact(value)}")
    closed = execution.get("closed")
    if closed:
        output.line(f"{'Closed:':<11}{show_time(closed['at'])} by {compact(closed['by'])}: {compact(closed['reason'])}")
    _note_staleness(state, execution)
    steps = execution.get("steps") or ()
    attempts = execution.get("attempts") or ()
    sections = (
        (
            "Inputs",
            ("Name", "Value"),
            [(name, described(value)) for name, value in (execution.get("inputs") or {}).items()],
        ),
        (
            "Steps",
            ("Name", "Status", "Time"),
            [(step["name"], step["status"], duration(step.get("started_at"), step.get("ended_at"))) for step in steps],
        ),
        (
            "Attempts",
            ("Number", "Status", "Started", "Time", "Reason"),
            [_attempt_row(attempt) for attempt in attempts if len(attempts) > 1],
        ),
        ("Outputs", COLUMNS, rows_of(execution.get("outputs") or {})),
    )
    for title, columns, rows in sections:
        if rows:
            output.line(f"\n{title}:")
            output.table(columns, rows)


def _attempt_row(attempt: dict[str, Any]) -> tuple[str, ...]:
    started = attempt.get("started_at")
    return (
        str(attempt["number"]),
        attempt["status"],
        show_time(started) if started else "",
        duration(started, attempt.get("ended_at")) or "",
        compact(attempt.get("reason") or ""),
    )


@command.command("logs", aliases=("log", "l"))
@click.argument("execution_id", shell_complete=complete_execution)
@click.option("-f", "--follow", is_flag=True, help="Follow it to its end; the exit code tells how the execution ended.")
@click.option("-d", "--debug", is_flag=True, help="Show entries of level DEBUG as well.")
@click.option(
    "--from", "start", metavar="N", type=click.IntRange(0), default=0, help="Index of the first entry, from 0."
)
@pass_state
def logs(state: State, execution_id: str, follow: bool, debug: bool, start: int) -> ExitCode | None:
    """Show the log of an execution, `LEVEL: [timestamp] content`.

    --debug means the log here; to trace requests, give --debug before the command. With `-o json` the service's answer
    is printed; with --follow an object for each entry, one a line.

    Examples:
      waas executions logs EXECUTION_ID --follow
      waas executions logs EXECUTION_ID --debug --from 100
    """
    levels = _ALL_LEVELS if debug else 0
    if follow:
        from .display import watch
        from .follow import Wanted

        return watch(state, execution_id, status=False, wanted=Wanted(logs=True, levels=levels, start=start))
    page = state.client.get_json(
        path("executions", execution_id, "logs"), **{"from": start}, timeout="0", levels=levels
    )
    if state.json:
        output.json(page)
    else:
        for entry in page.get("logs") or ():
            output.line(log_line(entry))
    return None


@command.command("cancel", aliases=("delete", "del", "d", "c"))
@click.argument("ids", metavar="EXECUTION_ID...", nargs=-1, required=True, shell_complete=complete_execution)
@pass_state
def cancel(state: State, ids: tuple[str, ...]) -> None:
    """Cancel executions.

    Asks for the end of each and returns; `status --follow` waits for it.

    Examples:
      waas executions cancel EXECUTION_ID
      waas executions list --status RUNNING -o json | jq -r '.[].id' | xargs waas executions cancel
    """
    if not state.json:
        output.line("Cancelling executions")
    each(
        state,
        ids,
        lambda one: state.client.request("DELETE", path("executions", one), retry=True),
        done="Cancelled execution",
        fail="cancel execution",
    )
    if not state.json:
        output.line(f"SUCCESS: Successfully cancelled {len(ids)} executions...")


@command.command("resume")
@click.argument("ids", metavar="EXECUTION_ID...", nargs=-1, required=True, shell_complete=complete_execution)
@pass_state
def resume(state: State, ids: tuple[str, ...]) -> None:
    """Resume failed executions where they failed, if their engine can.

    Examples:
      waas executions resume EXECUTION_ID
    """
    each(
        state,
        ids,
        lambda one: state.client.request("POST", path("executions", one, "resume")),
        done="Resumed execution",
        fail="resume execution",
    )


@command.command("close")
@click.argument("ids", metavar="EXECUTION_ID...", nargs=-1, required=True, shell_complete=complete_execution)
@click.option("--reason", metavar="TEXT", required=True, help="Why, for its owner and the operators.")
@pass_state
def close(state: State, ids: tuple[str, ...], reason: str) -> None:
    """Close executions that their engine will never end.

    For one whose status is UNKNOWN, or that can't be cancelled although nothing of it runs any more. It becomes
    CANCELLED, counts no more, and shows who closed it and why. What its engine tells of it later still counts. One
    that does run is cancelled by this, and not closed; only an operator can close it.

    Examples:
      waas executions close EXECUTION_ID --reason "Alien4Cloud was killed; the job ended on Tuesday"
    """
    each(
        state,
        ids,
        lambda one: state.client.request("POST", path("executions", one, "close"), json={"reason": reason}),
        done="Closed execution",
        fail="close execution",
    )


@command.command("outputs", aliases=("output", "out", "o"))
@click.argument("execution_id", shell_complete=complete_execution)
@click.argument("names", metavar="[NAME]...", nargs=-1)
@click.option(
    "-d", "--download", "directory", metavar="DIR", type=click.Path(path_type=Path), help="Fetch them into DIR."
)
@click.option("--force", is_flag=True, help="Replace files that have the names of outputs; nothing else is touched.")
@pass_state
def outputs(state: State, execution_id: str, names: tuple[str, ...], directory: Path | None, force: bool) -> None:
    """List the outputs of an execution, or download them.

    Files keep their names; directories are unpacked; other values become NAME.json; the files of a list go into a
    directory with the output's name. A download that was cut off goes on when it is started again; checksums are
    verified. The list has a line for each file or other value: name of the output, type, name of the file or the
    value itself, size. With `-o json` the outputs are printed as an object, with --download the list of files.

    Examples:
      waas executions outputs EXECUTION_ID
      waas executions outputs EXECUTION_ID total | cut -f 3
      waas executions outputs EXECUTION_ID table --download .
      waas executions outputs EXECUTION_ID --download results --force
    """
    found: dict[str, Any] = _execution(state, execution_id).get("outputs") or {}
    missing = [name for name in names if name not in found]
    if missing:
        has = ", ".join(found) or "none"
        raise NotFound(f"The execution has no output {', '.join(missing)}; it has: {has}.")
    wanted = {name: found[name] for name in names} if names else found
    if directory is not None:
        _download(state, wanted, directory, force)
    elif state.json:
        output.json(wanted)
    elif not wanted:
        state.note("No outputs found.")
    else:
        output.table(COLUMNS, rows_of(wanted))


def _download(state: State, wanted: dict[str, Any], directory: Path, force: bool) -> None:
    from .downloads import Downloader, plan

    fetched: list[str] = []
    for item, new in Downloader(state.client, force=force).fetch(plan(wanted, directory)):
        fetched.append(str(item.target))
        if not state.json:
            output.line(str(item.target))
            if not new:
                state.note(f"{item.target} was there already.")
    if state.json:
        output.json(fetched)
    elif not fetched:
        state.note("There is nothing to download.")


def _execution(state: State, execution_id: str) -> dict[str, Any]:
    execution: dict[str, Any] = state.client.get_json(path("executions", execution_id))
    if not execution.get("id"):
        # That is how an older service says it.
        raise NotFound(f"There is no such execution: {execution_id}")
    return execution
