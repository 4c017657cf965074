"""What every path has in common: methods, errors, headers, credentials."""

from __future__ import annotations

import base64
import re
from typing import Any

import pytest
import requests
import yaml

from hpcwaas.api import contract

CONTRACT = contract.read()
PROTECTED = [
    (method.upper(), path)
    for path, item in CONTRACT["paths"].items()
    for method, operation in item.items()
    if method != "parameters" and operation.get("security") != [] and {} not in operation.get("security", ())
]


def check_problem(answer: requests.Response, status: int, error_id: str) -> dict[str, Any]:
    """Asserts that an answer is a problem that old clients can read too, and returns it."""
    assert answer.status_code == status, answer.text
    assert answer.headers["Content-Type"] == "application/problem+json"
    problem: dict[str, Any] = answer.json()
    assert problem["status"] == status
    assert problem["errors"] == [
        {"id": error_id, "status": status, "title": problem["title"], "detail": problem["detail"]}
    ]
    assert problem["request_id"] == answer.headers["X-Request-ID"]
    assert "Traceback" not in answer.text
    return problem


@pytest.mark.parametrize(("method", "path"), PROTECTED)
@pytest.mark.parametrize(
    "credentials",
    [
        None,
        "Basic",
        "Basic !!!",
        "Basic " + base64.b64encode(b"alice:wrong").decode(),
        "Basic " + base64.b64encode(b"mallory:alice's password").decode(),
        "Basic " + base64.b64encode(b"no colon").decode(),
        "Basic " + base64.b64encode(b"\xff\xfe:x").decode(),
        "Bearer x",
        "Digest x",
    ],
)
def test_wrong_credentials_are_refused_everywhere(alice: Any, method: str, path: str, credentials: str | None) -> None:
    url = alice.url + path.replace("{", "").replace("}", "")
    answer = requests.request(method, url, headers={"Authorization": credentials} if credentials else {}, timeout=60)

    check_problem(answer, 401, "unauthorized")
    assert answer.headers["WWW-Authenticate"].startswith('Bearer realm="hpcwaas", Basic')


@pytest.mark.parametrize("scheme", ["Basic", "basic", "BASIC", "Basic "])
def test_the_schemes_name_has_no_case(alice: Any, scheme: str) -> None:
    credentials = alice.headers["Authorization"].split()[1]
    assert alice("GET", "/workflows", headers={"Authorization": f"{scheme} {credentials}"}).status_code == 200


def test_missing_padding_is_taken_as_before(bob: Any) -> None:
    credentials = bob.headers["Authorization"].rstrip("=")
    assert bob("GET", "/workflows", headers={"Authorization": credentials}).status_code == 200


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("PUT", "/workflows", "GET, HEAD, OPTIONS"),
        ("DELETE", "/workflows", "GET, HEAD, OPTIONS"),
        ("PATCH", "/executions/x", "DELETE, GET, HEAD, OPTIONS"),
        ("POST", "/executions/x/logs", "GET, HEAD, OPTIONS"),
        ("PUT", "/ssh_keys", "GET, HEAD, OPTIONS, POST"),
        ("POST", "/openapi.json", "GET, HEAD, OPTIONS"),
    ],
)
def test_wrong_method(alice: Any, method: str, path: str, allowed: str) -> None:
    answer = alice(method, path)
    check_problem(answer, 405, "method_not_allowed")
    assert answer.headers["Allow"] == allowed


def test_options(alice: Any) -> None:
    answer = requests.options(f"{alice.url}/files", timeout=60)
    assert (answer.status_code, answer.headers["Allow"]) == (204, "GET, HEAD, OPTIONS, POST")


def test_head_is_get_without_the_body(alice: Any) -> None:
    head, get = alice("HEAD", "/workflows"), alice("GET", "/workflows")
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["Content-Length"] == str(len(get.content))


@pytest.mark.parametrize(
    "path",
    [
        "/nope",
        "/Workflows",
        "//workflows",
        "/executions//logs",
        "/workflows/a%2Fb",
        "/auth",
        "/workflows/a%0a",
        "/executions/%01",
    ],
)
def test_unknown_paths(alice: Any, path: str) -> None:
    check_problem(alice("GET", path), 404, "not_found")


def test_a_trailing_slash_is_no_other_path(alice: Any) -> None:
    assert alice("GET", "/workflows/").json() == alice("GET", "/workflows").json()


def test_a_users_request_id_is_taken_over_when_it_is_sane(alice: Any) -> None:
    given = alice("GET", "/executions/nope", headers={"X-Request-ID": "trace-1.2:3"})
    assert given.headers["X-Request-ID"] == given.json()["request_id"] == "trace-1.2:3"
    insane = alice("GET", "/executions/nope", headers={"X-Request-ID": "a b" * 100})
    assert insane.headers["X-Request-ID"] == insane.json()["request_id"] != "a b" * 100


@pytest.mark.parametrize("path", ["/workflows", "/nope", "/health/live", "/auth/methods"])
def test_a_strangers_request_id_is_not_taken_over(alice: Any, path: str) -> None:
    for headers in ({}, {"Authorization": "Bearer wrong"}):
        answer = requests.get(alice.url + path, headers={"X-Request-ID": "mine", **headers}, timeout=60)
        assert len(answer.headers["X-Request-ID"]) == 32


