"""Finds what stands in the way of a start: settings that contradict one another or this machine, and the data that they
point to."""

from __future__ import annotations

import importlib.util
import os
import stat
from collections.abc import Collection, Iterator
from pathlib import Path

from hpcwaas.common import tls_files
from hpcwaas.configuration import machines
from hpcwaas.configuration.settings import Settings
from hpcwaas.core.ports.identity import CALLBACK
from hpcwaas.engines.registry import registry
from hpcwaas.errors import ConfigurationError, Unavailable
from hpcwaas.identity.passwords import is_hash
from hpcwaas.identity.settings import AuthSettings, StepUpSettings, TermsSettings
from hpcwaas.vault.settings import HashiCorpSettings, VaultLogin

READER = "vault_config.key_reader"
_IDENTITY = {"approle": ("role_id",), "token": ("token", "token_file"), "kubernetes": ("role",), "jwt": ("role",)}
"""Settings that tell identities apart, for each way to log in."""
_TLS = ("tls_certificate", "tls_key")
_OWN_PATHS = frozenset(
    (
        *("auth", "executions", "files", "health", "metrics", "openapi.json", "openapi.yaml", "sites", "ssh_keys"),
        *("terms", "tokens", "ui", "users", "whoami", "workflows"),
    )
)
"""First parts of the paths that the service has."""

RESTORING = "restoring.json"
"""Lies in the data directory while a backup is being restored."""

OUTDATED = "the database has the schema of another version: run `hpcwaas-api db upgrade`"

_SSO_URLS = ("auth_url", "token_url", "user_info_url")
_SHARED_CLAIMS = frozenset(
    (
        *("name", "given_name", "family_name", "middle_name", "nickname", "profile", "picture", "website", "gender"),
        *("birthdate", "zoneinfo", "locale", "address", "email_verified", "phone_number_verified", "displayName"),
        *("acr", "amr", "azp", "aud", "iss", "nonce", "scope", "groups"),
    )
)
"""Claims that several users have alike, or choose by themselves."""

_SSO = (
    *("issuer", *_SSO_URLS, "introspection_url", "redirect_url", "client_id", "client_secret", "scopes"),
    *("audience", "subject_claim", "assume_verified", "groups_claim", "required_claims", "ca_file", "session_duration"),
)
"""Settings of `auth` that single sign-on alone uses."""


def contradictions(settings: Settings) -> Iterator[ConfigurationError]:
    """What this machine or another setting stands against. Changes nothing.

    Yields:
        One error for each.
    """
    if problem := _directory(settings.data_dir):
        yield ConfigurationError("data_dir", problem)
    if settings.store.url is None and "?" in str(settings.data_dir):
        yield ConfigurationError("data_dir", "can't contain a question mark: the database's URL would end there")
    if settings.store.url is not None and (problem := _store_url(settings.store.url)):
        yield ConfigurationError("store.url", problem)
    yield from machines.problems(settings)
    if settings.audit.file is not None and (problem := _file(settings.audit.file)):
        yield ConfigurationError("audit.file", problem)
    kept = settings.retention
    for name, days in (("outputs", kept.outputs), ("logs", kept.logs)):
        if days is not None and kept.executions is not None and days > kept.executions:
            yield ConfigurationError(
                f"retention.{name}",
                f"is {days} days, and all of an execution is deleted after {kept.executions} (`retention.executions`): "
                "remove it, or give a smaller number",
            )
    yield from _server(settings)
    if settings.auth is not None:
        yield from _auth(settings.auth)
    for name, section in settings.engines.items():
        yield from registry().found_wrong(name, section, local=settings.local)
    if settings.sites:
        yield from _sites(settings)
    if settings.vault_config is not None:
        yield from _vault(settings.vault_config)
        for name in settings.vault.model_fields_set:
            yield ConfigurationError(
                f"vault.{name}", "belongs to the embedded vault, which `vault_config` turns off: remove it"
            )


