"""Everybody who may call, and what there is to be asked about: for the matrix of permissions.

Alice comes by single sign-on and owns everything, and she alone may use a site. Erin is somebody she shares her
executions with, Carol is of a group she shares them with, Bob is anybody else, Root is an operator. Dave and Mallory
were users whose accounts are disabled.
"""

from __future__ import annotations

import base64
import contextlib
import functools
import hashlib
import itertools
import json
import secrets
import shutil
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from enum import Enum
from pathlib import Path
from typing import Any
from urllib.parse import quote

import requests

from hpcwaas.configuration.settings import Settings
from hpcwaas.core.people import AccessToken, User, UserSession
from hpcwaas.core.policy import SCOPES
from hpcwaas.engines.site_settings import SiteSettings
from hpcwaas.identity.passwords import hash_password
from hpcwaas.store.counters import CounterStore
from hpcwaas.store.database import Database
from hpcwaas.store.sessions import SessionStore
from hpcwaas.store.tokens import TokenStore
from hpcwaas.store.users import UserStore
from tests.service import CATALOGUE, cwl_section, serving
from tests.signing_in import PUBLIC, Service, decoded, shown_token, sso_settings
from tests.simulators.oidc import OIDCSimulator
from tests.waiting import until

Headers = Mapping[str, str]
_PASSWORDS = {name: f"the password of {name}" for name in ("bob", "carol", "erin", "root", "dave")}
_HOST_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl"
_PLAIN = frozenset(SCOPES) - {"admin"}


class Standing(Enum):
    """How a caller stands to what they ask about."""

    UNKNOWN = "unknown"
    WEAK = "weak"
    """Credentials that aren't good enough for the operation."""
    OWNER = "owner"
    OTHER = "other"
    SHARED = "shared"
    OPERATOR = "operator"