def test_security_headers_are_on_errors_too(alice: Any) -> None:
    for path in ("/workflows", "/nope", "/ui/", "/health/live"):
        headers = alice("GET", path).headers
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["X-Frame-Options"] == "DENY"
        assert "Content-Security-Policy" in headers


def test_root_leads_to_the_swagger_ui_which_needs_nothing_from_elsewhere(alice: Any) -> None:
    answer = requests.get(alice.url + "/", timeout=60)
    assert answer.url == alice.url + "/ui/"
    assert "swagger-ui" in answer.text
    assert "https://" not in answer.text
    policy = answer.headers["Content-Security-Policy"]
    assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self'")
    assert "unsafe" not in policy
    names = re.findall(r'(?:src|href)="([a-z0-9.-]+)', answer.text)
    assert {"swagger-ui-bundle.js", "swagger-ui.css", "page.js", "page.css"} <= set(names)
    for name in ("index.html", *names):
        found = requests.get(f"{alice.url}/ui/{name}", timeout=60)
        assert (found.status_code, int(found.headers["Content-Length"]) > 20) == (200, True)


@pytest.mark.parametrize("path", ["/ui", "/ui/", "/ui/page.js", "/ui/swagger-ui.css", "/openapi.json"])
def test_the_swagger_ui_has_the_same_manners_as_everything_else(alice: Any, path: str) -> None:
    url = alice.url + path
    options = requests.options(url, timeout=60)
    assert (options.status_code, options.headers["Allow"]) == (204, "GET, HEAD, OPTIONS")
    wrong = requests.post(url, timeout=60)
    check_problem(wrong, 405, "method_not_allowed")
    assert wrong.headers["Allow"] == "GET, HEAD, OPTIONS"
    head, get = (requests.request(method, url, timeout=60, allow_redirects=False) for method in ("HEAD", "GET"))
    assert (head.status_code, head.content) == (get.status_code, b"")


@pytest.mark.parametrize(
    "path", ["/ui/nope", "/ui/../app.py", "/ui/swagger-ui.css.map", "/ui/index.j2", "/ui/page.js/x"]
)
def test_the_swagger_ui_has_nothing_else(alice: Any, path: str) -> None:
    check_problem(requests.get(alice.url + path, timeout=60), 404, "not_found")


def test_the_contract_is_served(alice: Any) -> None:
    as_json = requests.get(f"{alice.url}/openapi.json", timeout=60).json()
    as_yaml = yaml.safe_load(requests.get(f"{alice.url}/openapi.yaml", timeout=60).text)
    assert as_json["paths"].keys() == as_yaml["paths"].keys() == CONTRACT["paths"].keys()


def test_a_json_body_over_the_limit(alice: Any) -> None:
    body = b'{"inputs": {"message": "' + b"x" * 9_000_000 + b'"}}'
    headers = {"Content-Type": "application/json"}
    check_problem(alice("POST", "/workflows/echo", data=body, headers=headers), 413, "payload_too_large")
    chunks = iter([body[:4_500_000], body[4_500_000:]])
    check_problem(alice("POST", "/workflows/echo", data=chunks, headers=headers), 413, "payload_too_large")


@pytest.mark.parametrize(
    ("body", "content_type", "status", "detail"),
    [
        (b'{"inputs":', "application/json", 400, "line 1, column 11"),
        (b"[1]", "application/json", 400, "object"),
        (b'{"inputs": [1]}', "application/json", 400, "inputs"),
        (b'{"inputs": {"message": "\xff"}}', "application/json", 400, "UTF-8 at byte 24"),
        (b'{"inputs": {"message": "\\u0000"}}', "application/json", 400, "inputs.message"),
        (b"{}", "application/xml", 415, "application/json"),
        (b"a=b", "application/x-www-form-urlencoded", 400, "line 1, column 1"),
    ],
)
def test_bad_bodies(alice: Any, body: bytes, content_type: str, status: int, detail: str) -> None:
    answer = alice("POST", "/workflows/echo", data=body, headers={"Content-Type": content_type})
    problem = check_problem(answer, status, "bad_request" if status == 400 else "unsupported_media_type")
    assert detail in problem["detail"]


@pytest.mark.parametrize("content_type", ["application/x-www-form-urlencoded", "text/plain; charset=utf-8"])
def test_what_curl_sends_is_json_and_what_a_browser_sends_is_not(alice: Any, content_type: str) -> None:
    """Scripts of the service before this one rely on it; a form of another site in a signed-in browser must not."""
    path, body = "/workflows/echo?dry_run=true", b'{"inputs": {"message": "x"}}'
    assert alice("POST", path, data=body, headers={"Content-Type": content_type}).status_code == 200
    for header, value in (("Origin", "https://evil.example"), ("Sec-Fetch-Site", "same-origin")):
        answer = alice("POST", path, data=body, headers={"Content-Type": content_type, header: value})
        check_problem(answer, 415, "unsupported_media_type")
    answer = alice("POST", path, data=body, headers={"Content-Type": content_type, "Sec-Fetch-Site": "cross-site"})
    check_problem(answer, 403, "forbidden")


def test_a_body_without_a_content_type_is_json(alice: Any) -> None:
    answer = alice("POST", "/workflows/echo?dry_run=true", data=b'{"inputs": {"message": "x"}}')
    assert "Content-Type" not in answer.request.headers
    assert answer.status_code == 200
