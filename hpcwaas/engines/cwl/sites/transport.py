"""A connection on which nothing is sent to a channel behind its end: for that OpenSSH ends the whole connection.

A command that ends before it has read its input has its channel closed by the server. Paramiko confirms that in a
thread of its own, which may happen between another thread's look whether the channel is open and what that one sends.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from typing import Any

import paramiko
from paramiko.common import MSG_CHANNEL_CLOSE

_PATIENCE = 1.0
"""Seconds for which the confirmation of an end waits for what is just being sent. Never for ever: while new keys are
agreed on, who sends waits for the thread that confirms."""


class Transport(paramiko.Transport):
    """As Paramiko's."""

    def __init__(self, *arguments: Any, **more: Any) -> None:
        super().__init__(*arguments, **more)
        self._sending = threading.Lock()
        handlers = vars(paramiko.Transport)["_channel_handler_table"]  # there is no other way
        self._confirm = handlers[MSG_CHANNEL_CLOSE]
        self._channel_handler_table = {**handlers, MSG_CHANNEL_CLOSE: self._confirm_end}

    def _confirm_end(self, channel: paramiko.Channel, message: paramiko.Message) -> None:
        waited = self._sending.acquire(timeout=_PATIENCE)
        try:
            self._confirm(channel, message)
        finally:
            if waited:
                self._sending.release()

    @contextlib.contextmanager
    def sending(self) -> Iterator[None]:
        """Around looking whether a channel is open and sending something to it."""
        with self._sending:
            yield
