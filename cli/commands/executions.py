"""`waas executions`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .. import printing
from ..api import calls
from ..base import Group, follow_option
from ..errors import ExitCode, Interrupted, NotFound, WaasError
from ..id_completion import complete_execution
from ..many import each
from ..outputs import COLUMNS, rows_of
from ..state import State, at_terminal, pass_state
from ..text import log_line, one_line, show_time
from .execution_lists import execution, list_executions, steps, wait
from .shares import share, shares, unshare

if TYPE_CHECKING:
    import requests

_ALL_LEVELS = 15
_REMARK = re.compile(r'299 - "(.*)"')
"""A header `Warning` by which the service says something beside the result."""

command = Group(
    "executions",
    aliases=("execution", "exec", "e"),
    help="""Follow and cancel executions, and fetch their logs and outputs.

    Examples:
      waas executions list --watch
      waas executions logs EXECUTION_ID --follow
      waas executions outputs EXECUTION_ID --download results
    """,
)
command.add_command(list_executions)
command.add_command(steps)
command.add_command(wait)
command.add_command(share)
command.add_command(unshare)
command.add_command(shares)

_one = click.argument("execution_id", shell_complete=complete_execution)
_several = click.argument("ids", metavar="EXECUTION_ID...", nargs=-1, required=True, shell_complete=complete_execution)


@command.command("status", aliases=("stat", "get", "g", "s"))
@_one
@follow_option
@pass_state
def status(state: State, execution_id: str, follow: bool) -> ExitCode | None:
    """Show the status of an execution.

    The exit code is 0 whatever the status is; with --follow it tells how the execution ended. With `-o json` the
    execution is printed: at once, or with --follow when it has ended.

    What it waits for at present, or why it ended as it did, is said on stderr.

    Examples:
      waas executions status EXECUTION_ID
      waas executions status EXECUTION_ID --follow && echo it succeeded
    """
    if follow:
        from ..display import watch
        from ..follow import Wanted

        return watch(state, execution_id, status=True, wanted=Wanted())
    found = execution(state, execution_id)
    if not state.prints_json(found, brief=str(found["status"])):
        printing.line(f"Execution: ID: {found['id']}, Status: {found['status']}")
        if found.get("reason"):
            state.note(one_line(found["reason"]))
        _note_staleness(state, found)
    return None


def _note_staleness(state: State, execution: Mapping[str, Any]) -> None:
    since = execution.get("stale_since")
    if since:
        who = "The engine" if execution.get("site") in (None, "local") else one_line(execution["site"])
        state.note(f"{who} hasn't answered since {show_time(since)}. You see the last state that it reported.")


@command.command("show", aliases=("describe", "info"))
@_one
@pass_state
def show(state: State, execution_id: str) -> None:
    """Show an execution: its status, times, where it runs, inputs, steps with their jobs, and outputs.

    Example:
      waas executions show EXECUTION_ID
    """
    found = execution(state, execution_id)
    if not state.prints_json(found):
        from .. import execution_view

        execution_view.show(found)
        _note_staleness(state, found)


@command.command("logs", aliases=("log", "l"))
@_one
@follow_option
@click.option("-d", "--debug", is_flag=True, help="Show entries of level DEBUG as well.")
@click.option(
    "--from", "start", metavar="N", type=click.IntRange(0), default=0, help="Start with entry N; the first one is 0."
)
@pass_state
def logs(state: State, execution_id: str, follow: bool, debug: bool, start: int) -> ExitCode | None:
    """Show the log of an execution. Each entry is printed as `LEVEL: [timestamp] content`.

    Here, --debug is about the log. To trace the requests of the command, give --debug before the command. With
    `-o json` the answer of the service is printed; with --follow, one object on a line for each entry.

    Examples:
      waas executions logs EXECUTION_ID --follow
      waas executions logs EXECUTION_ID --debug --from 100
    """
    levels = _ALL_LEVELS if debug else 0
    if follow:
        from ..display import watch
        from ..follow import Wanted

        return watch(state, execution_id, status=False, wanted=Wanted(logs=True, levels=levels, start=start))
    page = state.client.call(calls.get_execution_logs(execution_id, start, levels=levels))
    if not state.prints_json(page):
        for entry in page.get("logs") or ():
            printing.line(log_line(entry))
    return None


@command.command("cancel", aliases=("del", "d", "c"))
@_several
@pass_state
def cancel(state: State, ids: tuple[str, ...]) -> None:
    """Cancel executions.

    The command asks the service to end each of them, and doesn't wait until they have ended: `waas executions status
    --follow` does.

    Examples:
      waas executions cancel EXECUTION_ID
      waas executions list --status RUNNING -o json | jq -r '.[].id' | xargs waas executions cancel
    """
    _cancel(state, ids)


def _cancel(state: State, ids: tuple[str, ...]) -> None:
    state.line("Cancelling executions")

    def act(one: str) -> None:
        _note_remark(state, one, state.client.send(calls.cancel_execution(one)))

    each(state, ids, act, done="Cancelled execution", fail="cancel execution")
    state.line(f"SUCCESS: Successfully cancelled {len(ids)} executions...")


def _note_remark(state: State, one: str, answer: requests.Response) -> None:
    if remark := _REMARK.fullmatch(answer.headers.get("Warning", "")):
        text = re.sub(r"\\(.)", r"\1", remark[1])
        state.note(f"WARNING: {one}: {text}")


@command.command("delete")
@_several
@click.option("--yes", "-y", is_flag=True, help="Delete them without asking.")
@pass_state
def delete(state: State, ids: tuple[str, ...], yes: bool) -> None:
    """Delete executions that have ended, with their inputs, logs, outputs, and files on their sites.

    This can't be undone, so the command asks first; in a script, give --yes. Cancel an execution that hasn't ended
    before you delete it. When a site can't be reached, the service removes the files there later; until the execution
    is gone, `waas executions show` tells what that waits for.

    Without --yes a script cancels executions by this command, as it does by `waas executions cancel`: once that was its
    only meaning.

    Examples:
      waas executions delete EXECUTION_ID
      waas executions list --status FAILED -o json | jq -r '.[].id' | xargs waas executions delete --yes
    """
    if not yes and not at_terminal():
        _cancel(state, ids)
        return
    what = "this execution" if len(ids) == 1 else f"these {len(ids)} executions"
    if not yes and not click.confirm(f"Delete {what} with all outputs? This can't be undone.", err=True):
        raise Interrupted("Nothing was deleted.")

    from ..follow import OVER

    def act(one: str) -> None:
        found = execution(state, one)
        if "removing_since" not in found:
            raise WaasError("This service can't delete executions.")
        if found["status"] not in OVER:
            raise WaasError(f"It is {found['status']}: only one that has ended can be deleted. Cancel it first.")
        _note_remark(state, one, state.client.send(calls.delete_execution(one)))

    each(state, ids, act, done="Deleted execution", fail="delete execution")


@command.command("resume")
@_several
@pass_state
def resume(state: State, ids: tuple[str, ...]) -> None:
    """Resume failed executions from where they failed, if their engine can do that.

    Example:
      waas executions resume EXECUTION_ID
    """

    def act(one: str) -> None:
        state.client.call(calls.resume_execution(one))

    each(state, ids, act, done="Resumed execution", fail="resume execution")


@command.command("close")
@_several
@click.option("--reason", metavar="TEXT", required=True, help="Why you close it, for its owner and the operators.")
@pass_state
def close(state: State, ids: tuple[str, ...], reason: str) -> None:
    """Close executions that their engine will never end.

    Use it for an execution whose status is UNKNOWN, or that can't be cancelled although nothing of it runs any more.
    The execution becomes CANCELLED, no longer counts against limits, and shows who closed it and why. If its engine
    reports another end later, that end replaces this one. An execution that still runs is cancelled instead of closed;
    only an operator can close it.

    Example:
      waas executions close EXECUTION_ID --reason "Alien4Cloud was killed; the job ended on Tuesday"
    """

    def act(one: str) -> None:
        state.client.call(calls.close_execution(one, reason))

    each(state, ids, act, done="Closed execution", fail="close execution")


@command.command("outputs", aliases=("output", "out", "o"))
@_one
@click.argument("names", metavar="[NAME]...", nargs=-1)
@click.option(
    "-d",
    "--download",
    "directory",
    metavar="DIR",
    type=click.Path(path_type=Path),
    help="Download the outputs into DIR.",
)
@click.option(
    "--force", is_flag=True, help="Replace files in DIR that have the names of outputs. Other files are not touched."
)
@pass_state
def outputs(state: State, execution_id: str, names: tuple[str, ...], directory: Path | None, force: bool) -> None:
    """List the outputs of an execution, or download them.

    The list has a line for each file or other value: the name of the output, its type, the name of the file or the
    value itself, and its size. With `-o json` the outputs are printed as an object.

    With --download, files keep their names and directories are unpacked. The files of a list go into a directory with
    the name of the output. Any other value is written to NAME.json. Checksums are verified. A download that was
    interrupted continues when you run the command again. With `-o json` the list of files is printed.

    Examples:
      waas executions outputs EXECUTION_ID
      waas executions outputs EXECUTION_ID total | cut -f 3
      waas executions outputs EXECUTION_ID table --download .
      waas executions outputs EXECUTION_ID --download results --force
    """
    found: dict[str, Any] = execution(state, execution_id).get("outputs") or {}
    missing = [name for name in names if name not in found]
    if missing:
        has = ", ".join(found) or "none"
        raise NotFound(f"The execution has no output {', '.join(missing)}. Its outputs are: {has}.")
    wanted = {name: found[name] for name in names} if names else found
    if directory is not None:
        _download(state, wanted, directory, force)
    elif not state.prints_json(wanted):
        if wanted:
            state.table(COLUMNS, rows_of(wanted))
        else:
            state.note("No outputs found.")


def _download(state: State, wanted: dict[str, Any], directory: Path, force: bool) -> None:
    from ..downloads import Downloader, plan

    fetched: list[str] = []
    for item, new in Downloader(state.client, force=force).fetch(plan(wanted, directory)):
        fetched.append(str(item.target))
        state.line(str(item.target))
        if not new and not state.wants_json:
            state.note(f"{item.target} was there already.")
    if not state.prints_json(fetched) and not fetched:
        state.note("There is nothing to download.")
