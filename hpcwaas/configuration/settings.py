"""The settings: one typed, frozen object. `hpcwaas.configuration.load` reads it from file, environment and flags."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from socket import gethostname
from typing import Any, TypeVar

from pydantic import Field, SecretStr, create_model, model_validator

from hpcwaas.common.setting_types import Address, Mode, Network, Origin, Prefix, Section, Size, Url
from hpcwaas.core.settings import LimitsPerUser, RetentionSettings
from hpcwaas.engines.registry import mistakable, registry
from hpcwaas.engines.settings import EngineSettings
from hpcwaas.engines.site_settings import SiteId, SiteSettings
from hpcwaas.identity.settings import AuthSettings
from hpcwaas.vault.settings import HashiCorpSettings, VaultSettings

MACHINE = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$"
"""Names of machines."""

_SHARED_ADDRESS = "0.0.0.0:9090"
_LOCAL_ADDRESSES = tuple(f"127.0.0.1:{port}" for port in range(9090, 9100))
"""The local mode takes the first free one, unless an address is set."""


class AuditSettings(Section):
    """The record of who did what: one JSON object a line."""

    file: Path | None = Field(None, description="File to append to. Default: `audit.jsonl` in `data_dir`.")
    syslog: str | None = Field(
        None,
        pattern=r"^(/.+|[^/\s]+:[0-9]{1,5})$",
        description="Syslog server to which each record is sent as well: path of its socket, such as `/dev/log` (also "
        "journald's), or `HOST:PORT` for UDP.",
    )


class StoreSettings(Section):
    """Where the service keeps its own records."""

    url: str | None = Field(
        None,
        description=(
            "SQLAlchemy URL, such as `postgresql+psycopg://hpcwaas@db.example.org/hpcwaas`. "
            "Default: an SQLite file in `data_dir`."
        ),
    )


class FileSettings(Section):
    """Files that users upload."""

    max_size: Size = Field(2 * 2**30, description="Largest upload, in bytes or with a unit.")


class ServerSettings(Section):
    """The web server."""

    workers: int = Field(1, gt=0, description="Worker processes.")
    threads: int = Field(64, gt=1, description="Requests that one worker process serves at the same time.")
    max_body: Size = Field(8 * 2**20, description="Largest JSON body. Uploads have `files.max_size`.")
    longest_poll: int = Field(
        90,
        gt=0,
        description="Seconds after which a request that follows a log is answered even without new lines. Keep "
        "it below the time that reverse proxies wait for an answer (`proxy_read_timeout` of nginx).",
    )
    slow_request: float = Field(
        1.0,
        gt=0,
        description="Seconds from which on a request is marked in the log as slow. What it waits for doesn't count: "
        "news of a log, and a body that the client sends.",
    )
    trusted_proxies: tuple[Network, ...] = Field(
        (),
        description="Addresses or networks of reverse proxies whose `X-Forwarded-For`, `X-Forwarded-Proto` and "
        "`X-Forwarded-Prefix` count. Connections by a Unix socket are always trusted.",
    )
    root_path: Prefix = Field(
        "",
        description="Path below which a reverse proxy shows the service, such as `/workflows-api`, whether the proxy "
        "takes it off or not. Default: what the proxy says in `X-Forwarded-Prefix`, else none.",
    )
    cors_origins: tuple[Origin, ...] = Field(
        (),
        description="Origins of web pages of others, such as `https://portal.example.org`, whose scripts may call the "
        "service with a token that they have. Default: none.",
    )
    tls_certificate: Path | None = Field(
        None,
        description="PEM file with the certificate of the service and the chain above it: the service then speaks TLS "
        "itself, without a reverse proxy. A renewed one is taken without a restart.",
    )
    tls_key: Path | None = Field(
        None, description="PEM file with the private key of `server.tls_certificate`, without a passphrase."
    )
    drain: int = Field(
        0,
        ge=0,
        le=3600,
        description="Seconds for which a service that was told to stop (SIGTERM) goes on serving, while "
        "`/health/ready` answers 503: enough for what sends requests to several replicas to notice. A second SIGTERM "
        "ends that.",
    )
    socket_mode: Mode = Field(
        "0660",
        description="Mode of the Unix socket, when `listen_address` is one: `'0660'` for the service's group, "
        "`'0600'` for its account alone.",
    )


class MetricsSettings(Section):
    """What Prometheus may read at `/metrics`."""

    token: SecretStr | None = Field(
        None,
        min_length=16,
        description="Token that Prometheus sends as `Authorization: Bearer …`, such as the output of `openssl rand "
        "-hex 32`. Without it nothing is counted, and nobody can read anything.",
    )


class TracingSettings(Section):
    """Traces by OpenTelemetry; needs the extra `tracing`."""

    endpoint: Url | None = Field(
        None,
        description="URL of a collector that takes OTLP by HTTP, such as `http://127.0.0.1:4318/v1/traces`. "
        "OpenTelemetry's own variables tell the rest, such as `OTEL_TRACES_SAMPLER` and `OTEL_EXPORTER_OTLP_HEADERS`.",
    )


M = TypeVar("M", bound=Section)


def _with_engines(model: type[M]) -> type[M]:
    """The settings with the sections of all engines there are."""
    for entry in registry().entries:
        if taken := next((name for name in model.model_fields if mistakable(name, entry.section)), None):
            registry().drop(entry, f"has a section `{entry.section}` that can be taken for the setting `{taken}`")
    sections = {name: (section | None, None) for name, section in registry().sections.items()}
    return create_model(model.__name__, __base__=model, __module__=__name__, __doc__=model.__doc__, **sections)  # type: ignore[call-overload, no-any-return] # the names aren't known before


@_with_engines
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
        description=(
            "Directory for everything that the service keeps, on a local disk. Default: `~/.local/share/hpcwaas`."
        ),
    )
    shared_dir: Path | None = Field(
        None,
        description="Directory that several machines of the service mount at one path, for what all of them need: "
        "uploads, and what the engine `cwl` keeps. Needs PostgreSQL. Default: there is one machine, and they are in "
        "`data_dir`.",
    )
    machine: str | None = Field(
        None,
        pattern=MACHINE,
        description="Name of this machine among those with one `shared_dir`; it never changes. Default: its host name.",
    )
    auth: AuthSettings | None = Field(None, description="How users sign in. Without it: one local user with a token.")
    store: StoreSettings = Field(default_factory=StoreSettings)
    limits: LimitsPerUser = Field(default_factory=LimitsPerUser)
    retention: RetentionSettings = Field(default_factory=RetentionSettings)
    audit: AuditSettings = Field(default_factory=AuditSettings)
    files: FileSettings = Field(default_factory=FileSettings)
    vault: VaultSettings = Field(default_factory=VaultSettings)
    vault_config: HashiCorpSettings | None = Field(
        None, description="HashiCorp Vault or OpenBao for private keys. Without it: the embedded vault."
    )
    metrics: MetricsSettings = Field(default_factory=MetricsSettings)
    tracing: TracingSettings = Field(default_factory=TracingSettings)
    server: ServerSettings = Field(default_factory=ServerSettings)
    sites: Mapping[SiteId, SiteSettings] = Field(
        default_factory=dict,
        description="Sites besides this machine on which the engine `cwl` runs workflows, by their ids.",
    )

    @model_validator(mode="before")
    @classmethod
    def _with_an_engine(cls, given: Any) -> Any:
        """Without the section of any engine, the first one is active."""
        sections = [*registry().sections]
        if isinstance(given, dict) and all(given.get(name) is None for name in sections):
            return {**given, sections[0]: {}}
        return given

    @property
    def engines(self) -> Mapping[str, EngineSettings]:
        """The sections of the engines that are active, by the engines' names."""
        sections = {entry.name: getattr(self, entry.section) for entry in registry().entries}
        return {name: section for name, section in sections.items() if section is not None}

    @property
    def local(self) -> bool:
        """Whether this is the local mode: no `auth` section, one user with a token."""
        return self.auth is None

    @property
    def addresses(self) -> Sequence[str]:
        """The addresses to try to listen on, in this order, as HOST:PORT or unix:PATH."""
        if self.listen_address is not None:
            return (self.listen_address,)
        return _LOCAL_ADDRESSES if self.local else (_SHARED_ADDRESS,)

    @property
    def shared(self) -> Path:
        """Directory for what all machines need."""
        return self.shared_dir or self.data_dir

    @property
    def machine_name(self) -> str | None:
        """Name of this machine; None where it is the only one."""
        return None if self.shared_dir is None else self.machine or gethostname()

    @property
    def audit_file(self) -> Path:
        """Where acts are recorded."""
        return self.audit.file or self.data_dir / "audit.jsonl"

    @property
    def local_token_file(self) -> Path:
        """Where the token of the local mode's user lies; nobody else can read it."""
        return self.data_dir / "local-token"

    @property
    def vault_key_file(self) -> Path:
        """Where the keys of the embedded vault lie that aren't set."""
        return self.data_dir / "vault.key"

    @property
    def database_url(self) -> str:
        """SQLAlchemy URL of the service's own records."""
        return self.store.url or f"sqlite:///{self.data_dir / 'hpcwaas.db'}"
