"""The service for programs in Python."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Self, TypeVar

from ..client import Client
from ..config import Config
from ..downloads import Downloader, plan
from ..errors import NotFound, Unauthorized, Unreachable, UsageError
from ..uploads import Uploader
from . import answers, calls
from .following import Following
from .sending import Sending, has_files
from .settings import configuration, log

T = TypeVar("T")

MOST_LISTED = 1000
ALL_LEVELS = 15


class Waas:
    """The service, for one user. Not for use in several threads; each may have its own.

    What isn't given is taken from where the command `waas` takes it: the environment (`HW_API_URL`, `HW_ACCESS_TOKEN`,
    …), its configuration file, its sign-in, or the service that runs on this machine.

    Args:
        api_url: address of the service.
        access_token: signs in; for a script, make one by `waas tokens create`.
        user: `name:password`, in place of a token.
        profile: one of `waas config profiles`.
        ca_file: the authorities to trust, and no others.
        config: all of it, in place of the others.

    Raises:
        UsageError: something of that is wrong.
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
        self._client = Client(self.config, note=log.warning)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Ends the connections."""
        self._client.close()

    def call(self, call: calls.Call[T]) -> T:
        """The answer to any request that `calls` makes.

        Raises:
            UsageError: the service refused it as wrong.
            NotFound: there is no such thing for this user.
            Unauthorized: the user isn't signed in, or isn't allowed to do this.
            Unreachable: no answer, even after some tries where trying again does no harm.
            WaasError: another refusal.
        """
        return self._client.call(call)

    def workflows(self, q: str | None = None) -> list[answers.Workflow]:
        """The workflows that you may run, with the words of `q` in what is said of them."""
        return self.call(calls.list_workflows(q))["workflows"]

    def workflow(self, workflow_id: str) -> answers.WorkflowDetails:
        """A workflow, with the JSON Schema of its inputs."""
        return self.call(calls.get_workflow(workflow_id))

    def trigger(
        self,
        workflow_id: str,
        inputs: Mapping[str, Any] | None = None,
        *,
        site: str | None = None,
        idempotency_key: str | None = None,
    ) -> str:
        """Starts an execution.

        Args:
            inputs: their values as JSON has them. A `Path` stands for a local file or directory, which is uploaded with
                what the workflow wants beside it; an output of an earlier execution stands as it is.
            site: where it runs; None where only one is possible.
            idempotency_key: a word of your own: one execution is started at most, however often it is given.

        Returns:
            the id of the execution.
        """
        values, sending = dict(inputs or {}), Sending(self._client)
        try:
            if has_files(values):
                values = sending.sent(workflow_id, values)
            return self.call(calls.trigger_workflow(workflow_id, values, site, idempotency_key or str(uuid.uuid4())))
        except (UsageError, NotFound, Unauthorized):
            sending.take_back()
            raise

    def execution(self, execution_id: str) -> answers.Execution:
        """An execution, with its steps and outputs."""
        return self.call(calls.get_execution(execution_id))

    def executions(
        self,
        *,
        workflow: str | None = None,
        statuses: Sequence[str] | None = None,
        created_after: str | None = None,
        created_before: str | None = None,
        shared: bool = False,
    ) -> Iterator[answers.ExecutionSummary]:
        """Your executions, the newest first; with `shared` those that others share with you. Times as RFC 3339."""
        cursor: str | None = None
        while True:
            page = self.call(
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
            yield from page["executions"]
            cursor = page.get("next_cursor")
            if cursor is None:
                return

    def logs(
        self, execution_id: str, *, start: int = 0, debug: bool = False, follow: bool = False
    ) -> Iterator[answers.LogEntry]:
        """The log from the entry `start` on; with `follow` until the execution has ended."""
        levels = ALL_LEVELS if debug else 0
        if not follow:
            yield from self.call(calls.get_execution_logs(execution_id, start, levels=levels))["logs"]
            return
        following = Following(execution_id, start=start, levels=levels)
        while not following.over:
            yield from self._next(following)

    def wait(self, execution_id: str, *, timeout: float | None = None) -> answers.Execution:
        """Waits until an execution has ended, whichever way; gives what became of it.

        Raises:
            TimeoutError: it hasn't ended after so many seconds; it goes on.
        """
        following = Following(execution_id, entries=False, timeout=timeout)
        while not following.over:
            self._next(following)
        return self.execution(execution_id)

    def _next(self, following: Following) -> list[answers.LogEntry]:
        try:
            return following.take(self.call(following.call()))
        except Unreachable as failure:
            time.sleep(following.pause(failure))
            return []

    def cancel(self, execution_id: str) -> None:
        """Asks for the end of an execution; `wait` tells when it has come."""
        self.call(calls.cancel_execution(execution_id))

    def resume(self, execution_id: str) -> None:
        """Goes on with a failed execution from where it failed, if its engine can do that."""
        self.call(calls.resume_execution(execution_id))

    def delete(self, execution_id: str) -> None:
        """Removes an execution that has ended, with its inputs, log and outputs. That can't be undone."""
        self.call(calls.delete_execution(execution_id))

    def upload(self, local: Path) -> answers.File:
        """Uploads a file, or a directory as an archive; its `id` is an input of executions."""
        return Uploader(self._client, note=log.warning).upload(local)

    def download(self, execution_id: str, directory: Path, names: Sequence[str] = ()) -> list[Path]:
        """Downloads outputs: all, or those of these names. Checksums are verified; what is there already is left.

        Returns:
            where they are: files, and directories, below `directory`.

        Raises:
            NotFound: there is no output of that name.
            UsageError: another file is in the way.
        """
        found = self.execution(execution_id).get("outputs") or {}
        missing = [name for name in names if name not in found]
        if missing:
            raise NotFound(
                f"The execution has no output {', '.join(missing)}. Its outputs: {', '.join(found) or 'none'}."
            )
        wanted = {name: found[name] for name in names} if names else found
        return [item.target for item, _ in Downloader(self._client, force=False).fetch(plan(wanted, directory))]
