"""Where the configuration comes from."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from waas_cli import config
from waas_cli.errors import UsageError


def profile(home: Path, url: str, token: str = "s3cret-token") -> Path:  # noqa: S107
    path = home / ".local" / "state" / "waas" / "local.yaml"
    path.parent.mkdir(parents=True)
    path.write_text(f"api_url: {url}\naccess_token: {token}\n")
    return path


def test_default(home: Path) -> None:
    found = config.load({}, {})
    assert (found.api_url, found.user, found.access_token, found.output) == (
        "https://127.0.0.1:9090",
        None,
        None,
        "text",
    )


def test_option_beats_environment_beats_file(home: Path) -> None:
    (home / ".waas").write_text("api_url: http://file\nuser: file:pw\noutput: json\nca-file: /\n")
    environment = {"HW_API_URL": "http://environment", "HW_OUTPUT": ""}
    assert config.load({}, {}).api_url == "http://file"
    found = config.load({}, environment)
    assert (found.api_url, found.user, found.output, found.ca_file) == (
        "http://environment",
        "file:pw",
        "json",
        Path("/"),
    )
    assert config.load({"api_url": "http://option"}, environment).api_url == "http://option"


@pytest.mark.parametrize(
    ("given", "environment", "user", "token"),
    [
        ({"user": "u:p"}, {"HW_ACCESS_TOKEN": "t"}, "u:p", None),
        ({"access_token": "t"}, {"HW_USER": "u:p"}, None, "t"),
        ({}, {"HW_USER": "u:p", "HW_ACCESS_TOKEN": "t"}, None, "t"),
        ({}, {"HW_USER": "u:p"}, "u:p", None),
    ],
)
def test_credentials_are_one_setting(
    home: Path, given: dict[str, object], environment: dict[str, str], user: str | None, token: str | None
) -> None:
    (home / ".waas").write_text("access_token: from-file\n")
    found = config.load(given, environment)
    assert (found.user, found.access_token) == (user, token)


def test_secrets_are_not_shown(home: Path) -> None:
    assert "pa55word" not in repr(config.load({"user": "u:pa55word"}, {})) + repr(
        config.load({"access_token": "pa55word"}, {})
    )


@pytest.mark.parametrize(
    ("given", "url"),
    [
        ("127.0.0.1:29190", "https://127.0.0.1:29190"),
        ("http://127.0.0.1:29190/", "http://127.0.0.1:29190"),
        ("https://host/waas/", "https://host/waas"),
        ("http://[::1]:9090", "http://[::1]:9090"),
    ],
)
def test_addresses(home: Path, given: str, url: str) -> None:
    assert config.load({"api_url": given}, {}).api_url == url


@pytest.mark.parametrize(
    "url", ["thisIsBad!!!", "ftp://host", "http://", "http://host:port", "http://host?x=1", "http://[:"]
)
def test_bad_addresses(home: Path, url: str) -> None:
    with pytest.raises(UsageError, match="Malformed API URL"):
        config.load({"api_url": url}, {})


def test_credentials_in_the_address_are_refused_and_not_shown(home: Path) -> None:
    with pytest.raises(UsageError) as failure:
        config.load({"api_url": "https://alice:secret@host"}, {})
    assert "secret" not in failure.value.message


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "No such file"),
        ("user: [secret\n", "line 2: it isn't valid YAML"),
        ("- a\n", "must hold lines such as"),
        ("\x80", "isn't"),
        ("skip_tls_verify: perhaps\n", "must be true or false"),
        ("ca_file: /nowhere/ca.pem\n", "names /nowhere/ca.pem, which doesn't exist"),
        ("key_file: /\n", "key_file is given without cert_file"),
        ("output: xml\n", "The output format is one of"),
    ],
)
@pytest.mark.parametrize("suffix", ["", ".yml"])
def test_a_broken_or_missing_file_is_an_error(
    waas: Any, service: Any, home: Path, content: str | None, message: str, suffix: str
) -> None:
    path = home / f"cfg{suffix}"
    if content is not None:
        path.write_text(content, encoding="latin-1")
    result = waas("workflows", "list", "--config", str(path), "--api_url", service.url, "-u", "alice:alicepw")
    assert (result.code, result.out) == (2, "")
    assert message in result.err
    assert str(path) in result.err or "key_file" in message
    assert "secret" not in result.err


@pytest.mark.parametrize("name", [".waas", "c.yml", "cfg"])
def test_the_file_is_used_and_not_talked_about(waas: Any, service: Any, home: Path, name: str) -> None:
    (home / name).write_text(f"api_url: {service.url}\nuser: alice:alicepw\noutput: json\n")
    result = waas("workflows", "list", *([] if name == ".waas" else ["--config", str(home / name)]))
    assert (result.code, result.err) == (0, "")
    assert result.json == service.workflows


def test_environment_wins_over_the_file_and_an_option_over_both(
    waas: Any, service: Any, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (home / ".waas").write_text(f"api_url: {service.url}\nuser: alice:alicepw\n")
    monkeypatch.setenv("HW_USER", "alice:bad")
    assert waas("workflows", "list").code == 6
    assert waas("workflows", "list", "-u", "alice:alicepw").code == 0


def test_an_unknown_key_is_named(waas: Any, service: Any, home: Path) -> None:
    (home / ".waas").write_text(f"api_url: {service.url}\nuser: alice:alicepw\napiurl: x\n")
    result = waas("workflows", "list")
    assert result.code == 0
    assert "'apiurl' is unknown" in result.err


def test_local_profile(waas: Any, service: Any, home: Path) -> None:
    profile(home, service.url)
    assert waas("workflows", "list", "-o", "json").json == service.workflows


def test_local_profile_elsewhere(waas: Any, service: Any, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(home / ".local" / "state"))
    profile(home, service.url)
    monkeypatch.setenv("HOME", str(home / "other"))
    assert waas("workflows", "list").code == 0


@pytest.mark.parametrize(
    ("given", "environment", "file"),
    [
        ({"api_url": "http://other"}, {}, ""),
        ({"user": "alice:x"}, {}, ""),
        ({}, {"HW_ACCESS_TOKEN": "mine"}, ""),
        ({}, {}, "api_url: http://other\n"),
        ({}, {}, "user: alice:x\n"),
    ],
)
def test_the_profile_counts_as_a_whole_or_not_at_all(
    home: Path, given: dict[str, object], environment: dict[str, str], file: str
) -> None:
    """Its token never travels to an address from somewhere else."""
    profile(home, "http://local:1", "local-token")
    (home / ".waas").write_text(file)
    found = config.load(given, environment)
    assert found.access_token != "local-token"
    assert found.api_url != "http://local:1"


def test_a_local_service_that_has_ended(waas: Any, home: Path) -> None:
    profile(home, "http://127.0.0.1:1")
    result = waas("workflows", "list")
    assert result.code == 1
    assert "http://127.0.0.1:1" in result.err
    assert "Start it again" in result.err


def test_a_broken_profile(waas: Any, home: Path) -> None:
    path = profile(home, "")
    result = waas("workflows", "list")
    assert result.code == 2
    assert str(path) in result.err


def test_no_terminal_to_ask_for_the_password(service: Any, home: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", "from waas_cli.main import main; main()", "w", "-u", "alice", "--api_url", service.url],
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        start_new_session=True,
        timeout=60,
        check=False,
        env=os.environ,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert 'There is no password for the user "alice", and no terminal to ask for it' in done.stderr
    assert "HW_USER" in done.stderr
