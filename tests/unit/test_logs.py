"""The log: its two forms, and that no secret gets into it."""

from __future__ import annotations

import base64
import io
import json
import logging
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpcwaas import logs
from hpcwaas.configuration.settings import Settings

PASSWORD = "hunter2 é'\"%"


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def _restored() -> Iterator[None]:
    root = logging.getLogger()
    before = root.level, list(root.handlers)
    yield
    root.setLevel(before[0])
    root.handlers[:] = before[1]
    logging.captureWarnings(False)


def settings(password: str = PASSWORD) -> Settings:
    accounts = [{"username": "alice", "password": password}]
    return Settings.model_validate(
        {
            "auth": {"auth_type": "basic", "basic_auth": {"accounts": accounts}},
            "vault": {"key": "a2V5a2V5a2V5"},
            "store": {"url": "postgresql://u:dbsecret@host/db"},
        }
    )


@pytest.fixture(params=[io.StringIO, Terminal])
def stream(request: pytest.FixtureRequest) -> io.StringIO:
    made: io.StringIO = request.param()
    logs.configure(settings(), "the-local-token", stream=made)
    return made


def test_lines_are_json_off_a_terminal() -> None:
    stream = io.StringIO()
    logs.configure(settings(), stream=stream)
    logging.getLogger("hpcwaas.access").info("GET /x %d", 200, extra={"status": 200, "subject": None, "address": "::1"})
    logging.getLogger("hpcwaas.access").debug("not shown")
    entry = json.loads(stream.getvalue())
    assert entry.pop("time").endswith("Z")
    assert entry == {
        "level": "INFO",
        "logger": "hpcwaas.access",
        "message": "GET /x 200",
        "status": 200,
        "subject": None,
        "address": "::1",
    }


def test_lines_are_for_people_on_a_terminal() -> None:
    stream = Terminal()
    logs.configure(settings(), stream=stream)
    logging.getLogger("hpcwaas.access").info("GET /x %d", 200, extra={"status": 200, "subject": None})
    assert stream.getvalue().endswith("Z INFO    hpcwaas.access: GET /x 200 status=200\n")


@pytest.mark.parametrize(
    "secret",
    [
        PASSWORD,
        base64.b64encode(f"alice:{PASSWORD}".encode()).decode(),
        "a2V5a2V5a2V5",
        "dbsecret",
        "the-local-token",
        base64.b64encode(b"the-local-token").decode(),
    ],
)
def test_known_secrets_are_masked_everywhere(stream: io.StringIO, secret: str) -> None:
    log = logging.getLogger("hpcwaas.test")
    log.info("message %s", secret)
    log.info("extra", extra={"detail": {"given": secret}})
    try:
        raise ValueError(secret)  # noqa: TRY301
    except ValueError:
        log.exception("exception")
    written = stream.getvalue()
    assert "ValueError" in written
    assert secret not in written
    assert json.dumps(secret)[1:-1] not in written
    assert written.count("********") >= 3


@pytest.mark.parametrize(
    "text",
    [
        "Authorization: Bearer abcdefgh",
        "authorization: Basic YWxp",
        "{'Authorization': 'Bearer abcdefgh'}",
        '"authorization":"abcdefgh"',
        "got bearer abcdefghijklmnop.qrst",
        "at https://alice:abcdefgh@host/x",
    ],
)
def test_what_looks_like_credentials_is_masked(stream: io.StringIO, text: str) -> None:
    logging.getLogger("hpcwaas.test").warning(text)
    assert "********" in stream.getvalue()
    assert "abcdefgh" not in stream.getvalue()
    assert "YWxp" not in stream.getvalue()


def test_ordinary_words_stay(stream: io.StringIO) -> None:
    text = "auth_type basic needs accounts; see https://host/a@b, bearer tokens and basic authentication"
    logging.getLogger("hpcwaas.test").warning(text)
    assert text in stream.getvalue()


def test_a_text_cannot_begin_a_line_or_steer_the_terminal(stream: io.StringIO) -> None:
    logging.getLogger("hpcwaas.test").warning("a\nERROR forged\r\x1b[31m\x9b")
    written = stream.getvalue()
    assert len(written.splitlines()) == 1
    assert "\x1b" not in written


def test_other_programs_in_the_house_are_quiet(stream: io.StringIO) -> None:
    for name in ("uvicorn.error", "alembic.runtime.migration", "connexion.api", "werkzeug"):
        logging.getLogger(name).info("chatter")
    assert stream.getvalue() == ""


@given(secret=st.text(st.characters(exclude_categories=["Cs"]), min_size=4), around=st.text(max_size=5))
def test_any_secret_in_a_plain_message_is_masked(secret: str, around: str) -> None:
    stream = io.StringIO()
    logs.configure(settings(), secret, stream=stream)
    logging.getLogger("hpcwaas.test").info("%s", around + secret + around)
    message = json.loads(stream.getvalue())["message"]
    assert secret not in message.replace("********", "")


def test_secrets_of_the_vault_are_masked() -> None:
    stream = io.StringIO()
    vault = {"role_id": "role-1", "secret_id": "secret-of-the-role", "token": "s.token-of-the-vault"}
    logs.configure(Settings.model_validate({"vault_config": vault}), stream=stream)
    logging.getLogger("x").warning("role-1 secret-of-the-role s.token-of-the-vault")
    assert json.loads(stream.getvalue())["message"] == "role-1 ******** ********"
