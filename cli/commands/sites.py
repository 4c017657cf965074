"""`waas sites`."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Any

import click

from .. import printing, sites
from ..api import answers, calls
from ..base import Group
from ..errors import ExitCode, Interrupted, NotFound, Unauthorized, UsageError, WaasError
from ..id_completion import complete_site, complete_ssh_key
from ..shaping import Columns
from ..state import State, at_terminal, pass_state
from ..text import compact, one_line, show_time
from ..urls import path

command = Group(
    "sites",
    aliases=("site",),
    help="""See the machines that workflows run on, and connect your accounts there.

    A site is the service's own machine, `local`, or the login node of a supercomputer. Workflows run there under your
    own account, which the service opens by an SSH key of yours.

    Examples:
      waas sites list
      waas sites connect mare --user u1234
      waas sites check mare
      waas workflows trigger word-statistics --site mare -i texts=@notes.txt --follow
    """,
)

_one = click.argument("site", shell_complete=complete_site)


@command.command("list", aliases=("ls", "l"))
@pass_state
def list_sites(state: State) -> None:
    """List the sites that you may use, with your account on each.

    The state of a site is `available`, `maintenance` when nothing new can be started there, or `silent` when it
    doesn't answer. The last column says whether your account could be used when it was checked last.

    Examples:
      waas sites list
      waas sites list -o json | jq -r '.[] | select(.account).id'
    """
    state.show_list(sites.all_sites(state.client), _COLUMNS, empty="No sites found.")


def _user(site: Mapping[str, Any]) -> str:
    return str(account["user"]) if (account := site.get("account")) else _without_account(site)


def _without_account(site: Mapping[str, Any]) -> str:
    return "none" if site.get("accounts", True) else "not needed"


def _usable(site: Mapping[str, Any]) -> str:
    account = site.get("account")
    if not account:
        return ""
    return {None: "not checked", True: "usable", False: "not usable"}[account.get("usable")]


_COLUMNS: Columns = {
    "Site ID": "id",
    "Title": "title",
    "State": "state",
    "Scheduler": "scheduler",
    "Account": _user,
    "Check": _usable,
}


@command.command("show", aliases=("describe", "info", "get"))
@_one
@pass_state
def show(state: State, site: str) -> None:
    """Show a site: what it is, whether it can be used now, and your account there.

    Example:
      waas sites show mare
    """
    found = sites.find(state.client, site)
    if state.prints_json(found):
        return
    account: Mapping[str, Any] = found.get("account") or {}
    facts = {
        "Site": found["id"],
        "Title": found.get("title"),
        "About": found.get("description"),
        "Host": found.get("host"),
        "Scheduler": found.get("scheduler"),
        "State": found.get("state"),
        "Because": found.get("maintenance"),
        "Silent": found.get("silent_since") and f"since {show_time(found['silent_since'])}",
        "Account": _user(found),
        "Login": found.get("login"),
        "SSH key": account.get("ssh_key") or (found.get("keyless") and "not needed: certificates are signed"),
        "Check": " ".join(filter(None, (_usable(found), show_time(account.get("checked_at"))))),
    }
    for name, value in facts.items():
        if value:
            printing.line(f"{name + ':':<11}{compact(value)}")


@command.command("connect")
@_one
@click.option(
    "--user",
    "login_name",
    metavar="NAME",
    help="Your login name there. [default: that of your account so far, or the one that the site knows you by]",
)
@click.option(
    "--key",
    "key_id",
    metavar="KEY_ID",
    shell_complete=complete_ssh_key,
    help="The SSH key of yours that opens the account. [default: the one that opened it so far, or a new one]",
)
@pass_state
def connect(state: State, site: str, login_name: str | None, key_id: str | None) -> ExitCode:
    """Connect your account on a site, so that workflows can run there as you.

    The key's line for authorized_keys is printed on stdout, and on stderr how to install it. At a terminal the command
    waits until you have done so, and then checks the account; elsewhere it checks at once. With `-o json` one object
    is printed: the account, the line, and the check.

    Run it again to change the login name or the key: what you don't name stays. Where a site takes certificates, the
    operators say what your login name is, and no key is needed.

    The exit code is 0 if workflows can run there now, and 1 if they can't yet.

    Examples:
      waas sites connect mare --user u1234
      waas sites connect mare --key KEY_ID
      waas sites connect mare --user u1234 > line     # add it to authorized_keys, then: waas sites check mare
    """
    found = sites.find(state.client, site)
    if not found.get("accounts", True):
        raise UsageError(f"Nobody needs an account on {site}: start workflows there with --site {site}.")
    before: Mapping[str, Any] = found.get("account") or {}
    if found.get("keyless"):
        if key_id is not None:
            raise UsageError(f"{site} takes certificates, which the service signs: leave out --key.")
        wanted: answers.NewAccount = {"user": login_name} if login_name else {}
        account, line = state.client.call(calls.put_site_account(site, wanted)), None
    else:
        user = login_name or before.get("user")
        if not user:
            raise UsageError(f"Give your login name on {site}: --user NAME")
        key = _present_key(state, before, key_id)
        if key:
            account = state.client.call(calls.put_site_account(site, {"user": user, "ssh_key": key}))
        else:
            account = _put_with_new_key(state, site, user)
        line = _authorized_keys_line(state, str(account["ssh_key"]))
    if not state.wants_json:
        _tell(state, found, account, line)
        changed = any(before.get(member) != account.get(member) for member in ("user", "ssh_key"))
        if line is not None and changed and at_terminal():
            _wait(site)
    checked = sites.check(state.client, site)
    if state.prints_json({"account": account, "authorized_keys": line, "check": checked}):
        return sites.usable(checked)
    return sites.show_check(state, checked)


def _present_key(state: State, account: Mapping[str, Any], key_id: str | None) -> str | None:
    """The named key, or the one that has opened the account so far; None when a new one is needed."""
    key = key_id or account.get("ssh_key")
    if key is None:
        return None
    try:
        state.client.call(calls.get_ssh_key(key))
    except NotFound:
        if key_id is not None:
            raise
        state.note(f"The key {key}, which opened the account so far, has been deleted.")
        return None
    return str(key)


def _put_with_new_key(state: State, site: str, user: str) -> answers.Account:
    """Makes a key and stores the account with it. When the service refuses the account, the key is deleted again."""
    key = state.client.call(calls.create_ssh_key({"name": site}))
    for warning in key.get("warnings") or ():
        state.note(f"WARNING: {warning}")
    try:
        account = state.client.call(calls.put_site_account(site, {"user": user, "ssh_key": key["id"]}))
    except (UsageError, NotFound, Unauthorized):
        state.client.call(calls.delete_ssh_key(key["id"]))
        raise
    except WaasError:
        state.note(f"The key {key['id']} was made for it. To use it when you try again: --key {key['id']}")
        raise
    state.note(f"Made the SSH key {key['id']}, named {site}. Its private half stays in the service's vault.")
    return account


def _authorized_keys_line(state: State, key_id: str) -> str:
    """The key's line, which allows running commands and moving files, but no terminal and no forwarding."""
    answer = state.client.request(
        "GET", path("ssh_keys", key_id), params={"restrict": "true"}, headers={"Accept": "text/plain"}
    )
    return compact(answer.text)


