"""What one user may have and do, and how much of it is used."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from hpcwaas.core.ports.records import ExecutionRecords, UploadRecords
from hpcwaas.core.request_counts import RequestCounts
from hpcwaas.core.settings import LimitsPerUser
from hpcwaas.errors import TooManyRequests


@dataclass(frozen=True, slots=True)
class Usage:
    """How much of a limit is used. A `limit` of None means that there is none."""

    used: int
    limit: int | None


class Limits:
    """The limits of each user.

    Args:
        settings: the limits.
        executions: where executions are recorded.
        uploads: where uploads are recorded.
        requests: counts of requests.
    """

    def __init__(
        self, settings: LimitsPerUser, executions: ExecutionRecords, uploads: UploadRecords, requests: RequestCounts
    ) -> None:
        self._settings = settings
        self._executions = executions
        self._uploads = uploads
        self._requests = requests

    def count_request(self, subject: str) -> None:
        """Counts a request. Takes microseconds; called in one thread only.

        Raises:
            TooManyRequests: it is one too many for this minute.
        """
        most = self._settings.requests
        if most is not None and self._requests.used(subject) >= most:
            wait = self._requests.wait(subject, most)
            raise TooManyRequests(
                f"You have sent {most} requests in the last minute, which is the limit: "
                f"wait {wait} second{'s' if wait > 1 else ''}.",
                wait,
            )
        self._requests.add(subject)

    def usage(self, subject: str) -> Mapping[str, Usage]:
        """How much a user has used: `executions` that haven't ended, `stored` bytes, `requests` of the last minute."""
        return {
            "executions": Usage(self._executions.count_unfinished(subject), self._settings.executions),
            "stored": Usage(self._uploads.stored(subject), self._settings.stored),
            "requests": Usage(self._requests.used(subject), self._settings.requests),
        }
