"""The log: its two forms, and that no secret gets into it."""

from __future__ import annotations

import base64
import io
import json
import logging
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any, get_args, get_origin
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from hpcwaas.common.scrubbing import scrubber_of
from hpcwaas.common.setting_types import Section
from hpcwaas.configuration.leaves import leaves
from hpcwaas.configuration.settings import Settings
from hpcwaas.identity.settings import Account
from hpcwaas.server import logs

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


def filled(model: type[Section], secrets: list[str], path: str = "") -> Section:
    """Settings with a secret of its own wherever one may stand."""

    def value(annotation: Any, here: str) -> Any:
        kinds = get_args(annotation) or (annotation,)
        if SecretStr in kinds:
            secrets.append(f"Secret of/{here} +1")
            return (SecretStr(secrets[-1]),) if get_origin(annotation) is tuple else SecretStr(secrets[-1])
        for kind in kinds:
            if isinstance(kind, type) and issubclass(kind, Section):
                section = filled(kind, secrets, f"{here}.")
                return (section,) if get_origin(annotation) is tuple else section
        return None

    members = {name: value(info.annotation, path + name) for name, info in model.model_fields.items()}
    wanted = {name for name, info in model.model_fields.items() if info.is_required() or members[name] is not None}
    return model.model_construct(**{name: members[name] for name in wanted})


def test_what_is_called_like_a_secret_has_the_type_of_one() -> None:
    accounts = leaves(Account, ("auth", "basic_auth", "accounts"))
    called = [leaf for leaf in (*leaves(), *accounts) if re.search(r"(password|secret|_id|token|hash|key)$", leaf.key)]
    plain = [leaf.key for leaf in called if SecretStr not in (*get_args(leaf.field.annotation), leaf.field.annotation)]
    names = ["auth.client_id", "server.tls_key", "vault_config.key_reader.role_id", "vault_config.role_id"]
    names.append("yorc.client_key")  # paths, like that of the server's own
    assert sorted(plain) == names
    assert len(called) >= 8


def test_no_secret_of_the_settings_is_forgotten() -> None:
    secrets: list[str] = []
    made = filled(Settings, secrets)
    assert isinstance(made, Settings)
    assert {"Secret of/alien_config.password +1", "Secret of/auth.client_secret +1"} < set(secrets)
    assert len(secrets) >= 7
    scrub = scrubber_of(made)
    for secret in secrets:
        basic = [base64.b64encode(f"{name}:{secret}".encode()).decode() for name in ("a", "ab", "abc", "hpcwaas")]
        # RFC 6749 has the client's id and secret encoded before they go into the header.
        basic += [base64.b64encode(f"id:{encode(secret)}".encode()).decode() for encode in (quote_plus, quote)]
        for form in (
            secret,
            f"password={quote_plus(secret)}&x=1",
            f"/login/{quote(secret, safe='')}",
            re.sub("%..", lambda code: code[0].lower(), quote(secret, safe="")),
            json.dumps({"password": secret}),
            repr({"password": secret}),
            base64.b64encode(secret.encode()).decode(),
            base64.urlsafe_b64encode(secret.encode()).decode(),
            secret.encode().hex(),
            *basic,
        ):
            masked = scrub(f"<{form}>")
            assert "********" in masked, form
            for rest in (secret[-8:], quote_plus(secret)[-10:], base64.b64encode(secret.encode()).decode()[4:14]):
                assert rest not in masked


@pytest.mark.parametrize(
    "url",
    [
        "postgresql+psycopg://hpcwaas:pa%2Fss%20word@db/hpcwaas",
        "postgresql+psycopg://db/hpcwaas?user=hpcwaas&password=pa%2Fss%20word",
        "postgresql+psycopg://db/hpcwaas?sslpassword=pa%2Fss+word",
    ],
)
def test_passwords_in_urls_are_masked(url: str) -> None:
    scrub = scrubber_of(Settings.model_validate({"store": {"url": url}}))
    for text in (f"can't connect to {url}", "authentication of pa/ss word failed", "{'password': 'pa/ss word'}"):
        masked = scrub(text)
        assert "********" in masked
        assert not re.search(r"pa/ss|pa%2F|word@|word$|word'}", masked)


def test_a_password_that_everybody_knows_is_no_secret() -> None:
    scrub = scrubber_of(Settings.model_validate({"alien_config": {"user": "admin"}}))
    assert scrub("the scope admin is missing") == "the scope admin is missing"


def test_many_secrets_and_long_texts_take_no_time() -> None:
    accounts = [
        {"username": f"user{number}", "password": f"Wolke {number:03} im Kuckucksheim"} for number in range(200)
    ]
    given = {"auth": {"auth_type": "basic", "basic_auth": {"accounts": accounts}}}
    scrub = scrubber_of(Settings.model_validate(given))
    text = base64.b64encode(bytes(range(256)) * 200).decode()
    started = time.process_time()
    assert scrub(text) == text
    assert time.process_time() - started < 1  # seconds; it takes a twentieth
    assert scrub(f"user7:{accounts[7]['password']}") == "user7:********"


def test_ordinary_base64_stays() -> None:
    scrub = scrubber_of(settings())
    text = "execution 7f3a-QWxhZGRpbjpvcGVuIHNlc2FtZQ== of /workflows/abcdefgh+ijkl/mnop"
    assert scrub(text) == text


@pytest.mark.parametrize("in_thread", [False, True])
def test_a_crash_tells_no_secret(in_thread: bool) -> None:
    program = f"""
import threading
from hpcwaas.server import logs
from hpcwaas.configuration.leaves import leaves
from hpcwaas.configuration.settings import Settings
logs.configure(Settings.model_validate({{"alien_config": {{"password": "Wolkenkuckucksheim"}}}}))
def crash():
    raise RuntimeError("can't log in with Wolkenkuckucksheim")
if {in_thread}:
    thread = threading.Thread(target=crash)
    thread.start()
    thread.join()
else:
    crash()
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stdout) == (0 if in_thread else 1, "")
    (entry,) = map(json.loads, done.stderr.splitlines())
    assert entry["level"] == "CRITICAL"
    assert "RuntimeError: can't log in with ********" in entry["exception"]
    assert "Wolkenkuckucksheim" not in done.stderr


def test_secrets_of_the_vault_are_masked() -> None:
    stream = io.StringIO()
    vault = {"role_id": "role-1", "secret_id": "secret-of-the-role", "token": "s.token-of-the-vault"}
    logs.configure(Settings.model_validate({"vault_config": vault}), stream=stream)
    logging.getLogger("x").warning("role-1 secret-of-the-role s.token-of-the-vault")
    assert json.loads(stream.getvalue())["message"] == "role-1 ******** ********"
