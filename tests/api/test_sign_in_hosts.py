"""A service that browsers reach by several names: cookies come back to one of them only."""

from __future__ import annotations

import pytest
import requests

from tests.signing_in import PUBLIC, Command, Service, query
from tests.simulators.oidc import OIDCSimulator

pytest_plugins = ["tests.signing_in_fixtures"]


def get(sso: Service, host: str, path: str, **parameters: str) -> requests.Response:
    """Asks as a browser does that knows the service by some name."""
    headers = {"Host": host, "Accept": "text/html"}
    return requests.get(sso.url + path, parameters, headers=headers, allow_redirects=False, timeout=60)


def test_another_host_leads_to_the_one_that_browsers_come_back_to(sso: Service) -> None:
    parameters = Command().parameters
    answer = get(sso, "node7:9090", "/auth/login", **parameters)
    location = answer.headers["Location"]
    assert answer.status_code == 303
    assert location.startswith(f"{PUBLIC}/auth/login?")
    assert query(location) == {**parameters, "moved": "true"}
    assert "Set-Cookie" not in answer.headers

    location = get(sso, "127.0.0.1", "/auth/activate", user_code="bcdf ghjk").headers["Location"]
    assert location.startswith(f"{PUBLIC}/auth/activate?")
    assert query(location) == {"user_code": "bcdf ghjk", "moved": "true"}


@pytest.mark.parametrize("host", ["waas.example.org", "waas.example.org:443", "WAAS.example.org:8443"])
def test_its_own_host_by_any_port(sso: Service, idp: OIDCSimulator, host: str) -> None:
    assert get(sso, host, "/auth/login").headers["Location"].startswith(f"{idp.issuer}/authorize?")
    assert get(sso, host, "/auth/activate").status_code == 200


def test_a_proxy_that_hides_the_host(sso: Service, idp: OIDCSimulator) -> None:
    first = get(sso, "backend", "/auth/login")
    second = get(sso, "backend", "/auth/login", **query(first.headers["Location"]))
    assert second.headers["Location"].startswith(f"{idp.issuer}/authorize?")
    assert get(sso, "backend", "/auth/activate", moved="true").status_code == 200
