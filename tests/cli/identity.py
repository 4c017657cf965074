"""Who is who at the small service: signing in, tokens, shares."""

from __future__ import annotations

import base64
import hashlib
import itertools
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from waas_cli.credentials import Credentials, Login

from tests.cli.wire import NOT_FOUND, Answer, Request, check, problem

PASSWORD = "Basic " + base64.b64encode(b"alice:alicepw").decode()


@dataclass
class Attempt:
    redirect_uri: str
    challenge: str


@dataclass
class IdentityStub:
    """Knows alice by a password, a token from nowhere, and what it has issued itself. Single sign-on lets alice in.

    Attributes:
        life: seconds that access tokens count.
        access: what is issued and counts; refresh tokens count once.
        renewals: how often somebody renewed.
        refuse: what single sign-on says instead of letting in.
        device_answers: what polls get before the tokens.
    """

    executions: dict[str, Any]
    methods: list[str] = field(default_factory=lambda: ["basic", "sso"])
    life: int = 3600
    interval: int = 1
    roles: list[str] = field(default_factory=lambda: ["user"])
    longest_days: int = 365
    access: set[str] = field(default_factory=lambda: {"s3cret-token"})
    refresh: dict[str, str] = field(default_factory=dict)
    renewals: int = 0
    slow: float = 0.0
    refuse: str | None = None
    attempts: dict[str, Attempt] = field(default_factory=dict)
    device_answers: list[str] = field(default_factory=list)
    tokens: dict[str, dict[str, Any]] = field(default_factory=dict)
    secrets: dict[str, str] = field(default_factory=dict)
    shares: dict[str, dict[str, Any]] = field(default_factory=dict)
    numbers: Any = field(default_factory=lambda: itertools.count(1))
    lock: Any = field(default_factory=threading.Lock)

    def knows(self, request: Request) -> bool:
        """Whether the credentials are right."""
        header = request.headers.get("Authorization", "")
        token = header.removeprefix("Bearer ")
        return header == PASSWORD or token in self.access or token in self.secrets

    def public(self, request: Request) -> Answer | None:
        """Answers whoever asks; None when it is nothing for everybody."""
        match (request.method, request.path):
            case ("GET", "/auth/methods"):
                return 200, check("AuthMethods", {"methods": self.methods}), {}
            case ("GET", "/auth/login"):
                return self._login(request.query)
            case ("POST", "/auth/device"):
                check("DeviceRequest", request.form)
                return 200, check("DeviceAnswer", self._device()), {}
            case ("POST", "/auth/token"):
                assert "Authorization" not in request.headers
                with self.lock:
                    status, answer = self._token(check("TokenRequest", request.form))
                return status, check("TokenAnswer" if status == 200 else "TokenRefusal", answer), {}
        return None

    def private(self, request: Request) -> Answer | None:
        """Answers who has signed in; None when it is about something else."""
        token = request.headers.get("Authorization", "").removeprefix("Bearer ")
        match (request.method, request.path.strip("/").split("/")):
            case ("GET", ["whoami"]):
                return 200, check("Whoami", self._whoami()), {}
            case ("POST", ["auth", "logout"]) if request.query.get("everywhere") == "true":
                if token in self.secrets:
                    return problem(403, "forbidden", "A personal access token can't do this: sign in yourself.")
                self.access, self.refresh = set(), {}
                return 204, None, {}
            case ("POST", ["auth", "logout"]):
                self.access.discard(token)
                self.tokens.pop(self.secrets.pop(token, ""), None)
                self.refresh = {one: access for one, access in self.refresh.items() if access != token}
                return 204, None, {}
            case (_, ["tokens", *_]) if token in self.secrets:
                return problem(403, "forbidden", "A personal access token can't do this: sign in yourself.")
            case ("GET", ["tokens"]):
                if request.query.get("owner", "alice") != "alice":
                    return problem(403, "forbidden", "Only operators see what others have.")
                return 200, check("AccessTokens", {"tokens": list(self.tokens.values())[::-1]}), {}
            case ("POST", ["tokens"]):
                return self._create(check("NewAccessToken", request.json))
            case ("DELETE", ["tokens", identity]) if identity in self.tokens:
                del self.tokens[identity]
                self.secrets = {secret: one for secret, one in self.secrets.items() if one != identity}
                return 204, None, {}
            case ("DELETE", ["tokens", _]):
                return NOT_FOUND
            case (method, ["executions", identity, "shares"]) if identity in self.executions:
                return self._shares(method, identity, request)
        return None

    def session(self) -> dict[str, Any]:
        """Issues tokens."""
        number = next(self.numbers)
        access, refresh = f"hpcwaas_ses_s3cret{number}", f"hpcwaas_ref_s3cret{number}"
        self.access.add(access)
        self.refresh[refresh] = access
        return {"access_token": access, "token_type": "Bearer", "expires_in": self.life, "refresh_token": refresh}

    def _login(self, query: dict[str, str]) -> Answer:
        """What the way by the provider comes to."""
        assert query["redirect_uri"].startswith("http://127.0.0.1:")
        assert query["code_challenge_method"] == "S256"
        assert len(query["code_challenge"]) == 43
        assert len(query["state"]) >= 8
        code = f"s3cret-code-{next(self.numbers)}"
        self.attempts[code] = Attempt(query["redirect_uri"], query["code_challenge"])
        outcome = {"code": code}
        if self.refuse:
            outcome = {"error": "access_denied", "error_description": self.refuse}
        return 303, None, {"Location": f"{query['redirect_uri']}?{urlencode({**outcome, 'state': query['state']})}"}

    def _device(self) -> dict[str, Any]:
        return {
            "device_code": "s3cret-device",
            "user_code": "WDJB-MJHT",
            "verification_uri": "https://waas.example.org/auth/activate",
            "verification_uri_complete": "https://waas.example.org/auth/activate?user_code=WDJB-MJHT",
            "expires_in": 600,
            "interval": self.interval,
        }

    def _token(self, form: dict[str, str]) -> tuple[int, dict[str, Any]]:
        assert form["client_id"] == "waas"
        match form["grant_type"]:
            case "authorization_code":
                attempt = self.attempts.pop(form["code"], None)
                digest = hashlib.sha256(form["code_verifier"].encode()).digest()
                challenge = base64.urlsafe_b64encode(digest).decode().rstrip("=")
                if attempt == Attempt(form["redirect_uri"], challenge):
                    return 200, self.session()
            case "refresh_token":
                time.sleep(self.slow)
                old = self.refresh.pop(form["refresh_token"], None)
                if old:
                    self.renewals += 1
                    self.access.discard(old)
                    return 200, self.session()
            case "urn:ietf:params:oauth:grant-type:device_code" if form["device_code"] == "s3cret-device":
                if not self.device_answers:
                    return 200, self.session()
                return 400, {"error": self.device_answers.pop(0)}
        return 400, {"error": "invalid_grant", "error_description": "It counts no longer."}

    def _whoami(self) -> dict[str, Any]:
        return {
            "subject": "alice",
            "name": "Alice Liddell",
            "roles": self.roles,
            "groups": ["climate", "ocean"],
            "scopes": None,
            "limits": {
                "executions": {"used": 2, "limit": 100},
                "stored": {"used": 1322, "limit": 107374182400},
                "requests": {"used": 3, "limit": None},
            },
        }

    def _create(self, wanted: dict[str, Any]) -> Answer:
        if wanted["name"] in [token["name"] for token in self.tokens.values()]:
            return problem(409, "conflict", "You have a token of this name.")
        days = wanted.get("days", min(90, self.longest_days))
        if days > self.longest_days:
            return problem(400, "bad_request", f"`days` is {days}; expected 1 to {self.longest_days}.")
        if "admin" in wanted["scopes"] and "operator" not in self.roles:
            return problem(403, "forbidden", "Only operators can make tokens with the scope `admin`.")
        number = next(self.numbers)
        ends = time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime(time.time() + days * 86400))
        token = {
            "id": f"1c0b7f9e-{number}",
            "name": wanted["name"],
            "owner": "alice",
            "scopes": sorted(wanted["scopes"]),
            "created_at": "2026-11-23T09:25:41.308Z",
            "expires_at": ends,
            "last_used_at": None,
        }
        self.tokens[token["id"]] = token
        secret = f"hpcwaas_pat_s3cret{number}"
        self.secrets[secret] = token["id"]
        return 201, check("AccessToken", {**token, "token": secret}), {"Location": f"/tokens/{token['id']}"}

    def _shares(self, method: str, identity: str, request: Request) -> Answer:
        if method == "DELETE":
            self.shares.pop(identity, None)
            return 204, None, {}
        if method == "PUT":
            self.shares[identity] = check("Shares", request.json)
        return 200, check("Shares", self.shares.get(identity, {"users": [], "groups": []})), {}


def kept(home: Path) -> Path:
    """Where the command keeps its sign-ins."""
    return home / ".local" / "state" / "waas" / "credentials.json"


def keep(home: Path, url: str, session: dict[str, Any], *, life: float = 3600.0, default: bool = True) -> Login:
    """Has the command signed in already.

    Args:
        life: seconds that the access token counts yet.
    """
    login = Login(session["access_token"], time.time() + life, session["refresh_token"])
    Credentials(kept(home).parent).update(url, lambda _: login, default=default)
    return login
