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
        description="Encryption key, 32 bytes in base64. Default: made once and kept in `data_dir`, mode 0600.",
    )
    previous_keys: tuple[SecretStr, ...] = Field(
        (),
        description="Keys that open what they sealed before `key` took their place, until `hpcwaas-api vault rekey`.",
    )


class HashiCorpSettings(Section):
    """HashiCorp Vault or OpenBao, where private keys rest when any of these is set. Otherwise they rest in the embedded
    vault."""

    address: Url = Field("http://127.0.0.1:8200", description="URL of the vault.")
    namespace: str | None = Field(None, min_length=1, description="Namespace, where the vault has them.")
    ca_file: Path | None = Field(None, description="Certificates (PEM) to trust. Default: those that come with Python.")
    auth_method: Literal["approle", "token", "kubernetes", "jwt"] = Field(
        "approle", description="How the service logs in."
    )
    auth_mount: MountPath | None = Field(
        None, description="Where that method is mounted below `auth/`. Default: its name."
    )
    role_id: str | None = Field(None, min_length=1, description="For `approle`.")
    secret_id: SecretStr | None = Field(
        None, description="For `approle`: the secret id, or a wrapping token around it."
    )
    is_secret_wrapped: bool = Field(
        False, description="Whether `secret_id` is a wrapping token. It is opened once, when the service starts."
    )
    role: str | None = Field(None, min_length=1, description="For `kubernetes` and `jwt`: role to log in with.")
    token: SecretStr | None = Field(None, description="For `token`.")
    token_file: Path | None = Field(
        None,
        description=(
            "File with the token for `token`, or with the JSON Web Token for `jwt` and `kubernetes`; read anew at "
            "every login."
        ),
    )
    mount: MountPath = Field("secret", description="Where the engine for keys and values is mounted; version 1 or 2.")
    path: MountPath = Field("ssh-credentials", description="Path in it below which keys are stored by their ids.")
    unrecorded_keys: Literal["accept", "refuse"] = Field(
        "refuse",
        description=(
            "Whether executions may use keys that only the vault knows: those of the service before this one. With "
            "`accept` whoever knows the id of one is taken for its owner: for the time of a switch-over."
        ),
    )
