"""The stronger or fresher sign-in that the service demands before it does some things (RFC 9470)."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .errors import Unauthorized

WORD = "insufficient_user_authentication"


@dataclass(frozen=True, slots=True)
class Demand:
    """How the user is to sign in.

    Attributes:
        acr_values: ways of which one will do, with blanks between.
        max_age: seconds since the sign-in at the identity provider.
    """

    acr_values: str | None = None
    max_age: int | None = None

    @property
    def form(self) -> dict[str, str]:
        """Its parameters in a request to sign in."""
        given = {"acr_values": self.acr_values, "max_age": None if self.max_age is None else str(self.max_age)}
        return {name: value for name, value in given.items() if value}

    @property
    def options(self) -> str:
        """Its options of `waas login`."""
        names = {"acr_values": "--acr-values", "max_age": "--max-age"}
        return "".join(f" {names[name]} {shlex.quote(value)}" for name, value in self.form.items())


NO_DEMAND = Demand()


class SignInAgain(Unauthorized):
    """The service wants another sign-in before it does what was asked.

    Attributes:
        demand: how the user is to sign in.
    """

    def __init__(self, problem: Mapping[str, Any], detail: str, login_command: str) -> None:
        age = problem.get("max_age")
        self.demand = Demand(" ".join(map(str, problem.get("acr_values") or ())) or None, age and int(age))
        super().__init__(
            detail, hint=f"Sign in again, then repeat it: {login_command}{self.demand.options}", problem=problem
        )
