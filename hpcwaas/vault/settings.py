"""Where private keys rest."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field, SecretStr

from hpcwaas.common.setting_types import MountPath, Section, Url


class VaultSettings(Section):
    """The embedded vault."""

    key: SecretStr | None = Field(
        None,
        description=(
            "Encryption key, 32 bytes in base64. Default: the keys of the file `vault.key` in `data_dir`, which the "
            "first start makes."
        ),
    )
    previous_keys: tuple[SecretStr, ...] = Field(
        (),
        description="Earlier keys, which still open what they sealed. Needed until `hpcwaas-api vault rekey` has run.",
    )


class VaultLogin(Section):
    """How to log in to HashiCorp Vault or OpenBao."""

    auth_method: Literal["approle", "token", "kubernetes", "jwt"] = Field("approle", description="How to log in.")
    auth_mount: MountPath | None = Field(
        None, description="Mount of that method below `auth/`. Default: the name of the method."
    )
    role_id: str | None = Field(None, min_length=1, description="For `approle`: the role id.")
    secret_id: SecretStr | None = Field(
        None, description="For `approle`: the secret id, or a wrapping token around it."
    )
    is_secret_wrapped: bool = Field(
        False, description="Whether `secret_id` is a wrapping token. It is opened once, when the service starts."
    )
    role: str | None = Field(None, min_length=1, description="For `kubernetes` and `jwt`: role to log in with.")
    token: SecretStr | None = Field(None, description="For `token`: the token.")
    token_file: Path | None = Field(
        None,
        description=(
            "File with the token for `token`, or with the JSON Web Token for `jwt` and `kubernetes`; read again "
            "at every login."
        ),
    )


class KeyReaderSettings(VaultLogin):
    """Another identity in the same vault, which may read private keys and nothing else. Engines sign in to sites with
    what it reads; the identity of the service itself can't read keys."""


class CertificateSettings(Section):
    """The vault's SSH certificate authority, which signs a key that lives for one connection in place of a stored one.
    For sites with `logins`. The identity of the service signs."""

    mount: MountPath = Field("ssh", description="Mount of the SSH secrets engine.")
    role: str = Field(min_length=1, description="Role to sign with.")
    ttl: int = Field(
        300, ge=60, le=3600, description="Seconds for which a certificate opens an account. Connections last longer."
    )


class HashiCorpSettings(VaultLogin):
    """HashiCorp Vault or OpenBao, where private keys rest when any of these is set. Otherwise they rest in the embedded
    vault."""

    address: Url = Field("http://127.0.0.1:8200", description="URL of the vault.")
    namespace: str | None = Field(None, min_length=1, description="Namespace, if the vault has namespaces.")
    ca_file: Path | None = Field(None, description="Certificates (PEM) to trust. Default: those that come with Python.")
    mount: MountPath = Field("secret", description="Mount of the key-value engine, version 1 or 2.")
    path: MountPath = Field(
        "ssh-credentials", description="Path in that mount, below which each key is stored by its id."
    )
    unrecorded_keys: Literal["accept", "refuse"] = Field(
        "refuse",
        description=(
            "Whether executions may use keys that only the vault knows: those of the service before this one. With "
            "`accept` anybody who knows the id of such a key can use it: set it only during a switch-over."
        ),
    )
    key_reader: KeyReaderSettings | None = Field(
        None, description="Identity that reads private keys, for sites that are opened by stored ones."
    )
    ssh_ca: CertificateSettings | None = Field(
        None, description="Certificate authority, for sites that are opened by certificates."
    )
