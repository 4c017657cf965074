"""Who may do what."""

from __future__ import annotations

from collections.abc import Collection

import pytest

from hpcwaas.core import acts, policy
from hpcwaas.core.models import Workflow
from hpcwaas.core.people import Principal
from hpcwaas.core.policy import Act
from hpcwaas.errors import Forbidden

ALICE = Principal("alice", "Alice")
CAROL = Principal("carol", "Carol", groups=frozenset({"climate", "physics"}))
OPERATOR = frozenset({"user", "operator"})
ROOT = Principal("root", "Root", OPERATOR)
ROOTS_SCRIPT = Principal("root", "Root", OPERATOR, scopes=frozenset({"executions:read", "executions:write"}))
ROOTS_TOOL = Principal("root", "Root", OPERATOR, scopes=frozenset({"executions:read", "admin"}))


def workflow(users: Collection[str] | None, groups: Collection[str] | None) -> Workflow:
    return Workflow(
        "w",
        "w",
        "cwl",
        "w",
        "local",
        "local",
        authorized_users=None if users is None else frozenset(users),
        authorized_groups=None if groups is None else frozenset(groups),
    )


@pytest.mark.parametrize(
    ("users", "groups", "allowed"),
    [
        (None, None, {"alice", "carol"}),
        (["alice"], None, {"alice"}),
        (None, ["climate"], {"carol"}),
        (["alice"], ["climate"], {"alice", "carol"}),
        (["carol"], ["biology"], {"carol"}),
        ([], None, set()),
        (None, [], set()),
        ([], ["physics"], {"carol"}),
        (["alice"], [], {"alice"}),
        (["climate"], ["alice"], set()),  # a user isn't a group
    ],
)
def test_a_workflow_is_for_the_users_and_groups_that_it_names(
    users: list[str] | None, groups: list[str] | None, allowed: set[str]
) -> None:
    found = {each.subject for each in (ALICE, CAROL, ROOT) if policy.may_run(each, workflow(users, groups))}
    assert found - {"root"} == allowed
    assert ("root" in found) == (users is None and groups is None)  # operators see executions, not other workflows


def test_operators() -> None:
    assert [policy.is_operator(each) for each in (ALICE, ROOT, ROOTS_SCRIPT, ROOTS_TOOL)] == [False, True, False, True]
    assert not policy.is_operator(Principal("alice", "Alice", scopes=frozenset({"admin"})))


@pytest.mark.parametrize(
    ("principal", "reach"), [(ALICE, "alice"), (ROOT, None), (ROOTS_SCRIPT, "root"), (ROOTS_TOOL, None)]
)
def test_reach(principal: Principal, reach: str | None) -> None:
    assert policy.reach(principal) == reach


def test_whose() -> None:
    for principal in (ALICE, ROOT, ROOTS_SCRIPT):
        assert policy.whose(principal, None) == policy.whose(principal, principal.subject) == principal.subject
    assert (policy.whose(ROOT, "alice"), policy.whose(ROOT, "*")) == ("alice", None)
    for principal in (ALICE, ROOTS_SCRIPT):
        for owner in ("bob", "*", ""):
            with pytest.raises(Forbidden, match="Only operators"):
                policy.whose(principal, owner)


@pytest.mark.parametrize(
    ("principal", "allowed"),
    [(ALICE, {*Act}), (CAROL, set()), (ROOT, {Act.CANCEL, Act.CLOSE, Act.SHARE, Act.DELETE}), (ROOTS_SCRIPT, set())],
)
def test_acts_on_an_execution_of_alice(principal: Principal, allowed: set[Act]) -> None:
    for act in Act:
        if act in allowed:
            policy.require_act(principal, act, "alice")
        else:
            with pytest.raises(Forbidden, match=r"Only its owner can resume|shared with you read-only"):
                policy.require_act(principal, act, "alice")


def test_only_the_owner_changes_files_and_keys() -> None:
    policy.require_owner(ALICE, "alice")
    with pytest.raises(Forbidden, match="Only its owner"):
        policy.require_owner(ROOT, "alice")


def test_scopes() -> None:
    for scope in (*policy.SCOPES, "any", "own"):
        policy.require(ALICE, scope)
    policy.require(ROOTS_SCRIPT, "executions:read")
    policy.require(ROOTS_SCRIPT, "any")
    with pytest.raises(Forbidden, match="sign in yourself"):
        policy.require(ROOTS_SCRIPT, "own")
    with pytest.raises(Forbidden, match=r"lacks the scope `keys:write`; it has executions:read, executions:write\."):
        policy.require(ROOTS_SCRIPT, "keys:write")


def test_roles() -> None:
    roles = policy.roles(["root"], ["staff"])
    assert roles("root", frozenset()) == roles("carol", frozenset({"climate", "staff"})) == OPERATOR
    assert roles("staff", frozenset({"root"})) == {"user"}


def test_notes_outside_a_request_are_nothing() -> None:
    acts.note(owner="alice")
