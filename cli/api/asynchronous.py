"""The service for programs in Python that use asyncio."""

from __future__ import annotations

import asyncio
import json
import os
import ssl
import uuid
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Self, TypeVar, cast

import httpx
from requests import utils

from .. import __version__
from ..client import Client
from ..config import Config
from ..connection_errors import unreachable, unusable
from ..errors import Unreachable, WaasError
from ..failures import failure_of
from ..literals import Literal, encode
from ..retry import pause
from ..stepup import WORD
from ..tls import context_of
from . import answers, calls
from .following import Following
from .sending import has_files
from .settings import configuration, log
from .synchronous import ALL_LEVELS, MOST_LISTED, Waas

T = TypeVar("T")
R = TypeVar("R")

_CONNECT_SECONDS = 10.0
_TRIES = 4
_MAX_WAIT_SECONDS = 30.0


class AsyncWaas:
    """As `Waas`, for asyncio, in one event loop: hundreds of executions can be waited for at once.

    Requests go out and are waited for without threads. Files are sent and fetched by threads, one for each call.
    """

    def __init__(
        self,
        api_url: str | None = None,
        *,
        access_token: str | None = None,
        user: str | None = None,
        profile: str | None = None,
        ca_file: Path | None = None,
        config: Config | None = None,
    ) -> None:
        self.config = config or configuration(api_url, access_token, user, profile, ca_file)
        self._credentials = Client(self.config, note=log.warning)
        self._renewing = asyncio.Lock()
        self._http = httpx.AsyncClient(
            verify=_context(self.config),
            headers={"User-Agent": f"waas/{__version__}", "Accept": "application/json, */*;q=0.5"},
            limits=httpx.Limits(max_connections=None, max_keepalive_connections=20),
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Ends the connections."""
        await self._http.aclose()
        self._credentials.close()

    async def call(self, call: calls.Call[T]) -> T:
        """See `Waas.call`."""
        for attempt in range(1, _TRIES + 1):
            try:
                return await self._once(call)
            except Unreachable as failure:
                asked = failure.retry_after
                hopeless = failure.unsent or (asked or 0) > _MAX_WAIT_SECONDS
                if attempt == _TRIES or not call.repeatable or hopeless:
                    raise
                await asyncio.sleep(pause(attempt) if asked is None else asked)
        raise AssertionError("the last try returns or raises")

    async def _once(self, call: calls.Call[T]) -> T:
        response = await self._send(call, await self._authorization())
        challenge = response.headers.get("WWW-Authenticate", "")
        if response.status_code == httpx.codes.UNAUTHORIZED and self.config.login and WORD not in challenge:
            response = await self._send(call, await self._authorization(renewed=True))
        if response.status_code >= 300:
            reason = response.reason_phrase
            raise failure_of(self.config, call.where, response.status_code, reason, response.headers, _value(response))
        if call.gives == "value":
            value = _value(response)
            if value is None:
                raise WaasError(
                    f"The answer of {self.config.api_url} isn't JSON.",
                    hint="Check that it is the address of the service.",
                )
            return cast(T, value)
        return cast(T, calls.created_id(response.headers.get("Location")) if call.gives == "id" else None)

    async def _authorization(self, *, renewed: bool = False) -> str | None:
        if self.config.login is None:
            return self._credentials.authorization()
        async with self._renewing:
            return await asyncio.to_thread(self._credentials.authorization, renewed=renewed)

    async def _send(self, call: calls.Call[Any], authorization: str | None) -> httpx.Response:
        headers = {**call.headers, **({"Authorization": authorization} if authorization else {})}
        if call.json is not None:
            headers["Content-Type"] = "application/json"
        try:
            return await self._http.request(
                call.method,
                self.config.api_url + call.where,
                params=dict(call.params) or None,
                content=None if call.json is None else encode(call.json),
                headers=headers,
                timeout=httpx.Timeout(call.seconds, connect=_CONNECT_SECONDS),
            )
        except httpx.TransportError as error:
            raise unreachable(error, self.config) from None
        except httpx.InvalidURL as error:
            raise unusable(error, self.config) from None

    async def _by_thread(self, act: Callable[[Waas], R]) -> R:
        def work() -> R:
            with Waas(config=self.config) as waas:
                return act(waas)

        return await asyncio.to_thread(work)

    async def workflows(self, q: str | None = None) -> list[answers.Workflow]:
        """See `Waas.workflows`."""
        return (await self.call(calls.list_workflows(q)))["workflows"]

    async def workflow(self, workflow_id: str) -> answers.WorkflowDetails:
        """See `Waas.workflow`."""
        return await self.call(calls.get_workflow(workflow_id))

    async def trigger(
        self,
        workflow_id: str,
        inputs: Mapping[str, Any] | None = None,
        *,
        site: str | None = None,
        idempotency_key: str | None = None,
    ) -> str:
        """See `Waas.trigger`."""
        values, key = dict(inputs or {}), idempotency_key or str(uuid.uuid4())
        if has_files(values):
            return await self._by_thread(lambda waas: waas.trigger(workflow_id, values, site=site, idempotency_key=key))
        return await self.call(calls.trigger_workflow(workflow_id, values, site, key))

    async def execution(self, execution_id: str) -> answers.Execution:
        """See `Waas.execution`."""
        return await self.call(calls.get_execution(execution_id))

    async def executions(
        self,
        *,
        workflow: str | None = None,
        statuses: Sequence[str] | None = None,
        created_after: str | None = None,
        created_before: str | None = None,
        shared: bool = False,
    ) -> AsyncIterator[answers.ExecutionSummary]:
        """See `Waas.executions`."""
        cursor: str | None = None
        while True:
            page = await self.call(
                calls.list_executions(
                    workflow=workflow,
                    statuses=statuses,
                    created_after=created_after,
                    created_before=created_before,
                    shared=shared,
                    limit=MOST_LISTED,
                    cursor=cursor,
                )
            )
            for each in page["executions"]:
                yield each
            cursor = page.get("next_cursor")
            if cursor is None:
                return

    async def logs(
        self, execution_id: str, *, start: int = 0, debug: bool = False, follow: bool = False
    ) -> AsyncIterator[answers.LogEntry]:
        """See `Waas.logs`."""
        levels = ALL_LEVELS if debug else 0
        if not follow:
            page = await self.call(calls.get_execution_logs(execution_id, start, levels=levels))
            for entry in page["logs"]:
                yield entry
            return
        following = Following(execution_id, start=start, levels=levels)
        while not following.over:
            for entry in await self._next(following):
                yield entry

    async def wait(self, execution_id: str, *, timeout: float | None = None) -> answers.Execution:
        """See `Waas.wait`."""
        following = Following(execution_id, entries=False, timeout=timeout)
        while not following.over:
            await self._next(following)
        return await self.execution(execution_id)

    async def _next(self, following: Following) -> list[answers.LogEntry]:
        try:
            return following.take(await self.call(following.call()))
        except Unreachable as failure:
            await asyncio.sleep(following.pause(failure))
            return []

    async def cancel(self, execution_id: str) -> None:
        """See `Waas.cancel`."""
        await self.call(calls.cancel_execution(execution_id))

    async def resume(self, execution_id: str) -> None:
        """See `Waas.resume`."""
        await self.call(calls.resume_execution(execution_id))

    async def delete(self, execution_id: str) -> None:
        """See `Waas.delete`."""
        await self.call(calls.delete_execution(execution_id))

    async def upload(self, local: Path) -> answers.File:
        """See `Waas.upload`."""
        return await self._by_thread(lambda waas: waas.upload(local))

    async def download(self, execution_id: str, directory: Path, names: Sequence[str] = ()) -> list[Path]:
        """See `Waas.download`."""
        return await self._by_thread(lambda waas: waas.download(execution_id, directory, names))


def _value(response: httpx.Response) -> Any:
    """The JSON in an answer; None when it isn't any."""
    try:
        return json.loads(response.content, parse_float=Literal)
    except (ValueError, RecursionError):
        return None


def _context(config: Config) -> ssl.SSLContext:
    """The authorities that the command trusts, too."""
    if config.ca_file or config.ca_path:
        return context_of(config)
    bundle = os.environ.get("REQUESTS_CA_BUNDLE") or os.environ.get("CURL_CA_BUNDLE") or utils.DEFAULT_CA_BUNDLE_PATH
    context = ssl.create_default_context(cafile=bundle)
    if config.skip_tls_verify:
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    if config.cert_file:
        context.load_cert_chain(config.cert_file, config.key_file)
    return context
