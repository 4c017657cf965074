"""Machines without a browser that wait for their user (RFC 8628)."""

from __future__ import annotations

import re
import secrets
from datetime import UTC, datetime, timedelta

from hpcwaas.core.models import JSON
from hpcwaas.core.people import NO_PROOF, PROOF, Demand, Proof
from hpcwaas.core.ports.identity import DeviceCode, Refused, WaitingMachine
from hpcwaas.core.ports.sign_in_records import Counters, Tickets
from hpcwaas.errors import Conflict, NotFound
from hpcwaas.identity.rates import AddressRate
from hpcwaas.identity.sessions import digest

_LETTERS = "BCDFGHJKLMNPQRSTVWXZ"
"""Without vowels they make no words, and none looks like another."""

_LIFE = timedelta(minutes=10)
_KEPT = timedelta(minutes=20)
"""After its end a device code is still known to have ended."""

_INTERVAL = 5
_TOO_SOON = timedelta(seconds=_INTERVAL - 1)
"""What comes after this time isn't too fast: the network brings one question later and the next one sooner."""

_WRONG_CODES = 10
_DEVICE, _USER_CODE = "device", "user code"


class Devices:
    """Knows the machines that wait."""

    def __init__(self, tickets: Tickets, counters: Counters) -> None:
        self._tickets = tickets
        self._counters = counters
        self._wrong = AddressRate(
            counters,
            "wrong user code",
            _WRONG_CODES,
            _LIFE,
            "Too many wrong codes came from your address: wait {wait}.",
        )

    def begin(self, address: str, demand: Demand) -> DeviceCode:
        """Lets a machine wait.

        Args:
            address: where it asks from.
            demand: how its user is to sign in.
        """
        now = datetime.now(UTC)
        device_code = secrets.token_urlsafe(32)
        machine: dict[str, JSON] = {
            "device": digest(device_code),
            "address": address,
            "asked_at": now.isoformat(),
            "acr_values": list(demand.acr_values),
            "max_age": demand.max_age,
        }
        while True:
            letters = "".join(secrets.choice(_LETTERS) for _ in range(8))
            try:
                self._tickets.put(_USER_CODE, digest(letters), machine, now + _LIFE)
            except Conflict:  # another machine shows it
                continue
            break
        waiting = {"status": "waiting", "until": (now + _LIFE).isoformat()}
        self._tickets.put(_DEVICE, machine["device"], waiting, now + _KEPT)
        return DeviceCode(device_code, _shown(letters), int(_LIFE.total_seconds()), _INTERVAL)

    def waiting(self, user_code: str, address: str) -> WaitingMachine:
        """The machine that shows a code; see `SignIn.waiting`."""
        self._wrong.check(address)
        letters = _letters(user_code)
        machine = self._tickets.find_ticket(_USER_CODE, digest(letters), datetime.now(UTC))
        if machine is None:
            self._wrong.count(address)
            raise NotFound("No machine waits with this code. Check it: it may also be used up, or over 10 minutes old.")
        # Machines that began to wait before an upgrade demand nothing.
        demand = Demand(tuple(machine.get("acr_values", ())), machine.get("max_age"))
        return WaitingMachine(_shown(letters), machine["address"], datetime.fromisoformat(machine["asked_at"]), demand)

    def waits(self, user_code: str) -> bool:
        """Whether a machine that showed a code still waits."""
        return self._tickets.find_ticket(_USER_CODE, digest(_letters(user_code)), datetime.now(UTC)) is not None

    def decide(self, user_code: str, subject: str | None, proof: Proof = NO_PROOF) -> None:
        """Lets a machine in for a user, or with None refuses it. It is decided once.

        Raises:
            NotFound: it doesn't wait any more.
        """
        now = datetime.now(UTC)
        machine = self._tickets.take(_USER_CODE, digest(_letters(user_code)), now)
        if machine is None:
            raise NotFound("The machine doesn't wait any more: sign in there again.")
        decided: dict[str, JSON] = {"status": "refused"}
        if subject is not None:
            decided = {"status": "let in", "subject": subject, "proof": PROOF.dump_python(proof, mode="json")}
        self._tickets.change(_DEVICE, machine["device"], {**decided, "until": (now + _LIFE).isoformat()}, now)

    def redeem(self, device_code: str) -> tuple[str, Proof]:
        """The user who let a machine in, and how they proved who they are; once.

        Raises:
            Refused: as RFC 8628, 3.5 says.
        """
        now, key = datetime.now(UTC), digest(device_code)
        state = self._tickets.find_ticket(_DEVICE, key, now)
        if state is None:
            raise _unknown()
        if datetime.fromisoformat(state["until"]) <= now:
            raise Refused("expired_token", "The code has expired: begin again.")
        if state["status"] == "waiting":
            if self._counters.add(f"device question {key}", _TOO_SOON, now) > 1:
                raise Refused(
                    "slow_down",
                    f"Ask at most every {_INTERVAL} seconds, and wait 5 seconds longer each time from now on.",
                )
            raise Refused("authorization_pending", "The user hasn't answered yet.")
        if self._tickets.take(_DEVICE, key, now) is None:
            raise _unknown()
        if state["status"] == "refused":
            raise Refused("access_denied", "The sign-in was refused.")
        return state["subject"], PROOF.validate_python(state.get("proof") or {})


def _unknown() -> Refused:
    return Refused("invalid_grant", "There is no such device code, or it has been used.")


def _letters(user_code: str) -> str:
    return re.sub("[^A-Z]", "", user_code.upper())


def _shown(letters: str) -> str:
    return f"{letters[:4]}-{letters[4:]}"
