"""What was wrong with the service before this one and is mended: one test or a few for each of the 14 items.

1. Who may do what: workflows that are published, environments of their application, executions of one's own.
2. Without `auth`, or with a misspelt `auth_type`, it doesn't serve everybody.
3. Failures of Alien4Cloud, unknown ids and wrong inputs have a status each, and show nothing from inside.
4. An unknown execution is 404, and so is its log, at once.
5. Outputs and the metadata of keys are there; a body that is no JSON is refused.
6. Passwords aren't logged. Each sign-in has a `state` of its own, sessions outlive a restart.
7. Tags are trimmed, empty names dropped; more than 1000 applications are listed.
8. One reader of a log for all followers, who are told of the end; all lines, `size=0`, UTC.
9. Triggering doesn't sleep; numbers stay what they are.
10. Tokens of Vault end and nobody notices; the service starts while Vault is down.
11. Alien4Cloud refusing for good is asked a few times, not thousands.
12. `?`, `#` and `/` in ids are quoted.
13. Wrong methods are 405 with `Allow`; HEAD and OPTIONS work; errors are JSON.
14. `/auth/login` without a provider says so; schemes are in any case; `WWW-Authenticate` names them.
"""

from __future__ import annotations

import base64
import itertools
import json
import logging
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import requests

from tests.ports import free_port
from tests.service import PASSWORDS, Client, as_user, make_settings, serving
from tests.signing_in import Service, header, query, shown_token, sso_service
from tests.simulators.alien4cloud import Simulator
from tests.simulators.alien4cloud_state import Application, Environment, Input, Workflow, World
from tests.simulators.alien4cloud_worlds import ADMIN, USERS, WORKFLOWS, many
from tests.simulators.faults import Fault
from tests.simulators.oidc import OIDCSimulator
from tests.simulators.vault import vault_server

pytest_plugins = "tests.signing_in_fixtures"

ENGINE = "hpcwaas.engines.alien4cloud"
RUN, CHATTY, SLOW = "Public@env-pub@run", "Public@env-pub@chatty", "Public@env-pub@slow"
ODD = {"application": "A?b=c#d", "environment": "e%2F?f#g;h", "workflow": "w?x#y&z"}
Serve = Callable[..., str]


def world() -> World:
    run = Workflow(name="run", inputs={"n": Input(type="integer"), "text": Input()}, duration=0.3)
    workflows = (
        run,
        Workflow(name="chatty", duration=1.0, log_rate=1200),
        Workflow(name="slow", duration=60.0),
        Workflow(name="uninstall"),
    )

    def application(name: str, environment: str, *tags: tuple[str, str], runs: tuple[Workflow, ...] = workflows) -> Any:
        return Application(id=name, tags=tags, workflows=runs, environments=[Environment(id=environment)])

    odd = Workflow(name=ODD["workflow"], duration=0.1)
    return World(
        [
            application("Public", "env-pub", (WORKFLOWS, "run,chatty,slow")),
            application("AliceOnly", "env-alice", (WORKFLOWS, "run"), (USERS, "alice")),
            application("Blanks", "env-blanks", (WORKFLOWS, " run , chatty,"), (USERS, "alice, bob")),
            application("Empty", "env-empty", (WORKFLOWS, "")),
            application(ODD["application"], ODD["environment"], (WORKFLOWS, ODD["workflow"]), runs=(odd,)),
        ],
        [ADMIN],
    )


@pytest.fixture(scope="module", autouse=True)
def impatient() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(f"{ENGINE}.log_reader._SETTLED", 0.3)
        patch.setattr("hpcwaas.common.cached._FAILURE_COUNTS", 0.1)
        yield


@pytest.fixture(scope="module")
def alien4cloud() -> Iterator[Simulator]:
    with Simulator(world(), lag=0.1) as simulator:
        yield simulator


@pytest.fixture(scope="module")
def url(alien4cloud: Simulator, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    behind = {"address": alien4cloud.url, "connect_timeout": 1, "cache_seconds": 0.05}
    with serving(make_settings(tmp_path_factory.mktemp("service"), alien_config=behind)) as url:
        yield url


@pytest.fixture
def alice(url: str) -> Client:
    return as_user(url, "alice")


@pytest.fixture
def bob(url: str) -> Client:
    return as_user(url, "bob")


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Serve]:
    """Starts a service of its own, with changed settings."""
    with ExitStack() as stack:
        yield lambda **changes: stack.enter_context(serving(make_settings(tmp_path, **changes)))


def problem(answer: requests.Response, status: int) -> str:
    """Checks an error; gives its detail."""
    assert answer.status_code == status, answer.text
    (error,) = answer.json()["errors"]
    assert error["status"] == status
    assert not re.search(r"\\tat |java|\.go:|Traceback|127\.0\.0\.1|elasticsearch|nginx", answer.text)
    return str(error["detail"])