def _server(settings: Settings) -> Iterator[ConfigurationError]:
    server = settings.server
    first = server.root_path.split("/")[1:2]
    if first and first[0] in _OWN_PATHS:
        yield ConfigurationError(
            "server.root_path", f"can't begin with /{first[0]}, which is a path of the service itself"
        )
    named = {name: path for name in _TLS if (path := getattr(server, name)) is not None}
    if not named:
        return
    if settings.local or settings.addresses[0].startswith("unix:"):
        why = "the local mode, without an `auth` section" if settings.local else "a Unix socket"
        for name in named:
            yield ConfigurationError(f"server.{name}", f"is of no use with {why}: remove it")
        return
    unread = {name: problem for name, path in named.items() if (problem := tls_files.unreadable(path))}
    for name, problem in unread.items():
        yield ConfigurationError(f"server.{name}", problem)
    for name in named if len(named) < len(_TLS) else ():
        yield ConfigurationError(f"server.{name}", f"needs `server.{(set(_TLS) - named.keys()).pop()}` as well")
    if server.tls_certificate is not None and server.tls_key is not None and not unread:
        for which, problem in tls_files.wrong_identity(server.tls_certificate, server.tls_key):
            yield ConfigurationError(f"server.tls_{which}", problem)


def _directory(path: Path) -> str | None:
    if os.access(path, os.F_OK):  # Path.exists() raises when a directory above may not be entered
        if not path.is_dir():
            return f"{path} is no directory"
        if not os.access(path, os.R_OK | os.W_OK | os.X_OK):
            return f"{path} isn't writable"
        owner = path.stat().st_uid
        return (
            None
            if owner == os.geteuid()
            else f"{path} belongs to another account (number {owner}): name a directory inside of it"
        )
    parent = next(it for it in path.parents if os.access(it, os.F_OK))
    if not parent.is_dir() or not os.access(parent, os.W_OK | os.X_OK):
        return f"{path} doesn't exist and can't be made in {parent}"
    return None


def _file(path: Path) -> str | None:
    if os.access(path, os.F_OK):
        return None if not path.is_dir() and os.access(path, os.W_OK) else f"{path} can't be written"
    writable = path.parent.is_dir() and os.access(path.parent, os.W_OK | os.X_OK)
    return None if writable else f"{path} doesn't exist and can't be made: this account can't write in {path.parent}"


def _store_url(url: str) -> str | None:
    from sqlalchemy import make_url  # imported here: slow, and needed for nothing else
    from sqlalchemy.exc import ArgumentError

    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):  # their text may quote the password
        return "isn't an SQLAlchemy URL, such as postgresql+psycopg://hpcwaas@db.example.org/hpcwaas"
    if parsed.get_backend_name() == "sqlite":
        return None if ":////" in url else "SQLite needs an absolute path here: sqlite:////var/lib/hpcwaas/hpcwaas.db"
    if parsed.drivername != "postgresql+psycopg":
        return (
            f"{parsed.drivername}:// can't be used: expected postgresql+psycopg:// (with the driver's name) or sqlite"
        )
    if importlib.util.find_spec("psycopg") is None:
        return "the driver of PostgreSQL isn't installed: `pip install 'hpcwaas[postgresql]'`"
    return None


def _auth(auth: AuthSettings) -> Iterator[ConfigurationError]:
    """What the chosen ways to sign in lack, and what they don't use."""
    for index, account in enumerate(auth.basic_auth.accounts):
        hashed = account.password_hash.get_secret_value() if account.password_hash else None
        if hashed is not None and not is_hash(hashed):
            yield ConfigurationError(
                f"auth.basic_auth.accounts[{index}].password_hash", "isn't one that `hpcwaas-api user hash` prints"
            )
    if "basic" not in auth.auth_type and auth.basic_auth.accounts:
        yield ConfigurationError(
            "auth.basic_auth.accounts", "aren't used by `auth_type: sso`: remove them, or add `basic` to `auth_type`"
        )
    yield from _terms(auth.terms)
    yield from _step_up(auth)
    given = {name for name in _SSO if getattr(auth, name) != AuthSettings.model_fields[name].default}
    if "sso" in auth.auth_type:
        yield from _sso(auth, given)
        yield from _claims(auth)
        return
    for name in sorted(given):
        yield ConfigurationError(
            f"auth.{name}", "isn't used by `auth_type: basic`: remove it, or add `sso` to `auth_type`"
        )


def _terms(terms: TermsSettings) -> Iterator[ConfigurationError]:
    told = terms.text is not None or terms.url is not None
    if terms.version is None and told:
        yield ConfigurationError("auth.terms.version", "is required if there are terms of use")
    if terms.version is not None and not told:
        yield ConfigurationError("auth.terms.text", "or `auth.terms.url` is required if `auth.terms.version` is set")