class World:
    """A service with single sign-on and accounts with passwords.

    Attributes:
        secrets: all that anybody has shown.
    """

    def __init__(self, service: Service, database: Database) -> None:
        self._service = service
        self._database = database
        self._http = requests.Session()
        self._http.trust_env = False
        self._numbers = itertools.count()
        self._things: dict[str, str] = {}
        self._headers: dict[str, Headers] = {}
        self._good: dict[object, str] = {}
        self.secrets: set[str] = {*_PASSWORDS.values()}
        self.audit_file = service.settings.audit_file
        self._acts: Counter[str] = Counter()
        self._read = 0
        self.alice = self.bearer(self._session())
        self._begin_accounts()

    def ask(
        self, method: str, path: str, headers: Headers, accept: str = "application/json", **arguments: Any
    ) -> tuple[requests.Response, str]:
        """Sends a request; gives its id, too."""
        request_id = f"matrix-{next(self._numbers):08}"
        answer = self._http.request(
            method,
            self._service.url + path,
            headers={"X-Request-ID": request_id, "Accept": accept, **headers},
            allow_redirects=False,
            timeout=60,
            **arguments,
        )
        return answer, answer.headers["X-Request-ID"]  # strangers can't choose one

    def acts(self, request_id: str) -> int:
        """How often a request stands in the audit."""
        with self.audit_file.open("rb") as file:
            file.seek(self._read)
            for line in file:
                self._acts[json.loads(line).get("request_id", "")] += 1
            self._read = file.tell()
        return self._acts[request_id]

    def forgive(self) -> None:
        """Lets failures to sign in count no more."""
        CounterStore(self._database).sweep(datetime.max.replace(tzinfo=UTC))

    # Who calls.

    def strangers(self) -> Mapping[str, Headers]:
        """Whom the service takes for nobody."""
        nonsense = {"Basic": "Basic", "Basic !": "Basic !!!!", "Basic without colon": f"Basic {_b64('bob')}"}
        nonsense |= {"Bearer": "Bearer", "Bearer blank": "Bearer a b", "Negotiate": "Negotiate YII=", "empty": ""}
        nonsense |= {"no scheme": self.token("alice", _PLAIN), "Bearer prefix": "Bearer hpcwaas_pat_"}
        nonsense |= {"Basic not UTF-8": "Basic /////w==", "long": f"Bearer {'a' * 20_000}"}
        return {
            "nobody": {},
            **{f"malformed: {name}": {"Authorization": value} for name, value in nonsense.items()},
            **self._headers,
        }

    def callers(self, scope: str) -> Mapping[str, tuple[Standing, Callable[[], Headers]]]:
        """Everybody who signs in, and how they stand to an operation on something of Alice's.

        Args:
            scope: `x-scope` of the operation.
        """
        own, whoever = scope == "own", scope == "any"

        def token(owner: str, scopes: frozenset[str], standing: Standing) -> tuple[Standing, Callable[[], Headers]]:
            enough = whoever or (not own and scope in scopes)
            make = functools.partial(self.token, owner, scopes)
            return standing if enough else Standing.WEAK, lambda: self.bearer(self._kept((owner, scopes), make))

        found = {
            "owner's session": (Standing.OWNER, lambda: self.bearer(self._kept("session", self._session))),
            "owner's session in base64": (
                Standing.OWNER,
                lambda: self.bearer(_b64(self._kept("session", self._session))),
            ),
            "owner's page": (Standing.OWNER, lambda: self.bearer(self._kept("page", self._page))),
            "other": (Standing.OTHER, lambda: basic("bob")),
            "shared by user": (Standing.SHARED, lambda: basic("erin")),
            "shared by group": (Standing.SHARED, lambda: basic("carol")),
            "operator": (Standing.OPERATOR, lambda: basic("root")),
            "owner's token": token("alice", _PLAIN, Standing.OWNER),
            "other's token": token("bob", _PLAIN, Standing.OTHER),
            "shared by user, token": token("erin", _PLAIN, Standing.SHARED),
            "shared by group, token": token("carol", _PLAIN, Standing.SHARED),
            "operator's token": token("root", frozenset(SCOPES), Standing.OPERATOR),
            "operator's token without admin": token("root", _PLAIN, Standing.OTHER),
            "operator's token with admin alone": token("root", frozenset({"admin"}), Standing.OPERATOR),
        }
        for each in sorted(_PLAIN):
            found[f"owner's token, {each}"] = token("alice", frozenset({each}), Standing.OWNER)
            found[f"owner's token, all but {each}"] = token("alice", _PLAIN - {each}, Standing.OWNER)
        return found

    def bearer(self, token: str) -> Headers:
        """The header for a token."""
        self.secrets.add(token)
        return {"Authorization": f"Bearer {token}"}

    def token(self, owner: str, scopes: frozenset[str], days: float = 1) -> str:
        """A new personal access token."""
        return self._token(owner, scopes, days)[1]

    def _token(self, owner: str, scopes: frozenset[str], days: float = 1) -> tuple[str, str]:
        secret = f"hpcwaas_pat_{secrets.token_urlsafe(32)}"
        now = datetime.now(UTC)
        name = str(uuid.uuid4())
        token = AccessToken(str(uuid.uuid4()), owner, name, scopes, now, now + timedelta(days=days))
        TokenStore(self._database).add(token, _digest(secret), 100)
        self.secrets.add(secret)
        return token.id, secret

    # What is asked about.

    def thing(self, kind: str) -> str:
        """The id of something of Alice's; the same until it is spent."""
        if kind not in self._things:
            self._things[kind] = getattr(self, f"_new_{kind}")()
        return self._things[kind]

    def spend(self, kind: str) -> None:
        """Lets a thing be made anew when it is wanted the next time; `credentials` are all that are good."""
        self._things.pop(kind, None)
        if kind == "credentials":
            self._good.clear()

    def _new_workflow(self) -> str:
        return "hers"

    def _new_output(self) -> str:
        return "text"

    def _new_execution(self) -> str:
        return self._execution("echo", message="x")

    def _new_running(self) -> str:
        return self._execution("slow", wait=("RUNNING", "PENDING"), seconds=60)

    def _new_failed(self) -> str:
        return self._execution("fails", wait=("FAILED",))

    def _new_file(self) -> str:
        return str(self._as_alice("POST", "/files?name=hers.txt", data=b"x").json()["id"])

    def _new_key(self) -> str:
        return str(self._as_alice("POST", "/ssh_keys", json={}).json()["id"])

    def _new_login_key(self) -> str:
        return self._new_key()

    def _new_site(self) -> str:
        self._as_alice("PUT", "/sites/mare/account", json={"user": "u1", "ssh_key": self.thing("login_key")})
        return "mare"

    def _new_token(self) -> str:
        return self._token("alice", _PLAIN)[0]

    def _execution(self, workflow: str, wait: tuple[str, ...] = ("SUCCEEDED",), **inputs: object) -> str:
        body = {"inputs": inputs, "site": "local"}
        path = self._as_alice("POST", f"/workflows/{workflow}", json=body).headers["Location"]
        until(lambda: self._as_alice("GET", path).json()["status"] in wait)
        self._as_alice("PUT", f"{path}/shares", json={"users": ["erin"], "groups": ["climate"]})
        return path.rpartition("/")[2]

    def _as_alice(self, method: str, path: str, **arguments: Any) -> requests.Response:
        answer, _ = self.ask(method, path, self.alice, **arguments)
        assert answer.ok, answer.text
        return answer

    def _kept(self, name: object, make: Callable[[], str]) -> str:
        if name not in self._good:
            self._good[name] = make()
        return self._good[name]

    def _session(self, user: str = "alice") -> str:
        return str(self._service.sign_in(user)["access_token"])

    def _page(self, user: str = "alice") -> str:
        token = shown_token(self._service.browser().sign_in(user).text)
        self.secrets |= {token, decoded(token)}
        return token

    def _begin_accounts(self) -> None:
        """Makes credentials that count no more; each has counted a moment ago, where it ever did."""
        users, now = UserStore(self._database), datetime.now(UTC)
        hashed = hash_password(_PASSWORDS["dave"])
        users.add(User("dave", "Dave", frozenset({"climate"}), "basic", now, hashed))
        ended, page = self._session(), self._page()
        revoked = self.token("alice", _PLAIN)
        good = {
            "token of a disabled account": self.bearer(self.token("dave", _PLAIN)),
            "password of a disabled account": basic("dave"),
            "session of a disabled account": self.bearer(self._session("mallory")),
            "page of a disabled account": self.bearer(self._page("mallory")),
            "revoked token": self.bearer(revoked),
            "ended session": self.bearer(ended),
            "ended page": self.bearer(page),
        }
        for name, headers in good.items():
            assert self.ask("GET", "/whoami", headers)[0].status_code == 200, name
        for name in ("revoked token", "ended session", "ended page"):
            assert self.ask("POST", "/auth/logout", good[name])[0].status_code == 204
        for name in ("dave", "mallory"):
            users.change(name, disabled=True)
        time.sleep(2.1)  # so long a process may remember what another one has changed
        session = f"hpcwaas_ses_{secrets.token_urlsafe(32)}"
        begun = UserSession(uuid.uuid4().hex, "alice", "waas", now, now - timedelta(seconds=1), now + timedelta(days=1))
        SessionStore(self._database).add(begun, _digest(session), None)
        idp = self._service.idp
        ended_there = idp.issue({"sub": "alice"})
        idp.revoke(ended_there)
        self._headers = good | {
            "wrong password": {"Authorization": f"Basic {_b64('bob:wrong')}"},
            "somebody else's password": {"Authorization": f"Basic {_b64('root:' + _PASSWORDS['bob'])}"},
            "no such user": {"Authorization": f"Basic {_b64('ghost:wrong')}"},
            "password as a token": {"Authorization": f"Bearer {_PASSWORDS['bob'].replace(' ', '')}"},
            "token with another name": {"Authorization": f"Basic {_b64('root:' + self.token('alice', _PLAIN))}"},
            "expired token": self.bearer(self.token("alice", _PLAIN, days=-1)),
            "token of nobody": self.bearer(self.token("ghost", _PLAIN)),
            "expired session": self.bearer(session),
            "session that was never": self.bearer(f"hpcwaas_ses_{secrets.token_urlsafe(32)}"),
            "refresh token": self.bearer(self._service.sign_in("alice")["refresh_token"]),
            "provider's token, ended there": self.bearer(ended_there),
            "ID token": self.bearer(idp.id_token({"sub": "alice"}, "nonce")),
            **{name: self.bearer(token) for name, token in _forged(idp)},
        }


