"""The entry point: the root of all commands, and how a run ends."""

from __future__ import annotations

import os
import re
import sys
import traceback
from collections.abc import Sequence

import click

from . import __version__, printing
from .base import Root, normalise
from .config import FORMS
from .errors import MALFORMED, ExitCode, Interrupted, UsageError, WaasError
from .state import State

cli = Root(
    "waas",
    context_settings={
        "help_option_names": ["-h", "--help"],
        "token_normalize_func": normalise,
        "max_content_width": 110,
    },
    help="""Run published workflows on supercomputers, from the command line.

    `waas` talks to a Workflow Execution Service. It lists the workflows that you may run, starts executions of them,
    follows the executions and fetches their outputs.

    Examples:
      waas login --api_url https://waas.example.org
      waas workflows list
      waas workflows show word-statistics
      waas workflows trigger word-statistics -i texts=@notes.txt -i top=5 --follow
      waas executions outputs EXECUTION_ID --download results

    `waas` takes the address of the service and your credentials from the first of these that gives them:
      1. options, before or after the command;
      2. environment variables: HW_ and the name of the option, such as HW_API_URL,
         HW_USER and HW_ACCESS_TOKEN;
      3. the configuration file, in YAML, whose keys are the names of the options:
         api_url, user, access_token and so on; for several services there are
         profiles, see `waas config`;
      4. `waas login`: its address if none of these names one, and its credentials
         for that address if none of these gives a user or a token;
      5. if none of these gives anything: a service that you run in local mode on
         this machine.

    Other users of the machine can see options in its list of processes, --user and --access_token only for a moment.
    So give passwords and tokens in the environment or in the file, or sign in with `waas login`.

    Results are printed on stdout, everything else on stderr. With `-o json` stdout holds JSON or nothing, and an error
    is printed as an object on stderr; the same with `-o jsonl`, which has a line for each item of a list, and with
    `-o yaml`. Outside a terminal, tables have no headings, one line for each row, and tabs
    between the cells.

    Exit codes:
      0    The command has done its work. An execution that it followed SUCCEEDED.
      1    The service, a site or the network failed, or the account that was checked
           can't be used.
      2    The command line, the configuration or an input is wrong.
      3    The execution that was followed FAILED.
      4    The execution that was followed was CANCELLED.
      5    There is no such workflow, execution, site, file, key or token.
      6    You are not signed in, or not allowed to do this.
      130  You pressed Ctrl-C. Executions go on.
    """,
)
click.version_option(__version__, prog_name="waas", message="%(prog)s %(version)s")(cli)


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the command and ends the process with its exit code.

    Args:
        arguments: the words after `waas`; by default those of the process.
    """
    given = sys.argv[1:] if arguments is None else list(arguments)
    state = State()
    printing.never_fail_to_encode()
    try:
        result = cli.main(given, prog_name="waas", complete_var="_WAAS_COMPLETE", standalone_mode=False, obj=state)
        for name in sorted(state.unused & state.given.keys()):
            state.note(f"WARNING: --{name} has changed nothing: the command printed no list.")
    except (click.ClickException, click.Abort, OSError, *MALFORMED) as failure:
        error = _in_words(failure, state)
        printing.error(error, as_json=_wants_json(state, given))
        result = error.code
    sys.exit(result if isinstance(result, int) else ExitCode.OK)


def _in_words(failure: Exception, state: State) -> WaasError:
    """The error to show for an exception; called while it is handled."""
    match failure:
        case WaasError():
            return failure
        case click.UsageError():
            where = failure.ctx.command_path if failure.ctx else "waas"
            return UsageError(failure.format_message(), hint=f"For the right form, run: {where} --help")
        case click.ClickException():
            return WaasError(failure.format_message())
        case click.Abort():
            return Interrupted("The command was interrupted.")
        case OSError():
            return WaasError(f"The command can't go on: {failure.strerror or failure}.")
    return _unexpected(state)


def _unexpected(state: State) -> WaasError:
    """The error to show for an answer of another form than the contract promises."""
    debug, hint = False, "To see what came, add --debug before the command."
    try:
        debug = state.config.debug
        hint = f"Check that {state.config.api_url} is the address of the service. {hint}"
    except WaasError:
        pass  # without a configuration the rest of the sentence holds
    if debug:
        state.note(traceback.format_exc())
    return WaasError("The service's answer doesn't have the expected form.", hint=None if debug else hint)


def _wants_json(state: State, given: Sequence[str]) -> bool:
    """Whether errors are to be JSON, also when the command line or the configuration could not be read."""
    asked = re.findall(r"(?:^|\s)(?:-o|--output)[\s=]*(\S+)", " ".join(given))
    if asked:
        return asked[-1] in FORMS and asked[-1] != "text"
    try:
        return state.wants_json
    except WaasError:
        return os.environ.get("HW_OUTPUT", "text") in FORMS[1:]