def _step_up(auth: AuthSettings) -> Iterator[ConfigurationError]:
    demands = [name for name in ("acr_values", "max_age") if getattr(auth.step_up, name)]
    if not demands and auth.step_up != StepUpSettings():
        yield ConfigurationError(
            "auth.step_up.acts",
            "have no effect without `acr_values` or `max_age`: set one of them, or remove `auth.step_up`",
        )
    if "acr_values" in demands and "sso" not in auth.auth_type:
        yield ConfigurationError("auth.step_up.acr_values", "can't be met by passwords: add `sso` to `auth_type`")
    if demands and "sso" in auth.auth_type and auth.issuer is None:
        yield ConfigurationError(
            f"auth.step_up.{demands[0]}", "can't be met by a provider without `issuer`: it gives no ID tokens"
        )


def _claims(auth: AuthSettings) -> Iterator[ConfigurationError]:
    if auth.subject_claim in _SHARED_CLAIMS:
        yield ConfigurationError(
            "auth.subject_claim",
            f"`{auth.subject_claim}` isn't unique, or users choose it, so a user could take over somebody else's "
            "account: name another claim, such as `sub`",
        )
    if auth.assume_verified and auth.subject_claim not in ("email", "phone_number"):
        yield ConfigurationError(
            "auth.assume_verified", "is used only with `subject_claim: email` or `phone_number`: remove it"
        )


def _sso(auth: AuthSettings, given: Collection[str]) -> Iterator[ConfigurationError]:
    """What single sign-on lacks, and what contradicts itself.

    Args:
        given: names of the settings of `auth` that aren't defaults.
    """
    for name in ("client_id", "client_secret", "redirect_url"):
        if name not in given:
            yield ConfigurationError(f"auth.{name}", "is required by `auth_type: sso`")
    if auth.redirect_url is not None and not auth.redirect_url.endswith(CALLBACK):
        detail = f"must end with {CALLBACK}: the provider sends browsers back to that path of this service"
        yield ConfigurationError("auth.redirect_url", detail)
    if auth.client_secret is not None and not auth.client_secret.get_secret_value():
        yield ConfigurationError("auth.client_secret", "can't be empty")
    urls = [name for name in _SSO_URLS if name in given]
    if "issuer" in given:
        for name in urls:
            yield ConfigurationError(f"auth.{name}", "isn't used when there is an `issuer`: remove one of the two")
    elif not urls:
        yield ConfigurationError(
            "auth.issuer", f"is required by `auth_type: sso`, or instead all of {', '.join(_SSO_URLS)}"
        )
    else:
        for name in _SSO_URLS:
            if name not in given:
                yield ConfigurationError(f"auth.{name}", "is required if there is no `issuer`")
    if auth.ca_file is not None and not os.access(auth.ca_file, os.R_OK):
        yield ConfigurationError("auth.ca_file", f"{auth.ca_file} can't be read")


def _sites(settings: Settings) -> Iterator[ConfigurationError]:
    """What is in the way of sites besides this machine."""
    if "cwl" not in settings.engines:
        detail = "aren't used: the engine `cwl` runs workflows there, and isn't active; add a section `cwl`"
        yield ConfigurationError("sites", detail)
    vault = settings.vault_config
    for name, site in settings.sites.items():
        if site.logins is not None and (vault is None or vault.ssh_ca is None):
            detail = f"is required by `sites.{name}.logins`: certificates open accounts there"
            yield ConfigurationError("vault_config.ssh_ca", detail)
        if site.logins is None and vault is not None and vault.key_reader is None:
            detail = (
                f"is required by the site `{name}`, whose accounts are opened by keys that the service itself can't "
                "read: give it an identity that may, or use certificates (`vault_config.ssh_ca`, and `logins` of the "
                "site)"
            )
            yield ConfigurationError(READER, detail)
        if site.prologue is not None and (problem := _text(site.prologue)):
            yield ConfigurationError(f"sites.{name}.prologue", problem)


def _text(path: Path) -> str | None:
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        return f"{path} can't be read: {error.strerror}"
    except UnicodeDecodeError:
        return f"{path} isn't text in UTF-8"
    return f"{path} isn't a shell script: it contains NUL" if "\0" in text else None


