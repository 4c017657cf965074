"""Discovery, and an identity provider that is down, slow, or talks nonsense."""

from __future__ import annotations

import socket
import threading
import time
from typing import Any

import pytest

import hpcwaas.identity.oidc.party
from hpcwaas.core.models import Check
from hpcwaas.errors import ServiceError, Unavailable, UpstreamFailed, UpstreamTimeout
from hpcwaas.identity.oidc.upstream import Upstream
from tests.relying import NONCE, VERIFIER, Relying, relying
from tests.simulators.oidc import OIDCSimulator
from tests.waiting import until

HOUR = 3600


def url(party: Relying) -> str:
    return party.party.provider.authorization_url("state", NONCE, VERIFIER)


def check(party: Relying) -> Check:
    [found] = party.party.checks()
    return found


# Discovery


def test_asked_when_needed_and_kept_for_an_hour(idp: OIDCSimulator, party: Relying) -> None:
    assert not idp.calls
    for _ in range(3):
        url(party)
    assert dict(idp.calls) == {"discovery": 1}
    party.clock.ahead = HOUR + 10
    idp.metadata = {"authorization_endpoint": f"{idp.issuer}/another"}
    until(lambda: "/another" in url(party))
    assert idp.calls["discovery"] == 2


def test_an_issuer_with_a_path_and_a_slash(idp: OIDCSimulator) -> None:
    issuer = f"{idp.issuer}/realms/hpc/"
    paths = {**idp.paths, "/realms/hpc/.well-known/openid-configuration": "discovery"}
    idp.paths = paths
    idp.metadata = {"issuer": issuer}
    idp.id_claims = {"iss": issuer}
    with relying(idp, issuer=issuer) as party:
        assert party.sign_in().subject == "alice"


@pytest.mark.parametrize("issuer", ["https://evil.example.org", None, 7, "{}/", "{}/x"])
def test_issuer_must_match_exactly(idp: OIDCSimulator, party: Relying, issuer: Any) -> None:
    idp.metadata = {"issuer": issuer.format(idp.issuer) if isinstance(issuer, str) else issuer}
    with pytest.raises(Unavailable, match="names itself otherwise"):
        url(party)


@pytest.mark.parametrize("name", ["authorization_endpoint", "token_endpoint", "jwks_uri"])
@pytest.mark.parametrize(
    "value",
    [
        *(None, 7, "", "token", "//idp.example.org/token", "ftp://idp.example.org", "https://", "https://[::1/x"),
        *("http://idp.example.org/token", "https://a:b@idp.example.org/", "https://idp.example.org/#x"),
        "https://idp.example.org/\nx",
    ],
)
def test_endpoints_must_be_secure(idp: OIDCSimulator, party: Relying, name: str, value: object) -> None:
    idp.metadata = {name: value}
    with pytest.raises(Unavailable, match=name):
        url(party)


@pytest.mark.parametrize("name", ["userinfo_endpoint", "introspection_endpoint"])
def test_optional_endpoints_must_be_secure_too(idp: OIDCSimulator, party: Relying, name: str) -> None:
    idp.metadata = {name: "http://idp.example.org/x"}
    with pytest.raises(Unavailable, match=name):
        url(party)
    idp.metadata = {name: None}
    party.clock.ahead = 6
    url(party)


# Faults


@pytest.mark.parametrize(
    ("fault", "error", "wait"),
    [
        ("500", UpstreamFailed, None),
        ("502", UpstreamFailed, None),
        ("404", UpstreamFailed, None),
        ("418", UpstreamFailed, None),
        ("html", UpstreamFailed, None),
        ("truncated", UpstreamFailed, None),
        ("huge", UpstreamFailed, None),
        ("list", UpstreamFailed, None),
        ("redirect http://127.0.0.1:1/token", UpstreamFailed, None),
        ("429", Unavailable, 5),
        ("429 30", Unavailable, 30),
        ("503 100000", Unavailable, 300),
        ("503 Fri, 31 Dec 1999 23:59:59 GMT", Unavailable, 1),
        ("503 soon", Unavailable, 5),
        ("drop", Unavailable, 5),
        ("hold", UpstreamTimeout, None),
    ],
)
def test_faults_of_the_token_endpoint(
    idp: OIDCSimulator, fault: str, error: type[ServiceError], wait: int | None
) -> None:
    idp.fault("token", fault)
    with relying(idp, patience=2 if fault == "hold" else 30) as party, pytest.raises(error) as caught:
        party.sign_in()
    assert type(caught.value) is error
    assert getattr(caught.value, "retry_after", None) == wait
    assert "upstream-secret" not in caught.value.detail
    assert idp.calls["token"] == 1  # a code is good once: it isn't sent again


