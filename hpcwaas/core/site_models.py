"""Sites, and the accounts that users have on them, as plain, frozen values. No I/O, no framework."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

LOGIN = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.@+-]{0,63}")
"""Login names that are taken. Nothing in one can be an option, a path or a word of a shell."""

LOCAL = "local"
"""Id of the site that is the service's own machine. Nobody needs an account there."""


class PointStatus(StrEnum):
    """What became of a point of a check."""

    OK = "ok"
    WARNING = "warning"
    FAILED = "failed"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True)
class Site:
    """A machine that executes for a user: the service's own, or a login node that is reached by SSH.

    Attributes:
        id: unique, as in the settings.
        host: `name:port` of the login node; None for the service's own machine.
        scheduler: `slurm` or `none`.
        state: `available`; `maintenance`, when its operators say so; `silent`, when it didn't answer last.
        maintenance: what its operators say of it; nothing new starts there meanwhile.
        silent_since: since when it hasn't answered.
        users: subjects who may use it.
        groups: groups whose members may use it. Both None means everybody.
        accounts: whether an account is needed to run something there.
        keyless: whether an account needs no SSH key, since certificates are signed for it.
        logins: whose login names are whose where it is keyless, by subjects; None means that each is called there as
            here. A key proves whose account it opens; who gets a certificate needs somebody who vouches for them.
    """

    id: str
    title: str
    description: str | None = None
    host: str | None = None
    scheduler: str = "none"
    state: str = "available"
    maintenance: str | None = None
    silent_since: datetime | None = None
    users: frozenset[str] | None = None
    groups: frozenset[str] | None = None
    accounts: bool = True
    keyless: bool = False
    logins: Mapping[str, str] | None = None


@dataclass(frozen=True, slots=True)
class Account:
    """A user's login name on a site, and the SSH key of theirs that opens it.

    Attributes:
        owner: subject of the user.
        user: login name on the site.
        ssh_key: id of the key; None where certificates are signed.
        checked_at: when the account was checked last.
        usable: whether that check found nothing that keeps executions from running; None before the first.
    """

    owner: str
    site: str
    user: str
    ssh_key: str | None
    created_at: datetime
    checked_at: datetime | None = None
    usable: bool | None = None


@dataclass(frozen=True, slots=True)
class Placement:
    """Where an execution runs, and by which account. It stays what it was when the account is changed later.

    Attributes:
        site: id of the site.
        user: login name there; None on the service's own machine.
        ssh_key: id of the key that opens it; None on the service's own machine, and where certificates are signed.
    """

    site: str = LOCAL
    user: str | None = None
    ssh_key: str | None = None


@dataclass(frozen=True, slots=True)
class Point:
    """One point of the check of an account.

    Attributes:
        id: stable, such as `host_key`.
        title: what was looked at, in a few words.
        detail: what was found, in a sentence.
        advice: what to do, when something is to be done.
    """

    id: str
    title: str
    status: PointStatus
    detail: str
    advice: str | None = None


@dataclass(frozen=True, slots=True)
class Job:
    """What a site's scheduler knows of a step.

    Attributes:
        id: the scheduler's own.
        state: in its own words, such as `PENDING` or `OUT_OF_MEMORY`.
        reason: why it waits or ended, in its own words, when it says so.
        node: where it runs or ran.
        name: that it goes by there.
    """

    id: str
    state: str
    reason: str | None = None
    node: str | None = None
    name: str | None = None
    submitted_at: datetime | None = None
    started_at: datetime | None = None
    ended_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class AccountCheck:
    """What a check has found of an account."""

    account: Account
    points: tuple[Point, ...]

    @property
    def usable(self) -> bool:
        """Whether something was looked at, and nothing was found that keeps executions from running."""
        return bool(self.points) and all(point.status is not PointStatus.FAILED for point in self.points)
