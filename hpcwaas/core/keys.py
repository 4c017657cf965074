"""Key pairs of users."""

from __future__ import annotations

import contextlib
import logging
import re
import uuid
from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from hpcwaas.common.forgetting import forgetting
from hpcwaas.core import acts, policy
from hpcwaas.core.key_types import generate
from hpcwaas.core.models import JSON, ReplacedKey, SSHKey, WorkflowDetails
from hpcwaas.core.people import Principal
from hpcwaas.core.ports.records import SSHKeyRecords
from hpcwaas.core.ports.vault import NotDone, Vault
from hpcwaas.errors import (
    BadRequest,
    Conflict,
    InputProblem,
    InvalidInputs,
    NotFound,
    ServiceError,
    TooLarge,
    Unavailable,
)

_LOGGER = logging.getLogger(__name__)

RESERVED = ("privateKey", "publicKey")
"""Words that the vault's records use themselves; as metadata they are ignored."""

_OLD_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
"""Form of the ids that the service before this one gave to keys. It kept no record of them."""
_MOST_TOLD = 10_000
"""Uses of such keys that a process remembers to have told of."""

_PATIENCE = timedelta(seconds=60)
"""How long making or changing a key may take. What is older by far is what a crash left."""
_STALE = 2 * _PATIENCE
_LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)
_MOST_REPLACED = 9
"""Public halves that may wait for a confirmation: with the present one as many as KV v2 keeps versions."""
_MOST_WORDS, _LONGEST_NAME, _LONGEST_VALUE = 64, 128, 512
"""How many members metadata has, and the bytes of each, as KV v2 limits its own."""


