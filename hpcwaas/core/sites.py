"""Where executions may run, and users' accounts there."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from hpcwaas.core import acts, policy
from hpcwaas.core.engines import Engines
from hpcwaas.core.models import Workflow, WorkflowDetails
from hpcwaas.core.people import Principal
from hpcwaas.core.ports.engine import Engine, Prepared
from hpcwaas.core.ports.records import AccountRecords, SSHKeyRecords
from hpcwaas.core.ports.sites import SiteEngine
from hpcwaas.core.site_models import LOGIN, Account, AccountCheck, Placement, Site
from hpcwaas.core.slots import Slots
from hpcwaas.errors import BadRequest, Conflict, Forbidden, NotFound


@dataclass(frozen=True, slots=True)
class UsersSite:
    """A site as a user sees it.

    Attributes:
        account: theirs there, if they have one.
        login: their login name there, where the operators vouch for it and it isn't theirs to choose.
    """

    site: Site
    account: Account | None
    login: str | None


class Sites:
    """The sites of all engines as one user sees them, and the user's accounts there.

    Nobody but their owner sees or changes accounts. A site that the user may not use doesn't exist for them.

    Args:
        accounts: the records of accounts.
        keys: the records of the SSH keys that open them.
        checks: places for checks of accounts, each of which holds a thread and may wait for a silent site.
        count: counts a check of a user, and raises `TooManyRequests` when there were many: login nodes bar addresses
            from which signing in fails often.
    """

    def __init__(
        self,
        engines: Engines,
        accounts: AccountRecords,
        keys: SSHKeyRecords,
        checks: Slots,
        count: Callable[[str], None],
    ) -> None:
        self._engines = engines
        self._accounts = accounts
        self._keys = keys
        self._checks = checks
        self._count = count

    def list(self, principal: Principal) -> Sequence[UsersSite]:
        """The sites that the user may use."""
        own = self._own(principal)
        sites = {site.id: site for site, _ in self._permitted(principal)}
        return [_as_seen(principal, site, own) for site in sites.values()]

    def get(self, principal: Principal, site_id: str) -> UsersSite:
        """A site.

        Raises:
            NotFound: there is no such site for this user.
        """
        site, _ = self._find(principal, site_id)
        return _as_seen(principal, site, self._own(principal))

    def account(self, principal: Principal, site_id: str) -> Account:
        """The user's account on a site, even if the site isn't there any more.

        Raises:
            NotFound: they have none, or there is no such site for them.
        """
        account = self._own(principal).get(site_id)
        if account is None:
            site, _ = self._find(principal, site_id)
            if not site.accounts:
                raise NotFound(f"Nobody has, or needs, an account on the site `{site_id}`.")
            raise NotFound(f"You have no account on the site `{site_id}`.")
        return account

    def put_account(
        self, principal: Principal, site_id: str, user: str | None, ssh_key: str | None
    ) -> tuple[Account, bool]:
        """Stores by which account the user's executions run on a site. What runs already goes on by the one it has.

        Args:
            user: login name there; None for the one that the operators vouch for.
            ssh_key: id of a key of theirs that opens it; None where certificates are signed.

        Returns:
            the account, and whether there was none before.

        Raises:
            NotFound: there is no such site for this user.
            BadRequest: a value can't be one of an account on this site.
            Forbidden: nobody vouches for an account of theirs there.
            Conflict: nobody needs an account there.
        """
        site, _ = self._find(principal, site_id)
        if not site.accounts:
            raise Conflict(f"Nobody needs an account on the site `{site_id}`: start workflows there without one.")
        login = _vouched(principal, site, user, ssh_key) if site.keyless else _claimed(site, user, ssh_key)
        acts.note(account=login, **({} if ssh_key is None else {"ssh_key": ssh_key[:64]}))
        try:
            return self._accounts.put(Account(principal.subject, site_id, login, ssh_key, datetime.now(UTC)))
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
            Conflict: the site is opened in another way now than it was.
            TooManyRequests: they have several checked at this moment, or had many.
        """
        account = self.account(principal, site_id)
        site, engine = self._find(principal, site_id)
        return self._check(engine, account, _placement(principal, site, account))

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
        permitted = {site.id: site for site in sited.sites() if policy.may_use(principal, site)}
        own = self._own(principal) if any(site.accounts for site in permitted.values()) else {}
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
        placement = _placement(principal, site, account)
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
        if problem := self.against(principal, engine, placement):
            raise BadRequest(problem)
        return self._engines.with_sites[engine.name].place(prepared, details, placement)

    def against(self, principal: Principal, engine: Engine, placement: Placement) -> str | None:
        """Why nothing may begin any more where an execution was placed; None when it may."""
        sited = self._engines.with_sites.get(engine.name)
        sites = [] if sited is None else [site for site in sited.sites() if site.id == placement.site]
        if not sites or not policy.may_use(principal, sites[0]):
            return f"There is no site `{placement.site}`."
        by_certificate = sites[0].accounts and placement.ssh_key is None
        if by_certificate and not (sites[0].keyless and policy.vouched_login(principal, sites[0]) == placement.user):
            return f"Nobody vouches any more for the account `{placement.user}` on the site `{placement.site}`."
        return None

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
            self._count(account.owner)
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


def _as_seen(principal: Principal, site: Site, own: Mapping[str, Account]) -> UsersSite:
    return UsersSite(site, own.get(site.id), policy.vouched_login(principal, site) if site.keyless else None)


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


def _claimed(site: Site, user: str | None, ssh_key: str | None) -> str:
    """The login name of an account that proves itself by its key."""
    if user is None or not LOGIN.fullmatch(user):
        given = "missing" if user is None else repr(user[:64])
        raise BadRequest(
            f"`user` is {given}; expected the login name of your account there: at most 64 letters, digits and the "
            "characters _ . @ + -, the first a letter, a digit or _."
        )
    if ssh_key is None:
        raise BadRequest(f"`ssh_key` is missing: name the SSH key of yours that opens the account on `{site.id}`.")
    return user


def _vouched(principal: Principal, site: Site, user: str | None, ssh_key: str | None) -> str:
    """The login name of an account that certificates open."""
    login = policy.vouched_login(principal, site)
    if login is None:
        raise Forbidden(
            f"Certificates open accounts on the site `{site.id}`, and its operators haven't said which one is yours. "
            "Ask the operators of this service."
        )
    if user not in (None, login):
        raise BadRequest(f"`user` is {user[:64]!r}; your login name on the site `{site.id}` is `{login}`.")
    if ssh_key is not None:
        raise BadRequest(
            f"`ssh_key` isn't used on the site `{site.id}`, where certificates open accounts: leave it out."
        )
    return login


def _placement(principal: Principal, site: Site, account: Account) -> Placement:
    """Where an account is, as it is opened now: the settings may have changed since it was stored."""
    if site.keyless:
        login = policy.vouched_login(principal, site)
        if login != account.user:
            raise Conflict(
                f"Your account on the site `{site.id}` is `{account.user}`, and its operators don't say that this one "
                f"is yours: connect it anew (`waas sites connect {site.id}`)."
            )
        return Placement(site.id, account.user)
    if account.ssh_key is None:
        raise Conflict(
            f"Your account on the site `{site.id}` names no SSH key, and one is needed there now: name one "
            f"(`waas sites connect {site.id}`)."
        )
    return Placement(site.id, account.user, account.ssh_key)
