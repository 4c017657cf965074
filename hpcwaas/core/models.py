"""The service's own vocabulary as plain, frozen values. No I/O, no framework."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import IntFlag, StrEnum
from pathlib import Path
from typing import Any, TypeAlias

from hpcwaas.core.endings import FOR_EVER, NOTHING, Attempt, Closing, Part, Retention
from hpcwaas.core.key_inputs import named_keys
from hpcwaas.core.people import Principal
from hpcwaas.core.site_models import Job, Placement
from hpcwaas.core.step_models import Scatter

JSON: TypeAlias = Any
"""A value that JSON can hold."""


class Status(StrEnum):
    """Where an execution stands; the words on the wire."""

    PENDING = "PENDING"
    RUNNING = "RUNNING"
    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"
    CANCELLING = "CANCELLING"
    CANCELLED = "CANCELLED"
    UNKNOWN = "UNKNOWN"

    @property
    def over(self) -> bool:
        """Whether the execution has ended and will not change any more."""
        return self in (Status.SUCCEEDED, Status.FAILED, Status.CANCELLED)


class StepStatus(StrEnum):
    """Where a step of an execution stands."""

    PENDING = "PENDING"
    RUNNING = "RUNNING"
    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"
    SKIPPED = "SKIPPED"


class Level(IntFlag):
    """Severity of a log entry; a set of them is the `levels` bit mask of the wire."""

    DEBUG = 1
    INFO = 2
    WARN = 4
    ERROR = 8


@dataclass(frozen=True, slots=True)
class Workflow:
    """Something published that a user may execute.

    Attributes:
        id: opaque to clients, unique in the catalogue.
        name: short name.
        engine: name of the engine that runs it.
        application_id, environment_id, environment_name: what existing clients show beside the name.
        label, description: for people; Markdown may stand in the description.
        authorized_users: subjects who may run it.
        authorized_groups: groups whose members may run it. Both None means everybody; else one that fits is enough.
        sites: ids of the sites that it may run on; None where its engine alone decides, or for any.
        commit: that it is published from; None when it comes from no repository.
        retention: for how long its executions are kept at most, where that is less than the settings let it.
    """

    id: str
    name: str
    engine: str
    application_id: str
    environment_id: str
    environment_name: str
    label: str | None = None
    description: str | None = None
    authorized_users: frozenset[str] | None = None
    authorized_groups: frozenset[str] | None = None
    sites: frozenset[str] | None = None
    commit: str | None = None
    retention: Retention = FOR_EVER


@dataclass(frozen=True, slots=True)
class OutputDeclaration:
    """An output that a workflow promises.

    Attributes:
        name: of the output.
        type: in the words of the engine's language (`File`, `int[]`), for display.
        schema: JSON Schema of the value.
    """

    name: str
    type: str
    label: str | None = None
    description: str | None = None
    schema: Mapping[str, JSON] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class StepDeclaration:
    """A node of a workflow's graph.

    Attributes:
        name: unique in the workflow.
        after: names of the steps whose outputs it takes.
    """

    name: str
    label: str | None = None
    description: str | None = None
    after: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class WorkflowDetails:
    """A workflow with all that is needed to fill in its form.

    Attributes:
        inputs: JSON Schema of the `inputs` object (`type: object`, `properties`, `required`); every property carries
            its default, description and `x-type`, the type in the engine's own words.
        version: digest of the published content; changes when the workflow does.
    """

    workflow: Workflow
    inputs: Mapping[str, JSON]
    outputs: tuple[OutputDeclaration, ...]
    steps: tuple[StepDeclaration, ...]
    version: str

    @property
    def shown_version(self) -> str:
        """The version as users know it: the commit, where there is one."""
        return self.workflow.commit or self.version

    @property
    def secret_inputs(self) -> frozenset[str]:
        """Names of the inputs that it declares secret: their values aren't kept."""
        return frozenset(name for name, schema in self.inputs.get("properties", {}).items() if schema.get("writeOnly"))

    def named_keys(self, inputs: Mapping[str, JSON]) -> Iterator[tuple[str, str]]:
        """The ids of SSH keys that inputs name, each with the way to it; see `key_inputs.named_keys`."""
        return named_keys(self.inputs, inputs)


@dataclass(frozen=True, slots=True)
class Step:
    """A node of the workflow's graph inside one execution.

    Attributes:
        job: the one that its site's scheduler started last for it.
        scatter: of a step that runs once for each of several values, once it has begun.
    """

    name: str
    status: StepStatus
    label: str | None = None
    started_at: datetime | None = None
    ended_at: datetime | None = None
    job: Job | None = None
    scatter: Scatter | None = None


@dataclass(frozen=True, slots=True)
class LogEntry:
    """One line of an execution's log. `index` counts from 0 in the unfiltered log and never changes."""

    index: int
    level: Level
    timestamp: datetime
    content: str


@dataclass(frozen=True, slots=True)
class LogPage:
    """A part of a log as seen through a level mask.

    Attributes:
        entries: in order.
        total: entries of these levels in the log so far.
        over: the execution has ended and the log is complete.
        stale_since: since when the engine doesn't answer, when there may be more.
        state: of the execution, where the engine asked for it before it read the log.
    """

    entries: tuple[LogEntry, ...]
    total: int
    over: bool
    stale_since: datetime | None = None
    state: ExecutionState | None = None


