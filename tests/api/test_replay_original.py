"""Replays what was recorded of the service that this one takes the place of: its clients must go on working.

Every row is sent, in order, to this service with a simulated Alien4Cloud behind it. A row is answered as it was
recorded, or better, and then `MENDED` says how and why.
"""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Iterator, Mapping

import pytest

from tests.replay import ROWS, Answer, Replay, check_document, check_problem
from tests.service import make_settings, serving
from tests.simulators.alien4cloud import Simulator
from tests.simulators.alien4cloud_worlds import WORKFLOWS, original
from tests.simulators.faults import Fault
from tests.waiting import until

ACCOUNTS = {"alice": "alicepw", "bob": "bobpw", "carol": "pa:ss wörd"}
ENGINE = "hpcwaas.engines.alien4cloud"

LEFT_OUT = {
    "noauthconf_": "without an `auth` section this service has a user with a token, and serves nobody else",
    "sso_": "needs single sign-on: see test_replay_sign_in.py",
    "wrapped_secret_ssh": "needs a vault beside the service: see test_replay_vault.py",
    "vault_": "needs a vault beside the service: see test_replay_vault.py",
    "a4c_bad_password": "needs another configuration; see the tests of faults",
    "auth_authorize_bad_state": "needs single sign-on: see test_replay_sign_in.py",
}

UNKNOWN = "nothing of this id is published to this user: 404, and no stack trace"
METHOD = "the path is known, the method isn't"
SLASH = "answered at once, without a redirect"
EXISTS = "there is something at this path now"
FOREIGN = "somebody else's"
STALE = "what is known is served while Alien4Cloud fails, with a warning"
STORED = "known from before, whatever goes on at Alien4Cloud"
OVER = "it has ended: there is nothing to cancel"

MENDED: dict[str, tuple[int, str]] = {
    "workflows_auth_lowercase_scheme": (200, "names of schemes are in any case (RFC 9110)"),
    "workflows_auth_two_spaces": (200, "any number of blanks (RFC 9110)"),
    "workflows_trailing_slash": (200, SLASH),
    "workflows_trailing_slash_noauth": (401, SLASH),
    "workflows_head": (200, "HEAD is GET without a body"),
    "workflows_options": (204, "says what is allowed"),
    "workflows_options_cors": (204, "says what is allowed"),
    "workflows_post": (405, METHOD),
    "workflows_put": (405, METHOD),
    "workflows_delete_noauth": (405, METHOD),
    "root": (307, "leads to the Swagger UI"),
    "root_noauth": (307, "leads to the Swagger UI"),
    "executions_list_absent": (200, EXISTS),
    "executions_trailing": (200, EXISTS),
    "docs_absent": (200, EXISTS),
    "trigger_trailing_garbage": (400, "no JSON"),
    "trigger_not_utf8": (400, "no JSON: that is UTF-8"),
    "trigger_no_body": (201, "no inputs"),
    "trigger_empty_body": (201, "no inputs"),
    "trigger_unknown_workflow": (404, UNKNOWN),
    "trigger_unknown_app": (404, UNKNOWN),
    "trigger_unknown_env": (404, UNKNOWN),
    "trigger_not_a_hpcwaas_app": (404, UNKNOWN),
    "trigger_undeclared_builtin_workflow": (404, UNKNOWN),
    "trigger_undeclared_workflow_on_public_app": (404, UNKNOWN),
    "trigger_bare_name": (404, UNKNOWN),
    "trigger_two_parts": (404, UNKNOWN),
    "trigger_four_parts": (404, UNKNOWN),
    "trigger_encoded_query": (404, UNKNOWN),
    "trigger_encoded_hash": (404, UNKNOWN),
    "trigger_space": (404, UNKNOWN),
    "trigger_ctl_char": (404, UNKNOWN),
    "trigger_empty_parts": (404, UNKNOWN),
    "trigger_trailing_slash": (201, SLASH),
    "trigger_no_name": (405, METHOD),
    "trigger_unauthorised_user": (404, UNKNOWN),
    "trigger_tag_with_spaces_bob": (201, "blanks around the names in a tag don't count"),
    "trigger_cross_env_authz_bypass": (404, UNKNOWN),
    "execution_other_user": (404, FOREIGN),
    "execution_private_read_by_bob": (404, FOREIGN),
    "logs_private_read_by_bob": (404, FOREIGN),
    "execution_unknown": (404, "there is none"),
    "execution_encoded_query": (404, "there is none"),
    "execution_trailing_slash": (200, SLASH),
    "execution_post": (405, METHOD),
    "workflow_get_one": (404, UNKNOWN),
    "logs_size0": (200, "none is none"),
    "logs_from_negative": (400, "out of range"),
    "logs_unknown_execution": (404, "there is none"),
    "logs_from_dup": (400, "a parameter that stands twice is refused, and named: a value that is dropped must be told"),
    "logs_bad_escape": (400, "no number"),
    "logs_semicolon": (400, "no number"),
    "logs_post": (405, METHOD),
    "cancel_by_other_user": (404, FOREIGN),
    "cancel_finished": (409, OVER),
    "cancel_unknown": (404, "there is none"),
    "ssh_bad_json": (400, "no JSON"),
    "ssh_wrong_type": (400, "not what the contract says"),
    "ssh_wrong_ctype": (400, "not JSON"),
    "ssh_get": (200, EXISTS),
    "ssh_trailing_slash": (201, SLASH),
    "auth_login_in_basic_mode": (404, "there is no identity provider"),
    "auth_authorize_in_basic_mode": (404, "there is no identity provider"),
    **dict.fromkeys(
        (
            *("up_500_json_workflows", "up_502_html_workflows", "up_500_empty_workflows", "up_connection_closed"),
            *("up_404_applications_search", "up_truncated_json", "up_200_html", "up_404_environments_search"),
            *("up_403_x3", "up_403_persistent_2s", "a4c_down_workflows"),
        ),
        (200, STALE),
    ),
    **dict.fromkeys(("up_500_execution", "up_500_logs", "a4c_down_execution", "a4c_down_logs"), (200, STORED)),
    **dict.fromkeys(
        ("up_500_cancel", "up_500_cancel_deployment", "up_500_cancel_cancel", "a4c_down_cancel"), (409, OVER)
    ),
    "up_500_trigger_app": (502, "the application is asked whether it still publishes the workflow"),
    "up_500_trigger_run": (502, "looked for and not found: nothing was started"),
    "trigger_dup_keys": (400, "a key that stands twice is refused"),
    "a4c_down_trigger": (503, "nothing was started; try again later"),
}

