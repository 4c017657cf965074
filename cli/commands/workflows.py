"""`waas workflows`."""

from __future__ import annotations

import re
import shlex
import uuid
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import click

from .. import printing, sites
from ..api import answers, calls
from ..base import Group, follow_option, links_option
from ..errors import ExitCode, NotFound, Unauthorized, UsageError, WaasError
from ..id_completion import complete_site, complete_workflow
from ..shaping import Columns
from ..state import State, at_terminal, pass_state
from ..text import one_line

_COLUMNS: Columns = {
    "Workflow ID": "id",
    "Workflow Name": "name",
    "Application": "application_id",
    "Environment ID": "environment_id",
    "Environment Name": "environment_name",
    "Label": "label",
}

_NAMED = 3
"""Workflows that are named of those of which the same is said."""


@click.group(cls=Group, name="workflows", aliases=("workflow", "wf", "w"))
@click.pass_context
def command(ctx: click.Context) -> None:
    """List, show and trigger workflows. Without a command, the workflows are listed.

    Examples:
      waas workflows
      waas workflows show word-statistics
      waas workflows trigger word-statistics -i texts=@notes.txt --follow
    """
    if ctx.invoked_subcommand is None:
        _list(ctx.ensure_object(State), None)


@command.command("list", aliases=("ls", "l"))
@click.option(
    "-q", "--query", metavar="WORDS", help="List only workflows with these words in their id, name or description."
)
@pass_state
def list_workflows(state: State, query: str | None) -> None:
    """List the workflows that you may run. The first column is the id that the other commands take.

    Examples:
      waas workflows list
      waas workflows list -q sweep
      waas workflows list -o json | jq -r '.[].id'
    """
    _list(state, query)


@command.command("problems")
@pass_state
def problems(state: State) -> None:
    """List what isn't published and why, and warnings for publishers. For operators.

    What is said of several workflows is printed once.

    Examples:
      waas workflows problems
      waas workflows problems -o json | jq -r '.[].problem'
    """
    answer = state.client.call(calls.list_workflow_problems())
    found = answer.get("problems")
    if found is None:
        raise NotFound("Only operators see what is wrong with what is published.")
    if state.prints_json(found):
        return
    told: dict[str, list[str]] = {}
    for each in found:
        for sentence in filter(None, (each["problem"], *each["warnings"])):
            told.setdefault(sentence, []).append(each["workflow"] or "-")
    for sentence, workflows in told.items():
        more = f" and {len(workflows) - _NAMED} more" if len(workflows) > _NAMED else ""
        printing.line(f"{one_line(', '.join(workflows[:_NAMED]))}{more}: {one_line(sentence)}")
    if not found:
        printing.line("No problems.")
    if ignored := answer.get("ignored"):
        printing.line("Not published, on purpose:")
        for sentence in ignored:
            printing.line(f"  {one_line(sentence)}")


def _list(state: State, query: str | None) -> None:
    found = list(state.client.pages(calls.list_workflows(query), "workflows", state.note, everything=True))
    if found or state.wants_json:
        state.show_list(found, _COLUMNS, empty="", brief=True)
    else:
        state.line("No workflows found.")


@command.command("show", aliases=("describe", "info"))
@click.argument("workflow_id", shell_complete=complete_workflow)
@click.option("--template", "as_template", is_flag=True, help="Print an inputs file to fill in, for --inputs-file.")
@pass_state
def show(state: State, workflow_id: str, as_template: bool) -> None:
    """Show what a workflow does, its inputs, its outputs and its steps.

    Examples:
      waas workflows show word-statistics
      waas workflows show word-statistics --template > job.yml
      waas workflows show word-statistics -o json | jq .inputs
    """
    workflow = state.client.call(calls.get_workflow(workflow_id))
    if as_template:
        from ..template import template

        printing.line(template(workflow_id, workflow).rstrip("\n"))
    elif not state.prints_json(workflow):
        from .. import workflow_view

        workflow_view.show(workflow_id, workflow)


def _once(_: click.Context, __: click.Parameter, files: tuple[str, ...]) -> str | None:
    """The one file that is given."""
    if len(files) > 1:
        raise UsageError(f"--inputs-file is given {len(files)} times. Give it once.")
    return files[0] if files else None


def _word(_: click.Context, __: click.Parameter, key: str | None) -> str | None:
    """The word, if a header can carry it."""
    if key is not None and not re.fullmatch(r"[!-~]{1,255}", key):
        raise UsageError("--idempotency-key: expected a word of at most 255 ASCII characters, without blanks.")
    return key


