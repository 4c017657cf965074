"""Browsers, commands and a service behind a proxy, for the tests of signing in."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import html
import re
import secrets
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from http.cookies import Morsel, SimpleCookie
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlencode, urljoin, urlsplit

import requests
import sqlalchemy
from sqlalchemy.orm import Session

from hpcwaas.configuration.settings import Settings
from hpcwaas.store.database import Database
from tests.service import IDLE, make_settings, serving
from tests.simulators.oidc import OIDCSimulator

PUBLIC = "https://waas.example.org/hpc"
"""Where browsers reach the service: a proxy stands before it, ends TLS and takes the first part of the path away."""

LOOPBACK = "http://127.0.0.1:49152/back"
HTML = "text/html,application/xhtml+xml,*/*;q=0.8"
DEVICE_GRANT = "urn:ietf:params:oauth:grant-type:device_code"


def sso_settings(
    idp: OIDCSimulator, data_dir: Path, *, public: str = PUBLIC, runs: bool = False, **auth: Any
) -> Settings:
    """Settings of a service with single sign-on beside accounts with passwords.

    Args:
        runs: whether executions are waited for.
    """
    plain = make_settings(data_dir)
    assert plain.auth is not None
    accounts = [
        {"username": account.username, "password": account.password}
        for account in plain.auth.basic_auth.accounts
        if account.username != "alice"  # who signs in by the provider
    ]
    own = {
        "auth_type": ["basic", "sso"],
        "basic_auth": {"accounts": accounts},
        "issuer": idp.issuer,
        "redirect_url": f"{public}/auth/authorize",
        "client_id": idp.client_id,
        "client_secret": idp.client_secret,
    }
    return make_settings(data_dir, auth={**own, **auth}, **({} if runs else {"cwl": IDLE}))


def header(token: str) -> dict[str, str]:
    """The header for a bearer token."""
    return {"Authorization": f"Bearer {token}"}


def encoded(token: str) -> str:
    """As the page shows a token."""
    return base64.b64encode(token.encode()).decode()


def decoded(token: str) -> str:
    """The token itself."""
    return base64.b64decode(token).decode()


@dataclass
class Service:
    """A running service.

    Attributes:
        url: where it is, behind its proxy.
    """

    url: str
    settings: Settings
    idp: OIDCSimulator
    public: str = PUBLIC

    def whoami(self, token: str) -> requests.Response:
        """Asks who a token stands for."""
        return requests.get(f"{self.url}/whoami", headers=header(token), timeout=60)

    def token(self, **form: str) -> requests.Response:
        """Asks the token endpoint."""
        return requests.post(f"{self.url}/auth/token", data=form, timeout=60)

    def logout(self, token: str) -> requests.Response:
        """Signs a token out."""
        return requests.post(f"{self.url}/auth/logout", headers=header(token), timeout=60)

    def device(self) -> Any:
        """Begins to sign in a machine without a browser."""
        answer = requests.post(f"{self.url}/auth/device", data={"client_id": "waas"}, timeout=60)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def browser(self, accept: str = HTML) -> Browser:
        """A browser with no cookies yet."""
        return Browser(self, accept)

    def sign_in(self, user: str = "alice") -> Any:
        """Signs in as the command `waas` does; gives the token endpoint's answer."""
        command = Command()
        answer = self.token(**command.exchange(self.browser().leave_for(command, user)))
        assert answer.status_code == 200, answer.text
        return answer.json()

    def sql(self, statement: str, **values: object) -> None:
        """Changes the database behind the service's back."""
        with self._database() as session:
            session.execute(sqlalchemy.text(statement), values)

    def rows(self, table: str) -> list[dict[str, Any]]:
        """Everything in a table."""
        with self._database() as session:
            return [dict(row) for row in session.execute(sqlalchemy.select(_table(session, table))).mappings()]

    def change(self, table: str, row: dict[str, Any], **columns: object) -> None:
        """Changes a row behind the service's back."""
        with self._database() as session:
            found = _table(session, table)
            keys = [key == row[key.name] for key in found.primary_key.columns]
            session.execute(sqlalchemy.update(found).where(*keys).values(columns))

    def age(self, table: str, column: str, **by: float) -> None:
        """Lets everything in a table be older than it is."""
        for row in self.rows(table):
            if row[column] is not None:
                self.change(table, row, **{column: row[column] - timedelta(**by)})

    def dump(self) -> str:
        """All that the database holds."""
        with self._database() as session:
            tables = sqlalchemy.inspect(session.connection()).get_table_names()
        return "".join(str(row) for table in tables for row in self.rows(table))

    @contextlib.contextmanager
    def _database(self) -> Iterator[Session]:
        database = Database(self.settings.database_url)
        try:
            with database.write() as session:
                yield session
        finally:
            database.close()


