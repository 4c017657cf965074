"""`waas config`, and profiles for several services."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from waas_cli import config
from waas_cli.errors import UsageError

URL = "https://waas.example.org"
TOKEN = "hpcwaas_pat_s3cret"


@pytest.fixture
def kept(home: Path) -> Path:
    return home / ".config" / "waas" / "profiles"


def test_a_profile_is_made_used_and_listed(waas: Any, home: Path, kept: Path) -> None:
    assert waas("--profile", "mare", "config", "set", f"api_url={URL}", "output=text").code == 0
    assert (kept / "mare.yaml").stat().st_mode & 0o777 == 0o600
    assert waas("config", "profiles").out == f"mare\t{URL}\t\n"
    assert waas("config", "use", "mare").code == 0
    assert waas("config", "profiles", "-o", "json").json == [{"name": "mare", "api_url": URL, "used": True}]
    assert waas("config", "get", "api_url").out == f"{URL}\n"
    assert waas("config", "use").code == 0
    assert waas("config", "get", "api-url").code == 5
    assert waas("--profile", "mare", "config", "get", "api_url").out == f"{URL}\n"


def test_without_a_profile_the_file_of_ever_is_changed_and_its_other_lines_stay(waas: Any, home: Path) -> None:
    (home / ".waas").write_text("# my service\napi-url: http://old  # this one\nuser: 'alice:pw'\n")
    assert waas("config", "set", "api_url", URL).code == 0
    assert (home / ".waas").read_text() == f"# my service\nuser: 'alice:pw'\napi_url: \"{URL}\"\n"
    assert (home / ".waas").stat().st_mode & 0o777 == 0o600
    assert waas("config", "set", "user=").code == 0
    assert config.load({}, {}).user is None


def test_secrets_come_from_stdin_and_are_never_shown(
    waas: Any, home: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("sys.stdin", (tmp_path / "in").open("w+"))
    import sys

    sys.stdin.write(f"{TOKEN}\n")
    sys.stdin.seek(0)
    assert waas("config", "set", f"api_url={URL}", "access_token").code == 0
    sys.stdin.close()
    assert config.load({}, {}).access_token == TOKEN
    for arguments in (("config", "get"), ("config", "get", "access_token"), ("config", "get", "-o", "yaml")):
        result = waas(*arguments)
        assert "***" in result.out
        assert TOKEN not in result.out + result.err
    assert TOKEN not in repr(config.load({}, {}))
    warned = waas("config", "set", f"access_token={TOKEN}")
    assert "list of processes" in warned.err
    assert TOKEN not in warned.out + warned.err


def test_a_password_is_masked(waas: Any, home: Path) -> None:
    (home / ".waas").write_text("user: alice:pw:d\n")
    assert waas("config", "get", "user").out == "alice:***\n"


def test_credentials_of_a_profile_go_to_its_own_address_only(waas: Any, home: Path, kept: Path) -> None:
    kept.mkdir(parents=True)
    path = kept / "mare.yaml"
    path.write_text(f"api_url: {URL}/\naccess_token: {TOKEN}\n")
    path.chmod(0o600)
    assert config.load({"profile": "mare"}, {}).access_token == TOKEN
    for given, variables in (
        ({"profile": "mare", "api_url": "https://other"}, {}),
        ({}, {"HW_PROFILE": "mare", "HW_API_URL": "https://other"}),
    ):
        found = config.load(given, variables)
        assert (found.api_url, found.access_token, found.user) == ("https://other", None, None)
        assert "aren't used" in found.warnings[0]
    path.write_text(f"access_token: {TOKEN}\n")
    assert config.load({"profile": "mare"}, {}).access_token is None


def test_a_profile_takes_the_place_of_the_file(home: Path, kept: Path) -> None:
    (home / ".waas").write_text("access_token: of-another-service\noutput: json\n")
    kept.mkdir(parents=True)
    (kept / "mare.yaml").write_text(f"api_url: {URL}\n")
    found = config.load({"profile": "mare"}, {})
    assert (found.api_url, found.access_token, found.output) == (URL, None, "text")


def test_a_profile_with_secrets_that_others_can_read_is_refused(home: Path, kept: Path) -> None:
    kept.mkdir(parents=True)
    (kept / "mare.yaml").write_text(f"api_url: {URL}\naccess_token: {TOKEN}\n")
    (kept / "mare.yaml").chmod(0o640)
    with pytest.raises(UsageError, match="Others can read") as caught:
        config.load({"profile": "mare"}, {})
    assert TOKEN not in str(caught.value)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["config", "use", "nowhere"], 'There is no profile "nowhere"'),
        (["--profile", "../x", "config", "set", "output=json"], "can't be the name"),
        (["--profile", "nowhere", "whoami"], "can't be read"),
        (["--profile", "a", "--config", "b", "whoami"], "Both a configuration file and a profile"),
        (["config", "set", "adress=x"], 'There is no key "adress"'),
        (["config", "set", "api_url=ftp://x"], "Malformed API URL"),
        (["config", "set", "output=xml"], "output format"),
        (["config", "set", "debug=perhaps"], "true or false"),
        (["config", "get", "colour"], 'There is no key "colour"'),
    ],
)
def test_what_is_wrong_is_refused(waas: Any, home: Path, kept: Path, arguments: list[str], says: str) -> None:
    result = waas(*arguments)
    assert result.code == 2
    assert says in result.err
    assert not (home / ".waas").exists()
    assert not kept.exists()


def test_a_file_that_is_not_made_of_lines_stays_as_it_is(waas: Any, home: Path) -> None:
    text = "{api_url: http://old,\n user: alice}\n"
    (home / ".waas").write_text(text)
    assert waas("config", "set", "output=json").code == 2
    assert (home / ".waas").read_text() == text


def test_a_broken_file_can_be_left(waas: Any, home: Path, kept: Path) -> None:
    kept.mkdir(parents=True)
    (kept / "mare.yaml").write_text(f"api_url: {URL}\n")
    assert waas("config", "use", "mare").code == 0
    (kept / "mare.yaml").unlink()
    assert waas("workflows").code == 2
    assert waas("config", "use", "-o", "text").code == 0
    assert waas("config", "get").code == 0