def _tell(state: State, site: Mapping[str, Any], account: Mapping[str, Any], line: str | None) -> None:
    """Prints the line for authorized_keys, and says how to install it."""
    user = one_line(account["user"])
    if line is None:
        state.note(f"The service signs certificates for {user} on {site['id']}: there is no key to install.")
        return
    host, _, port = str(site.get("host") or "").rpartition(":")
    there = shlex.quote(f"{user}@{host.strip('[]')}")
    ssh = f"ssh {there}" if port == "22" else f"ssh -p {port} {there}"
    prepare, append, protect = "mkdir -p -m 700 ~/.ssh", ">> ~/.ssh/authorized_keys", "chmod 600 ~/.ssh/authorized_keys"
    show = f"waas ssh_keys show {account['ssh_key']} --restrict"
    state.note(f"This line lets the service into the account {user} on {site['id']} ({one_line(site.get('host'))}):")
    printing.line(line)
    # In the words that every shell knows, and behind a last line that may lack its end.
    state.note(
        "Add it to the file ~/.ssh/authorized_keys there. When you are signed in there:\n"
        f"  {prepare} && printf '\\n%s\\n' {shlex.quote(line)} {append} && {protect}\n"
        "Or from here, if you can sign in there by ssh:\n"
        f"  printf '\\n%s\\n' \"$({show})\" | {ssh} '{prepare} && cat {append} && {protect}'"
    )


def _wait(site: str) -> None:
    """Waits until the user says that the line is installed."""
    try:
        click.prompt("Press Enter when it is there", default="", show_default=False, prompt_suffix=". ", err=True)
    except click.Abort:
        raise Interrupted(
            "Your account isn't checked yet.", hint=f"To check it when the line is there: waas sites check {site}"
        ) from None


@command.command("check", aliases=("test",))
@_one
@pass_state
def check(state: State, site: str) -> ExitCode:
    """Check your account on a site: everything that an execution there needs, point by point.

    The check takes seconds and costs no core-hours. Each point is `ok`, a `warning`, `failed`, or `skipped` because an
    earlier one failed; what to do is said on stderr. The exit code is 0 if workflows can run there, and 1 if they
    can't.

    Examples:
      waas sites check mare
      waas sites check mare -o json | jq -r '.points[] | select(.status == "failed") | .advice'
    """
    checked = sites.check(state.client, site)
    if state.prints_json(checked):
        return sites.usable(checked)
    return sites.show_check(state, checked)


@command.command("disconnect")
@_one
@pass_state
def disconnect(state: State, site: str) -> None:
    """Forget your account on a site. Executions that run there go on.

    The SSH key stays, and so does its line in authorized_keys.

    Example:
      waas sites disconnect mare
    """
    try:
        account = state.client.call(calls.get_site_account(site))
        state.client.call(calls.delete_site_account(site))
    except NotFound as failure:
        raise sites.without_account(failure, site) from None
    state.line(f'SUCCESS: Disconnected the account "{one_line(account["user"])}" from "{site}"')
    key = account.get("ssh_key")
    if key and not state.wants_json:
        state.note(
            f"Remove the key's line from ~/.ssh/authorized_keys there. To delete the key: waas ssh_keys delete {key}"
        )