@dataclass(frozen=True, slots=True)
class ExecutionState:
    """What an engine knows of an execution.

    Attributes:
        started_at: when its present attempt began; there are several when it was resumed.
        reason: in plain words why it is in this state, when that needs saying (why it failed or waits).
        outputs: by name, once it has ended; files as `{"class": "File", "basename", "size", "checksum", "path"}` where
            `path` is the way to it for `Engine.output` and nothing of the site's file system.
        stored: bytes that the engine keeps of it on the disk of the service, once it has ended.
        directory: its own one on a site that its user has an account on.
        stale_since: since when the engine doesn't answer, when this is what it said before.
    """

    status: Status
    started_at: datetime | None = None
    ended_at: datetime | None = None
    reason: str | None = None
    steps: tuple[Step, ...] = ()
    outputs: Mapping[str, JSON] | None = None
    stored: int = 0
    directory: str | None = None
    stale_since: datetime | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class Execution:
    """One run of a workflow, triggered by one user, who owns it.

    Attributes:
        reference: the engine's own id of it; None between the stored intent and the engine's answer.
        inputs: as the user gave them.
        placement: where it runs, and by which account; None where its engine has no sites.
        workflow_version: which version of the workflow it runs; None for one that was started before that was kept.
        attempts: those before the present one.
        inputs_from: ids of the executions whose outputs it took.
        closed: by whom, if it was.
        watched_until: until then its engine may still say how a closed one really ended, which then counts.
        removed: which parts of it are gone, or are being removed.
        removing_since: since when all of it is being removed.
        removal_problem: what that waits for.
    """

    id: str
    owner: str
    workflow_id: str
    workflow_name: str
    engine: str
    inputs: Mapping[str, JSON]
    created_at: datetime
    state: ExecutionState
    reference: str | None = None
    placement: Placement | None = None
    workflow_version: str | None = None
    attempts: tuple[Attempt, ...] = ()
    closed: Closing | None = None
    watched_until: datetime | None = None
    inputs_from: tuple[str, ...] = ()
    removed: Part = NOTHING
    removing_since: datetime | None = None
    removal_problem: str | None = None

    @property
    def started_at(self) -> datetime | None:
        """When it began the first time."""
        return self.attempts[0].started_at if self.attempts else self.state.started_at

    @property
    def settled(self) -> bool:
        """Whether its state can't change any more, unless it is resumed."""
        return self.state.status.over and self.watched_until is None


@dataclass(frozen=True, slots=True)
class ExecutionFilter:
    """Which executions are listed: those that fit all of it.

    Attributes:
        owner: whose; None for everybody's.
        shared_with: those that others share with this user.
        workflow_id: those of a workflow.
        inputs_from: those that took outputs of this execution.
        statuses: those in one of these.
        created_after: this moment and later.
        created_before: earlier than this moment.
        ids: those with these ids.
    """

    owner: str | None = None
    shared_with: Principal | None = None
    workflow_id: str | None = None
    inputs_from: str | None = None
    statuses: Collection[Status] | None = None
    created_after: datetime | None = None
    created_before: datetime | None = None
    ids: Collection[str] | None = None


@dataclass(frozen=True, slots=True)
class Upload:
    """A file that a user uploaded to use as an input.

    Attributes:
        name: base name, safe as a file name.
        size: bytes.
        sha256: lower-case hexadecimal digest of the content.
        companion_of: id of another upload of the owner's, beside which it belongs.
    """

    id: str
    owner: str
    name: str
    media_type: str
    size: int
    sha256: str
    created_at: datetime
    companion_of: str | None = None


@dataclass(frozen=True, slots=True)
class StoredUpload:
    """An upload of the caller together with the place of its content on this machine.

    Attributes:
        companions: those that belong beside it.
    """

    upload: Upload
    path: Path
    companions: tuple[StoredUpload, ...] = ()


@dataclass(frozen=True, slots=True)
class ReplacedKey:
    """A public half that a rotation has replaced, and that may still stand in `authorized_keys` files."""

    public_key: str
    fingerprint: str
    replaced_at: datetime


@dataclass(frozen=True, slots=True)
class SSHKey:
    """A key pair. The private half exists in the vault only and is no part of this.

    Attributes:
        type: one of `key_types.KEY_TYPES`.
        bits: key size; None when keys of the type have one size only.
        public_key: the OpenSSH line, ending with a newline.
        fingerprint: `SHA256:…` as `ssh-keygen -l` prints it.
        metadata: the user's own words about it.
        rotated_at: when the pair was last exchanged for another.
        last_used_at: when an execution that names it was last started.
        replaced: earlier public halves, oldest first, until the user confirms that the present one is installed.
    """

    id: str
    owner: str
    name: str | None
    type: str
    bits: int | None
    public_key: str
    fingerprint: str
    metadata: Mapping[str, str]
    created_at: datetime
    rotated_at: datetime | None = None
    last_used_at: datetime | None = None
    replaced: tuple[ReplacedKey, ...] = ()


@dataclass(frozen=True, slots=True)
class Check:
    """State of one thing that the service depends on.

    Attributes:
        status: `ok`; `degraded` (it serves; read `problems`); `failed` (requests that need it fail).
        latency: seconds that the check took.
        problems: what is wrong, one sentence each, with the file and line where there is one.
    """

    name: str
    status: str
    latency: float
    problems: Sequence[str] = ()
