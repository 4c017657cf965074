"""No configuration is read that somebody else can have written, and the data directory is the service's alone."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from hpcwaas.configuration.checks import make_data_dir
from hpcwaas.configuration.load import read
from hpcwaas.configuration.settings import Settings
from hpcwaas.errors import ConfigurationError

SHARED = """\
auth: {auth_type: basic, basic_auth: {accounts: [{username: alice, password: "alice's password"}]}}
"""


def written(path: Path, text: str = SHARED, mode: int = 0o600) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"{text}data_dir: {path.parent.parent / 'data'}\n")
    path.chmod(mode)
    return path


def refusal(path: Path) -> str:
    with pytest.raises(ConfigurationError) as caught:
        read(path, {}, {})
    return str(caught.value)


def test_a_file_that_others_can_write_is_refused(tmp_path: Path) -> None:
    assert "others can write it; `chmod go-w" in refusal(written(tmp_path / "etc" / "a.yml", mode=0o620))
    file = written(tmp_path / "open" / "b.yml")
    file.parent.chmod(0o777)
    assert f"others can write the directory {file.parent}" in refusal(file)
    file.parent.chmod(0o1777)  # as /tmp: nobody else can replace it
    assert read(file, {}, {}).settings.auth


def test_a_file_where_executions_write_is_refused_in_home_too(tmp_path: Path) -> None:
    written(tmp_path / "data" / ".hpcwaas-api.yaml")
    with pytest.raises(ConfigurationError, match="it is in data_dir"):
        read(None, {"HOME": str(tmp_path / "data")}, {})
    file = written(tmp_path / "scratch" / "a.yml", SHARED + f"cwl: {{writable: ['{tmp_path / 'scratch'}']}}\n")
    assert "it is in cwl.writable" in refusal(file)


def test_a_file_or_data_directory_of_another_account_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = written(tmp_path / "etc" / "a.yml")
    (tmp_path / "data").mkdir()
    ours = os.geteuid()
    if ours == 0:  # what belongs to root is trusted
        for path in (file, tmp_path / "data"):
            os.chown(path, 12345, 12345)
        ours = 12345
    monkeypatch.setattr(os, "geteuid", lambda: 54321)
    found = refusal(file)
    assert f"it belongs to the account with the number {ours}" in found
    assert f"belongs to another account (number {ours})" in found


def test_secrets_that_everybody_can_read_are_told(tmp_path: Path) -> None:
    (warning,) = read(written(tmp_path / "etc" / "a.yml", mode=0o644), {}, {}).warnings
    assert "contains secrets, and everybody on this machine can read it" in warning
    assert read(written(tmp_path / "etc" / "b.yml"), {}, {}).warnings == ()
    everybody_knows = written(tmp_path / "etc" / "c.yml", "alien_config: {user: admin}\n", 0o644)
    assert read(everybody_knows, {}, {}).warnings == ()  # the default password is no secret


def test_the_local_mode_is_warned_only(tmp_path: Path) -> None:
    found = read(written(tmp_path / "etc" / "a.yml", "", 0o666), {}, {})
    assert found.settings.local
    assert "others can write it" in found.warnings[0]


def test_an_open_data_directory_is_closed(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir(mode=0o755)
    make_data_dir(Settings.model_validate({"data_dir": tmp_path / "data"}))
    assert stat.S_IMODE((tmp_path / "data").stat().st_mode) == 0o700
