"""All queries on one database."""

from __future__ import annotations

from datetime import UTC, datetime

from hpcwaas.core.ports.sign_in_records import SignInRecords
from hpcwaas.store.accounts import AccountStore
from hpcwaas.store.counters import CounterStore
from hpcwaas.store.database import Database
from hpcwaas.store.execution_store import ExecutionStore
from hpcwaas.store.facts import FactStore
from hpcwaas.store.intents import IntentStore
from hpcwaas.store.leavers import LeaverStore
from hpcwaas.store.listings import ListingStore
from hpcwaas.store.removals import RemovalStore
from hpcwaas.store.secrets import SecretStore
from hpcwaas.store.sessions import SessionStore
from hpcwaas.store.shares import ShareStore
from hpcwaas.store.ssh_keys import SSHKeyStore
from hpcwaas.store.starts import StartStore
from hpcwaas.store.tallies import TallyStore
from hpcwaas.store.terms import TermsStore
from hpcwaas.store.tickets import TicketStore
from hpcwaas.store.tokens import TokenStore
from hpcwaas.store.uploads import UploadStore
from hpcwaas.store.users import UserStore


class Stores:
    """The queries by what they are about."""

    def __init__(self, database: Database) -> None:
        self.executions = ExecutionStore(database)
        self.leavers = LeaverStore(database)
        self.removals = RemovalStore(database)
        self.shares = ShareStore(database)
        self.uploads = UploadStore(database)
        self.ssh_keys = SSHKeyStore(database)
        self.accounts = AccountStore(database)
        self.intents = IntentStore(database)
        self.secrets = SecretStore(database)
        self.starts = StartStore(database)
        self.tallies = TallyStore(database)
        self.listings = ListingStore(database)
        self.facts = FactStore(database)
        tokens = TokenStore(database)
        sessions, tickets, counters = SessionStore(database), TicketStore(database), CounterStore(database)
        self.sign_in = SignInRecords(UserStore(database), sessions, tokens, TermsStore(database), tickets, counters)
        self._swept = (sessions, tickets, counters, tokens, self.starts)

    def sweep(self) -> None:
        """Removes what counts no more."""
        now = datetime.now(UTC)
        for store in self._swept:
            store.sweep(now)
