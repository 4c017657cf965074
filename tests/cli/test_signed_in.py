"""Staying signed in, and signing out."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from waas_cli import config
from waas_cli.client import Client
from waas_cli.credentials import Credentials, Login
from waas_cli.errors import ExitCode, Unreachable, UsageError, WaasError

from tests.cli.identity import keep, kept

WAAS = [sys.executable, "-c", "from waas_cli.main import main; main()"]


def test_the_sign_in_goes_nowhere_else(waas: Any, service: Any, home: Path) -> None:
    keep(home, "http://127.0.0.1:1", service.identity.session())
    result = waas("whoami", "--api_url", service.url)
    assert result.code == 6
    assert f"Sign in: waas login --api_url {service.url}" in result.err
    assert "Authorization" not in service.requests[-1].headers


def test_precedence(home: Path) -> None:
    profile = home / ".local" / "state" / "waas" / "local.yaml"
    keep(home, "http://one", {"access_token": "a1", "refresh_token": "r1"})
    keep(home, "http://two", {"access_token": "a2", "refresh_token": "r2"}, default=False)
    profile.write_text("api_url: http://local\naccess_token: l\n")

    def found(given: dict[str, object], environment: dict[str, str]) -> tuple[str, str | None]:
        loaded = config.load(given, environment)
        return loaded.api_url, loaded.login.access_token if loaded.login else loaded.access_token or loaded.user

    assert found({}, {}) == ("http://one", "a1")
    assert found({"api_url": "http://two"}, {}) == ("http://two", "a2")
    assert found({}, {"HW_API_URL": "http://two/"}) == ("http://two", "a2")
    assert found({"api_url": "http://three"}, {}) == ("http://three", None)
    assert found({"user": "u:p"}, {}) == ("http://one", "u:p")
    assert found({}, {"HW_ACCESS_TOKEN": "t", "HW_API_URL": "http://two"}) == ("http://two", "t")
    (home / ".waas").write_text("api_url: http://two\naccess_token: file\n")
    assert found({}, {}) == ("http://two", "file")
    (home / ".waas").unlink()
    Credentials(profile.parent).update("http://one", lambda _: None)
    assert found({}, {}) == ("http://local", "l")
    assert "a2" not in repr(config.load({"api_url": "http://two"}, {}))


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o602])
def test_a_file_that_others_can_read(waas: Any, service: Any, home: Path, mode: int) -> None:
    keep(home, service.url, service.identity.session())
    kept(home).chmod(mode)
    for words in (["whoami"], ["logout"], ["login"]):
        result = waas(*words)
        assert (result.code, result.out) == (2, "")
        assert "chmod 600" in result.err
    assert service.requests == []
    assert waas("--help").code == 0


@pytest.mark.parametrize("content", ["", "[]", '{"logins": {"x": {}}, "default": null}', "\x00", "{" * 100_000, "7"])
def test_a_damaged_file(waas: Any, home: Path, content: str) -> None:
    kept(home).parent.mkdir(parents=True)
    kept(home).write_text(content)
    kept(home).chmod(0o600)
    result = waas("whoami")
    assert (result.code, result.out) == (2, "")
    assert "is damaged" in result.err


def test_what_is_about_to_end_is_renewed_before(waas: Any, service: Any, home: Path) -> None:
    first = keep(home, service.url, service.identity.session(), life=59)
    result = waas("workflows", "list", "-o", "json", "--debug")
    assert result.json == service.workflows
    assert "s3cret" not in result.err
    assert service.identity.renewals == 1
    assert [each.path for each in service.requests] == ["/auth/token", "/workflows"]
    second = Credentials(kept(home).parent).find(service.url)
    assert second
    assert second.refresh_token != first.refresh_token
    assert waas("workflows", "list").code == 0
    assert service.identity.renewals == 1


def test_what_counts_no_longer_is_renewed_once(waas: Any, service: Any, home: Path, tmp_path: Path) -> None:
    login = keep(home, service.url, service.identity.session())
    service.identity.access.discard(login.access_token)
    (tmp_path / "notes.txt").write_bytes(b"x" * 100_000)
    uploaded = waas("files", "upload", str(tmp_path / "notes.txt"), "-o", "json")
    assert uploaded.code == 0
    assert uploaded.json[0]["size"] == 100_000
    assert service.identity.renewals == 1
    service.identity.access.clear()
    service.identity.refresh.clear()
    result = waas("workflows", "list")
    assert (result.code, result.out) == (6, "")
    assert f"Your sign-in at {service.url} has ended." in result.err
    assert "Sign in again: waas login\n" in result.err
    assert len(service.sent("POST", "/auth/token")) == 2


def test_commands_that_run_at_once_renew_once(service: Any, home: Path) -> None:
    service.identity.slow = 0.3
    keep(home, service.url, service.identity.session(), life=0)
    line = [*WAAS, "whoami", "-o", "json"]
    with ThreadPoolExecutor() as pool:
        ends = [
            pool.submit(subprocess.run, line, capture_output=True, text=True, timeout=60, check=False) for _ in range(6)
        ]
        for end in ends:
            assert (end.result().returncode, end.result().stderr) == (0, "")
    assert service.identity.renewals == 1
    assert len(service.sent("POST", "/auth/token")) == 1


def test_threads_renew_once(service: Any, home: Path) -> None:
    service.identity.slow = 0.1
    login = keep(home, service.url, service.identity.session())
    service.identity.access.discard(login.access_token)
    barrier = threading.Barrier(8)

    def ask(_: int) -> str:
        client = Client(config.load({}, {}), note=print)
        barrier.wait()
        subject: str = client.ask("GET", "/whoami")["subject"]
        return subject

    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(ask, range(8))) == {"alice"}
    assert service.identity.renewals == 1


@pytest.mark.parametrize("trouble", ["drop", 503, 429])
def test_trouble_while_renewing_keeps_the_tokens(waas: Any, service: Any, home: Path, trouble: int | str) -> None:
    keep(home, service.url, service.identity.session(), life=0)
    before = kept(home).read_bytes()
    service.trouble = [("POST", "/auth/token", trouble, {})]
    result = waas("workflows", "list")
    assert (result.code, result.out) == (1, "")
    assert kept(home).read_bytes() == before
    assert waas("workflows", "list").code == 0


def test_a_service_that_is_away_while_renewing(waas: Any, home: Path) -> None:
    keep(home, "http://127.0.0.1:1", {"access_token": "a", "refresh_token": "r"}, life=0)
    result = waas("workflows", "list")
    assert (result.code, result.out) == (1, "")
    assert f"Can't connect to http://127.0.0.1:1 (from your sign-in in {kept(home)})" in result.err
    assert Credentials(kept(home).parent).find("http://127.0.0.1:1")


def test_following_outlasts_the_end_of_a_token(waas: Any, service: Any, home: Path) -> None:
    execution = service.add(("RUNNING", []), ("RUNNING", [("INFO", "one")]), ("SUCCEEDED", [("INFO", "two")]))
    service.identity.life = 59  # every one is about to end
    keep(home, service.url, service.identity.session(), life=0)
    service.trouble = [("POST", "/auth/token", 503, {})]
    assert waas("executions", "logs", execution).code == 1
    result = waas("executions", "logs", execution, "--follow")
    assert result.code == 0
    assert [line.rpartition(" ")[2] for line in result.out.splitlines()] == ["one", "two"]
    assert service.identity.renewals > 2


def test_a_disk_that_is_full(home: Path) -> None:
    """What can't be kept is said, and leaves nothing behind."""
    directory = kept(home).parent
    credentials = Credentials(directory)
    credentials.update("http://one", lambda _: Login("a", 0.0, "r"), default=True)
    code = (
        "import resource, signal, sys\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))\n"
        "from pathlib import Path\n"
        "from waas_cli.credentials import Credentials, Login\n"
        "from waas_cli.errors import WaasError\n"
        "try: Credentials(Path(sys.argv[1])).update('http://one', lambda _: Login('s3cret' * 50, 0.0, 'r'))\n"
        "except WaasError as failure: print(failure.message)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(directory)], capture_output=True, text=True, timeout=60, check=True
    )
    assert f"Can't keep your sign-in in {directory}" in done.stdout
    assert "s3cret" not in done.stdout + done.stderr
    assert credentials.find("http://one") == Login("a", 0.0, "r")
    assert {file.name for file in directory.iterdir()} == {"credentials.json", "credentials.lock"}


