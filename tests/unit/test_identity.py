from __future__ import annotations

import base64
import os
import pwd
import stat
from pathlib import Path

import pytest

from hpcwaas.core.ports.identity import Method
from hpcwaas.errors import ConfigurationError
from hpcwaas.identity.local import LocalIdentity, load_or_create_token

HERE = "192.0.2.1"
STRANGE = ["", "\ud800", "\0", "é", "x" * 100_000]


class TestLocal:
    TOKEN = "cZ3kq-_0123456789abcdefghijklmnopqrstuvwxyz"

    @pytest.fixture
    def identity(self) -> Method:
        return LocalIdentity(self.TOKEN)

    def test_the_user_is_the_account_that_the_service_runs_as(self, identity: Method) -> None:
        user = identity.bearer(self.TOKEN, HERE)
        assert user is not None
        assert user.subject == user.name == pwd.getpwuid(os.getuid()).pw_name
        assert "user" in user.roles

    def test_an_account_without_a_name(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(os, "getuid", lambda: 2**31 - 7)
        user = LocalIdentity(self.TOKEN).bearer(self.TOKEN, HERE)
        assert user is not None
        assert user.subject == f"uid-{2**31 - 7}"

    @pytest.mark.parametrize("length", [41, 42, 43])  # base64 of them has two, no and one `=`
    def test_the_token_plain_and_in_base64_with_and_without_padding(self, length: int) -> None:
        token = self.TOKEN[:length]
        identity = LocalIdentity(token)
        encoded = base64.b64encode(token.encode()).decode()
        for given in (token, encoded, encoded.rstrip("=")):
            assert identity.bearer(given, HERE) is not None
            assert identity.basic("whoever", given, HERE) is not None

    @pytest.mark.parametrize("token", [TOKEN[:-1], TOKEN + "x", TOKEN.upper(), *STRANGE])
    def test_wrong_tokens(self, identity: Method, token: str) -> None:
        assert identity.bearer(token, HERE) is None
        assert identity.basic("alice", token, HERE) is None
        assert identity.bearer(base64.b64encode(token.encode(errors="surrogatepass")).decode(), HERE) is None


class TestToken:
    def test_made_once_and_kept(self, tmp_path: Path) -> None:
        path = tmp_path / "token"
        token = load_or_create_token(path)
        assert len(base64.urlsafe_b64decode(token + "=")) == 32
        assert load_or_create_token(path) == token
        assert load_or_create_token(tmp_path / "other") != token
        assert stat.S_IMODE(path.stat().st_mode) == 0o600

    @pytest.mark.parametrize("content", [b"", b"short", b"with a space in the middle of the token", b"\xff" * 43])
    def test_an_unusable_token_is_refused(self, tmp_path: Path, content: bytes) -> None:
        path = tmp_path / "token"
        path.touch(mode=0o600)
        path.write_bytes(content)
        with pytest.raises(ConfigurationError):
            load_or_create_token(path)

    def test_a_file_open_to_others_is_refused(self, tmp_path: Path) -> None:
        path = tmp_path / "token"
        load_or_create_token(path)
        path.chmod(0o644)
        with pytest.raises(ConfigurationError, match="chmod 600"):
            load_or_create_token(path)