def basic(name: str) -> Headers:
    """The header for a password."""
    return {"Authorization": f"Basic {_b64(f'{name}:{_PASSWORDS[name]}')}"}


@contextlib.contextmanager
def world(directory: Path) -> Iterator[World]:
    """A world until the block ends."""
    catalogue = directory / "catalogue"
    catalogue.mkdir()
    for name in ("echo", "slow", "fails"):
        shutil.copy(CATALOGUE / f"{name}.cwl", catalogue)
    shutil.copy(CATALOGUE / "echo.cwl", catalogue / "hers.cwl")
    (catalogue / "hers.meta.yaml").write_text("authorized_users: [alice]")
    with OIDCSimulator() as idp:
        settings = _settings(idp, directory / "data", catalogue)
        with serving(settings) as url, contextlib.closing(Database(settings.database_url)) as database:
            yield World(Service(url, settings, idp, PUBLIC), database)


def _settings(idp: OIDCSimulator, data_dir: Path, catalogue: Path) -> Settings:
    accounts = [
        {"username": name, "password": password, "groups": ["climate"] if name == "carol" else []}
        for name, password in _PASSWORDS.items()
        if name != "dave"  # who is in the store
    ]
    settings = sso_settings(idp, data_dir, runs=True, basic_auth={"accounts": accounts}, operators=["root"])
    nowhere = SiteSettings(host="127.0.0.1:1", host_keys=(_HOST_KEY,), users=("alice",))
    cwl = cwl_section(settings).model_copy(update={"catalogue": catalogue})
    return settings.model_copy(update={"cwl": cwl, "sites": {"mare": nowhere}})


