"""What an operator should know of settings that are no mistake."""

from __future__ import annotations

from collections.abc import Iterator

from hpcwaas.configuration.flags import FLAGS
from hpcwaas.configuration.load import Effective

_UNRECORDED = "vault_config.unrecorded_keys"
_OLD_FILE = "alien_config"
"""Whoever has this section comes from the service before this one, which had no other engine."""


def advice(found: Effective) -> Iterator[str]:
    """Sentences for the start and for `config check`."""
    for flag in FLAGS:
        if flag.secret and found.origins.get(flag.setting) == f"flag {flag.name}":
            yield (
                f"{flag.name}: other users of this machine may have seen it in the list of processes; give it in the "
                f"variable {flag.variable}, or in the file"
            )
    settings = found.settings
    if settings.vault_config is None:
        return
    if settings.vault_config.unrecorded_keys == "accept":
        yield (
            f"{_UNRECORDED}: anybody who knows the id of an SSH key that the service before this one made can "
            "use that key; set `refuse` as soon as users have made new ones"
        )
    elif _OLD_FILE in settings.model_fields_set and _UNRECORDED not in found.origins:
        yield (
            f"{_UNRECORDED}: SSH keys that the service before this one made are refused; if users still need "
            "theirs, set `accept` for a while, otherwise `refuse` (docs/how-to/vault.md)"
        )
