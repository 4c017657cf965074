"""Who there is: accounts of the settings, users of the store, and the local mode's one user."""

from __future__ import annotations

from dataclasses import dataclass, field

from pydantic import SecretStr

from hpcwaas.core import policy
from hpcwaas.core.people import Principal, User
from hpcwaas.core.ports.sign_in_records import UserRecords
from hpcwaas.identity.enrolment import requirements
from hpcwaas.identity.names import usable_with_password
from hpcwaas.identity.settings import Account, AuthSettings


@dataclass(frozen=True, slots=True)
class PasswordAccount:
    """An account with a password.

    Attributes:
        principal: who signs in with it.
        hashed: the password in argon2's own format.
        plain: the password itself, as old files have it; one of the two is None.
        stored: whether the store keeps it, rather than the settings.
    """

    principal: Principal
    hashed: str | None = field(repr=False)
    plain: SecretStr | None = None
    stored: bool = False


class Users:
    """The service's `Directory`. An account of the settings beats a user of the same name in the store.

    Args:
        auth: None in local mode.
        local: the one user of the local mode.
    """

    def __init__(self, auth: AuthSettings | None, records: UserRecords, local: Principal | None = None) -> None:
        self._records = records
        self._local = local
        self._sources: frozenset[str] = frozenset(auth.auth_type if auth else ())
        self._required = requirements(auth) if auth else None
        self._roles = policy.roles(auth.operators if auth else (), auth.operator_groups if auth else ())
        self._settled = {account.username: self._of_settings(account) for account in _accounts(auth)}

    def find(self, subject: str) -> Principal | None:
        if self._local is not None and subject == self._local.subject:
            return self._local
        if subject in self._settled:
            return self._settled[subject].principal
        user = self._records.find(subject)
        return self._principal(user) if user is not None and self._counts(user) else None

    def has_password(self, subject: str) -> bool:
        if subject in self._settled:
            return True
        user = self._records.find(subject)
        return user is not None and user.source == "basic"

    def account(self, name: str) -> PasswordAccount | None:
        """The account with a password that a name belongs to; None when there is none, or it is disabled."""
        # The store is asked in any case, so that time doesn't tell which names stand in the settings. What can't be
        # a name isn't looked for: some of it no database can compare.
        user = self._records.find(name if usable_with_password(name) else "")
        if name in self._settled:
            return self._settled[name]
        if user is None or user.source != "basic" or not self._counts(user):
            return None
        return PasswordAccount(self._principal(user), user.password_hash, stored=True)

    def any_account(self) -> bool:
        """Whether anybody could sign in with a password."""
        return bool(self._settled) or any(user.source == "basic" and self._counts(user) for user in self._records.all())

    def _counts(self, user: User) -> bool:
        entitled = user.source != "sso" or self._required is None or user.entitled_by == self._required
        return not user.disabled and user.source in self._sources and entitled

    def _principal(self, user: User) -> Principal:
        return Principal(user.subject, user.name, self._roles(user.subject, user.groups), user.groups)

    def _of_settings(self, account: Account) -> PasswordAccount:
        name, groups = account.username, frozenset(account.groups)
        return PasswordAccount(
            Principal(name, name, self._roles(name, groups), groups),
            account.password_hash.get_secret_value() if account.password_hash else None,
            account.password,
        )


def _accounts(auth: AuthSettings | None) -> tuple[Account, ...]:
    return auth.basic_auth.accounts if auth is not None else ()
