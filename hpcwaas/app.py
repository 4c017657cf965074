"""Builds the application from settings. The only place where parts meet."""

from __future__ import annotations

from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from sqlalchemy import make_url
from starlette.types import ASGIApp

from hpcwaas.api import contract, views
from hpcwaas.api.application import Services, asgi_app
from hpcwaas.api.audit import Strangers
from hpcwaas.api.bodies import Patience
from hpcwaas.api.counted import REQUESTS
from hpcwaas.api.metrics import combinations
from hpcwaas.api.public_address import PublicAddress
from hpcwaas.common import metrics, tracing
from hpcwaas.common.ending import ENDING
from hpcwaas.common.scrubbing import scrubber_of
from hpcwaas.configuration import belonging
from hpcwaas.configuration.settings import Settings
from hpcwaas.core.catalogue import Catalogue
from hpcwaas.core.changes import Changes
from hpcwaas.core.engines import Engines
from hpcwaas.core.executions import Executions
from hpcwaas.core.figures import Figures
from hpcwaas.core.health import Health
from hpcwaas.core.keeper import Keeper
from hpcwaas.core.keys import SSHKeys
from hpcwaas.core.leaving import Leavers
from hpcwaas.core.limits import Limits
from hpcwaas.core.logs import Logs
from hpcwaas.core.people import Demand
from hpcwaas.core.ports.sites import Credentials
from hpcwaas.core.removals import Removals
from hpcwaas.core.request_counts import RequestCounts
from hpcwaas.core.retention import Expiry, RetentionPolicy
from hpcwaas.core.shares import Sharing
from hpcwaas.core.sites import Sites
from hpcwaas.core.slots import Slots
from hpcwaas.core.start_requests import StartRequests
from hpcwaas.core.suspended import SuspendedUsers
from hpcwaas.core.tokens import Tokens
from hpcwaas.core.uploads import Uploads
from hpcwaas.engines.registry import EngineContext, registry
from hpcwaas.errors import ConfigurationError
from hpcwaas.identity.assembly import SigningIn
from hpcwaas.identity.front import CACHE
from hpcwaas.identity.rates import Rate
from hpcwaas.identity.settings import AuthSettings, StepUpSettings
from hpcwaas.store.audit import Audit
from hpcwaas.store.audit_files import OldRecords
from hpcwaas.store.database import Database
from hpcwaas.store.stores import Stores
from hpcwaas.vault import accounts, login
from hpcwaas.vault.embedded import EmbeddedVault
from hpcwaas.vault.hashicorp import HashiCorpVault
from hpcwaas.vault.keyring import KeySource
from hpcwaas.vault.secret_id import SecretId

if TYPE_CHECKING:
    from hpcwaas.common.opentelemetry_tracer import OpenTelemetryTracer

_FOLLOWERS = 4000
_FOLLOWERS_EACH = 1000
"""Requests of one process, and of one user in it, that may wait for news, event streams among them. They take some
memory, no thread."""

_CHECKS = 30
"""Checks of accounts of one user in ten minutes; `openapi.yaml` names the number."""

_PATIENCE = Patience()


def create_app(
    settings: Settings,
    *,
    secret_ids: SecretIds | None = None,
    requests: RequestCounts | None = None,
    patience: Patience = _PATIENCE,
    measured: bool = False,
    validate_responses: bool = False,
) -> ASGIApp:
    """Builds the application. It begins its background work when the server starts it and ends it at shutdown.

    Args:
        secret_ids: what `prepare_vault` returned, when it was called before processes were forked.
        requests: where requests of users are counted. Default: in this process alone.
        patience: with bodies that come slowly.
        measured: whether `measure` was called before processes were forked, and this process has begun to count.
        validate_responses: also check answers against the contract; for tests.

    Raises:
        ConfigurationError: it can't run with these settings.
    """
    if not measured:
        measure(settings, 1)
        metrics.begin(0)
    services = assemble(settings, secret_ids, requests)
    return asgi_app(services, settings.server, _FOLLOWERS, patience, validate_responses=validate_responses)


