"""Builds the application from settings. The only place where parts meet."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import yaml
from connexion import ConnexionMiddleware
from connexion.middleware.exceptions import ExceptionMiddleware
from connexion.middleware.lifespan import LifespanMiddleware
from connexion.middleware.request_validation import RequestValidationMiddleware
from connexion.middleware.response_validation import ResponseValidationMiddleware
from connexion.middleware.routing import RoutingMiddleware
from connexion.middleware.security import SecurityMiddleware
from connexion.middleware.server_error import ServerErrorMiddleware
from connexion.options import SwaggerUIOptions
from connexion.resolver import Resolver
from sqlalchemy import make_url
from starlette.types import ASGIApp

from hpcwaas import app_contract, app_identity
from hpcwaas.api import auth, handlers, middleware, problems, security, swagger_ui
from hpcwaas.api.admission import Admission
from hpcwaas.api.audit import Auditing, Strangers
from hpcwaas.api.bodies import Bodies, Forms, Patience
from hpcwaas.api.bridge import Bridge
from hpcwaas.api.executions import ExecutionHandlers
from hpcwaas.api.files import FileHandlers
from hpcwaas.api.health import HealthHandlers, Probes
from hpcwaas.api.identity import IdentityHandlers
from hpcwaas.api.shares import ShareHandlers
from hpcwaas.api.ssh_keys import SSHKeyHandlers
from hpcwaas.api.strictness import Strictness
from hpcwaas.api.validation import URIParser, validators
from hpcwaas.api.workflows import WorkflowHandlers
from hpcwaas.audit import Audit
from hpcwaas.configuration.settings import AuthSettings, Settings
from hpcwaas.core.catalogue import Catalogue
from hpcwaas.core.executions import Executions
from hpcwaas.core.health import Health
from hpcwaas.core.keeper import Keeper
from hpcwaas.core.keys import Keys
from hpcwaas.core.limits import Limits
from hpcwaas.core.logs import Logs
from hpcwaas.core.shares import Sharing
from hpcwaas.core.slots import Slots
from hpcwaas.core.suspended import SuspendedUsers
from hpcwaas.core.tokens import Tokens
from hpcwaas.core.uploads import Uploads
from hpcwaas.engines.alien4cloud.engine import Alien4CloudEngine
from hpcwaas.engines.base import Engine
from hpcwaas.engines.cwl.engine import CWLEngine
from hpcwaas.errors import ConfigurationError
from hpcwaas.identity.base import AcceptedTerms, Identity
from hpcwaas.identity.tokens import TokenMethod
from hpcwaas.resources import resource
from hpcwaas.store.counters import CounterStore
from hpcwaas.store.database import Database
from hpcwaas.store.executions import ExecutionStore
from hpcwaas.store.intents import IntentStore
from hpcwaas.store.listings import ListingStore
from hpcwaas.store.secrets import SecretStore
from hpcwaas.store.sessions import SessionStore
from hpcwaas.store.shares import ShareStore
from hpcwaas.store.ssh_keys import SSHKeyStore
from hpcwaas.store.starts import StartStore
from hpcwaas.store.tickets import TicketStore
from hpcwaas.store.tokens import TokenStore
from hpcwaas.store.uploads import UploadStore
from hpcwaas.vault import keygen, login
from hpcwaas.vault.base import Vault
from hpcwaas.vault.embedded import EmbeddedVault
from hpcwaas.vault.hashicorp import HashiCorpVault
from hpcwaas.vault.keyring import KeySource
from hpcwaas.vault.secret_id import SecretId

_LOGGER = logging.getLogger(__name__)
_FOLLOWERS = 4000
_FOLLOWERS_EACH = 1000
"""Requests of one process, and of one user in it, that may wait for news of a log. They take some memory, no thread."""

_STRANGERS = 1024
"""Requests of one process, by which nobody has signed in, that may be under way."""

_PATIENCE = Patience()


@dataclass(frozen=True, slots=True)
class Parts:
    """Everything that the handlers use."""

    catalogue: Catalogue
    executions: Executions
    logs: Logs
    sharing: Sharing
    uploads: Uploads
    keys: Keys
    health: Health
    identity: Identity
    tokens: Tokens
    limits: Limits
    audit: Audit
    strangers: Strangers
    auth_methods: tuple[str, ...]
    sso: app_identity.SSO | None
    terms: AcceptedTerms
    start: Callable[[], None]
    close: Callable[[], None]


def create_app(
    settings: Settings,
    *,
    secret_id: SecretId | None = None,
    patience: Patience = _PATIENCE,
    validate_responses: bool = False,
) -> ASGIApp:
    """Builds the application. It begins its background work when the server starts it and ends it at shutdown.

    Args:
        secret_id: what `prepare_vault` returned, when it was called before processes were forked.
        patience: with bodies that come slowly.
        validate_responses: also check answers against the contract; for tests.

    Raises:
        ConfigurationError: it can't run with these settings.
    """
    parts = assemble(settings, secret_id)
    contract = yaml.safe_load(resource("openapi.yaml").read_text(encoding="utf-8"))
    operations = _operations(parts)
    threads = settings.server.threads
    at_once = _FOLLOWERS + 16 * threads
    streams = Slots(threads * 3 // 4, max(1, threads // 4), "transfers")
    app = ConnexionMiddleware(
        Bridge(handlers.flask_app(contract, operations).wsgi_app, threads, streams),
        import_name=__name__,
        lifespan=_lifespan(parts),
        middlewares=[
            ServerErrorMiddleware,
            middleware.Edge,
            Strictness,
            partial(Forms, patience=patience),
            partial(
                Admission,
                users=Slots(at_once, at_once // 4, "requests"),
                strangers=Slots(_STRANGERS, _STRANGERS // 8, "requests without a sign-in", "Your address has"),
                documents=Slots(_STRANGERS // 4, _STRANGERS // 32, "documents", "Your address has"),
            ),
            partial(Auditing, record=parts.audit.record, strangers=parts.strangers),
            partial(middleware.Methods, paths=app_contract.methods(contract)),
            partial(Probes, health=parts.health),
            partial(Bodies, limit=settings.server.max_body, patience=patience),
            ExceptionMiddleware,
            swagger_ui.SwaggerUI,
            middleware.Contract,
            RoutingMiddleware,
            SecurityMiddleware,
            RequestValidationMiddleware,
            *([ResponseValidationMiddleware] if validate_responses else []),
            LifespanMiddleware,
        ],
        resolver=Resolver((operations | {"getLiveness": Probes}).__getitem__),
        security_map=security.security_map(
            parts.identity, app_contract.rules(settings, contract, parts.terms), parts.limits.count_request
        ),
        swagger_ui_options=SwaggerUIOptions(swagger_ui=False),
        uri_parser_class=URIParser,
        validate_responses=validate_responses,
        validator_map=validators(),
    )
    app.add_api(contract)
    problems.register(app)
    auth.register(app)
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
    audit = Audit(settings)
    strangers = Strangers(audit.record)
    database = _database(settings)
    vault = _vault(settings, database, secret_id)
    old_keys = settings.vault_config is not None and settings.vault_config.unrecorded_keys == "accept"
    keys = Keys(SSHKeyStore(database), vault, keygen.generate, accept_unrecorded=old_keys)
    engine = _engine(settings, database)
    files = UploadStore(database)
    uploads = Uploads(files, settings.data_dir / "files", settings.files.max_size, settings.limits.stored)
    records = ExecutionStore(database)
    catalogue = Catalogue(engine)
    users = app_identity.directory(settings, database)
    executions = Executions(
        engine,
        catalogue,
        records,
        uploads.lookup,
        keys.used_by,
        users.find,
        settings.limits.executions,
        settings.limits.stored,
        settings.limits.inputs,
    )
    logs = Logs(engine, executions, Slots(_FOLLOWERS, _FOLLOWERS_EACH, "logs"))
    keeper = Keeper(executions, records, [uploads.sweep, keys.sweep, *_sweeps(database)])

    suspended = SuspendedUsers(engine, records, executions.refresh)
    terms = app_identity.terms_of_use(settings, database)
    token_records = TokenStore(database)
    token_method = TokenMethod(token_records, users)
    sso = app_identity.single_sign_on(settings, database, users, terms)
    identity = app_identity.identity(settings, database, users, token_method, sso, terms)

    health = Health(
        {"store": lambda: [database.check()]},
        {
            "vault": lambda: [vault.check()],
            "engine": engine.checks,
            **({"identity provider": sso.party.checks} if sso is not None else {}),
        },
    )

    def start() -> None:
        vault.start()
        app_identity.drop_stale_admin(database, users)
        keeper.start()
        suspended.start()

    def close() -> None:
        suspended.close()
        logs.close()
        keeper.close()
        engine.close()
        vault.close()
        token_method.close()
        if sso is not None:
            sso.party.close()
        database.close()
        strangers.flush()
        audit.close()

    return Parts(
        catalogue=catalogue,
        executions=executions,
        logs=logs,
        sharing=Sharing(executions, ShareStore(database)),
        uploads=uploads,
        keys=keys,
        health=health,
        identity=identity,
        tokens=Tokens(token_records, _max_token_days(settings), identity.forget),
        limits=Limits(settings.limits, records, files),
        audit=audit,
        strangers=strangers,
        auth_methods=settings.auth.auth_type if settings.auth else ("local",),
        sso=sso,
        terms=terms,
        start=start,
        close=close,
    )


def _engine(settings: Settings, database: Database) -> Engine:
    if settings.alien_config is not None:
        return Alien4CloudEngine(settings.alien_config, settings.data_dir, StartStore(database), ListingStore(database))
    token = settings.vault_config.token_file if settings.vault_config else None
    secrets = [settings.audit_file, *([token] if token else [])]
    url = make_url(settings.database_url)
    if url.get_backend_name() == "sqlite" and url.database:
        secrets.append(Path(url.database))
    return CWLEngine(settings.cwl, settings.data_dir, secrets)


def _database(settings: Settings) -> Database:
    database = Database(settings.database_url)
    if settings.local or database.current() is None:  # an empty one holds nothing that an upgrade could harm
        database.upgrade()
    elif not database.is_current():
        raise ConfigurationError("store.url", "the database has another schema: run `hpcwaas-api db upgrade` first")
    return database


def _vault(settings: Settings, database: Database, secret_id: SecretId | None) -> Vault:
    if settings.vault_config is None:
        return EmbeddedVault(SecretStore(database), KeySource(settings.vault, settings.vault_key_file))
    secret_id = secret_id or prepare_vault(settings)
    return HashiCorpVault(settings.vault_config, IntentStore(database), secret_id)


def _max_token_days(settings: Settings) -> int:
    default: int = AuthSettings.model_fields["max_token_days"].default
    return settings.auth.max_token_days if settings.auth else default


def _sweeps(database: Database) -> list[Callable[[], None]]:
    """What removes from the store what counts no more."""
    stores = (
        *(SessionStore(database), TicketStore(database), CounterStore(database), TokenStore(database)),
        StartStore(database),
    )
    return [lambda sweep=store.sweep: sweep(datetime.now(UTC)) for store in stores]  # type: ignore[misc]


def _operations(parts: Parts) -> dict[str, Callable[..., Any]]:
    """The handlers by the contract's operation ids; all but the one that `Probes` answers."""
    workflows = WorkflowHandlers(parts.catalogue, parts.executions)
    executions = ExecutionHandlers(parts.executions, parts.logs)
    shares = ShareHandlers(parts.sharing)
    files = FileHandlers(parts.uploads)
    keys = SSHKeyHandlers(parts.keys)
    identity = IdentityHandlers(parts.tokens, parts.limits, parts.terms, parts.identity.forget)
    sso = parts.sso
    signing_in = auth.AuthHandlers(
        parts.auth_methods,
        (sso.flow, sso.site) if sso else None,
        sso.count if sso else lambda _: None,
        parts.tokens.revoke_own,
        parts.identity.forget,
    )
    health = HealthHandlers(parts.health)
    return {
        "listWorkflows": workflows.list_,
        "getWorkflow": workflows.get,
        "triggerWorkflow": workflows.trigger,
        "listExecutions": executions.list_,
        "getExecution": executions.get,
        "cancelExecution": executions.cancel,
        "resumeExecution": executions.resume,
        "closeExecution": executions.close,
        "getShares": shares.get,
        "putShares": shares.put,
        "deleteShares": shares.delete,
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
        "whoami": identity.whoami,
        "listTokens": identity.list_,
        "createToken": identity.create,
        "deleteToken": identity.delete,
        "getTerms": identity.terms,
        "acceptTerms": identity.accept_terms,
        "getAuthMethods": signing_in.methods,
        "login": signing_in.login,
        "confirmLogin": signing_in.confirm_login,
        "answerTerms": signing_in.answer_terms,
        "authorize": signing_in.authorize,
        "startDevice": signing_in.start_device,
        "showActivation": signing_in.show_activation,
        "activate": signing_in.activate,
        "issueToken": signing_in.token,
        "logout": signing_in.logout,
        "getReadiness": health.ready,
    }


def _lifespan(parts: Parts) -> Callable[[Any], contextlib.AbstractAsyncContextManager[None]]:
    @contextlib.asynccontextmanager
    async def lifespan(_app: Any) -> AsyncIterator[None]:
        parts.start()
        try:
            yield
        finally:
            parts.close()

    return lifespan