def _forged(idp: OIDCSimulator) -> Iterator[tuple[str, str]]:
    """Signed tokens that name Alice, and aren't good."""
    now = int(time.time())
    claims = {"iss": idp.issuer, "aud": idp.client_id, "sub": "alice", "iat": now, "exp": now + 3600}
    claims |= {"groups": [], "name": "Alice"}
    for sign in ("foreign", "none", "hs256"):
        idp.sign = sign
        yield f"JWT signed: {sign}", idp.signed(claims, "at+jwt")
    idp.sign = "right"
    wrong: dict[str, dict[str, object]] = {
        "expired": {"exp": now - 3600},
        "another audience": {"aud": "another"},
        "another issuer": {"iss": "https://idp.example.org"},
        "not yet": {"nbf": now + 3600},
    }
    for name, change in wrong.items():
        yield f"JWT: {name}", idp.signed({**claims, **change}, "at+jwt")


@functools.cache
def unknown(thing: str) -> str:
    """An id of the same form, and so of the same length, that nothing has."""
    return "".join(secrets.choice("abcdef") if letter.isalnum() else letter for letter in thing)


def fill(template: str, things: Mapping[str, str]) -> str:
    """A path of the contract with its parameters."""
    return template.format(**{name: quote(value, safe="") for name, value in things.items()})


def _b64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()
