"""Builds the application from settings. The only place where parts meet."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from typing import Any

import yaml
from connexion import FlaskApp
from connexion.middleware import MiddlewarePosition
from connexion.options import SwaggerUIOptions
from connexion.resolver import Resolver
from flask import Response
from starlette.types import ASGIApp

from hpcwaas.api import middleware, problems, security
from hpcwaas.api.bridge import Bridge
from hpcwaas.api.executions import ExecutionHandlers
from hpcwaas.api.files import FileHandlers
from hpcwaas.api.health import HealthHandlers
from hpcwaas.api.ssh_keys import SSHKeyHandlers
from hpcwaas.api.validation import VALIDATORS, URIParser
from hpcwaas.api.workflows import WorkflowHandlers
from hpcwaas.core.catalogue import Catalogue
from hpcwaas.core.executions import Executions
from hpcwaas.core.health import Health
from hpcwaas.core.keeper import Keeper
from hpcwaas.core.keys import Keys
from hpcwaas.core.logs import Logs
from hpcwaas.core.slots import Slots
from hpcwaas.core.uploads import Uploads
from hpcwaas.engines.alien4cloud.engine import Alien4CloudEngine
from hpcwaas.engines.base import Engine
from hpcwaas.engines.cwl.engine import CWLEngine
from hpcwaas.errors import ConfigurationError
from hpcwaas.identity.base import Identity
from hpcwaas.identity.basic import BasicIdentity
from hpcwaas.identity.local import LocalIdentity, load_or_create_token
from hpcwaas.resources import resource
from hpcwaas.settings import Settings
from hpcwaas.store.database import Database
from hpcwaas.store.executions import ExecutionStore
from hpcwaas.store.intents import IntentStore
from hpcwaas.store.secrets import SecretStore
from hpcwaas.store.ssh_keys import SSHKeyStore
from hpcwaas.store.uploads import UploadStore
from hpcwaas.vault import keygen, login
from hpcwaas.vault.base import Vault
from hpcwaas.vault.embedded import EmbeddedVault, load_key
from hpcwaas.vault.hashicorp import HashiCorpVault
from hpcwaas.vault.secret_id import SecretId

_FOLLOWERS = 4000
_FOLLOWERS_EACH = 1000
"""Requests of one process, and of one user in it, that may wait for news of a log. They take some memory, no thread."""


@dataclass(frozen=True, slots=True)
class Parts:
    """Everything that the handlers use."""

    catalogue: Catalogue
    executions: Executions
    logs: Logs
    uploads: Uploads
    keys: Keys
    health: Health
    identity: Identity
    start: Callable[[], None]
    close: Callable[[], None]


def create_app(settings: Settings, *, secret_id: SecretId | None = None, validate_responses: bool = False) -> ASGIApp:
    """Builds the application. It begins its background work when the server starts it and ends it at shutdown.

    Args:
        secret_id: what `prepare_vault` returned, when it was called before processes were forked.
        validate_responses: also check answers against the contract; for tests.

    Raises:
        ConfigurationError: it can't run with these settings.
    """
    parts = assemble(settings, secret_id)
    contract = yaml.safe_load(resource("openapi.yaml").read_text(encoding="utf-8"))
    app = FlaskApp(
        __name__,
        lifespan=_lifespan(parts),
        pythonic_params=True,
        resolver=Resolver(_operations(parts).__getitem__),
        security_map=security.security_map(parts.identity),
        swagger_ui_options=SwaggerUIOptions(swagger_ui_path="/ui"),
        uri_parser_class=URIParser,
        validate_responses=validate_responses,
        validator_map=VALIDATORS,
    )
    # Connexion offers no way to set the number of threads; the attribute is private, and a test holds on to it.
    threads = settings.server.threads
    streams = Slots(threads * 3 // 4, max(1, threads // 4), "transfers")
    app._middleware_app.asgi_app = Bridge(app.app.wsgi_app, threads, streams)  # noqa: SLF001
    app.add_api(contract)
    problems.register(app)
    position = MiddlewarePosition.BEFORE_EXCEPTION
    app.add_middleware(middleware.Edge, position, at_once=_FOLLOWERS + 16 * settings.server.threads)
    app.add_middleware(middleware.Methods, position, paths=_methods(contract))
    app.add_middleware(middleware.Bodies, position, limit=settings.server.max_body)
    return app  # type: ignore[no-any-return]


def prepare_vault(settings: Settings) -> SecretId | None:
    """Does what only one of several processes can: opens the wrapping of the vault's secret id, if there is one.

    Raises:
        ConfigurationError: it isn't valid.
    """
    if settings.vault_config is None:
        return None
    settings.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    return login.prepare(settings.vault_config, settings.data_dir / "vault.lock")


def assemble(settings: Settings, secret_id: SecretId | None = None) -> Parts:
    """Makes the parts and connects them.

    Raises:
        ConfigurationError: a part can't run with these settings.
    """
    settings.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    database = _database(settings)
    vault = _vault(settings, database, secret_id)
    keys = Keys(SSHKeyStore(database), vault, keygen.generate)
    engine = _engine(settings)
    uploads = Uploads(UploadStore(database), settings.data_dir / "files", settings.files.max_size)
    records = ExecutionStore(database)
    catalogue = Catalogue(engine)
    executions = Executions(engine, catalogue, records, uploads.lookup, keys.used_by)
    logs = Logs(engine, executions, Slots(_FOLLOWERS, _FOLLOWERS_EACH, "logs"))
    keeper = Keeper(executions, records, [uploads.sweep, keys.sweep])

    def start() -> None:
        vault.start()
        keeper.start()

    def close() -> None:
        logs.close()
        keeper.close()
        engine.close()
        vault.close()
        database.close()

    return Parts(
        catalogue=catalogue,
        executions=executions,
        logs=logs,
        uploads=uploads,
        keys=keys,
        health=Health([lambda: [database.check()], lambda: [vault.check()], engine.checks]),
        identity=_identity(settings),
        start=start,
        close=close,
    )


def _engine(settings: Settings) -> Engine:
    if settings.alien_config is not None:
        return Alien4CloudEngine(settings.alien_config, settings.data_dir)
    return CWLEngine(settings.cwl, settings.data_dir)


def _database(settings: Settings) -> Database:
    database = Database(settings.database_url)
    if settings.local or database.current() is None:  # an empty one holds nothing that an upgrade could harm
        database.upgrade()
    elif not database.is_current():
        raise ConfigurationError("store.url", "the database has another schema: run `hpcwaas-api db upgrade` first")
    return database


def _vault(settings: Settings, database: Database, secret_id: SecretId | None) -> Vault:
    if settings.vault_config is None:
        return EmbeddedVault(SecretStore(database), _vault_key(settings))
    secret_id = secret_id or prepare_vault(settings)
    return HashiCorpVault(settings.vault_config, IntentStore(database), secret_id)


def _vault_key(settings: Settings) -> bytes:
    key = settings.vault.key
    return load_key(key.get_secret_value() if key else None, settings.data_dir / "vault.key")


def _identity(settings: Settings) -> Identity:
    if settings.auth is None:
        return LocalIdentity(load_or_create_token(settings.data_dir / "local-token"))
    return BasicIdentity(settings.auth.basic_auth.accounts)


def _operations(parts: Parts) -> Mapping[str, Callable[..., Response]]:
    """The handlers by the contract's operation ids."""
    workflows = WorkflowHandlers(parts.catalogue, parts.executions)
    executions = ExecutionHandlers(parts.executions, parts.logs)
    files = FileHandlers(parts.uploads)
    keys = SSHKeyHandlers(parts.keys)
    health = HealthHandlers(parts.health)
    return {
        "listWorkflows": workflows.list_,
        "getWorkflow": workflows.get,
        "triggerWorkflow": workflows.trigger,
        "listExecutions": executions.list_,
        "getExecution": executions.get,
        "cancelExecution": executions.cancel,
        "resumeExecution": executions.resume,
        "getExecutionLogs": executions.logs,
        "getExecutionOutput": executions.output,
        "listFiles": files.list_,
        "uploadFile": files.upload,
        "getFile": files.get,
        "deleteFile": files.delete,
        "listSshKeys": keys.list_,
        "createSshKey": keys.create,
        "getSshKey": keys.get,
        "deleteSshKey": keys.delete,
        "rotateSshKey": keys.rotate,
        "confirmSshKey": keys.confirm,
        "getLiveness": health.live,
        "getReadiness": health.ready,
    }


def _methods(contract: Mapping[str, Any]) -> dict[str, list[str]]:
    verbs = {"get", "post", "put", "patch", "delete"}
    paths = {path: [verb.upper() for verb in item if verb in verbs] for path, item in contract["paths"].items()}
    return paths | {path: ["GET"] for path in ("/", "/ui", "/openapi.json", "/openapi.yaml")}


def _lifespan(parts: Parts) -> Callable[[Any], contextlib.AbstractAsyncContextManager[None]]:
    @contextlib.asynccontextmanager
    async def lifespan(_app: Any) -> AsyncIterator[None]:
        parts.start()
        try:
            yield
        finally:
            parts.close()

    return lifespan
