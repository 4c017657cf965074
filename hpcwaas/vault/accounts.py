"""What opens accounts on sites: stored private keys, or certificates for keys that live for one connection."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

import hvac
from hvac.exceptions import InvalidPath, InvalidRequest

from hpcwaas.core.key_types import generate
from hpcwaas.core.models import Check
from hpcwaas.core.ports.sites import Credential
from hpcwaas.core.site_models import Placement
from hpcwaas.errors import Unavailable, UpstreamFailed
from hpcwaas.vault import kv
from hpcwaas.vault.embedded import EmbeddedVault
from hpcwaas.vault.failures import final
from hpcwaas.vault.hashicorp import HashiCorpVault
from hpcwaas.vault.login import Clients, make_login
from hpcwaas.vault.secret_id import SecretId
from hpcwaas.vault.settings import CertificateSettings, HashiCorpSettings, KeyReaderSettings
from hpcwaas.vault.token import VaultToken

READER = "vault_config.key_reader"
"""Name of the settings of the identity that reads keys."""
_PRINCIPAL = re.compile(r"[^\s,]+")
"""The vault takes what has commas for several login names."""
_ROOT = "root"


class KeyReader:
    """Reads private keys from HashiCorp Vault, by an identity that may do nothing else.

    Args:
        login: of that identity.
        secret_id: of its AppRole, if that is the login.
    """

    def __init__(self, settings: HashiCorpSettings, login: KeyReaderSettings, secret_id: SecretId | None) -> None:
        self._settings = settings
        self._clients = Clients(settings)
        self._token = VaultToken(self._clients, make_login(login, secret_id, READER), "key reader")
        self._engine: kv.KeyValue | None = None

    def start(self) -> None:
        """Logs in and keeps logged in."""
        self._token.start()

    def private_key(self, key_id: str) -> str:
        """A private key.

        Raises:
            NotFound: there is none.
            Unavailable, UpstreamFailed, UpstreamTimeout: the vault can't be used.
        """
        with final():
            return self._token.call(lambda client: self._read(client, key_id))

    def ready(self) -> None:
        """Makes sure that keys can be read. Raises as `private_key` does."""
        self._token.ready()

    def check(self) -> Check:
        """Whether it is logged in."""
        problem = self._token.problem
        told = () if problem is None else (f"Sites can't be reached ({READER}): {problem.rstrip('.')}.",)
        return Check("vault-key-reader", "degraded" if told else "ok", 0.0, told)

    def close(self) -> None:
        """Ends the background work."""
        self._token.close()
        self._clients.close()

    def _read(self, client: hvac.Client, key_id: str) -> str:
        if self._engine is None:
            self._engine = kv.find(client, self._settings.mount, self._settings.path)
        return str(self._engine.read(client, key_id)["privateKey"])


class Signer:
    """Has certificates signed by the vault's authority.

    Args:
        token: of an identity that may have them signed.
    """

    def __init__(self, settings: CertificateSettings, token: VaultToken) -> None:
        self._settings = settings
        self._token = token

    def ready(self) -> None:
        """Makes sure that the vault can sign. Raises as `credential` does."""
        self._token.ready()

    def credential(self, user: str, key_id: str) -> Credential:
        """A new key, with a certificate that opens the account of a login name for minutes.

        Args:
            key_id: stands in the certificate, and in the log of the site's SSH server.

        Raises:
            Unavailable, UpstreamFailed, UpstreamTimeout: the vault can't be used, or doesn't sign that.
        """
        if not _PRINCIPAL.fullmatch(user) or user == _ROOT:
            raise Unavailable(f"No certificate is made for the login name {user!r}. Tell an operator.", retry_after=600)
        pair = generate("ed25519", None, "")

        def sign(client: hvac.Client) -> str:
            answer = client.secrets.ssh.sign_ssh_key(
                name=self._settings.role,
                public_key=pair.public_key.strip(),
                ttl=f"{self._settings.ttl}s",
                valid_principals=user,
                key_id=key_id,
                mount_point=self._settings.mount,
            )
            return str(answer["data"]["signed_key"]).strip()

        with final():
            try:
                return Credential(pair.private_key, self._token.call(sign))
            except (InvalidRequest, InvalidPath):  # their texts may hold anything
                raise UpstreamFailed(
                    f"The vault signs no certificate for the login name {user}: its role {self._settings.role} isn't "
                    "there, or doesn't allow that name, that time, or a key id. Tell an operator."
                ) from None


class AccountKeys:
    """Obeys `Credentials`.

    Args:
        read: gives a private key; None where nothing may read them.
        signer: makes certificates; None where nothing does.
        reader: works in the background, if something has to.
    """

    def __init__(self, read: Callable[[str], str] | None, signer: Signer | None, reader: KeyReader | None) -> None:
        self._read = read
        self._signer = signer
        self._reader = reader

    def start(self) -> None:
        """Begins what it does in the background, in the process that will use it."""
        if self._reader is not None:
            self._reader.start()

    def credential(self, placement: Placement, purpose: str) -> Credential:
        if placement.ssh_key is not None and self._read is not None:
            return Credential(self._read(placement.ssh_key))
        if placement.ssh_key is None and placement.user is not None and self._signer is not None:
            return self._signer.credential(placement.user, f"hpcwaas {purpose} as {placement.user}")
        setting = "vault_config.ssh_ca" if placement.ssh_key is None else READER
        raise Unavailable(
            f"The service may not open the account on the site {placement.site}: the setting {setting} is missing. "
            "Tell an operator.",
            retry_after=600,
        )

    def ready(self, placement: Placement) -> None:
        if placement.ssh_key is None and self._signer is not None:
            self._signer.ready()
        elif placement.ssh_key is not None and self._reader is not None:
            self._reader.ready()

    def checks(self) -> Sequence[Check]:
        """State of what it needs besides the vault itself."""
        return [] if self._reader is None else [self._reader.check()]

    def close(self) -> None:
        """Releases what this process holds."""
        if self._reader is not None:
            self._reader.close()


def make(
    settings: HashiCorpSettings | None, vault: EmbeddedVault | HashiCorpVault, secret_id: SecretId | None
) -> AccountKeys | None:
    """What opens accounts, with the vault that there is; None when nothing does.

    Args:
        secret_id: of the AppRole of the identity that reads keys, if that is its login.
    """
    if isinstance(vault, EmbeddedVault):
        return AccountKeys(vault.private_key, None, None)
    if settings is None or (settings.key_reader is None and settings.ssh_ca is None):
        return None
    reader = KeyReader(settings, settings.key_reader, secret_id) if settings.key_reader else None
    signer = Signer(settings.ssh_ca, vault.token) if settings.ssh_ca else None
    return AccountKeys(reader.private_key if reader else None, signer, reader)
