"""The settings: one typed, frozen object. `hpcwaas.configuration` reads it from file, environment and flags."""

from __future__ import annotations

import ipaddress
import os
import re
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, SecretStr, model_validator

_SIZE = re.compile(r"(?P<number>\d+(?:\.\d+)?)\s*(?P<unit>[kMGT]i?)?B?")
_UNITS = {None: 1, "k": 10**3, "M": 10**6, "G": 10**9, "T": 10**12, "ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40}


def _size(value: object) -> object:
    """Turns `512 MiB`, `1GB`, `100` into bytes; leaves anything else to the type check."""
    if not isinstance(value, str):
        return value
    match = _SIZE.fullmatch(value.strip())
    if not match:
        raise ValueError("expected a number of bytes, or one with a unit: 500kB, 64MiB, 2GiB")
    return int(float(match["number"]) * _UNITS[match["unit"]])


def _address(value: str) -> str:
    host, separator, port = value.rpartition(":")
    if not separator or not port.isdecimal() or int(port) > 65535 or (":" in host and not host.startswith("[")):
        raise ValueError("expected HOST:PORT, for instance 127.0.0.1:9090 or [::1]:9090")
    return value


def _network(value: str) -> str:
    try:
        ipaddress.ip_network(value)
    except ValueError as error:
        raise ValueError("expected an IP address or network, for instance 10.0.0.7 or 10.0.0.0/24") from error
    return value


Size = Annotated[int, BeforeValidator(_size), Field(gt=0)]
Address = Annotated[str, AfterValidator(_address)]
Network = Annotated[str, AfterValidator(_network)]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class Account(_Section):
    """A user who signs in with a password."""

    username: str = Field(
        min_length=1, max_length=255, description="Name to sign in with, and the user's id. No colon."
    )
    password_hash: SecretStr | None = Field(
        None, description="Password as `hpcwaas-api user hash` prints it (argon2). Either this or `password`."
    )
    password: SecretStr | None = Field(None, description="Password in plain text, as old files have it.")
    groups: tuple[str, ...] = Field((), description="Groups that the user belongs to.")

    @model_validator(mode="after")
    def _check(self) -> Account:
        if ":" in self.username:
            raise ValueError("a username can't hold a colon: HTTP Basic splits there")
        if (self.password is None) == (self.password_hash is None):
            raise ValueError("give either `password_hash` or `password`")
        if self.password is not None and not self.password.get_secret_value():
            raise ValueError("a password can't be empty")
        if self.password_hash is not None and not self.password_hash.get_secret_value().startswith("$argon2"):
            raise ValueError("`password_hash` isn't one that `hpcwaas-api user hash` prints")
        return self


class BasicAuth(_Section):
    """Accounts with passwords. More can be kept in the store: `hpcwaas-api user add`."""

    accounts: tuple[Account, ...] = Field((), description="Who may sign in, besides the accounts of the store.")

    @model_validator(mode="after")
    def _check(self) -> BasicAuth:
        names = [account.username for account in self.accounts]
        if len(set(names)) != len(names):
            raise ValueError("a username stands there twice")
        return self


def _url(value: str) -> str:
    parts = urlsplit(value)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
        raise ValueError("expected a URL such as https://host.example.org:8088")
    if parts.username is not None:
        raise ValueError("holds credentials: they have settings of their own")
    return value.rstrip("/")


def _auth_types(value: object) -> object:
    if isinstance(value, str):
        return tuple(part.strip() for part in value.split(","))
    return value


def _origin_url(value: str) -> str:
    """A URL that secrets are sent to: https, or this machine."""
    parts = urlsplit(_url(value))
    if parts.scheme != "https" and parts.hostname not in ("localhost", "127.0.0.1", "::1"):
        raise ValueError("must be https: tokens travel there. Only on this machine (localhost) http is accepted")
    return value


Url = Annotated[str, AfterValidator(_url)]
SecureUrl = Annotated[str, AfterValidator(_origin_url)]


class AuthSettings(_Section):
    """How users sign in. Any `auth` section turns the local mode off."""

    auth_type: Annotated[tuple[Literal["basic", "sso"], ...], BeforeValidator(_auth_types), Field(min_length=1)] = (
        Field(description="`basic`: accounts with passwords. `sso`: single sign-on by OpenID Connect. Or both: a list.")
    )
    basic_auth: BasicAuth = Field(default_factory=BasicAuth, description="Accounts for `auth_type: basic`.")
    issuer: SecureUrl | None = Field(
        None, description="For `sso`: the identity provider, as its discovery document names itself."
    )
    auth_url: SecureUrl | None = Field(None, description="Authorization endpoint, where there is no `issuer`.")
    token_url: SecureUrl | None = Field(None, description="Token endpoint, where there is no `issuer`.")
    user_info_url: SecureUrl | None = Field(None, description="User info endpoint, where there is no `issuer`.")
    introspection_url: SecureUrl | None = Field(
        None, description="Introspection endpoint (RFC 7662). Default: the one of the discovery document."
    )
    redirect_url: SecureUrl | None = Field(
        None, description="For `sso`: where this service's `/auth/authorize` is reached by browsers; registered there."
    )
    client_id: str | None = Field(None, min_length=1, description="For `sso`: id of this service at the provider.")
    client_secret: SecretStr | None = Field(None, description="For `sso`: secret of this service at the provider.")
    scopes: tuple[str, ...] = Field(("openid", "profile", "email"), description="Scopes to ask the provider for.")
    audience: str | None = Field(
        None,
        min_length=1,
        description="Audience that access tokens in the form of a JWT must name. Default: `client_id`.",
    )
    subject_claim: str = Field("sub", min_length=1, description="Claim that becomes the user's id.")
    groups_claim: str = Field("groups", min_length=1, description="Claim that lists the user's groups.")
    ca_file: Path | None = Field(
        None, description="Certificates (PEM) to trust at the provider. Default: those that come with Python."
    )
    session_duration: int = Field(
        86400,
        gt=0,
        le=366 * 86400,
        description="Seconds after which a user has to sign in by the provider again; a year at most.",
    )
    operators: tuple[str, ...] = Field((), description="User ids of operators, who see and cancel all executions.")
    operator_groups: tuple[str, ...] = Field((), description="Groups whose members are operators.")
    max_token_days: int = Field(365, gt=0, le=36500, description="Longest life of a personal access token, in days.")


class LimitsPerUser(_Section):
    """What one user may have or do. Beyond it the answer is 429."""

    executions: int | None = Field(100, gt=0, description="Executions that haven't ended.")
    stored: Annotated[int, BeforeValidator(_size), Field(gt=0)] | None = Field(
        100 * 2**30, description="Uploaded files together, in bytes or with a unit."
    )
    requests: int | None = Field(6000, gt=0, description="Requests per minute to one worker process.")


class AuditSettings(_Section):
    """The record of who did what: one JSON object a line."""

    file: Path | None = Field(None, description="File to append to. Default: `audit.jsonl` in `data_dir`.")


class StoreSettings(_Section):
    """Where the service keeps its own records."""

    url: str | None = Field(
        None,
        description=(
            "SQLAlchemy URL, such as `postgresql+psycopg://hpcwaas@db.example.org/hpcwaas`. "
            "Default: an SQLite file in `data_dir`."
        ),
    )


class FileSettings(_Section):
    """Files that users upload."""

    max_size: Size = Field(2 * 2**30, description="Largest upload, in bytes or with a unit.")


class VaultSettings(_Section):
    """The embedded vault."""

    key: SecretStr | None = Field(
        None,
        description="Encryption key, 32 bytes in base64. Default: made once and kept in `data_dir`, mode 0600.",
    )


class RunnerSettings(_Section):
    """The CWL runner. Nothing is assumed of it beyond the common `cwl-runner` interface:
    `COMMAND [ARGUMENTS] --outdir DIR WORKFLOW INPUTS` prints the output object."""

    command: tuple[str, ...] = Field(
        ("cwltool",),
        min_length=1,
        description="Program and first arguments. `cwltool` alone is run without starting Python anew.",
    )
    arguments: tuple[str, ...] | None = Field(
        None,
        description=(
            "Arguments before `--outdir`. `{workdir}`, `{tmpdir}`, `{cores}` and `{memory_mib}` are replaced. "
            "Default: those that cwltool needs to stay inside the execution's directory; for any other command none."
        ),
    )


class LimitSettings(_Section):
    """What one execution may use."""

    cores: int = Field(
        default_factory=lambda: os.cpu_count() or 1, gt=0, description="CPU cores. Default: all of this machine."
    )
    memory: Size = Field(4 * 2**30, description="Memory of all its processes together.")
    log: Size = Field(32 * 2**20, description="Log.")
    disk: Size = Field(512 * 2**20, description="Outputs and temporary files together.")
    time: float | None = Field(
        None, gt=0, allow_inf_nan=False, description="Seconds that it may run, without its waiting. Default: no limit."
    )


class CWLSettings(_Section):
    """The embedded engine."""

    catalogue: Path | None = Field(
        None, description="Directory whose files and folders are published. Default: the examples that come along."
    )
    max_running: int = Field(
        default_factory=lambda: max(2, os.cpu_count() or 1),
        gt=0,
        description="Executions that run at the same time; more wait in order. Default: one a CPU core, at least 2.",
    )
    http_inputs: bool = Field(
        False, description="Whether input files may be http(s) URLs. Private addresses are refused in any case."
    )
    environment: tuple[str, ...] = Field(
        (), description="Names of environment variables that the runner gets besides PATH and the locale."
    )
    runner: RunnerSettings = Field(default_factory=RunnerSettings)
    limits: LimitSettings = Field(default_factory=LimitSettings)


def _mount_path(value: str) -> str:
    if not re.fullmatch(r"[\w.-]+(/[\w.-]+)*", value) or {".", ".."} & set(value.split("/")):
        raise ValueError("expected a path such as secret or teams/hpc, without a slash at its ends")
    return value


MountPath = Annotated[str, AfterValidator(_mount_path)]


class Alien4CloudSettings(_Section):
    """The engine `alien4cloud`, which is chosen when any of these is set."""

    address: Url = Field("http://127.0.0.1:8088", description="URL of Alien4Cloud.")
    user: str = Field("admin", min_length=1, description="Account that this service uses there.")
    password: SecretStr = Field(SecretStr("admin"), description="Password of that account.")
    ca_file: Path | None = Field(None, description="Certificates (PEM) to trust. Default: those that come with Python.")
    skip_secure: bool = Field(False, description="Whether to accept any certificate. For trials only.")
    cache_seconds: float = Field(10.0, gt=0, description="Seconds for which the list of workflows counts as fresh.")
    connect_timeout: float = Field(3.0, gt=0, description="Seconds to wait for a connection.")
    read_timeout: float = Field(30.0, gt=0, description="Seconds to wait for an answer.")


class HashiCorpSettings(_Section):
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
        "accept",
        description=(
            "Whether executions may use keys that only the vault knows: those of the service before this one. "
            "Set it to `refuse` when all of them are replaced."
        ),
    )


class ServerSettings(_Section):
    """The web server."""

    workers: int = Field(1, gt=0, description="Worker processes.")
    threads: int = Field(64, gt=1, description="Requests that one worker process serves at the same time.")
    max_body: Size = Field(8 * 2**20, description="Largest JSON body. Uploads have `files.max_size`.")
    trusted_proxies: tuple[Network, ...] = Field(
        ("127.0.0.1", "::1"),
        description="Addresses or networks of reverse proxies whose `X-Forwarded-For` and `X-Forwarded-Proto` count.",
    )


class Settings(_Section):
    """All settings of the service."""

    listen_address: Address | None = Field(
        None, description="HOST:PORT to listen on. Default: 0.0.0.0:9090; without an `auth` section 127.0.0.1:9090."
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
    def database_url(self) -> str:
        """SQLAlchemy URL of the service's own records."""
        return self.store.url or f"sqlite:///{self.data_dir / 'hpcwaas.db'}"
