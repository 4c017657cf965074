"""Private keys in HashiCorp Vault or OpenBao."""

from __future__ import annotations

import itertools
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from typing import Protocol, TypeVar

import hvac

from hpcwaas.core.models import Check, SSHKey
from hpcwaas.core.ports.vault import NotDone
from hpcwaas.errors import Conflict, ServiceError
from hpcwaas.vault import kv
from hpcwaas.vault.failures import Forbidding, final
from hpcwaas.vault.health import STATES, health
from hpcwaas.vault.login import Clients, make_login
from hpcwaas.vault.secret_id import SecretId
from hpcwaas.vault.settings import HashiCorpSettings
from hpcwaas.vault.token import VaultToken

_LOGGER = logging.getLogger(__name__)
_T = TypeVar("_T")
_PROBE_TIMEOUTS = (1.0, 2.0)
_NO_HEALTH = 404
"""Of `sys/health` when the server, such as RustyVault, doesn't have it."""
_UNKNOWN = (
    "Whether SSH keys can be made and changed isn't known: the vault's policy doesn't let the service ask for its "
    'rights (["update"] at `sys/capabilities-self`).'
)


class Intents(Protocol):
    """Ids of keys that are about to be written. Recording a key removes its intent."""

    def add(self, key_id: str) -> None:
        """Notes one."""

    def remove(self, key_id: str) -> None:
        """Forgets one; harmless when there is none."""

    def before(self, moment: datetime) -> Sequence[str]:
        """Those from before this moment."""


class HashiCorpVault:
    """Writes key pairs to a KV engine, and can't read them back: its policy doesn't let it.

    Args:
        intents: where it notes what it is about to write, to find it again after a crash.
        secret_id: of the AppRole, if that is the login.

    Attributes:
        token: of the service's own identity.
    """

    name = "hashicorp"

    def __init__(self, settings: HashiCorpSettings, intents: Intents, secret_id: SecretId | None) -> None:
        self._settings = settings
        self._intents = intents
        self._clients = Clients(settings)
        self.token = VaultToken(self._clients, make_login(settings, secret_id))
        self._engine: kv.KeyValue | None = None

    def start(self) -> None:
        """Logs in and keeps logged in."""
        self.token.start()

    def write(self, key: SSHKey, private_key: str) -> None:
        """Stores a new key pair; see `Vault`."""
        self._intents.add(key.id)
        tries = itertools.count()

        def create(client: hvac.Client, engine: kv.KeyValue) -> None:
            first = next(tries) == 0
            try:
                engine.create(client, key.id, _record(key, private_key))
            except Conflict:
                if first:
                    raise
                # Else it was the try before, whose answer was lost: nobody else knows the id.

        try:
            self._call(create)
        except (Conflict, NotDone):  # nothing of ours is there
            self._intents.remove(key.id)
            raise
        self._describe(key)

    def replace(self, key: SSHKey, private_key: str) -> None:
        """Stores another key pair; see `Vault`."""
        self._call(lambda client, engine: engine.replace(client, key.id, _record(key, private_key)))
        self._describe(key)

    def delete(self, key_id: str) -> None:
        """Destroys a key pair; see `Vault`."""
        self._call(lambda client, engine: engine.delete(client, key_id))
        self._intents.remove(key_id)

    def unowned(self, before: datetime) -> Sequence[str]:
        """What a crash left behind; see `Vault`."""
        return self._intents.before(before)

    def check(self) -> Check:
        """State of the vault. It is never worse than degraded: all but keys is served without it."""
        started = time.perf_counter()
        problems = self._problems()
        return Check("vault", "degraded" if problems else "ok", time.perf_counter() - started, problems)

    def close(self) -> None:
        """Ends the background work."""
        self.token.close()
        self._clients.close()

    def _describe(self, key: SSHKey) -> None:
        """Notes beside the secret whose it is, for operators who look into the vault. The key is stored already: that
        this fails, as it does with the policy of the service before this one, is no reason to refuse it."""
        notes = {"owner": key.owner, "type": key.type, "fingerprint": key.fingerprint, "name": key.name or ""}
        try:
            self._call(lambda client, engine: engine.describe(client, key.id, notes))
        except ServiceError as error:
            _LOGGER.warning("key %s is stored without custom metadata: %s", key.id, error.detail)

    def _call(self, task: Callable[[hvac.Client, kv.KeyValue], _T]) -> _T:
        with final():
            return self.token.call(lambda client: task(client, self._found(client)))

    def _found(self, client: hvac.Client) -> kv.KeyValue:
        if self._engine is None:
            self._engine = kv.find(client, self._settings.mount, self._settings.path)
        return self._engine

    def _probe(self, client: hvac.Client, *, healthy: bool) -> kv.KeyValue:
        engine = kv.find(client, self._settings.mount, self._settings.path)
        if not healthy:
            client.auth.token.lookup_self()
        return engine

    def _problems(self) -> tuple[str, ...]:
        try:
            with final():
                status = health(self._clients.client(timeouts=_PROBE_TIMEOUTS))
        except ServiceError as error:
            return (_no_changes(error.detail),)
        if status in STATES:
            return (_no_changes(f"the vault {STATES[status]}."),)
        if self.token.problem:
            return (_no_changes(f"{self.token.problem.rstrip('.')}."),)
        try:
            engine = self._call(lambda client, _: self._probe(client, healthy=status != _NO_HEALTH))
        except Forbidding:
            mount = self._settings.mount
            return (
                _no_changes(f"the vault has no mount `{mount}`, or the policy of the service allows nothing there."),
            )
        except ServiceError as error:
            return (_no_changes(error.detail),)
        try:
            lacking = self._call(lambda client, _: kv.lacking(client, engine.rights()))
        except Forbidding:
            return (_UNKNOWN,)
        except ServiceError as error:
            return (_no_changes(error.detail),)
        return tuple(_lack(below, rights) for below, rights in _by_path(lacking or ()))


def _no_changes(reason: str) -> str:
    return f"SSH keys can't be made or changed: {reason[0].lower()}{reason[1:]}"


def _by_path(rights: Sequence[kv.Right]) -> Iterator[tuple[str, list[kv.Right]]]:
    for below, found in itertools.groupby(rights, key=lambda right: right.below):
        yield below, list(found)


def _lack(below: str, rights: Sequence[kv.Right]) -> str:
    """One sentence about what the policy lacks at a path."""
    acts = " or ".join(dict.fromkeys(right.act for right in rights))
    capabilities = ", ".join(f'"{right.capability}"' for right in rights)
    return (
        f"SSH keys can't be {acts}: the vault's policy doesn't give the service [{capabilities}] at `{below}/*`. "
        "deploy/vault/hpcwaas-service.hcl is the whole policy."
    )


def _record(key: SSHKey, private_key: str) -> dict[str, str]:
    """The members that consumers of the keys read, beside what the user said about it."""
    return {**key.metadata, "privateKey": private_key, "publicKey": key.public_key}