FAULTS: Mapping[str, Fault] = {
    "up_500_json_workflows": Fault("trace", "applications/search"),
    "up_502_html_workflows": Fault("html", "applications/search"),
    "up_500_empty_workflows": Fault("empty", "applications/search", status=500),
    "up_404_applications_search": Fault("empty", "applications/search", status=404),
    "up_truncated_json": Fault("truncate", "applications/search"),
    "up_200_html": Fault("html", "applications/search", status=200),
    "up_404_environments_search": Fault("empty", "environments", status=404),
    "up_500_execution": Fault("trace", "executions"),
    "up_500_cancel": Fault("trace", "executions"),
    "up_500_cancel_deployment": Fault("trace", "deployments"),
    "up_500_cancel_cancel": Fault("trace", "DELETE"),
    "up_500_logs": Fault("trace", "logs/search"),
    "up_500_trigger_app": Fault("trace", "GET /rest/latest/applications/Public$"),
    "up_500_trigger_run": Fault("trace", "workflows/exec_job"),
    "up_connection_closed": Fault("close", "applications/search"),
    "up_403_x3": Fault("expired", "applications/search", times=3),
    "up_403_persistent_2s": Fault("expired", "/rest/"),
}


def left_out(name: str) -> bool:
    return name.startswith(tuple(LEFT_OUT))


REPLAYED = [name for name in ROWS if not left_out(name)]


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mapping[str, Answer]]:
    """This service's answers to all rows."""
    accounts = [{"username": name, "password": password} for name, password in ACCOUNTS.items()]
    world = original()
    with pytest.MonkeyPatch.context() as patch, Simulator(world) as simulator:
        patch.setattr("hpcwaas.engines.orchestrated.starting._SEARCH", 0.6)
        patch.setattr(f"{ENGINE}.log_reader._SETTLED", 0.3)
        patch.setattr("hpcwaas.common.cached._FAILURE_COUNTS", 0.0)
        settings = make_settings(
            tmp_path_factory.mktemp("service"),
            auth={"auth_type": "basic", "basic_auth": {"accounts": accounts}},
            alien_config={"address": simulator.url, "cache_seconds": 0.01},
        )
        with serving(settings) as address:
            replay, found = Replay(address), {}
            for name in REPLAYED:
                if name == "up_session_expired":  # a look that broke off may still be under way
                    until(lambda: "Warning" not in replay.send(ROWS["workflows_first_login"]).headers)
                with stage(simulator, name):
                    found[name] = replay.send(ROWS[name])
            yield found