def _vault(vault: HashiCorpSettings) -> Iterator[ConfigurationError]:
    """What the chosen ways to log in lack, and what they don't use."""
    yield from _login(vault, "vault_config")
    if vault.ca_file is not None and not os.access(vault.ca_file, os.R_OK):
        yield ConfigurationError("vault_config.ca_file", f"{vault.ca_file} can't be read")
    if (reader := vault.key_reader) is not None:
        yield from _login(reader, READER)
        for name in _IDENTITY[reader.auth_method]:
            mine = getattr(vault, name)
            if mine is not None and mine == getattr(reader, name):
                detail = f"is the service's own identity (`vault_config.{name}`), which can't read keys: make another"
                yield ConfigurationError(f"{READER}.{name}", detail)


def _login(login: VaultLogin, key: str) -> Iterator[ConfigurationError]:
    method = login.auth_method
    uses = {
        "approle": ("role_id", "secret_id"),
        "token": ("token", "token_file"),
        "kubernetes": ("role", "token_file"),
        "jwt": ("role", "token_file"),
    }
    given = {
        name for name in ("role_id", "secret_id", "role", "token", "token_file") if getattr(login, name) is not None
    }
    for name in sorted(given - {*uses[method]}):
        yield ConfigurationError(f"{key}.{name}", f"isn't used by `auth_method: {method}`: remove it")
    missing = [name for name in uses[method] if name not in given]
    if method == "token":
        if len(missing) != 1:
            yield ConfigurationError(f"{key}.token", f"give either this or `{key}.token_file`")
    else:
        for name in missing:
            yield ConfigurationError(f"{key}.{name}", f"is required by `auth_method: {method}`")
    if login.is_secret_wrapped and method != "approle":
        yield ConfigurationError(f"{key}.is_secret_wrapped", f"isn't used by `auth_method: {method}`: remove it")
    if login.token_file is not None and not os.access(login.token_file, os.R_OK):
        yield ConfigurationError(f"{key}.token_file", f"{login.token_file} can't be read")


def make_data_dir(settings: Settings) -> None:
    """Makes the data directory, for the service's account only; closes it and the shared one to all others.

    Raises:
        ConfigurationError: it can't be made or closed, or a backup was restored in part only.
    """
    _refuse_half_restored(settings.data_dir)
    for setting, directory in (("data_dir", settings.data_dir), ("shared_dir", settings.shared_dir)):
        if directory is None:
            continue
        try:
            if setting == "data_dir":
                directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            if stat.S_IMODE(directory.stat().st_mode) != 0o700:
                directory.chmod(0o700)
        except OSError as error:
            what = "make" if not directory.is_dir() else "close to others"
            raise ConfigurationError(setting, f"can't {what} {directory}: {error.strerror}") from error


def _refuse_half_restored(directory: Path) -> None:
    if (directory / RESTORING).exists():
        raise ConfigurationError(
            "data_dir",
            f"a backup was restored to {directory} in part only: run `hpcwaas-api restore` again, which begins anew",
        )


def has_database(settings: Settings) -> bool:
    """Whether there may be a database. Connecting to an SQLite file that isn't there would make it."""
    from sqlalchemy import make_url  # imported here: slow

    url = make_url(settings.database_url)
    return url.get_backend_name() != "sqlite" or Path(url.database or "").exists()


def preflight(settings: Settings) -> None:
    """Finds what would stop a start, and makes nothing.

    Raises:
        ConfigurationError: the service would not start.
    """
    from hpcwaas.configuration import belonging  # imported here: slow
    from hpcwaas.store.database import Database
    from hpcwaas.store.facts import FactStore
    from hpcwaas.store.secrets import SecretStore
    from hpcwaas.vault.embedded import EmbeddedVault
    from hpcwaas.vault.keyring import KeySource

    _refuse_half_restored(settings.data_dir)
    embedded = settings.vault_config is None and (settings.vault.key or settings.vault_key_file.exists())
    opened = KeySource(settings.vault, settings.vault_key_file) if embedded else None
    if not has_database(settings):
        return  # the start makes it
    database = Database(settings.database_url)
    try:
        if not database.is_current():
            # The local mode upgrades by itself, and an empty database is filled in any mode.
            if not settings.local and database.current() is not None:
                raise ConfigurationError("store.url", OUTDATED)
            database.check_upgradable()
        else:
            belonging.check(settings, FactStore(database))
            if opened:
                EmbeddedVault(SecretStore(database), opened)
    except Unavailable as error:
        raise ConfigurationError("store.url", error.detail) from error
    finally:
        database.close()