@command.command("trigger", aliases=("run", "r", "t"), context_settings={"allow_extra_args": True})
@click.argument("workflow_id", shell_complete=complete_workflow)
@click.option("-i", "--inputs", "arguments", metavar="NAME=VALUE", multiple=True, help="An input; may be repeated.")
@click.option(
    "--inputs-file",
    metavar="FILE",
    multiple=True,
    callback=_once,
    help="Read inputs from a YAML or JSON file, such as a CWL job file; `-` is stdin.",
)
@click.option(
    "--site",
    metavar="SITE",
    shell_complete=complete_site,
    help="Where it runs. [default: the only site that the workflow and you can use]",
)
@follow_option
@click.option("-l", "--logs", is_flag=True, help="Follow the execution and show its log.")
@click.option(
    "--dry-run", is_flag=True, help="Check the inputs and your account on the site, but don't start anything."
)
@click.option(
    "--idempotency-key",
    metavar="WORD",
    callback=_word,
    help="Start one execution at most, however often WORD is given.",
)
@links_option
@click.option(
    "--no-input", is_flag=True, help="Never ask for inputs that are missing. Without a terminal, nobody is asked."
)
@pass_state
@click.pass_context
def trigger(
    ctx: click.Context,
    state: State,
    workflow_id: str,
    arguments: tuple[str, ...],
    inputs_file: str | None,
    site: str | None,
    follow: bool,
    logs: bool,
    dry_run: bool,
    idempotency_key: str | None,
    links: str,
    no_input: bool,
) -> ExitCode | None:
    """Trigger a workflow: start an execution of it.

    Inputs, in the types that the workflow declares:
      -i top=5              A value. `-i a=1,b=2` gives two inputs.
      -i texts=@notes.txt   Upload a file or a directory, and use it.
      -i texts=@more.txt    Repeat the name of a list to add to it. Other inputs
                            can be given only once.
      -i texts=@'d/*.txt'   The files that match, or with @d those in a directory,
                            where a list of files is taken.
      -i texts=ID:OUTPUT    An output of an earlier execution, or the file FILE in
                            it: ID:OUTPUT/FILE.
      -i range:=[1,2.5]     A value in JSON, in which {"class": "File", "path": …}
                            names a local file.
      --inputs-file job.yml All inputs in one file, such as a job file of cwltool. An
                            input given with -i replaces the one in the file.

    Files that the workflow needs beside another, such as an index, are found beside the local file, and sent with it.
    At a terminal you are asked for inputs that are missing.

    A workflow runs on the service's own machine, or under your own account on a site: see `waas sites`.

    With `-o json` the id of the execution is printed as a JSON string. With --follow the execution is printed instead,
    when it has ended. With --logs each entry of the log is printed before it, as one object on a line.

    Examples:
      waas workflows trigger word-statistics -i texts=@a.txt -i texts=@b.txt -i top=5
      waas workflows trigger word-statistics --inputs-file job.yml --follow --logs
      waas workflows trigger word-statistics --inputs-file job.yml --site mare --dry-run
      id=$(waas workflows trigger word-statistics --inputs-file job.yml -o json | jq -r .)
    """
    from .. import inputs
    from ..preparing import Wanted, prepared
    from ..uploads import Uploader

    if ctx.args:
        hint = f"Give inputs with -i: {shlex.join(word for each in ctx.args for word in ('-i', each))}"
        raise UsageError(f"These words are not expected here: {' '.join(ctx.args)}", hint=hint)
    if dry_run and (follow or logs):
        raise UsageError("--dry-run starts nothing that could be followed: leave out --follow and --logs.")
    given = inputs.split(arguments)
    schema = _schema(state, workflow_id)
    if dry_run and schema is None:
        raise WaasError("The service is too old for --dry-run: it would start the workflow. Nothing was started.")
    if site is not None:
        sites.find_open(state, site)  # before anything is uploaded; and an older service would ignore it
    asks = not no_input and not state.wants_json and at_terminal()
    uploader = Uploader(state.client, links=links, note=state.note)
    try:
        values = uploader.sent(prepared(state, Wanted(workflow_id, schema, site, asks), given, inputs_file))
        if not dry_run:
            state.line("Triggering workflow...")
            start = calls.trigger_workflow(workflow_id, values, site, idempotency_key or str(uuid.uuid4()))
            # A service too old to describe its workflows doesn't know the key either, and would start another one.
            execution_id = state.client.call(replace(start, repeatable=schema is not None))
        else:
            tried = state.client.call(calls.try_workflow(workflow_id, values, site))
    except (UsageError, NotFound, Unauthorized) as failure:
        uploader.take_back()
        if site is None and failure.message.startswith("`site`"):
            failure.hint = "Choose one with --site SITE. To see them: waas sites list"
        raise
    if dry_run:
        uploader.take_back()
        return _tried(state, tried)
    return _started(state, execution_id, follow=follow, logs=logs)


def _tried(state: State, found: answers.DryRun) -> ExitCode | None:
    """Shows what a dry run found: that the inputs are right, and the check of the site's account, if it has one."""
    checked = found.get("check")
    if not state.prints_json(found):
        where = "" if found.get("site") in (None, "local") else f" It would run on {one_line(found['site'])}."
        printing.line(f"SUCCESS: The inputs are right.{where} Nothing was started.")
        if checked:
            return sites.show_check(state, checked)
    return sites.usable(checked) if checked else None


def _schema(state: State, workflow_id: str) -> Mapping[str, Any] | None:
    """JSON Schema of the workflow's inputs; None when the service is too old to tell."""
    try:
        schema: Mapping[str, Any] = state.client.call(calls.get_workflow(workflow_id)).get("inputs") or {}
    except NotFound as failure:
        if failure.problem is not None:
            raise
        return None
    return schema


def _started(state: State, execution_id: str, *, follow: bool, logs: bool) -> ExitCode | None:
    """Says which execution was started, and follows it where that is wanted."""
    state.line(f"SUCCESS: Workflow triggered with execution ID: {execution_id}")
    if state.quiet and not state.wants_json:
        printing.line(execution_id)
    if not (follow or logs):
        state.prints_json(execution_id)
        return None
    from ..display import watch
    from ..follow import Wanted

    return watch(state, execution_id, status=follow or state.wants_json, wanted=Wanted(logs=logs))