def measure(settings: Settings, processes: int) -> None:
    """Makes ready for counting, if `metrics.token` is set: before processes are forked, each of which begins with
    `metrics.begin`.

    Args:
        processes: that may count at the same time.
    """
    if settings.metrics.token is None:
        return
    engines = [*settings.engines]
    for name in engines:
        registry().load(name)  # what it counts is declared there
    others = {"vault": settings.vault_config, "identity provider": settings.auth}
    upstreams = [*engines, *(name for name, section in others.items() if section is not None)]
    operations = [*contract.operations(contract.read())]
    words = {
        "engine": engines,
        "site": [*settings.sites],
        "upstream": upstreams,
        "cache": [CACHE, *upstreams],
        "operation": [one.id for one in operations],
    }
    metrics.share(words, processes, {REQUESTS: combinations(operations)})


class SecretIds(NamedTuple):
    """Of the vault's identities that log in by AppRole: of the service's own, and of that which reads keys."""

    service: SecretId | None = None
    reader: SecretId | None = None


def prepare_vault(settings: Settings) -> SecretIds:
    """Does what only one of several processes can: opens the wrappings of the vault's secret ids, if there are any.

    Raises:
        ConfigurationError: one isn't valid.
    """
    vault = settings.vault_config
    if vault is None:
        return SecretIds()
    settings.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    service = login.prepare(vault, settings.data_dir / "vault.lock")
    if vault.key_reader is None:
        return SecretIds(service)
    lock = settings.data_dir / "vault-reader.lock"
    return SecretIds(service, login.prepare(vault, lock, vault.key_reader, accounts.READER))