class SSHKeys:
    """Makes, lists, rotates and destroys key pairs.

    Args:
        accept_unrecorded: whether executions may use keys that the service before this one made, of which nothing is
            recorded here. Whoever knows the id of one is taken to be its owner, as that service did.
    """

    def __init__(self, records: SSHKeyRecords, vault: Vault, *, accept_unrecorded: bool = False) -> None:
        self._records = records
        self._vault = vault
        self._accept_unrecorded = accept_unrecorded
        self._told: set[tuple[str, str]] = set()

    @forgetting()
    def create(
        self,
        principal: Principal,
        key_type: str,
        bits: int | None,
        name: str | None,
        metadata: Mapping[str, str],
        comment: str | None = None,
    ) -> SSHKey:
        """Makes a key pair; the private half goes into the vault and nowhere else.

        Args:
            comment: ends the public line. Default: the key's name, else the user.

        Raises:
            BadRequest: no such type or size.
            TooLarge: the metadata is.
            Conflict: the user has a key of this name.
        """
        _check_metadata(metadata)
        if name is not None and self._records.has_name(principal.subject, name):
            raise Conflict("You already have an SSH key of this name.")
        pair = generate(key_type, bits, comment if comment is not None else name or principal.subject)
        key = SSHKey(
            id=str(uuid.uuid4()),
            owner=principal.subject,
            name=name,
            type=pair.type,
            bits=pair.bits,
            public_key=pair.public_key,
            fingerprint=pair.fingerprint,
            metadata={word: text for word, text in metadata.items() if word not in RESERVED},
            created_at=datetime.now(UTC),
        )
        try:
            self._vault.write(key, pair.private_key)
        except (NotDone, Conflict):  # nothing of ours is there
            raise
        except ServiceError:
            self._discard(key.id)
            raise
        if datetime.now(UTC) - key.created_at > _PATIENCE:  # the sweep may be at work on it
            self._discard(key.id)
            raise Unavailable("The vault took too long. Try again.")
        try:
            self._records.add(key)
        except Exception:  # whatever it was, the private half must not stay behind without an owner
            self._discard(key.id)
            raise
        return key

    def list(self, principal: Principal, owner: str | None = None) -> Sequence[SSHKey]:
        """A user's keys, newest first.

        Args:
            owner: whose; see `policy.whose`.

        Raises:
            Forbidden: a plain user asks for somebody else's.
        """
        listed = policy.whose(principal, owner)
        acts.note_owner(principal, owner)
        return list(reversed(self._records.of(listed)))

    def get(self, principal: Principal, key_id: str) -> SSHKey:
        """One key.

        Raises:
            NotFound: unknown, or none that the user may see.
        """
        key = self._records.find_key(key_id, policy.reach(principal))
        acts.note_owner(principal, key.owner)
        return key

    def rotate(self, principal: Principal, key_id: str) -> SSHKey:
        """Exchanges a key pair for a new one of the same kind under the same id.

        Raises:
            NotFound: unknown, or none that the user may see.
            Forbidden: an operator sees it, and no more.
            Conflict: it is being changed, or too many replaced halves wait for a confirmation.
        """
        if len(self._own(principal, key_id).replaced) >= _MOST_REPLACED:
            raise Conflict(
                "First confirm that the present public half is installed: too many replaced ones are waiting for that."
            )
        return self._rotate(*self._begin("rotate", key_id, principal.subject))

    def confirm(self, principal: Principal, key_id: str) -> SSHKey:
        """Notes that the present public half is installed: replaced ones aren't shown any more.

        Raises:
            NotFound: unknown, or none that the user may see.
            Forbidden: an operator sees it, and no more.
        """
        return self._records.confirm(self._own(principal, key_id).id, principal.subject)

    def delete(self, principal: Principal, key_id: str, *, force: bool = False) -> None:
        """Destroys both halves of a key. If the vault can't, the key stays listed and can be deleted again.

        Args:
            force: also while executions that use it haven't ended, or accounts on sites are opened by it.

        Raises:
            NotFound: unknown, or none that the user may see.
            Forbidden: an operator sees it, and no more.
            KeyInUse: executions that use it haven't ended, or it opens accounts on sites.
            Conflict: it is being changed.
        """
        self._own(principal, key_id)
        self._delete(self._begin("delete", key_id, principal.subject, even_in_use=force)[0])

    def erase(self, owner: str) -> None:
        """Destroys all keys of a user who leaves; those that are being changed have their turn later.

        Raises:
            ServiceError: the vault can't.
        """
        for key in self._records.of(owner):
            with contextlib.suppress(NotFound, Conflict):
                self._delete(self._begin("delete", key.id, owner)[0])

    def used_by(self, principal: Principal, details: WorkflowDetails, inputs: Mapping[str, JSON]) -> frozenset[str]:
        """Ids of the user's keys that the inputs of an execution name; without those of unrecorded ones.

        Raises:
            InvalidInputs: they name a key that is somebody else's, or unknown and not accepted unrecorded.
        """
        named = list(details.named_keys(inputs))
        known = {key.id for key in self._records.of(principal.subject)} if named else set()
        unrecorded = {value for _, value in named if value not in known and self._is_unrecorded(value)}
        problems = [
            InputProblem(
                name,
                f"`{name}` is {value[:64]!r}, which isn't an SSH key of yours.",
                value[:64],
                "the id of an SSH key",
            )
            for name, value in dict.fromkeys(named)
            if value not in known | unrecorded
        ]
        if problems:
            raise InvalidInputs(problems)
        if unrecorded:
            self._tell(principal, unrecorded)
        return frozenset(value for _, value in named) - unrecorded

    def sweep(self) -> None:
        """Ends what a crash or a failing vault has left half-done."""
        before = datetime.now(UTC) - _STALE
        failure: ServiceError | None = None
        for key_id in self._vault.unowned(before):
            try:
                self._vault.delete(key_id)
            except NotDone:
                raise
            except ServiceError as error:  # the others may fare better
                failure = error
            else:
                _LOGGER.info("removed the private half %s, which an earlier failure had left behind", key_id)
        for change, key in self._records.left(before):
            try:
                self._resume(change, key)
            except NotDone:
                raise
            except (NotFound, Conflict):  # somebody else has just done it
                continue
            except ServiceError as error:
                failure = error
            else:
                _LOGGER.info("ended the change (%s) of key %s, which had been left half-done", change, key.id)
        if failure:
            raise failure

    def _is_unrecorded(self, key_id: str) -> bool:
        if not self._accept_unrecorded or not _OLD_ID.fullmatch(key_id):
            return False
        try:
            self._records.find_key(key_id, None)
        except NotFound:
            return True
        return False

    def _tell(self, principal: Principal, key_ids: AbstractSet[str]) -> None:
        acts.note(unrecorded_keys=sorted(key_ids))
        uses = {(principal.subject, key_id) for key_id in key_ids}
        for subject, key_id in uses - self._told:
            _LOGGER.info("%s uses the SSH key %s, of which nothing is recorded here", subject, key_id)
        if len(self._told) > _MOST_TOLD:
            self._told = set()
        self._told |= uses

    def _own(self, principal: Principal, key_id: str) -> SSHKey:
        key = self.get(principal, key_id)
        policy.require_owner(principal, key.owner)
        return key

    def _resume(self, change: str, key: SSHKey) -> None:
        taken, begun = self._begin(change, key.id, key.owner)
        if change == "delete":
            self._delete(taken)
        else:
            # Which pair the vault has nobody can tell: it isn't readable. A new one makes both sides agree.
            self._rotate(taken, begun)

    def _begin(self, change: str, key_id: str, owner: str, *, even_in_use: bool = True) -> tuple[SSHKey, datetime]:
        now = datetime.now(UTC)
        return self._records.begin(change, key_id, owner, now, now - _STALE, even_in_use=even_in_use), now

    @forgetting()
    def _rotate(self, key: SSHKey, begun: datetime) -> SSHKey:
        pair = generate(key.type, key.bits, _comment(key.public_key))
        now = datetime.now(UTC)
        rotated = replace(
            key,
            public_key=pair.public_key,
            fingerprint=pair.fingerprint,
            rotated_at=now,
            replaced=(*key.replaced, ReplacedKey(key.public_key, key.fingerprint, now)),
        )
        self._change(key.id, lambda: self._vault.replace(rotated, pair.private_key))
        if not self._records.rotated(key.id, rotated, begun):
            # This process stood still for so long that another one took the change up: the vault may have either pair.
            self._records.leave(key.id, _LONG_AGO)
            raise Conflict("Another request has changed the SSH key at the same time. Look at its public half again.")
        return rotated

    def _delete(self, key: SSHKey) -> None:
        self._change(key.id, lambda: self._vault.delete(key.id))
        self._records.delete(key.id, key.owner)

    def _change(self, key_id: str, task: Callable[[], None]) -> None:
        try:
            task()
        except NotDone:
            self._records.leave(key_id, None)
            raise
        except ServiceError:  # it may be done: the user may try again at once, else the sweep does
            self._records.leave(key_id, _LONG_AGO)
            raise

    def _discard(self, key_id: str) -> None:
        try:
            self._vault.delete(key_id)
        except ServiceError as error:
            _LOGGER.warning("the sweep will remove the private half %s: %s", key_id, error.detail)


def _comment(public_key: str) -> str:
    return (*public_key.rstrip("\n").split(" ", 2), "")[2]


def _check_metadata(metadata: Mapping[str, str]) -> None:
    if len(metadata) > _MOST_WORDS:
        raise TooLarge(f"`metadata` has {len(metadata)} members; at most {_MOST_WORDS} are kept.")
    for name, text in metadata.items():
        if not name:
            raise BadRequest("`metadata` has a member without a name.")
        if len(name.encode()) > _LONGEST_NAME:
            raise TooLarge(f"`metadata`: the name `{name[:32]}…` has more than {_LONGEST_NAME} bytes.")
        if len(text.encode()) > _LONGEST_VALUE:
            raise TooLarge(f"`metadata.{name}` has more than {_LONGEST_VALUE} bytes.")
