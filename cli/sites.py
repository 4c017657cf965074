"""Sites, the user's accounts there, and how the check of an account is shown."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .api import answers, calls
from .errors import ExitCode, NotFound, Unreachable, WaasError
from .state import State
from .text import one_line, show_time

if TYPE_CHECKING:
    from .client import Client


def find(client: Client, site_id: str) -> answers.Site:
    """A site, with the user's account there.

    Raises:
        NotFound: there is none, or none that the user may use.
        WaasError: the service is too old to have sites.
    """
    try:
        return client.call(calls.get_site(site_id))
    except NotFound as failure:
        raise _or_too_old(failure) from None


def all_sites(client: Client) -> list[answers.Site]:
    """The sites that the user may use; raises what `find` does."""
    try:
        return client.call(calls.list_sites())["sites"]
    except NotFound as failure:
        raise _or_too_old(failure) from None


def _or_too_old(failure: NotFound) -> WaasError:
    if failure.problem is not None:
        return failure
    return WaasError("The service is too old to have sites: it runs everything where its operators decided.")


def find_open(state: State, site_id: str) -> None:
    """Finds out, before anything is sent, whether executions can be started on a site; raises what `find` does.

    Raises:
        Unreachable: it is in maintenance.
    """
    site = find(state.client, site_id)
    if site.get("state") == "maintenance":
        said = one_line(site.get("maintenance")).rstrip(".") or "its operators don't say until when"
        raise Unreachable(f"{site_id} is in maintenance, so nothing can be started there: {said}.")
    if site.get("state") == "silent":
        since = f" since {show_time(site['silent_since'])}" if site.get("silent_since") else ""
        state.note(f"{site_id} hasn't answered{since}. What you start there begins when it answers again.")


def check(client: Client, site_id: str) -> answers.AccountCheck:
    """Lets the service try the user's account on a site.

    Raises:
        NotFound: there is no such site, or the user has no account there.
    """
    try:
        return client.call(calls.check_site_account(site_id))
    except NotFound as failure:
        raise without_account(failure, site_id) from None


def without_account(failure: NotFound, site_id: str) -> WaasError:
    """What to raise where the service doesn't find a site, or the user's account there."""
    wrong = _or_too_old(failure)
    if failure.problem is not None and "no account" in str(failure):
        wrong.hint = (
            f"To connect your account: waas sites connect {site_id} --user NAME\nTo see the sites: waas sites list"
        )
    return wrong


def show_check(state: State, checked: answers.AccountCheck) -> ExitCode:
    """Shows a check, point by point: the points as a result, what to do about them beside it.

    Returns:
        the exit code that says whether the account can be used.
    """
    points = checked["points"]
    state.table(("Point", "Result", "Found"), [(point["title"], point["status"], point["detail"]) for point in points])
    for point in points:
        if point.get("advice"):
            state.note(f"{point['title']} ({point['status']}): {point['advice']}")
    where = f"on {checked['site']}"
    user = one_line(checked.get("account"))
    if checked["usable"]:
        state.note(f"SUCCESS: Workflows can run {where} as {user}.")
    else:
        state.note(f"ERROR: Workflows can't run {where} as {user} until what failed is put right.")
    return usable(checked)


def usable(checked: answers.AccountCheck) -> ExitCode:
    """The exit code that says whether an account can be used."""
    return ExitCode.OK if checked["usable"] else ExitCode.ERROR
