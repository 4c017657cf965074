"""Behind a proxy that shows the service below a path, and pages of other origins that call it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import requests

from tests.api.test_http import check_problem
from tests.service import IDLE, Client, as_user, make_settings, serving

PORTAL = "https://portal.example.org"


@pytest.fixture(scope="module")
def alice(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    """Of a service at `/hpc/waas`, which runs workflows."""
    server = {"root_path": "/hpc/waas", "cors_origins": [PORTAL]}
    with serving(make_settings(tmp_path_factory.mktemp("prefix"), server=server)) as url:
        yield as_user(url, "alice")


@pytest.fixture(scope="module")
def behind(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    """Of a service that trusts what a proxy on this machine says."""
    server = {"trusted_proxies": ["127.0.0.1"]}
    with serving(make_settings(tmp_path_factory.mktemp("forwarded"), server=server, cwl=IDLE)) as url:
        yield as_user(url, "alice")


@pytest.mark.parametrize("taken_off", [False, True])
def test_links_lead_back_through_the_proxy(alice: Client, taken_off: bool) -> None:
    def seen(path: str) -> str:
        """What the proxy asks for when a client asks for this."""
        return path.removeprefix("/hpc/waas") if taken_off else path

    for path in ("/hpc/waas", "/hpc/waas/", "/hpc/waas/ui"):
        answer = alice("GET", seen(path) or "/", allow_redirects=False)
        assert (answer.status_code, answer.headers["Location"]) == (307, "/hpc/waas/ui/")
    assert alice("GET", seen("/hpc/waas/openapi.json")).json()["servers"][0]["url"] == "/hpc/waas"
    answer = alice("POST", seen("/hpc/waas/workflows/echo"), json={"inputs": {"message": "Ada"}})
    location = answer.headers["Location"]
    assert (answer.status_code, location.rpartition("/")[0]) == (201, "/hpc/waas/executions")
    outputs = alice.finished(seen(location))["outputs"]
    found = outputs["text"]
    assert found["location"].startswith(f"{location}/outputs/")
    assert alice("GET", seen(found["location"])).status_code == 200
    for path in ("/hpc/waasx/workflows", "/hpc", "/hpc/waas//workflows", "/hpc/waas/hpc/waas/workflows"):
        check_problem(alice("GET", path), 404, "not_found")


def test_an_output_is_an_input_by_the_location_that_its_client_saw(alice: Client) -> None:
    path = alice("POST", "/workflows/echo", json={"inputs": {"message": "Ada"}}).headers["Location"]
    outputs = alice.finished(path)["outputs"]
    found = outputs["text"]
    for location in (found["location"], found["location"].removeprefix("/hpc/waas")):
        answer = alice(
            "POST", "/workflows/values?dry_run=true", json={"inputs": {"file": {**found, "location": location}}}
        )
        assert answer.status_code == 200, answer.text


def test_what_a_trusted_proxy_says_counts_where_nothing_is_set(behind: Client) -> None:
    given = {"X-Forwarded-Prefix": "/lab/"}
    answer = behind("GET", "/", headers=given, allow_redirects=False)
    assert answer.headers["Location"] == "/lab/ui/"
    assert behind("GET", "/openapi.json", headers=given).json()["servers"][0]["url"] == "/lab"
    assert behind("GET", "/openapi.json").json()["servers"][0]["url"] == "/"
    for hostile in ("//evil.example.org", "https://evil.example.org", "/a/../b", "/a b", "/<x>", "x", "/a\\b"):
        problem = check_problem(behind("GET", "/", headers={"X-Forwarded-Prefix": hostile}), 400, "bad_request")
        assert "X-Forwarded-Prefix" in problem["detail"]


def test_strangers_and_settings_are_not_overruled(alice: Client) -> None:
    answer = alice("GET", "/", headers={"X-Forwarded-Prefix": "/evil"}, allow_redirects=False)
    assert answer.headers["Location"] == "/hpc/waas/ui/"


def preflight(url: str, origin: str, method: str = "POST") -> requests.Response:
    asked = {"Access-Control-Request-Method": method, "Access-Control-Request-Headers": "authorization,content-type"}
    return requests.options(url, headers={"Origin": origin, **asked}, timeout=60)


def test_a_page_that_is_named_may_call(alice: Client) -> None:
    answer = preflight(f"{alice.url}/workflows/echo", PORTAL)
    assert (answer.status_code, answer.headers["Access-Control-Allow-Origin"]) == (200, PORTAL)
    assert "authorization" in answer.headers["Access-Control-Allow-Headers"].lower()
    assert "Access-Control-Allow-Credentials" not in answer.headers  # a page acts by a token that it has
    read = alice("GET", "/workflows", headers={"Origin": PORTAL})
    assert read.headers["Access-Control-Allow-Origin"] == PORTAL
    assert "Location" in read.headers["Access-Control-Expose-Headers"]
    refused = requests.get(f"{alice.url}/workflows", headers={"Origin": PORTAL}, timeout=60)
    check_problem(refused, 401, "unauthorized")  # and the page can read why
    assert refused.headers["Access-Control-Allow-Origin"] == PORTAL


@pytest.mark.parametrize(
    "origin", ["https://evil.example.org", "null", f"{PORTAL}.evil.org", "http://portal.example.org"]
)
def test_no_other_page_may(alice: Client, behind: Client, origin: str) -> None:
    for user in (alice, behind):
        assert "Access-Control-Allow-Origin" not in preflight(f"{user.url}/workflows/echo", origin).headers
        assert "Access-Control-Allow-Origin" not in user("GET", "/workflows", headers={"Origin": origin}).headers


def test_every_path_says_what_is_possible(alice: Client) -> None:
    for path in ("/ui/", "/ui/page.js", "/hpc/waas/ui/", "/openapi.json", "/"):
        answer = alice("OPTIONS", path)
        assert (answer.status_code, answer.headers["Allow"]) == (204, "GET, HEAD, OPTIONS"), path