def launches(simulator: Simulator) -> list[Any]:
    return [call for call in simulator.calls() if call.method == "POST" and "/workflows/" in call.path]


def test_01_only_what_is_published_can_be_run(alice: Client, bob: Client, alien4cloud: Simulator) -> None:
    before = len(launches(alien4cloud))
    for workflow in ("Public@env-pub@uninstall", "Public@env-alice@run", "AliceOnly@env-pub@run"):
        problem(alice("POST", f"/workflows/{workflow}", json={}), 404)
    problem(bob("POST", "/workflows/AliceOnly@env-alice@run", json={}), 404)
    assert len(launches(alien4cloud)) == before


def test_01_executions_are_ones_own(alice: Client, bob: Client) -> None:
    path = alice.trigger(RUN)
    told = set()
    for there in (path, "/executions/unknown"):
        for method, way in (("GET", there), ("GET", f"{there}/logs"), ("DELETE", there), ("POST", f"{there}/resume")):
            told.add(problem(bob(method, way), 404))
    assert len(told) == 1
    assert bob("GET", "/executions").json()["executions"] == []
    assert alice.finished(path)["status"] == "SUCCEEDED"


@pytest.mark.parametrize(
    ("auth", "reason"),
    [("", "auth"), ("auth: {auth_type: basik}", "auth_type"), ("auth: {basic_auth: {accounts: []}}", "auth_type")],
)
def test_02_without_valid_auth_it_does_not_start(auth: str, reason: str, tmp_path: Path) -> None:
    file = tmp_path / "hpcwaas-api.yml"
    file.write_text(f"listen_address: 0.0.0.0:0\ndata_dir: {tmp_path}/data\nalien_config: {{user: admin}}\n{auth}\n")
    command: list[str | Path] = [Path(sys.executable).parent / "hpcwaas-api", "--config", file]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=120, env={"HOME": str(tmp_path)}
    )
    assert done.returncode == 1
    assert reason in done.stderr


@pytest.mark.parametrize(("method", "path"), [("GET", "/workflows"), ("POST", f"/workflows/{RUN}")])
@pytest.mark.parametrize(
    ("fault", "status"),
    [
        (Fault("trace", "applications"), 502),
        (Fault("html", "applications"), 502),
        (Fault("truncate", "applications"), 502),
        (Fault("reset", "applications"), 503),  # what stands before a server that is down may accept, and close
        (Fault("hang", "applications", seconds=2), 504),
    ],
    ids=lambda value: value.kind if isinstance(value, Fault) else None,
)
def test_03_each_failure_has_a_status(
    serve: Serve, alien4cloud: Simulator, fault: Fault, status: int, method: str, path: str
) -> None:
    # A service of its own for each request: one that has a list serves it while Alien4Cloud fails, and one that has
    # waited in vain refuses at once (see test_alien4cloud_frozen.py).
    user = as_user(
        serve(alien_config={"address": alien4cloud.url, "read_timeout": 0.5 if status == 504 else 30}), "alice"
    )
    before = len(launches(alien4cloud))
    alien4cloud.fault(fault)
    try:
        answer = user(method, path, json={} if method == "POST" else None)
    finally:
        alien4cloud.heal()
    problem(answer, status)
    assert (int(answer.headers.get("Retry-After", 0)) > 0) == (status == 503)
    assert len(launches(alien4cloud)) == before


def test_03_down_unknown_and_wrong(alice: Client, alien4cloud: Simulator) -> None:
    problem(alice("POST", "/workflows/unknown", json={}), 404)
    assert "expected a whole number" in problem(alice("POST", f"/workflows/{RUN}", json={"inputs": {"n": "x"}}), 400)
    problem(alice("GET", "/executions/x/logs?timeout=soon"), 400)
    alien4cloud.down()
    try:
        answer = alice("POST", f"/workflows/{RUN}", json={})
    finally:
        alien4cloud.up()
        time.sleep(0.15)  # it may be asked again
    problem(answer, 503)
    assert int(answer.headers["Retry-After"]) > 0


def test_04_an_unknown_execution_is_told_at_once(alice: Client) -> None:
    asked = time.monotonic()
    problem(alice("GET", "/executions/unknown"), 404)
    problem(alice("GET", "/executions/unknown/logs"), 404)
    assert time.monotonic() - asked < 50