def assemble(settings: Settings, secret_ids: SecretIds | None = None, counts: RequestCounts | None = None) -> Services:
    """Makes the parts and connects them.

    Raises:
        ConfigurationError: a part can't run with these settings.
    """
    settings.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    audit = Audit(settings.audit_file, settings.audit.syslog, scrubber_of(settings))
    strangers = Strangers(audit.record)
    database = _database(settings)
    try:
        stores = Stores(database)
        belonging.claim(settings, stores.facts)
        public = PublicAddress(settings.auth.redirect_url or "") if settings.auth else None
        cookie_prefix = public.cookie_prefix if public else ""
        signing_in = SigningIn(settings.auth, stores.sign_in, settings.local_token_file, cookie_prefix)
        secret_ids = secret_ids or prepare_vault(settings)
        vault = _vault(settings, stores, secret_ids.service)
        account_keys = accounts.make(settings.vault_config, vault, secret_ids.reader)
        engines = _engines(settings, stores, account_keys)
    except ConfigurationError:
        database.close()
        raise
    old_keys = settings.vault_config is not None and settings.vault_config.unrecorded_keys == "accept"
    keys = SSHKeys(stores.ssh_keys, vault, accept_unrecorded=old_keys)
    uploads = Uploads(stores.uploads, settings.shared / "files", settings.files.max_size, settings.limits.stored)
    catalogue = Catalogue(engines)
    slots = Slots(max(2, settings.server.threads // 4), 2, "checks of accounts")
    told = f"You have had accounts checked {_CHECKS} times. You can again in {{wait}}."
    checks = Rate(stores.sign_in.counters, "checks", _CHECKS, timedelta(minutes=10), told)
    sites = Sites(engines, stores.accounts, stores.ssh_keys, slots, checks.take)
    requests = StartRequests(
        engines, catalogue, sites, uploads.lookup, keys.used_by, signing_in.users.find, settings.limits.inputs
    )
    executions = Executions(engines, stores.executions, requests, sites, settings.limits)
    logs = Logs(engines, executions, Slots(_FOLLOWERS, _FOLLOWERS_EACH, "logs and event streams"))
    changes = Changes(engines, executions, stores.executions, views.execution_event, views.listed_event)
    removals = Removals(engines, executions, stores.removals, audit.record)
    expiry = Expiry(
        engines,
        executions,
        removals,
        stores.removals,
        stores.listings,
        settings.retention,
        uploads.expire,
        audit.record,
    )
    leavers = Leavers(
        engines, executions, stores.executions, removals, stores.removals, stores.leavers, uploads, keys, audit.record
    )
    old_records = OldRecords(settings.audit_file, settings.retention.audit)
    sweeps = [uploads.sweep, keys.sweep, stores.sweep, leavers.sweep, expiry.sweep, removals.sweep, old_records.sweep]
    keeper = Keeper(executions, stores.executions, sweeps, engines=engines.names)
    suspended = SuspendedUsers(engines, stores.executions, executions.refresh)
    sso = signing_in.sso
    health = Health(
        {"store": lambda: [database.check()]},
        {
            "vault": lambda: [vault.check(), *(account_keys.checks() if account_keys else ())],
            **engines.sources(),
            **({"identity provider": sso.party.checks} if sso is not None else {}),
        },
    )

    tracer = _tracer(settings.tracing.endpoint)
    forget = ENDING.at_last(logs.close)

    def start() -> None:
        tracing.begin(tracer)
        vault.start()
        if account_keys is not None:
            account_keys.start()
        signing_in.start()
        engines.start()
        keeper.start()
        suspended.start()

    def close() -> None:
        forget()
        suspended.close()
        logs.close()
        keeper.close()
        engines.close()
        if account_keys is not None:
            account_keys.close()
        vault.close()
        signing_in.close()
        database.close()
        strangers.flush()
        audit.close()
        if tracer is not None:
            tracing.begin(None)
            tracer.close()

    step_up = settings.auth.step_up if settings.auth else StepUpSettings()
    return Services(
        catalogue=catalogue,
        executions=executions,
        removals=removals,
        retention=RetentionPolicy(settings.retention),
        logs=logs,
        changes=changes,
        sharing=Sharing(executions, stores.shares),
        uploads=uploads,
        keys=keys,
        sites=sites,
        health=health,
        identity=signing_in.identity,
        tokens=Tokens(stores.sign_in.tokens, _max_token_days(settings), signing_in.identity.forget),
        limits=Limits(settings.limits, stores.executions, stores.uploads, counts or RequestCounts()),
        terms=signing_in.terms,
        auth_methods=settings.auth.auth_type if settings.auth else ("local",),
        sign_in=(sso.flow, public) if sso and public else None,
        count_sign_in=sso.rate.take if sso else lambda _: None,
        demand=Demand(step_up.acr_values, step_up.max_age),
        demanding=step_up.acts,
        record=audit.record,
        strangers=strangers,
        metrics_token=settings.metrics.token,
        readings=Figures(stores.tallies, engines, health).all(),
        start=start,
        close=close,
    )


def _tracer(endpoint: str | None) -> OpenTelemetryTracer | None:
    if endpoint is None:
        return None
    try:
        from hpcwaas.common.opentelemetry_tracer import OpenTelemetryTracer
    except ModuleNotFoundError as error:
        raise ConfigurationError(
            "tracing.endpoint", f"needs the extra `tracing`: pip install 'hpcwaas[tracing]' ({error})"
        ) from error
    return OpenTelemetryTracer(endpoint)


def _engines(settings: Settings, stores: Stores, account_keys: Credentials | None) -> Engines:
    token = settings.vault_config.token_file if settings.vault_config else None
    secrets = [settings.audit_file, *([token] if token else [])]
    url = make_url(settings.database_url)
    if url.get_backend_name() == "sqlite" and url.database:
        secrets.append(Path(url.database))
    records = (stores.starts, stores.listings)
    places = (settings.shared, settings.machine_name)
    context = EngineContext(settings.data_dir, secrets, *records, settings.sites, account_keys, *places)
    with ExitStack() as stack:
        made = []
        for name, section in settings.engines.items():
            made.append(registry().make(name, section, context))
            stack.callback(made[-1].close)
        stack.pop_all()  # all are made: they are closed with the service
    return Engines(made, registry().forms)


def _database(settings: Settings) -> Database:
    database = Database(settings.database_url)
    if settings.local or database.current() is None:  # an empty one holds nothing that an upgrade could harm
        database.upgrade()
    elif not database.is_current():
        raise ConfigurationError(
            "store.url", "the database has the schema of another version: run `hpcwaas-api db upgrade` first"
        )
    return database


def _vault(settings: Settings, stores: Stores, secret_id: SecretId | None) -> EmbeddedVault | HashiCorpVault:
    if settings.vault_config is None:
        return EmbeddedVault(stores.secrets, KeySource(settings.vault, settings.vault_key_file))
    return HashiCorpVault(settings.vault_config, stores.intents, secret_id)


def _max_token_days(settings: Settings) -> int:
    default: int = AuthSettings.model_fields["max_token_days"].default
    return settings.auth.max_token_days if settings.auth else default