@dataclass
class Browser:
    """What of a browser matters here: cookies, and where redirects lead."""

    service: Service
    accept: str = HTML
    cookies: dict[str, Morsel[str]] = field(default_factory=dict)
    visited: list[str] = field(default_factory=list)

    def get(self, path: str, **parameters: str) -> requests.Response:
        """Opens a page of the service; redirects aren't followed."""
        return self._request("GET", self._url(path, parameters))

    def post(self, path: str, **form: str) -> requests.Response:
        """Sends a form."""
        return self._request("POST", self._url(path, {}), data=form)

    def at_provider(self, leaving: requests.Response, user: str = "alice") -> str:
        """Goes on to the provider and signs in there; gives the address that it leads back to."""
        assert leaving.status_code == 303, leaving.text
        idp = self.service.idp
        idp.user = {"sub": user, "name": f"{user.title()} Liddell", "groups": ["hpc"]}
        return idp.follow(leaving.headers["Location"])

    def come_back(self, callback: str) -> requests.Response:
        """Follows the provider's redirect."""
        return self._request("GET", callback)

    def sign_in(self, user: str = "alice") -> requests.Response:
        """Signs in; gives the page that follows."""
        return self.come_back(self.at_provider(self.get("/auth/login"), user))

    def leave_for(self, command: Command, user: str = "alice") -> str:
        """Signs in for a command; gives the address on its own machine that the browser is led to."""
        answer = self.come_back(self.at_provider(self.confirm(command), user))
        assert answer.status_code == 303, answer.text
        return answer.headers["Location"]

    def confirm(self, command: Command, decision: str = "accept") -> requests.Response:
        """Says that a command is the user's own; gives what leads on."""
        return self.press(self.get("/auth/login", **command.parameters), decision)

    def let_in(self, user_code: str, user: str = "alice") -> requests.Response:
        """Lets a machine in; gives the page that follows."""
        page = self.get("/auth/activate", user_code=user_code)
        return self.come_back(self.at_provider(self.press(page), user))

    def press(self, page: requests.Response, decision: str = "accept") -> requests.Response:
        """Presses the button of a page, or of several the one that says so."""
        assert page.status_code == 200, page.text
        action = re.search(r'<form method="post" action="([^"]+)"', page.text)
        assert action
        hidden = re.findall(r'<input type="hidden" name="([^"]+)" value="([^"]*)"', page.text)
        form = {name: html.unescape(value) for name, value in hidden}
        if '<button type="submit" name="decision"' in page.text:
            form["decision"] = decision
        return self._request("POST", urljoin(f"{self.service.public}/auth/activate", action[1]), data=form)

    def _url(self, path: str, parameters: dict[str, str]) -> str:
        return self.service.public + path + (f"?{urlencode(parameters)}" if parameters else "")

    def _request(self, method: str, url: str, **arguments: Any) -> requests.Response:
        assert url.startswith(f"{self.service.public}/"), url
        self.visited.append(url)
        path = urlsplit(url).path
        sent = "; ".join(
            f"{cookie.key}={cookie.value}" for cookie in self.cookies.values() if _covers(cookie["path"], path)
        )
        answer = requests.request(
            method,
            self.service.url + url.removeprefix(self.service.public),
            headers={"Accept": self.accept, "Host": urlsplit(url).netloc, **({"Cookie": sent} if sent else {})},
            allow_redirects=False,
            timeout=60,
            **arguments,
        )
        for line in answer.raw.headers.getlist("Set-Cookie"):
            for name, cookie in SimpleCookie(line).items():
                if name.startswith("__Host-"):
                    assert cookie["secure"]
                    assert cookie["path"] == "/"
                    assert not cookie["domain"]
                if cookie["max-age"] == "0":
                    self.cookies.pop(name, None)
                else:
                    self.cookies[name] = cookie
        return answer


@dataclass
class Command:
    """A command on a user's machine, with its secret."""

    redirect_uri: str = LOOPBACK
    state: str = field(default_factory=lambda: f"state:{secrets.token_hex(8)}")
    verifier: str = field(default_factory=lambda: secrets.token_urlsafe(32))

    @property
    def parameters(self) -> dict[str, str]:
        """What it opens the browser with."""
        challenge = base64.urlsafe_b64encode(hashlib.sha256(self.verifier.encode()).digest()).decode().rstrip("=")
        return {
            "redirect_uri": self.redirect_uri,
            "state": self.state,
            "code_challenge": challenge,
            "code_challenge_method": "S256",
        }

    def exchange(self, location: str, **changes: str) -> dict[str, str]:
        """The form that exchanges the code which the browser brought."""
        back = query(location)
        assert location.startswith(f"{self.redirect_uri}?")
        assert back["state"] == self.state
        form = {
            "grant_type": "authorization_code",
            "code": back["code"],
            "redirect_uri": self.redirect_uri,
            "code_verifier": self.verifier,
            "client_id": "waas",
        }
        return {**form, **changes}


def refusal(answer: requests.Response) -> str:
    """The word of OAuth for what is wrong."""
    assert answer.status_code == 400, answer.text
    assert answer.headers["Content-Type"] == "application/json"
    assert answer.headers["Cache-Control"] == "no-store"
    word: str = answer.json()["error"]
    return word


def renewed(service: Service, tokens: dict[str, str]) -> dict[str, str]:
    """Renews a session."""
    answer = service.token(grant_type="refresh_token", refresh_token=tokens["refresh_token"])
    assert answer.status_code == 200, answer.text
    document: dict[str, str] = answer.json()
    return document


def query(url: str) -> dict[str, str]:
    """The parameters of an address."""
    return {name: values[0] for name, values in parse_qs(urlsplit(url).query).items()}


def shown_token(page: str) -> str:
    """The token that a page shows."""
    found = re.search(r'<pre id="token">([^<]+)</pre>', page)
    assert found, page
    return found[1]


@contextlib.contextmanager
def sso_service(idp: OIDCSimulator, data_dir: Path, **options: Any) -> Iterator[Service]:
    """A service with single sign-on.

    Args:
        options: for `sso_settings`.
    """
    settings = sso_settings(idp, data_dir, **options)
    with serving(settings) as url:
        yield Service(url, settings, idp, options.get("public", PUBLIC))


def _table(session: Session, name: str) -> sqlalchemy.Table:
    return sqlalchemy.Table(name, sqlalchemy.MetaData(), autoload_with=session.connection())


def _covers(cookie_path: str, path: str) -> bool:
    return path == cookie_path or path.startswith(f"{cookie_path.rstrip('/')}/")
