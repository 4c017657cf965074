"""`waas workflows`."""

from __future__ import annotations

import re
import shlex
import uuid
from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote

import click

from . import output
from .commands import Group
from .complete import complete_workflow
from .errors import ExitCode, NotFound, UsageError, WaasError
from .state import State, pass_state
from .text import compact, one_line
from .urls import path

_KEY = re.compile(r"[!-~]{1,255}")


@click.group(cls=Group, name="workflows", aliases=("workflow", "wf", "w"))
@click.pass_context
def command(ctx: click.Context) -> None:
    """List, look at and trigger workflows. Without a command: list them.

    Examples:
      waas workflows
      waas workflows show word-statistics
      waas workflows trigger word-statistics -i texts=@notes.txt --follow
    """
    if ctx.invoked_subcommand is None:
        _list(ctx.ensure_object(State), None)


@command.command("list", aliases=("ls", "l"))
@click.option(
    "-q", "--query", metavar="WORDS", help="Only workflows with these words in their id, name or description."
)
@pass_state
def list_workflows(state: State, query: str | None) -> None:
    """List the workflows that you may run.

    The id in the first column is what the other commands take.

    Examples:
      waas workflows list
      waas workflows list -q sweep
      waas workflows list -o json | jq -r '.[].id'
    """
    _list(state, query)


def _list(state: State, query: str | None) -> None:
    found = list(state.client.pages("/workflows", "workflows", everything=True, q=query))
    if state.json:
        output.json(found)
    elif not found:
        output.line("No workflows found.")
    else:
        members = ("id", "name", "application_id", "environment_id", "environment_name", "label")
        output.table(
            ("Workflow ID", "Workflow Name", "Application", "Environment ID", "Environment Name", "Label"),
            ([workflow.get(member) for member in members] for workflow in found),
            brief=True,
        )


@command.command("show", aliases=("describe", "info"))
@click.argument("workflow_id", shell_complete=complete_workflow)
@pass_state
def show(state: State, workflow_id: str) -> None:
    """Show what a workflow does, which inputs it takes and what it leaves.

    Examples:
      waas workflows show word-statistics
      waas workflows show word-statistics -o json | jq .inputs
    """
    workflow = state.client.get_json(path("workflows", workflow_id))
    if state.json:
        output.json(workflow)
        return
    output.line(f"{workflow.get('id')}: {one_line(workflow.get('label') or workflow.get('name'))}")
    if workflow.get("description"):
        output.line(f"\n{workflow['description'].strip()}")
    schema = workflow.get("inputs") or {}
    properties: dict[str, Any] = schema.get("properties") or {}
    required = set(schema.get("required") or ())
    _section(
        "Inputs",
        ("Name", "Type", "Required", "Default", "Description"),
        [
            (
                name,
                _type(own),
                "yes" if name in required else "no",
                compact(own["default"]) if "default" in own else "",
                own.get("description") or own.get("title"),
            )
            for name, own in properties.items()
        ],
    )
    _section(
        "Outputs",
        ("Name", "Type", "Description"),
        [(each["name"], each["type"], each.get("description") or each.get("label")) for each in workflow["outputs"]],
    )
    _section(
        "Steps",
        ("Name", "After", "Description"),
        [
            (step["name"], ", ".join(step["after"]), step.get("label") or step.get("description"))
            for step in workflow["steps"]
        ],
    )
    output.line("\nRun it:")
    output.line("  " + _example(workflow_id, properties, required))


def _section(title: str, columns: tuple[str, ...], rows: list[tuple[object, ...]]) -> None:
    output.line(f"\n{title}:" if rows else f"\n{title}: none")
    if rows:
        output.table(columns, rows)


def _type(own: Mapping[str, Any]) -> str:
    """The type of an input in the workflow's own words, with the words that it may be."""
    declared = own.get("x-type") or own.get("type") or "any"
    choices = own.get("enum")
    return f"{compact(declared)}: {', '.join(map(compact, choices))}" if choices else compact(declared)


def _example(workflow_id: str, properties: Mapping[str, Mapping[str, Any]], required: set[str]) -> str:
    """A command line that triggers the workflow, with all inputs that it needs."""
    words = ["waas", "workflows", "trigger", workflow_id]
    for name, own in properties.items():
        if name in required:
            declared = _type(own)
            if "File" in declared:
                value = f"{name}=@FILE"
            elif "Directory" in declared:
                value = f"{name}=@DIRECTORY"
            elif own.get("enum"):
                value = f"{name}={own['enum'][0]}"
            else:
                value = f"{name}={declared.rstrip('?').removesuffix('[]').upper()}"
            words += ["-i", value]
    return shlex.join([*map(one_line, words), "--follow"])


