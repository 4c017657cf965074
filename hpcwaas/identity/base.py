"""The Protocol that every way to sign in obeys."""

from __future__ import annotations

from typing import Protocol

from hpcwaas.core.models import Principal


class Identity(Protocol):
    """Turns credentials into users. Whatever is presented, the answer takes the same time whether it nearly fits or
    not at all, and no credential is ever logged."""

    def basic(self, username: str, password: str) -> Principal | None:
        """Who signs in with this name and password; None when nobody does."""

    def bearer(self, token: str) -> Principal | None:
        """Who signs in with this token; None when nobody does."""
