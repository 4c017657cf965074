"""The rights that the provider tells of: what it told last counts."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.signing_in import Service, encoded, sso_service
from tests.simulators.oidc import OIDCSimulator


@pytest.fixture
def idp() -> Iterator[OIDCSimulator]:
    with OIDCSimulator(jwt=True) as found:
        yield found


@pytest.fixture
def sso(idp: OIDCSimulator, tmp_path: Path) -> Iterator[Service]:
    with sso_service(idp, tmp_path, operator_groups=["ops"]) as found:
        yield found


def token(idp: OIDCSimulator, age: float | None, *groups: str) -> str:
    """A signed token that was made some seconds ago; None hides when."""
    idp.access_claims = {"iat": None if age is None else time.time() - age}
    return idp.issue({"sub": "alice", "name": "Alice", "groups": list(groups)})


def rights(sso: Service, bearer: str) -> tuple[list[str], bool]:
    """The groups that a token stands for, and whether it is one of an operator."""
    user = sso.whoami(bearer).json()
    return user["groups"], "operator" in user["roles"]


def record(sso: Service) -> dict[str, Any]:
    (row,) = [row for row in sso.rows("users") if row["subject"] == "alice"]
    return row


@pytest.mark.parametrize("age", [600.0, None])
def test_an_older_token_brings_no_rights_back(sso: Service, idp: OIDCSimulator, age: float | None) -> None:
    old = token(idp, age, "ops")
    assert rights(sso, old) == (["ops"], True)
    session = sso.sign_in()["access_token"]  # by now she is in the group `hpc` only
    known = record(sso)
    for bearer in (old, encoded(old), token(idp, age, "ops", "more")):
        assert rights(sso, bearer) == (["hpc"], False)
    assert rights(sso, session) == (["hpc"], False)
    assert record(sso) == known


def test_a_newer_token_counts(sso: Service, idp: OIDCSimulator) -> None:
    old, new = token(idp, 600, "ops"), token(idp, 300)
    assert [rights(sso, bearer) for bearer in (old, new, encoded(old))] == [(["ops"], True), ([], False), ([], False)]


def test_the_provider_has_a_clock_of_its_own(sso: Service, idp: OIDCSimulator) -> None:
    old = token(idp, -40, "ops")  # its clock is ahead
    assert rights(sso, old) == (["ops"], True)
    idp.id_claims = {"iat": int(time.time()) + 45}
    sso.sign_in()
    assert rights(sso, encoded(old)) == (["hpc"], False)


def test_a_token_that_tells_no_groups_makes_none_the_latest(sso: Service, idp: OIDCSimulator) -> None:
    idp.fault("userinfo", "401")
    old, new = token(idp, 600, "ops"), token(idp, 300, "hpc")
    idp.slim = True
    bare = token(idp, 0)
    assert [rights(sso, bearer)[0] for bearer in (bare, old, encoded(bare), new)] == [[], ["ops"], ["ops"], ["hpc"]]