@pytest.mark.parametrize("endpoint", ["discovery", "jwks", "userinfo"])
@pytest.mark.parametrize("fault", ["500", "html", "redirect http://127.0.0.1:1/", "429 9", "huge"])
def test_faults_elsewhere(idp: OIDCSimulator, party: Relying, endpoint: str, fault: str) -> None:
    idp.slim = True
    idp.fault(endpoint, fault)
    with pytest.raises((Unavailable, UpstreamFailed)) as caught:
        party.sign_in()
    assert "upstream-secret" not in caught.value.detail
    idp.heal()
    party.clock.ahead = 10
    assert party.sign_in().subject == "alice"


def test_no_redirect_is_followed(idp: OIDCSimulator, party: Relying) -> None:
    idp.slim = True
    with OIDCSimulator() as other:
        for endpoint in ("token", "jwks", "userinfo"):
            idp.fault(endpoint, f"redirect {other.url}/{endpoint}")
            with pytest.raises((Unavailable, UpstreamFailed)):
                party.sign_in()
            idp.heal()
            party.clock.ahead += 10
        assert not other.calls


def test_a_connection_that_broke_while_it_was_idle(idp: OIDCSimulator, party: Relying) -> None:
    idp.slim = True
    idp.fault("discovery", "drop", times=1)
    idp.fault("userinfo", "drop", times=1)
    assert party.sign_in().subject == "alice"


def test_down_and_up_again(idp: OIDCSimulator) -> None:
    idp.stop()
    with relying(idp) as party:
        for _ in range(5):
            with pytest.raises(Unavailable, match="can't be reached"):
                url(party)
        idp.start()
        with pytest.raises(Unavailable):  # it isn't tried again for some seconds
            url(party)
        party.clock.ahead = 6
        assert party.sign_in().subject == "alice"


@pytest.mark.parametrize("pace", [0.05, 0.4])
def test_a_body_that_drips(pace: float) -> None:
    """Every byte comes in time, the answer doesn't."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        ended = threading.Event()

        def drip() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 9999\r\n\r\n")
                while not ended.wait(pace):
                    try:
                        connection.sendall(b" ")
                    except OSError:
                        return

        thread = threading.Thread(target=drip)
        thread.start()
        upstream = Upstream(None, timeouts=(0.5, 0.5))
        started = time.monotonic()
        try:
            with pytest.raises(UpstreamTimeout):
                upstream.get(f"http://127.0.0.1:{listener.getsockname()[1]}/")
        finally:
            ended.set()
            thread.join()
            upstream.close()
        assert time.monotonic() - started < 60


def test_cookies_of_one_call_dont_come_to_another(idp: OIDCSimulator, party: Relying) -> None:
    party.sign_in()
    assert all("Cookie" not in request.headers for request in idp.requests)


def test_netrc_replaces_no_token(
    idp: OIDCSimulator, party: Relying, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login intruder password intruder\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    idp.slim = True
    assert party.sign_in().subject == "alice"
    sent = {request.endpoint: request.headers.get("Authorization", "") for request in idp.requests}
    assert sent["discovery"] == sent["jwks"] == ""
    assert sent["userinfo"].startswith("Bearer ")


# Health


def test_healthy(idp: OIDCSimulator, party: Relying) -> None:
    assert (check(party).name, check(party).status, check(party).problems) == ("identity provider", "ok", ())
    assert dict(idp.calls) == {"discovery": 1, "jwks": 1}


@pytest.mark.parametrize(("endpoint", "fault"), [("discovery", "500"), ("discovery", "drop"), ("jwks", "html")])
def test_degraded_and_well_again(idp: OIDCSimulator, party: Relying, endpoint: str, fault: str) -> None:
    idp.fault(endpoint, fault)
    found = check(party)
    assert found.status == "degraded"
    assert "upstream-secret" not in "".join(found.problems)
    idp.heal()
    party.clock.ahead = 10
    until(lambda: check(party).status == "ok")


def test_an_outage_is_seen_within_a_minute(idp: OIDCSimulator, party: Relying) -> None:
    assert check(party).status == "ok"
    idp.stop()
    assert check(party).status == "ok"
    party.clock.ahead = 61
    until(lambda: check(party).status == "degraded")
    url(party)  # what is known goes on


def test_the_check_doesnt_wait_for_a_slow_provider(
    idp: OIDCSimulator, party: Relying, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hpcwaas.identity.oidc.party, "_PATIENCE", 0.1)
    idp.fault("*", "hold")
    assert check(party).problems == ("Users can't sign in by it: The identity provider hasn't answered yet.",)
    idp.heal()
    until(lambda: check(party).status == "ok")


def test_nothing_to_check_without_discovery(idp: OIDCSimulator) -> None:
    with relying(idp, explicit=True) as party:
        assert party.party.checks() == ()
    assert not idp.calls
