"""The entry point: the root of all commands, and how a run ends."""

from __future__ import annotations

import os
import re
import sys
import traceback
from collections.abc import Sequence

import click

from . import output
from .commands import Group, Lazy
from .errors import MALFORMED, ExitCode, Interrupted, UsageError, WaasError
from .state import State


@click.group(
    cls=Group,
    context_settings={
        "help_option_names": ["-h", "--help"],
        "token_normalize_func": lambda token: token.replace("_", "-"),
        "max_content_width": 110,
    },
    lazy={
        "workflows": Lazy("workflows", "List, look at and trigger workflows.", ("workflow", "wf", "w")),
        "executions": Lazy(
            "executions", "Follow and cancel executions, fetch logs and outputs.", ("execution", "exec", "e")
        ),
        "files": Lazy("files", "Upload files that are used as inputs.", ("file",)),
        "ssh_keys": Lazy("ssh_keys", "Make SSH keys for your HPC accounts.", ("keys", "key", "k")),
        "login": Lazy("login", "Sign in to a service."),
        "logout": Lazy("logout", "Sign out."),
        "whoami": Lazy("whoami", "Show who you are, what you may do and what you use."),
        "terms": Lazy("terms", "Show the terms of use, and accept them."),
        "tokens": Lazy("tokens", "Make personal access tokens for scripts and robots.", ("token", "tok")),
        "completion": Lazy("completion", "Print a completion script for your shell."),
        "help": Lazy("help", "Explain a command."),
        "gen-doc": Lazy("gendoc", "Write the documentation of all commands.", hidden=True),
    },
)
@click.version_option(package_name="hpcwaas", prog_name="waas", message="%(prog)s %(version)s")
@click.pass_context
def cli(ctx: click.Context) -> None:
    """Run published workflows on supercomputers, from the command line.

    `waas` talks to a Workflow Execution Service: it lists the workflows that you may run, triggers executions of them,
    follows these and fetches their outputs.

    Examples:
      waas login --api_url https://waas.example.org
      waas workflows list
      waas workflows show word-statistics
      waas workflows trigger word-statistics -i texts=@notes.txt -i top=5 --follow
      waas executions outputs EXECUTION_ID --download results

    Where the service is and who you are, the first that says so counts:
      1. options, before or after the command;
      2. environment: HW_API_URL, HW_USER, HW_ACCESS_TOKEN and so on, HW_ and the
         name of the option;
      3. the configuration file, YAML: api_url, user, access_token and so on;
      4. `waas login`: its address when none of them names one, and its sign-in
         at the address when none of them names user or token;
      5. when none of all these names anything: a service that runs in local mode
         on this machine under your account.

    Other users of a machine see options in its list of processes, if only for a
    moment with --user and --access_token: give passwords and tokens in the
    environment or in the file, or sign in with `waas login`.

    Results go to stdout, all else to stderr. With `-o json` stdout holds JSON or
    nothing, and an error is an object on stderr. Tables that are not printed to a
    terminal have one line for each row, tabs between the cells, no headings.

    Exit codes:
      0    done; what was followed SUCCEEDED
      1    error of the service or the network
      2    the command line, the configuration or an input is wrong
      3    the execution that was followed FAILED
      4    the execution that was followed was CANCELLED
      5    there is no such workflow, execution, file, key or token
      6    not signed in, or not allowed
      130  interrupted with Ctrl-C; executions go on
    """
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help())


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the command and ends the process with its exit code.

    Args:
        arguments: default: those of the process.
    """
    given = sys.argv[1:] if arguments is None else list(arguments)
    state = State()
    output.never_fail_to_encode()
    try:
        result = cli.main(given, prog_name="waas", complete_var="_WAAS_COMPLETE", standalone_mode=False, obj=state)
    except WaasError as failure:
        result = _fail(failure, state, given)
    except click.UsageError as failure:
        where = failure.ctx.command_path if failure.ctx else "waas"
        hint = f"`{where} --help` explains it."
        result = _fail(UsageError(failure.format_message(), hint=hint), state, given)
    except click.ClickException as failure:
        result = _fail(WaasError(failure.format_message()), state, given)
    except click.Abort:
        result = _fail(Interrupted(), state, given)
    except MALFORMED:
        result = _fail(_unexpected(state), state, given)
    except OSError as failure:
        result = _fail(WaasError(f"{failure.strerror or failure}."), state, given)
    sys.exit(result if isinstance(result, int) else ExitCode.OK)


def _unexpected(state: State) -> WaasError:
    """The error to show for an exception that nobody foresaw; called while it is handled."""
    debug, hint = False, "Add --debug before the command to see where this `waas` stumbled."
    try:
        debug = state.config.debug
        hint = f"Is {state.config.api_url} the address of the service? {hint}"
    except WaasError:
        pass  # without a configuration the rest of the sentence holds
    if debug:
        state.note(traceback.format_exc())
    return WaasError("The service's answer isn't what is expected.", hint=None if debug else hint)


def _fail(failure: WaasError, state: State, given: Sequence[str]) -> int:
    output.error(failure, json=_wants_json(state, given))
    return failure.code


def _wants_json(state: State, given: Sequence[str]) -> bool:
    """Whether errors are to be JSON, also when the command line or the configuration could not be read."""
    asked = re.findall(r"(?:^|\s)(?:-o|--output)[\s=]*(\S+)", " ".join(given))
    if asked:
        return bool(asked[-1] == "json")
    try:
        return state.json
    except WaasError:
        return os.environ.get("HW_OUTPUT") == "json"
