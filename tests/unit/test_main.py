"""The command `hpcwaas-api` without serving."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from hpcwaas import __version__
from hpcwaas.command.main import main
from hpcwaas.server import local_mode as local


@pytest.fixture(autouse=True)
def _own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "share"))
    monkeypatch.setattr("hpcwaas.configuration.load.SYSTEM_FILE", tmp_path / "etc.yml")


def call(*arguments: str) -> Result:
    return CliRunner().invoke(main, arguments)


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys, hpcwaas.command.main; print([it for it in ('pydantic', 'yaml', 'gunicorn') if it in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == "[]"


def test_help_shows_what_can_be_used_only() -> None:
    shown = call("--help").output
    assert "--listen_address" in shown
    assert "--a4c_address" in shown


def test_version() -> None:
    assert __version__ in call("--version").output


def test_check_says_ok_and_makes_nothing(tmp_path: Path) -> None:
    result = call("config", "check")
    assert (result.exit_code, result.output) == (0, "OK\n")
    assert list(tmp_path.iterdir()) == []


def test_check_names_every_problem() -> None:
    result = call("--listen_address", "0.0.0.0:0", "config", "check", "--cwl-catalogue", "/nowhere")
    assert result.exit_code == 1
    assert result.stdout == ""
    first, *others = result.stderr.splitlines()
    assert first == "hpcwaas-api: 2 problems with the configuration:"
    assert [line.split(":")[0].strip() for line in others] == ["listen_address", "cwl.catalogue"]


def test_one_problem_is_one_line() -> None:
    result = call("--a4c-password", "geheim", "--a4c-address", "ftp://x", "config", "check")
    assert result.exit_code == 1
    assert len(result.stderr.splitlines()) == 1
    assert "geheim" not in result.stderr


def test_the_service_starts_with_nothing_that_check_refuses() -> None:
    result = call("-l", "0.0.0.0:0")
    assert result.exit_code == 1
    assert result.stderr.startswith("hpcwaas-api: listen_address: 0.0.0.0:0 can be reached")


@pytest.mark.parametrize("arguments", [["--data_dir", "x", "config", "show"], ["config", "show", "--data-dir", "x"]])
def test_flags_before_and_after_the_command(
    arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert f"data_dir: {tmp_path}/x  # flag --data_dir\n" in call(*arguments).output


def test_database_commands(tmp_path: Path) -> None:
    none = call("db", "current")
    assert (none.exit_code, none.output) == (1, "none: run `hpcwaas-api db upgrade`\n")
    assert list(tmp_path.iterdir()) == []
    assert "upgraded from nothing" in call("db", "upgrade").output
    assert "was up to date" in call("db", "upgrade").output
    current = call("db", "current")
    assert (current.exit_code, "up to date" in current.output) == (0, True)


def test_profile_lies_where_the_client_looks(tmp_path: Path) -> None:
    assert local.profile_path({"XDG_STATE_HOME": "/state"}) == Path("/state/waas/local.yaml")
    for environ in ({}, {"XDG_STATE_HOME": ""}, {"XDG_STATE_HOME": "relative"}):
        assert local.profile_path(environ) == tmp_path / ".local/state/waas/local.yaml"


def test_check_tells_of_secrets_on_the_command_line() -> None:
    vault = ("--vault_role_id", "r", "--vault-secret-id", "geheim-1", "--a4c_password", "geheim-2")
    result = call(*vault, "config", "check")
    assert (result.exit_code, result.stdout) == (0, "OK\n")
    flags = [line.split(": ")[1] for line in result.stderr.splitlines()]
    assert flags == ["--a4c_password", "--vault_secret_id", "vault_config.unrecorded_keys"]
    assert "HWA_VAULT_CONFIG_SECRET_ID" in result.stderr
    assert "geheim" not in result.output


def test_check_tells_what_becomes_of_keys_of_the_service_before(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HWA_VAULT_CONFIG_ROLE_ID", "r")
    monkeypatch.setenv("HWA_VAULT_CONFIG_SECRET_ID", "s")
    assert call("config", "check").stderr == ""  # no site of that service
    monkeypatch.setenv("HWA_ALIEN_CONFIG_USER", "u")
    assert (
        "unrecorded_keys: SSH keys that the service before this one made are refused" in call("config", "check").stderr
    )
    monkeypatch.setenv("HWA_VAULT_CONFIG_UNRECORDED_KEYS", "refuse")
    assert call("config", "check").stderr == ""
    monkeypatch.setenv("HWA_VAULT_CONFIG_UNRECORDED_KEYS", "accept")
    assert "anybody who knows the id" in call("config", "check").stderr


def test_the_token_is_shown_at_a_terminal_only(tmp_path: Path) -> None:
    data = tmp_path / "my data"
    shown = local.welcome("http://127.0.0.1:9090", "s3cret", data, data / "local-token")
    assert shown.count("s3cret") == 2
    kept = local.welcome("http://127.0.0.1:9090", None, data, data / "local-token")
    assert f"export HW_ACCESS_TOKEN=$(cat '{tmp_path}/my data/local-token')\n" in kept
    assert f"the token in {tmp_path}/my data/local-token" in kept
