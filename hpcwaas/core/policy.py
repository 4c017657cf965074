"""Who may do what. The one place that decides."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import replace
from datetime import datetime
from enum import Enum

from hpcwaas.core.models import Level, Workflow
from hpcwaas.core.people import Demand, Principal
from hpcwaas.core.site_models import LOGIN, Site
from hpcwaas.errors import Forbidden, StepUp

SCOPES = ("workflows:read", "executions:read", "executions:write", "keys:write", "admin")
"""What a personal access token may be good for. Without `admin` an operator's token is one of a plain user."""

EVERYBODY = "*"
"""In place of a user: whoever's."""


class Act(Enum):
    """What changes an execution that was started, and may be wanted by somebody other than its owner."""

    CANCEL = "cancel"
    RESUME = "resume"
    CLOSE = "close"
    SHARE = "share"
    DELETE = "delete"


_BY_OPERATORS = frozenset({Act.CANCEL, Act.CLOSE, Act.SHARE, Act.DELETE})


def is_operator(principal: Principal) -> bool:
    """Whether the user is an operator by these credentials."""
    return might_be_operator(principal) and principal.short_of is None


def might_be_operator(principal: Principal) -> bool:
    """Whether the user is an operator by these credentials, or would be by a better proof of who they are."""
    return "operator" in principal.roles and (principal.scopes is None or "admin" in principal.scopes)


def prove(principal: Principal, demand: Demand, acts: Collection[str], act: str | None, now: datetime) -> Principal:
    """Holds the proof of who somebody is against what is demanded for some acts.

    Args:
        acts: that demand it: `keys`, `tokens`, `operator`.
        act: what the operation is of these; None when it is none.

    Returns:
        them; one who falls short is no operator where operators' acts demand it.

    Raises:
        StepUp: the operation demands more.
    """
    if not demand or demand.met_by(principal.proof, now):
        return principal
    if act in acts:
        raise StepUp(demand.acr_values, demand.max_age)
    return replace(principal, short_of=demand) if "operator" in acts and might_be_operator(principal) else principal


def reach(principal: Principal) -> str | None:
    """Whose objects the user finds by their ids: the owner, or None for everybody's.

    What is out of reach is asked of the store in the same query as what doesn't exist, and so takes the same time.
    """
    return None if is_operator(principal) else principal.subject


def whose(principal: Principal, owner: str | None) -> str | None:
    """Whose objects a list shows.

    Args:
        owner: what the user asks for; None for their own.

    Returns:
        the owner, or None for everybody's.

    Raises:
        Forbidden: a plain user asks for somebody else's.
    """
    if owner is None or owner == principal.subject:
        return principal.subject
    if not is_operator(principal):
        raise Forbidden("Only operators can list what belongs to other users.")
    return None if owner == EVERYBODY else owner


def require_owner(principal: Principal, owner: str) -> None:
    """Refuses that somebody changes what they only see.

    Raises:
        Forbidden: it is somebody else's.
    """
    if principal.subject != owner:
        raise Forbidden("Only its owner can change this. An operator can look at it.")


def require_act(principal: Principal, act: Act, owner: str) -> None:
    """Refuses that somebody who sees an execution does what only others may.

    Raises:
        Forbidden: they may not.
    """
    if principal.subject == owner or (is_operator(principal) and act in _BY_OPERATORS):
        return
    if is_operator(principal):
        raise Forbidden(f"Only its owner can {act.value} this execution.")
    raise Forbidden("This execution is shared with you read-only.")


def may_run(principal: Principal, workflow: Workflow) -> bool:
    """Whether the user sees the workflow and may execute it."""
    return _is_among(principal, workflow.authorized_users, workflow.authorized_groups)


def readable(principal: Principal, levels: Level, guarded: Level) -> Level:
    """Of these levels of log entries those that the user may read.

    Args:
        guarded: those that their engine keeps for operators.
    """
    return levels if is_operator(principal) else levels & ~guarded


def may_use(principal: Principal, site: Site) -> bool:
    """Whether the user sees the site and may run something there."""
    return _is_among(principal, site.users, site.groups)


def vouched_login(principal: Principal, site: Site) -> str | None:
    """The user's login name on a keyless site, for which the operators vouch; None when they don't."""
    login = principal.subject if site.logins is None else site.logins.get(principal.subject)
    return login if login is not None and LOGIN.fullmatch(login) and login != "root" else None


def _is_among(principal: Principal, users: Collection[str] | None, groups: Collection[str] | None) -> bool:
    if users is None and groups is None:
        return True
    return principal.subject in (users or ()) or not principal.groups.isdisjoint(groups or ())


def require(principal: Principal, scope: str) -> None:
    """Refuses credentials that aren't good enough for an operation.

    Args:
        scope: one of `SCOPES`; `any` for whoever has signed in; `own` for the user's own credentials, no access token.

    Raises:
        Forbidden: they aren't.
    """
    if principal.scopes is None or scope == "any" or scope in principal.scopes:
        return
    if scope == "own":
        raise Forbidden("A personal access token can't do this: sign in yourself.")
    raise Forbidden(f"This access token lacks the scope `{scope}`; it has {', '.join(sorted(principal.scopes))}.")


def roles(
    operators: Collection[str], operator_groups: Collection[str]
) -> Callable[[str, frozenset[str]], frozenset[str]]:
    """Makes the function that gives the roles of a subject with these groups.

    Args:
        operators: subjects.
        operator_groups: groups whose members are operators.
    """

    def of(subject: str, groups: frozenset[str]) -> frozenset[str]:
        operator = subject in operators or not groups.isdisjoint(operator_groups)
        return frozenset({"user", "operator"} if operator else {"user"})

    return of
