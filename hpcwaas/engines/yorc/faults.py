"""What Yorc's own errors mean.

No error quotes Yorc: its texts may hold stack traces or secrets.
"""

from __future__ import annotations

import json
import re
from contextlib import AbstractContextManager

from hpcwaas.common.http import NoAnswer
from hpcwaas.engines.orchestrated import faults as orchestrated
from hpcwaas.errors import Unavailable, UpstreamFailed

NO_LEADER = "Yorc's store (Consul) has no leader. Tell an operator."
NO_STORE = "Yorc can't use its store (Consul). Tell an operator."

_LEADERLESS = re.compile(r"no (?:known )?(?:cluster |consul )?leader|leader.{0,40}lost", re.IGNORECASE)
_STORELESS = re.compile(
    r"consul|rpc error|dial tcp|:8500\b|Unexpected response code: 5|connection refused", re.IGNORECASE
)
_RETRY_AFTER = 30


class Refusal(UpstreamFailed):
    """Yorc understood the request and answered with an error.

    Attributes:
        status: of HTTP.
        error: Yorc's id of the error; empty when there is none.
        message: in its words. For decisions and the log, never for users.
    """

    def __init__(self, status: int, error: str, message: str) -> None:
        super().__init__("Yorc answered the request with an error.")
        self.status = status
        self.error = error
        self.message = message

    @property
    def unknown(self) -> bool:
        """Whether there is no such thing; a task of another deployment is none of this one."""
        return self.status == 404 or (self.status == 400 and "doesn't correspond to the deployment" in self.message)


def refusal(status: int, text: str) -> Refusal | None:
    """The refusal in the body of an answer; None when Yorc hasn't written it.

    Args:
        text: whatever its media type: Yorc writes JSON and calls it text. Of several documents the first one counts.
    """
    try:
        document, _ = json.JSONDecoder().raw_decode(text.lstrip())
        first = document["errors"][0]
        return Refusal(status, str(first.get("id") or ""), str(first.get("detail") or ""))
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return None


def store_trouble(refused: Refusal) -> NoAnswer | None:
    """What an error says of the store that Yorc keeps everything in; None when it says nothing of it."""
    if refused.status < 500:
        return None
    if _LEADERLESS.search(refused.message):
        detail = NO_LEADER
    elif _STORELESS.search(refused.message):
        detail = NO_STORE
    else:
        return None
    # What was asked for may have been done in part.
    return NoAnswer(Unavailable(detail, _RETRY_AFTER), sent=True, again=False, why=refused.message[:200])


def reading(what: str) -> AbstractContextManager[None]:
    """Around code that takes an answer apart."""
    return orchestrated.reading("Yorc", what)
