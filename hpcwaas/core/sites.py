"""Where executions may run, and users' accounts there."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime

from hpcwaas.core import acts, policy
from hpcwaas.core.engines import Engines
from hpcwaas.core.models import Workflow, WorkflowDetails
from hpcwaas.core.people import Principal
from hpcwaas.core.ports.engine import Engine, Prepared
from hpcwaas.core.ports.records import AccountRecords, SSHKeyRecords
from hpcwaas.core.ports.sites import SiteEngine
from hpcwaas.core.site_models import Account, AccountCheck, Placement, Site
from hpcwaas.core.slots import Slots
from hpcwaas.errors import BadRequest, Conflict, NotFound

_LOGIN = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.@+-]{0,63}")
"""Login names that are taken. Nothing in one can be an option, a path or a word of a shell."""

_CHECKS, _CHECKS_EACH = 16, 2
"""Checks of accounts in one process, and of one user in it, at the same time: each may wait for a silent site."""


class Sites:
    """The sites of all engines as one user sees them, and the user's accounts there.

    Nobody but their owner sees or changes accounts. A site that the user may not use doesn't exist for them.

    Args:
        accounts: the records of accounts.
        keys: the records of the SSH keys that open them.
    """

    def __init__(self, engines: Engines, accounts: AccountRecords, keys: SSHKeyRecords) -> None:
        self._engines = engines
        self._accounts = accounts
        self._keys = keys
        self._checks = Slots(_CHECKS, _CHECKS_EACH, "checks of accounts")

    def list(self, principal: Principal) -> Sequence[tuple[Site, Account | None]]:
        """The sites that the user may use, each with their account there."""
        own = self._own(principal)
        sites = {site.id: site for site, _ in self._permitted(principal)}
        return [(site, own.get(id_)) for id_, site in sites.items()]

    def get(self, principal: Principal, site_id: str) -> tuple[Site, Account | None]:
        """A site, and the user's account there.

        Raises:
            NotFound: there is no such site for this user.
        """
        site, _ = self._find(principal, site_id)
        return site, self._own(principal).get(site_id)

    def account(self, principal: Principal, site_id: str) -> Account:
        """The user's account on a site, even if the site isn't there any more.

        Raises:
            NotFound: they have none, or there is no such site for them.
        """
        account = self._own(principal).get(site_id)
        if account is None:
            self._find(principal, site_id)
            raise NotFound(f"You have no account on the site `{site_id}`.")
        return account

    def put_account(self, principal: Principal, site_id: str, user: str, ssh_key: str | None) -> tuple[Account, bool]:
        """Stores by which account the user's executions run on a site. What runs already goes on by the one it has.

        Args:
            user: login name there.
            ssh_key: id of a key of theirs that opens it; None where certificates are signed.

        Returns:
            the account, and whether there was none before.

        Raises:
            NotFound: there is no such site for this user.
            BadRequest: a value can't be one of an account on this site.
            Conflict: nobody needs an account there.
        """
        site, _ = self._find(principal, site_id)
        if not site.accounts:
            raise Conflict(f"Nobody needs an account on the site `{site_id}`: start workflows there without one.")
        if not _LOGIN.fullmatch(user):
            raise BadRequest(
                f"`user` is {user[:64]!r}; expected the login name of your account there: at most 64 letters, digits "
                "and the characters _ . @ + -, the first a letter, a digit or _."
            )
        if site.keyless and ssh_key is not None:
            raise BadRequest(
                f"`ssh_key` isn't used on the site `{site_id}`, where certificates open accounts: leave it out."
            )
        if not site.keyless and ssh_key is None:
            raise BadRequest(f"`ssh_key` is missing: name the SSH key of yours that opens the account on `{site_id}`.")
        acts.note(account=user, **({} if ssh_key is None else {"ssh_key": ssh_key[:64]}))
        try:
            return self._accounts.put(Account(principal.subject, site_id, user, ssh_key, datetime.now(UTC)))
        except NotFound:
            raise BadRequest(
                f"`ssh_key` is {(ssh_key or '')[:64]!r}, which isn't an SSH key of yours; expected the id of one."
            ) from None

    def delete_account(self, principal: Principal, site_id: str) -> None:
        """Forgets the user's account on a site. What runs there goes on by it.

        Raises:
            NotFound: they have none, or there is no such site for them.
        """
        account = self.account(principal, site_id)
        acts.note(account=account.user)
        self._accounts.delete(principal.subject, site_id)

    def check_account(self, principal: Principal, site_id: str) -> AccountCheck:
        """Tries everything that an execution by the user's account on a site will need.

        Raises:
            NotFound: they have none, or there is no such site for them.
            Conflict: it names no SSH key, and the site demands one.
            TooManyRequests: they have several checked at this moment.
        """
        account = self.account(principal, site_id)
        site, engine = self._find(principal, site_id)
        return self._check(engine, account, _placement(site, account))

    def check_placement(self, principal: Principal, engine: Engine, placement: Placement | None) -> AccountCheck | None:
        """As `check_account`, of where an execution would run; None where no account is needed."""
        sited = self._engines.with_sites.get(engine.name)
        if sited is None or placement is None or placement.user is None:
            return None
        account = self._own(principal).get(placement.site)
        if account is None or account.user != placement.user:
            raise Conflict(f"Your account on the site `{placement.site}` has just been changed. Try again.")
        return self._check(sited, account, placement)

    def choose(self, principal: Principal, engine: Engine, workflow: Workflow, wanted: str | None) -> Placement | None:
        """Where an execution of a workflow is to run, and by which account.

        Args:
            engine: of the workflow.
            wanted: id of a site; None for the only one that is possible.

        Returns:
            the place; None where the engine has no sites.

        Raises:
            BadRequest: it can't run there, or there are several places, or none.
            Conflict: nothing opens the account.
        """
        sited = self._engines.with_sites.get(engine.name)
        if sited is None:
            if wanted is not None:
                raise BadRequest(
                    f"`site` is {wanted[:64]!r}, and the engine `{engine.name}` decides by itself where this workflow "
                    "runs: leave `site` out."
                )
            return None
        own = self._own(principal)
        permitted = {site.id: site for site in sited.sites() if policy.may_use(principal, site)}
        possible = {id_: site for id_, site in permitted.items() if _takes(site, workflow)}
        if wanted is None:
            wanted = _only(possible, own)
        elif wanted not in permitted:
            raise BadRequest(f"`site` is {wanted[:64]!r}. There is no such site.")
        elif wanted not in possible:
            raise BadRequest(f"`site` is `{wanted}`; this workflow runs on {_listed(possible) or 'no site of yours'}.")
        site = possible[wanted]
        if not site.accounts:
            return Placement(site.id)
        if (account := own.get(site.id)) is None:
            raise BadRequest(
                f"`site` is `{wanted}`, where you have no account: connect yours first (`waas sites connect {wanted}`)."
            )
        placement = _placement(site, account)
        if placement.ssh_key is not None:
            try:
                self._keys.find_key(placement.ssh_key, principal.subject)
            except NotFound:
                raise Conflict(
                    f"The SSH key of your account on the site `{wanted}` has been deleted: name another one "
                    f"(`waas sites connect {wanted}`)."
                ) from None
        return placement

    def place(
        self, principal: Principal, engine: Engine, details: WorkflowDetails, prepared: Prepared, placement: Placement
    ) -> Prepared:
        """Checks what an engine prepared against the place where it is to run; see `SiteEngine.place`.

        Raises:
            BadRequest: it can't run there.
            Unavailable: nothing new starts there for now.
        """
        sited = self._engines.with_sites.get(engine.name)
        if sited is None or not any(
            site.id == placement.site and policy.may_use(principal, site) for site in sited.sites()
        ):
            raise BadRequest(f"There is no site `{placement.site}`.")
        return sited.place(prepared, details, placement)

    def where(self, principal: Principal) -> Callable[[Workflow], Sequence[str] | None]:
        """What tells on which of the sites that the user may use a workflow may run; None where its engine has none."""
        permitted = {
            name: [site for site in engine.sites() if policy.may_use(principal, site)]
            for name, engine in self._engines.with_sites.items()
        }

        def of(workflow: Workflow) -> Sequence[str] | None:
            sites = permitted.get(workflow.engine)
            return None if sites is None else [site.id for site in sites if _takes(site, workflow)]

        return of

    def _check(self, engine: SiteEngine, account: Account, placement: Placement) -> AccountCheck:
        with self._checks.held(account.owner):
            found = AccountCheck(account, tuple(engine.check_account(placement)))
        acts.note(usable=found.usable)
        self._accounts.checked(account, datetime.now(UTC), found.usable)
        return found

    def _own(self, principal: Principal) -> Mapping[str, Account]:
        return {account.site: account for account in self._accounts.of(principal.subject)}

    def _permitted(self, principal: Principal) -> Iterator[tuple[Site, SiteEngine]]:
        for engine in self._engines.with_sites.values():
            for site in engine.sites():
                if policy.may_use(principal, site):
                    yield site, engine

    def _find(self, principal: Principal, site_id: str) -> tuple[Site, SiteEngine]:
        found = next((found for found in self._permitted(principal) if found[0].id == site_id), None)
        if found is None:
            raise NotFound("There is no such site.")
        return found


def _takes(site: Site, workflow: Workflow) -> bool:
    return workflow.sites is None or site.id in workflow.sites


def _only(possible: Mapping[str, Site], own: Mapping[str, Account]) -> str:
    """The only site where something can run at once."""
    ready = [id_ for id_, site in possible.items() if not site.accounts or id_ in own]
    if len(ready) == 1:
        return ready[0]
    if ready:
        raise BadRequest(f"`site` is missing, and there are several: expected one of {_listed(ready)}.")
    if possible:
        raise BadRequest(
            f"This workflow runs on {_listed(possible)}, where you have no account: connect one first "
            "(`waas sites connect`)."
        )
    raise BadRequest("This workflow runs on no site that you may use. Ask the operators of this service.")


def _listed(ids: Mapping[str, object] | Sequence[str]) -> str:
    return ", ".join(f"`{id_}`" for id_ in ids)


def _placement(site: Site, account: Account) -> Placement:
    if site.keyless:
        return Placement(site.id, account.user)
    if account.ssh_key is None:
        raise Conflict(
            f"Your account on the site `{site.id}` names no SSH key, and one is needed there now: name one "
            f"(`waas sites connect {site.id}`)."
        )
    return Placement(site.id, account.user, account.ssh_key)
