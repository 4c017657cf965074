"""What operators are told of what is published. Values only, no behaviour."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Access:
    """Who may run what an engine publishes, or why it publishes it to nobody; for operators.

    Attributes:
        id: of the workflow; None for what belongs to none.
        users: subjects who may run it.
        groups: groups whose members may run it. Both None means everybody.
        published: whether anything of it is published.
        problem: why it isn't, or why an earlier version is.
        warnings: what its publisher should know, a sentence each.
        ignored: files that look like workflows and publish nothing on purpose, a sentence each.
    """

    id: str | None
    users: frozenset[str] | None = None
    groups: frozenset[str] | None = None
    published: bool = True
    problem: str | None = None
    warnings: tuple[str, ...] = ()
    ignored: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Update:
    """What became of a repository whose workflows are published, when it was looked at.

    Attributes:
        url: of the repository, without what may be secret in it.
        reference: what is published of it: `tag v1.2`, say.
        before, commit: what was published before, and what is now; None for nothing.
        problem: what is wrong, as a sentence.
    """

    url: str
    reference: str
    before: str | None
    commit: str | None
    problem: str | None