@contextlib.contextmanager
def stage(simulator: Simulator, name: str) -> Iterator[None]:
    """Behind the service, what stood behind the existing one when a row was recorded."""
    applications = simulator.world.applications
    if name in ("trigger_short", "trigger_failing"):  # they ran though nobody had published them
        applications["Public"].tags = ((WORKFLOWS, "exec_job,other_wf,short_wf,fail_wf"),)
    elif name == "trigger_private_by_alice":
        applications["Public"].tags = ((WORKFLOWS, "exec_job,other_wf"),)
    elif name == "up_session_expired":
        simulator.expire_sessions()
    elif name == "up_no_applications":
        simulator.world.applications = {}
    elif name == "a4c_down_workflows":
        simulator.down()
    if name in FAULTS:
        simulator.fault(FAULTS[name])
    if name == "logs_after_end_beyond":
        time.sleep(1)  # lines may come in after the end
    if name.startswith(("up_", "a4c_down", "trigger_short", "trigger_failing")):
        time.sleep(0.1)  # the catalogue isn't fresh any more
    yield
    simulator.world.applications = applications
    if name in FAULTS:
        simulator.heal()


def test_every_row_is_replayed_or_left_out_with_a_reason() -> None:
    assert set(MENDED) <= set(REPLAYED)
    assert len(ROWS) == 225
    assert len(REPLAYED) + sum(map(left_out, ROWS)) == len(ROWS)


@pytest.mark.parametrize("name", REPLAYED)
def test_the_answer_is_the_recorded_one_or_better(answers: Mapping[str, Answer], name: str) -> None:
    recorded, answer = ROWS[name]["response"], answers[name]
    status, _ = MENDED.get(name, (recorded["status"], ""))
    assert answer.status == status, answer.body
    if status == 201 and ROWS[name]["request"]["path"].startswith("/workflows"):
        assert answer.body == b""
        assert answer.headers["Content-Length"] == "0"
        assert answer.headers["Location"].startswith("/executions/")
    elif status >= 400:
        check_problem(recorded, answer)
    elif name not in MENDED and recorded["body"]:
        check_document(name, json.loads(recorded["body"]), answer.json())


@pytest.mark.parametrize(
    ("name", "seconds"),
    [
        ("logs_timeout_1ms", 0.0),
        ("logs_timeout_frac", 0.5),
        ("logs_timeout_compound", 1.5),
        ("logs_timeout_4s_nothing", 4.0),
        ("logs_timeout_zero", 0.0),
        ("logs_timeout_negative", 0.0),
        ("logs_timeout_hours", 0.0),
        ("logs_after_end_beyond", 0.0),
        ("logs_unknown_execution", 0.0),
        ("trigger_ok", 0.0),
    ],
)
def test_waits_are_as_long_as_was_asked_for(answers: Mapping[str, Answer], name: str, seconds: float) -> None:
    assert seconds - 0.01 <= answers[name].seconds < seconds + 20  # the default is 60 s


def test_a_log_is_whole_after_the_end(answers: Mapping[str, Answer]) -> None:
    whole, beyond = answers["logs_all_after_end"].json(), answers["logs_after_end_beyond"].json()
    assert len(whole["logs"]) == whole["total_results"] == 24
    assert (beyond["logs"], beyond["over"], beyond["status"]) == ([], True, "SUCCEEDED")
    assert answers["logs_size0"].json()["logs"] == []


def test_a_parameter_that_stands_twice_is_named(answers: Mapping[str, Answer]) -> None:
    assert ROWS["logs_from_dup"]["request"]["path"].endswith("?from=1&from=2")
    assert "`from`" in answers["logs_from_dup"].json()["detail"]


def test_stale_lists_say_so(answers: Mapping[str, Answer]) -> None:
    stale = [name for name in MENDED if MENDED[name] == (200, STALE)]
    assert all("Response is Stale" in answers[name].headers["Warning"] for name in stale)
    assert "Warning" not in answers["up_session_expired"].headers
    order = list(REPLAYED)
    emptied = order.index("up_no_applications")  # the list is stale as it was read last, and that was empty
    before = [name for name in stale if order.index(name) < emptied]
    assert {len(answers[name].json()["workflows"]) for name in before} == {8}
    assert {len(answers[name].json()["workflows"]) for name in stale} <= {0, 8}
