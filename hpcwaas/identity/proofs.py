"""Proofs of who users are, in the form in which tickets carry them."""

from __future__ import annotations

from datetime import datetime

from hpcwaas.core.models import JSON
from hpcwaas.core.people import NO_PROOF, Proof


def written(proof: Proof) -> JSON:
    """A proof as JSON."""
    return {"acr": proof.acr, "at": proof.at.isoformat() if proof.at else None}


def read(value: JSON) -> Proof:
    """A proof that `written` wrote; none at all for None."""
    if value is None:
        return NO_PROOF
    return Proof(value["acr"], datetime.fromisoformat(value["at"]) if value["at"] else None)