@command.command("trigger", aliases=("run", "r", "t"), context_settings={"allow_extra_args": True})
@click.argument("workflow_id", shell_complete=complete_workflow)
@click.option("-i", "--inputs", "arguments", metavar="NAME=VALUE", multiple=True, help="An input; may be repeated.")
@click.option(
    "--inputs-file",
    "inputs_files",
    metavar="FILE",
    multiple=True,
    help="Inputs as YAML or JSON, a CWL job file for instance; `-` is stdin.",
)
@click.option("-f", "--follow", is_flag=True, help="Follow the execution to its end; the exit code tells how it ended.")
@click.option("-l", "--logs", is_flag=True, help="Follow with the log.")
@click.option("--dry-run", is_flag=True, help="Check the inputs and start nothing.")
@click.option("--idempotency-key", metavar="WORD", help="Start at most once with this word, however often it is given.")
@pass_state
@click.pass_context
def trigger(
    ctx: click.Context,
    state: State,
    workflow_id: str,
    arguments: tuple[str, ...],
    inputs_files: tuple[str, ...],
    follow: bool,
    logs: bool,
    dry_run: bool,
    idempotency_key: str | None,
) -> ExitCode | None:
    """Trigger a workflow: start an execution of it.

    Inputs, in the types that the workflow declares:
      -i top=5              a value; `-i a=1,b=2` is two inputs
      -i texts=@notes.txt   upload a file, or a directory, and use it
      -i texts=@more.txt    a list grows when it is given again; another input is given once
      -i range:=[1,2.5]     JSON as it is
      --inputs-file job.yml all at once; `-i` beats it. Local files that it names as
                            `{class: File, path: …}` are uploaded.

    With `-o json` the execution's id is printed as a JSON string; with --follow instead the execution, once it is
    over; with --logs before it an object for each entry of the log, one a line.

    Examples:
      waas workflows trigger word-statistics -i texts=@a.txt -i texts=@b.txt -i top=5
      waas workflows trigger word-statistics --inputs-file job.yml --follow --logs
      waas workflows trigger word-statistics --inputs-file job.yml --dry-run
      id=$(waas workflows trigger word-statistics --inputs-file job.yml -o json | jq -r .)
    """
    from . import inputs
    from .uploads import Uploader

    if ctx.args:
        hint = f"Inputs are given with -i: {shlex.join(word for each in ctx.args for word in ('-i', each))}"
        raise UsageError(f"Unexpected: {' '.join(ctx.args)}", hint=hint)
    if dry_run and (follow or logs):
        raise UsageError("--dry-run starts nothing that could be followed.")
    if len(inputs_files) > 1:
        raise UsageError(f"--inputs-file is given {len(inputs_files)} times: there can be one.")
    if idempotency_key is not None and not _KEY.fullmatch(idempotency_key):
        raise UsageError("--idempotency-key: expected a word of at most 255 characters of ASCII, without blanks.")
    given = inputs.split(arguments)
    schema = _schema(state, workflow_id)
    uploader = Uploader(state.client)
    try:
        values: dict[str, Any] = {}
        for file in inputs_files:
            from . import jobfile

            values = jobfile.read(file, uploader.as_input)
        values |= inputs.values(given, schema, uploader.as_input)
        if not state.json and not dry_run:
            output.line("Triggering workflow...")
        response = state.client.request(
            "POST",
            path("workflows", workflow_id),
            params={"dry_run": "true"} if dry_run else None,
            json={"inputs": values},
            headers={"Idempotency-Key": idempotency_key or str(uuid.uuid4())},
            # A service too old to describe its workflows doesn't know the key either, and would start another one.
            retry=schema is not None,
        )
    except WaasError as failure:
        if failure.code in (ExitCode.USAGE, ExitCode.NOT_FOUND, ExitCode.UNAUTHORIZED):
            uploader.take_back()
        raise
    if dry_run:
        uploader.take_back()
        _checked(state, response.json() if response.content else None, workflow_id)
        return None
    execution_id = unquote(response.headers.get("Location", "").rstrip("/").rpartition("/")[2])
    if not execution_id:
        raise WaasError("The service started an execution, but doesn't say which.")
    return _started(state, execution_id, follow=follow, logs=logs)


def _schema(state: State, workflow_id: str) -> Mapping[str, Any] | None:
    """JSON Schema of the workflow's inputs; None when the service is too old to tell."""
    try:
        schema: Mapping[str, Any] = state.client.get_json(path("workflows", workflow_id)).get("inputs") or {}
    except NotFound as failure:
        if failure.problem is not None:
            raise
        return None
    return schema


def _checked(state: State, answer: Any, workflow_id: str) -> None:
    if state.json:
        output.json(answer)
    else:
        output.line(f"SUCCESS: An execution of {workflow_id} with these inputs would be started.")


def _started(state: State, execution_id: str, *, follow: bool, logs: bool) -> ExitCode | None:
    """Says which execution was started, and follows it where that is wanted."""
    if state.json and not (follow or logs):
        output.json(execution_id)
    elif not state.json:
        output.line(f"SUCCESS: Workflow triggered with execution ID: {execution_id}")
    if not (follow or logs):
        return None
    from .display import watch
    from .follow import Wanted

    return watch(state, execution_id, status=follow or state.json, wanted=Wanted(logs=logs))
