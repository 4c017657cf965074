"""The ids of workflows, and how names of files become parts of them."""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache

_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_FIT = re.compile(r"[A-Za-z0-9._-]*")
_UNFIT = re.compile(r"-*[^A-Za-z0-9._-][^A-Za-z0-9._]*")
"""What an id can't have, with the `-` around it."""

ID_RULE = (
    "may hold letters, digits, '.', '_' and '-' only, begin with a letter or digit, and have 100 characters at most"
)


def usable_id(text: str) -> bool:
    """Whether a text can be the id of a workflow."""
    return bool(_ID.fullmatch(text))


@lru_cache(maxsize=65536)
def id_part(name: str) -> str:
    """What a file's or folder's name is in an id.

    Args:
        name: without an ending.

    Returns:
        the name itself if an id can have all of it, or if nothing of it.
    """
    if _FIT.fullmatch(name):
        return name
    letters = "".join(each for each in unicodedata.normalize("NFKD", name) if not unicodedata.combining(each))

    def instead(unfit: re.Match[str]) -> str:
        at_an_end = unfit.end() == len(letters) or (unfit.start() == 0 and unfit[0][0] != "-")
        return "" if at_an_end else "-"

    return _UNFIT.sub(instead, letters) or name