def test_logout(waas: Any, service: Any, home: Path) -> None:
    keep(home, service.url, service.identity.session(), life=0)
    keep(home, "http://elsewhere", {"access_token": "a", "refresh_token": "r"}, default=False)
    result = waas("logout", "--debug")
    assert (result.code, result.out) == (0, f"SUCCESS: Signed out of {service.url}\n")
    assert "s3cret" not in result.err
    assert service.identity.refresh == {}
    assert service.identity.access == {"s3cret-token"}
    assert list(json.loads(kept(home).read_text())["logins"]) == ["http://elsewhere"]
    again = waas("logout", "--api_url", service.url)
    assert (again.code, again.out) == (0, "")
    assert "aren't signed in" in again.err


def test_logout_of_a_personal_access_token(waas: Any, service: Any, home: Path) -> None:
    assert waas("login", "--api_url", service.url, "-u", "alice:alicepw").code == 0
    assert len(service.identity.tokens) == 1
    assert waas("logout").code == 0
    assert service.identity.tokens == {}


@pytest.mark.parametrize("life", [0.0, 3600.0])
def test_logout_when_the_service_is_away(waas: Any, home: Path, life: float) -> None:
    keep(home, "http://127.0.0.1:1", {"access_token": "a", "refresh_token": "r"}, life=life)
    result = waas("logout")
    assert (result.code, result.out) == (0, "")
    assert "Can't connect" in result.err
    assert "may accept it until it expires" in result.err
    assert json.loads(kept(home).read_text()) == {"default": None, "logins": {}}


