"""The settings: one typed, frozen object. `hpcwaas.configuration.load` reads it from file, environment and flags."""

from __future__ import annotations

import os
from pathlib import Path

from pydantic import Field

from hpcwaas.configuration.settings.alien4cloud import Alien4CloudSettings
from hpcwaas.configuration.settings.auth import (
    Account,
    AuthSettings,
    BasicAuth,
    RequiredClaim,
    StepUpSettings,
    TermsSettings,
)
from hpcwaas.configuration.settings.cwl import CWLSettings, LimitSettings, RunnerSettings
from hpcwaas.configuration.settings.server import ServerSettings
from hpcwaas.configuration.settings.users import AuditSettings, FileSettings, LimitsPerUser, StoreSettings
from hpcwaas.configuration.settings.values import Address, Section
from hpcwaas.configuration.settings.vault import HashiCorpSettings, VaultSettings

__all__ = [
    "Account",
    "Alien4CloudSettings",
    "AuditSettings",
    "AuthSettings",
    "BasicAuth",
    "CWLSettings",
    "FileSettings",
    "HashiCorpSettings",
    "LimitSettings",
    "LimitsPerUser",
    "RequiredClaim",
    "RunnerSettings",
    "ServerSettings",
    "Settings",
    "StepUpSettings",
    "StoreSettings",
    "TermsSettings",
    "VaultSettings",
]


class Settings(Section):
    """All settings of the service."""

    listen_address: Address | None = Field(
        None,
        description="HOST:PORT to listen on, or `unix:/PATH` of a Unix socket for a reverse proxy on this machine. "
        "Default: 0.0.0.0:9090; without an `auth` section 127.0.0.1:9090.",
    )
    data_dir: Path = Field(
        default_factory=lambda: (
            Path(os.environ.get("XDG_DATA_HOME") or Path.home().joinpath(".local", "share")) / "hpcwaas"
        ),
        description="Directory of everything the service keeps. On a local disk. Default: `~/.local/share/hpcwaas`.",
    )
    auth: AuthSettings | None = Field(None, description="How users sign in. Without it: one local user with a token.")
    store: StoreSettings = Field(default_factory=StoreSettings)
    limits: LimitsPerUser = Field(default_factory=LimitsPerUser)
    audit: AuditSettings = Field(default_factory=AuditSettings)
    files: FileSettings = Field(default_factory=FileSettings)
    vault: VaultSettings = Field(default_factory=VaultSettings)
    cwl: CWLSettings = Field(default_factory=CWLSettings)
    alien_config: Alien4CloudSettings | None = Field(
        None, description="Alien4Cloud, which then runs the workflows. Without it: the embedded engine."
    )
    vault_config: HashiCorpSettings | None = Field(
        None, description="HashiCorp Vault or OpenBao for private keys. Without it: the embedded vault."
    )
    server: ServerSettings = Field(default_factory=ServerSettings)

    @property
    def local(self) -> bool:
        """Whether this is the local mode: no `auth` section, one user with a token."""
        return self.auth is None

    @property
    def audit_file(self) -> Path:
        """Where acts are recorded."""
        return self.audit.file or self.data_dir / "audit.jsonl"

    @property
    def vault_key_file(self) -> Path:
        """Where the keys of the embedded vault lie that aren't set."""
        return self.data_dir / "vault.key"

    @property
    def database_url(self) -> str:
        """SQLAlchemy URL of the service's own records."""
        return self.store.url or f"sqlite:///{self.data_dir / 'hpcwaas.db'}"