def test_05_what_is_promised_is_there(alice: Client) -> None:
    assert alice.finished(alice.trigger(RUN))["outputs"] == {"result": "result-of-run"}
    key = alice("POST", "/ssh_keys", json={"metadata": {"project": "climate"}}).json()
    assert alice("GET", f"/ssh_keys/{key['id']}").json()["metadata"] == {"project": "climate"}
    problem(alice("POST", "/ssh_keys", data="{bad", headers={"Content-Type": "application/json"}), 400)


def test_06_passwords_are_not_logged(serve: Serve, alien4cloud: Simulator, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        user = as_user(serve(alien_config={"address": alien4cloud.url, "password": "mistyped-secret"}), "alice")
        user("GET", "/workflows")
        wrong = base64.b64encode(b"alice:not-her-password").decode()
        assert Client(user.url, {"Authorization": f"Basic {wrong}"})("GET", "/workflows").status_code == 401
    assert caplog.records
    secrets = (PASSWORDS["alice"], "mistyped-secret", "not-her-password", wrong, *user.headers.values())
    assert [secret for secret in secrets if secret.removeprefix("Basic ") in caplog.text] == []


def test_06_each_sign_in_has_a_state_of_its_own(sso: Service) -> None:
    one, other = sso.browser(), sso.browser()
    callbacks = [browser.at_provider(browser.get("/auth/login")) for browser in (one, other)]
    assert query(callbacks[0])["state"] != query(callbacks[1])["state"]
    assert other.come_back(callbacks[0]).status_code == 400
    assert one.come_back(callbacks[0]).status_code == 200


def test_06_sessions_outlive_a_restart(idp: OIDCSimulator, tmp_path: Path) -> None:
    with sso_service(idp, tmp_path) as service:
        token = shown_token(service.browser().sign_in("alice").text)
    with sso_service(idp, tmp_path) as service:
        assert service.whoami(token).json()["subject"] == "alice"


def test_07_tags_are_trimmed(bob: Client) -> None:
    found = {item["id"]: item["name"] for item in bob("GET", "/workflows").json()["workflows"]}
    assert {"Blanks@env-blanks@run", "Blanks@env-blanks@chatty"} < found.keys()
    assert all(name and name == name.strip() for name in found.values())
    assert not any(item.startswith("Empty@") for item in found)
    assert bob("POST", "/workflows/Blanks@env-blanks@run", json={}).status_code == 201


def test_07_more_than_1000_applications_are_listed(serve: Serve) -> None:
    with Simulator(many(1001)) as simulator:
        user = as_user(serve(alien_config={"address": simulator.url}), "alice")
        assert len(user("GET", "/workflows").json()["workflows"]) == 1001


def test_08_a_log_is_whole_and_ends(alice: Client) -> None:
    path = alice.trigger(CHATTY)
    alice.finished(path)
    lines: list[Any] = []
    over = False
    while not over:
        page = alice("GET", f"{path}/logs?from={len(lines)}&levels=15").json()
        lines, over = lines + page["logs"], page["over"]
    assert [line["index"] for line in lines] == list(range(len(lines)))
    contents = [line["content"] for line in lines if "stdout: line" in line["content"]]
    assert contents == [f"operation custom.run stdout: line {number}" for number in range(1200)]
    assert all(re.fullmatch(r"[\d-]{10}T[\d:]{8}\.\d{3}Z", line["timestamp"]) for line in lines)
    assert alice("GET", f"{path}/logs?size=0").json()["logs"] == []
    asked = time.monotonic()
    beyond = alice("GET", f"{path}/logs?from={len(lines)}&levels=15&timeout=60s").json()
    assert (beyond["logs"], beyond["over"]) == ([], True)
    assert time.monotonic() - asked < 40


def test_08_followers_share_one_reader(alice: Client, alien4cloud: Simulator) -> None:
    path = alice.trigger(SLOW)
    while alice("GET", path).json()["status"] != "RUNNING":
        time.sleep(0.05)
    before = sum("logs/search" in call.path for call in alien4cloud.calls())
    with ThreadPoolExecutor(30) as pool:
        list(pool.map(lambda _: alice("GET", f"{path}/logs?from=100&timeout=2s"), range(30)))
    assert sum("logs/search" in call.path for call in alien4cloud.calls()) - before < 90
    alice("DELETE", path)


def test_09_triggering_is_quick_and_numbers_are_exact(alice: Client, alien4cloud: Simulator) -> None:
    alice("GET", f"/workflows/{RUN}")
    usual = alice("GET", f"/workflows/{RUN}").elapsed.total_seconds()
    taken = []
    for number in ("12345678901234567890", "-9007199254740993"):
        asked = time.monotonic()
        answer = alice(
            "POST",
            f"/workflows/{RUN}",
            data=f'{{"inputs": {{"n": {number}}}}}',
            headers={"Content-Type": "application/json"},
        )
        taken.append(time.monotonic() - asked)
        assert answer.status_code == 201
        assert str(json.loads(launches(alien4cloud)[-1].body)["inputs"]["n"]) == number
    assert min(taken) < 0.9 + 20 * usual


def test_10_tokens_of_the_vault_end_and_nobody_notices(serve: Serve) -> None:
    with vault_server() as vault:
        role = vault.role(ttl=1, longest=2)
        config = {"address": vault.url, "role_id": role.role_id, "secret_id": vault.secret_id(role)}
        user = as_user(serve(vault_config=config), "alice")
        ends = time.monotonic() + 3
        while time.monotonic() < ends:
            assert user("POST", "/ssh_keys").status_code == 201
            time.sleep(0.2)
        assert vault.count("POST", "auth/approle/login") > 1


def test_10_it_starts_while_the_vault_is_down(serve: Serve) -> None:
    address = f"http://127.0.0.1:{free_port()}"
    user = as_user(serve(vault_config={"address": address, "role_id": "r", "secret_id": "s"}), "alice")
    assert user("GET", "/workflows").status_code == 200
    problem(user("POST", "/ssh_keys"), 503)


def test_11_a_refusal_for_good_is_no_loop(serve: Serve) -> None:
    with Simulator(world()) as simulator:
        simulator.fault(Fault("expired", "/rest/"))
        user = as_user(serve(alien_config={"address": simulator.url}), "alice")
        problem(user("GET", "/workflows"), 502)
        assert simulator.call_count() <= 10


def test_12_ids_are_quoted(alice: Client, alien4cloud: Simulator) -> None:
    (item,) = (each for each in alice("GET", "/workflows").json()["workflows"] if each["name"] == ODD["workflow"])
    assert (item["application_id"], item["environment_id"]) == (ODD["application"], ODD["environment"])
    path = alice.trigger(quote(item["id"], safe=""))
    assert alice.finished(path)["status"] == "SUCCEEDED"
    quoted = {name: quote(text, safe="") for name, text in ODD.items()}
    way = "applications/{application}/environments/{environment}/workflows/{workflow}".format(**quoted)
    assert launches(alien4cloud)[-1].path.endswith(way)
    for crafted in ("..%2Fdeployments%3Fx%23", "Public@env-pub%2F..%2Fenv-alice@run", "Public@env-pub@run%2F..%2Fslow"):
        problem(alice("POST", f"/workflows/{crafted}", json={}), 404)
        problem(alice("GET", f"/executions/{crafted}"), 404)
    assert not [call.path for call in alien4cloud.calls() if ".." in call.path]


def test_13_methods(alice: Client) -> None:
    for method, path, allowed in (
        ("PUT", "/workflows", {"GET", "HEAD", "OPTIONS"}),
        ("POST", "/executions/x", {"GET", "HEAD", "OPTIONS", "DELETE"}),
    ):
        answer = alice(method, path)
        problem(answer, 405)
        assert set(answer.headers["Allow"].split(", ")) == allowed
    head, get = alice("HEAD", "/workflows"), alice("GET", "/workflows")
    assert (head.status_code, head.content, head.headers["Content-Length"]) == (200, b"", str(len(get.content)))
    assert alice("OPTIONS", "/workflows").status_code == 204
    problem(alice("GET", "/no/such/path"), 404)


def test_14_signing_in(alice: Client) -> None:
    problem(Client(alice.url, {})("GET", "/auth/login", allow_redirects=False), 404)
    answer = Client(alice.url, {})("GET", "/workflows")
    problem(answer, 401)
    assert re.search(r'\bBasic realm=".+"', answer.headers["WWW-Authenticate"])
    token = alice("POST", "/tokens", json={"name": "t", "scopes": ["workflows:read"]}).json()["token"]
    credentials = (alice.headers["Authorization"].partition(" ")[2], base64.b64encode(token.encode()).decode())
    for scheme, content in itertools.chain(
        zip(("Basic", "basic", "BASIC"), itertools.repeat(credentials[0])),
        zip(("Bearer", "bearer", "BEARER"), itertools.repeat(credentials[1])),
    ):
        user = Client(alice.url, {"Authorization": f"{scheme} {content}"})
        assert user("GET", "/workflows").status_code == 200, scheme


def test_14_the_old_page_of_a_browser_gives_a_token_that_counts(sso: Service) -> None:
    leaving = sso.browser().get("/auth/login")
    assert (leaving.status_code, leaving.headers["Location"].startswith(sso.idp.issuer)) == (303, True)
    token = shown_token(sso.browser().sign_in("alice").text)
    assert requests.get(f"{sso.url}/workflows", headers=header(token), timeout=60).status_code == 200