def test_logout_of_what_has_ended(waas: Any, service: Any, home: Path) -> None:
    keep(home, service.url, {"access_token": "unknown", "refresh_token": "unknown"})
    assert waas("logout").code == 0
    assert Credentials(kept(home).parent).find(service.url) is None


@pytest.mark.parametrize("life", [0.0, 3600.0])
def test_logout_everywhere(waas: Any, service: Any, home: Path, life: float) -> None:
    service.identity.session()  # of a laptop that is lost
    keep(home, service.url, service.identity.session(), life=life)
    result = waas("logout", "--everywhere")
    assert (result.code, result.out) == (0, f"SUCCESS: Signed out of {service.url} everywhere\n")
    assert (service.identity.access, service.identity.refresh) == (set(), {})
    assert Credentials(kept(home).parent).find(service.url) is None
    again = waas("logout", "--everywhere", "--api_url", service.url)
    assert (again.code, again.out) == (6, "")
    assert "Sign in first, then sign out everywhere." in again.err


def test_logout_everywhere_needs_more_than_a_personal_access_token(waas: Any, service: Any, home: Path) -> None:
    assert waas("login", "--api_url", service.url, "-u", "alice:alicepw").code == 0
    refused = waas("logout", "--everywhere")
    assert (refused.code, refused.out) == (6, "")
    assert "personal access token" in refused.err
    assert "waas tokens list --user NAME" in refused.err
    assert len(service.identity.tokens) == 1
    assert waas("whoami").code == 0


@pytest.mark.parametrize(("place", "code"), [("away", 1), ("ended", 6)])
def test_logout_everywhere_that_fails_is_not_forgotten(
    waas: Any, service: Any, home: Path, place: str, code: int
) -> None:
    url = "http://127.0.0.1:1" if place == "away" else service.url
    keep(home, url, {"access_token": "a", "refresh_token": "r"})
    result = waas("logout", "--everywhere")
    assert (result.code, result.out) == (code, "")
    assert Credentials(kept(home).parent).find(url) is not None


def test_signed_out_meanwhile(service: Any, home: Path) -> None:
    keep(home, service.url, service.identity.session(), life=0)
    client = Client(config.load({}, {}), note=print)
    Credentials(kept(home).parent).update(service.url, lambda _: None)
    with pytest.raises(WaasError, match="has ended") as failure:
        client.ask("GET", "/whoami")
    assert failure.value.code == ExitCode.UNAUTHORIZED
    assert not isinstance(failure.value, Unreachable)


def test_whoami(alice: Any) -> None:
    result = alice("whoami")
    assert (result.code, result.err) == (0, "")
    rows = dict(line.split("\t") for line in result.out.splitlines())
    assert rows["User"] == "alice"
    assert rows["Groups"] == "climate, ocean"
    assert rows["Unfinished executions"] == "2 of 100"
    assert rows["Stored data"] == "1.3 kB of 107.4 GB"
    assert rows["Requests in the last minute"] == "3, no limit"
    assert alice("whoami", "-o", "json").json["limits"]["stored"] == {"used": 1322, "limit": 107374182400}


def test_an_unreadable_directory_is_named(home: Path) -> None:
    kept(home).mkdir(parents=True)
    with pytest.raises(UsageError, match=r"Can't read .*credentials\.json"):
        config.load({}, {})
