"""The part of the small service that knows SSH keys, sites and accounts."""

from __future__ import annotations

from typing import Any

from tests.cli.wire import NOT_FOUND, Answer, Request, check, problem

NOW = "2026-11-23T09:25:41.308Z"
LOCAL: dict[str, Any] = {
    "id": "local",
    "title": "This machine",
    "description": None,
    "host": None,
    "scheduler": "none",
    "state": "available",
    "maintenance": None,
    "silent_since": None,
    "accounts": False,
    "keyless": False,
    "login": None,
}
MARE: dict[str, Any] = {
    **LOCAL,
    "id": "mare",
    "title": "MareNostrum 5",
    "description": "The machine of the centre.",
    "host": "login.example.org:2222",
    "scheduler": "slurm",
    "accounts": True,
}
GOOD = [
    {"id": "name", "title": "Name", "status": "ok", "detail": "login.example.org is 192.0.2.7.", "advice": None},
    {"id": "sign_in", "title": "Key", "status": "ok", "detail": "The key is accepted.", "advice": None},
]
BAD = [
    GOOD[0],
    {
        "id": "sign_in",
        "title": "Key",
        "status": "failed",
        "detail": "The key was refused.",
        "advice": "Add its line to authorized_keys.",
    },
    {"id": "quiet", "title": "Login is quiet", "status": "skipped", "detail": "Not looked at.", "advice": None},
]


class KeysStub:
    """SSH keys."""

    def __init__(self) -> None:
        self.keys: dict[str, dict[str, Any]] = {}
        self.used: set[str] = set()
        self.made = 0

    def answer(self, request: Request, rest: list[str]) -> Answer:
        match (request.method, rest):
            case ("POST", []):
                wanted = check("NewSshKey", request.json)
                made = {
                    "id": f"9f1d1c36-{self.made}",
                    "name": wanted.get("name"),
                    "type": wanted.get("type", "ed25519"),
                    "bits": wanted.get("bits"),
                    "public_key": "ssh-ed25519 AAAAC3Nza 9f1d1c36\n",
                    "fingerprint": "SHA256:7RrVZkqBtx0",
                    "owner": "alice",
                    "metadata": wanted.get("metadata") or {},
                    "created_at": NOW,
                    "rotated_at": None,
                    "last_used_at": None,
                    "replaced": [],
                }
                self.made += 1
                self.keys[made["id"]] = check("SshKey", made)
                return 201, made, {"Location": f"/ssh_keys/{made['id']}"}
            case ("GET", []):
                return 200, check("SshKeys", {"ssh_keys": list(self.keys.values())}), {}
            case (_, [identity, *more]) if identity in self.keys:
                return self._one(request, identity, more)
        return NOT_FOUND

    def _one(self, request: Request, identity: str, more: list[str]) -> Answer:
        key = self.keys[identity]
        match (request.method, more):
            case ("GET", []) if request.headers.get("Accept") == "text/plain":
                words = ",".join(f"{name}={value}" for name, value in sorted(request.query.items()))
                return 200, f"{words} {key['public_key']}".encode(), {"Content-Type": "text/plain"}
            case ("GET", []):
                return 200, key, {}
            case ("POST", ["rotate" | "confirm" as change]):
                old = {"public_key": key["public_key"], "fingerprint": key["fingerprint"]}
                old["replaced_at"] = "2026-11-24T09:00:00.000Z"
                rotated = {"public_key": "ssh-ed25519 BBBBC3Nza 9f1d1c36\n", "replaced": [old]}
                key |= rotated if change == "rotate" else {"replaced": []}
                return 200, check("SshKey", key), {}
            case ("DELETE", []):
                if identity in self.used and "force" not in request.query:
                    return problem(409, "conflict", "Executions that use this key haven't ended: e-1.")
                del self.keys[identity]
                return 204, None, {}
        return NOT_FOUND


class SitesStub:
    """Sites and the user's accounts.

    Attributes:
        points: what the next check finds; those with a failure say that the account can't be used.
        refuse_account, refuse_trigger: answer to give instead.
    """

    def __init__(self, keyring: KeysStub) -> None:
        self._keyring = keyring
        self.sites = {site["id"]: dict(site) for site in (LOCAL, MARE)}
        self.accounts: dict[str, dict[str, Any]] = {}
        self.points = GOOD
        self.refuse_account: Answer | None = None
        self.refuse_trigger: Answer | None = None

    def answer(self, request: Request, rest: list[str]) -> Answer:
        match (request.method, rest):
            case ("GET", []):
                return 200, check("Sites", {"sites": [self._site(identity) for identity in self.sites]}), {}
            case ("GET", [identity]) if identity in self.sites:
                return 200, self._site(identity), {}
            case (_, [identity, "account", *more]) if identity in self.sites:
                return self._account(request, identity, more)
        return NOT_FOUND

    def _site(self, identity: str) -> dict[str, Any]:
        found: dict[str, Any] = check("Site", {**self.sites[identity], "account": self.accounts.get(identity)})
        return found

    def _account(self, request: Request, site: str, more: list[str]) -> Answer:
        account = self.accounts.get(site)
        match (request.method, more):
            case ("PUT", []):
                wanted = check("NewAccount", request.json)
                if self.refuse_account is not None:
                    return self.refuse_account
                if wanted.get("ssh_key") and wanted["ssh_key"] not in self._keyring.keys:
                    return NOT_FOUND
                vouched = {"user": self.sites[site]["login"]} if self.sites[site]["keyless"] else {}
                made = {
                    "site": site,
                    "ssh_key": None,
                    **vouched,
                    **wanted,
                    "created_at": NOW,
                    "checked_at": None,
                    "usable": None,
                }
                self.accounts[site] = check("Account", made)
                return 200, made, {}
            case ("GET", []) if account:
                return 200, account, {}
            case ("DELETE", []) if account:
                del self.accounts[site]
                return 204, None, {}
            case ("POST", ["check"]) if account:
                return 200, self.check(site), {}
        return problem(404, "not_found", f"You have no account on the site `{site}`.")

    def check(self, site: str) -> dict[str, Any]:
        account = self.accounts[site]
        usable = all(point["status"] != "failed" for point in self.points)
        account |= {"checked_at": NOW, "usable": usable}
        found: dict[str, Any] = check(
            "AccountCheck", {"site": site, "account": account["user"], "usable": usable, "points": self.points}
        )
        return found

    def dry_run(self, site: str | None) -> dict[str, Any]:
        where = site or "local"
        return {"site": where, "check": self.check(where) if where in self.accounts else None}
