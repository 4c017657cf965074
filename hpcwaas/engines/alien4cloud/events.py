"""Listens to Alien4Cloud's news of executions: one subscription for all of them in this process."""

from __future__ import annotations

import json
import logging
import random
import ssl
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime

from hpcwaas.core.models import Status
from hpcwaas.engines.alien4cloud import mapper
from hpcwaas.engines.alien4cloud.settings import Alien4CloudSettings
from hpcwaas.engines.alien4cloud.stomp import StompError, Subscription
from hpcwaas.engines.alien4cloud.transport import Transport
from hpcwaas.errors import ServiceError

_LOGGER = logging.getLogger(__name__)

_TOPIC = "/topic/deployment-events/*/paasworkflowmonitorevent"
_PATH = "/rest/latest/alienEndPoint/websocket"
_FIRST_PAUSE = 0.5
_LONGEST_PAUSE = 30.0
_STABLE = 10.0
"""Seconds after which a connection counts as a good one, and the next pause is a short one again."""


class Events:
    """Keeps a subscription and hands on what comes. What is published while it is broken is lost: who relies on events
    asks `covered`.

    Args:
        take: called with each piece of news, in one thread.
    """

    def __init__(
        self, settings: Alien4CloudSettings, transport: Transport, take: Callable[[mapper.Event], None]
    ) -> None:
        self._url = "ws" + settings.address.rstrip("/").removeprefix("http") + _PATH
        self._timeout = settings.connect_timeout
        self._tls = _tls(settings) if settings.address.startswith("https:") else None
        self._transport = transport
        self._take = take
        self._since: float | None = None
        self.clock_ahead: float | None = None
        """Seconds by which the clock that stamps events is ahead of ours, to a second or two."""
        self._problem: str | None = None
        self._closing = threading.Event()
        self._subscription: Subscription | None = None
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begins to listen, at the first call."""
        if self._thread is None:
            with self._lock:
                if self._thread is None and not self._closing.is_set():
                    self._thread = threading.Thread(target=self._listen, name="alien4cloud-events", daemon=True)
                    self._thread.start()

    def covered(self, since: float) -> bool:
        """Whether news have been coming without a gap since this monotonic time."""
        began = self._since
        return began is not None and began <= since

    @property
    def problem(self) -> str | None:
        """Why nothing comes just now."""
        return self._problem

    def close(self) -> None:
        """Ends listening."""
        self._closing.set()
        with self._lock:
            subscription, thread = self._subscription, self._thread
        if subscription is not None:
            subscription.close()
        if thread is not None:
            thread.join(timeout=5)

    def _listen(self) -> None:
        pause = _FIRST_PAUSE
        while not self._closing.is_set():
            began = time.monotonic()
            try:
                self._once()
            except (StompError, ServiceError) as error:
                if not self._closing.is_set() and self._problem is None:
                    _LOGGER.warning(
                        "Alien4Cloud sends no events (%s): the service polls until they come again",
                        str(error)[:200].rstrip("."),
                    )
                self._problem = "Alien4Cloud sends no events, so the service polls for statuses."
            except Exception:  # this thread must outlive a defect in what handles one event
                _LOGGER.exception("unexpected error while listening to Alien4Cloud")
            finally:
                self._since = None
            pause = _FIRST_PAUSE if time.monotonic() - began > _STABLE else min(pause * 2, _LONGEST_PAUSE)
            self._closing.wait(pause * random.uniform(0.5, 1))  # noqa: S311 - no secret

    def _once(self) -> None:
        """One connection, from its beginning to its end."""
        cookie = self._transport.cookie()
        try:
            subscription = self._subscribe(cookie)
        except StompError as error:
            if not error.refused:
                raise
            subscription = self._subscribe(self._transport.cookie(stale=cookie))
        try:
            with self._lock:
                self._subscription = subscription
            if self._closing.is_set():
                return
            self._since, self._problem = time.monotonic(), None
            _LOGGER.info("listening to Alien4Cloud's events")
            for body in subscription.bodies():
                self._hand_on(body)
        finally:
            with self._lock:
                self._subscription = None
            subscription.close()

    def _subscribe(self, cookie: str) -> Subscription:
        return Subscription(self._url, _TOPIC, cookie=f"JSESSIONID={cookie}", tls=self._tls, timeout=self._timeout)

    def _hand_on(self, body: str) -> None:
        try:
            event = mapper.event(json.loads(body))
        except (ValueError, TypeError, AttributeError, OverflowError):
            _LOGGER.warning("an event from Alien4Cloud can't be understood and is left out")
            return
        if event is not None:
            if event.status is not Status.CANCELLING:  # which has no stamp
                self.clock_ahead = (event.at - datetime.now(UTC)).total_seconds()
            self._take(event)


def _tls(settings: Alien4CloudSettings) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=str(settings.ca_file) if settings.ca_file else None)
    if settings.skip_secure:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context
