"""What a request to start an execution has to pass before anything is stored."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from hpcwaas.common import written
from hpcwaas.core.catalogue import Catalogue
from hpcwaas.core.companions import Companions
from hpcwaas.core.engines import Engines
from hpcwaas.core.models import JSON, Execution, WorkflowDetails
from hpcwaas.core.people import Principal
from hpcwaas.core.ports.engine import Engine, ExecutionLookup, FileEngine, Prepared, UploadLookup
from hpcwaas.core.site_models import Placement
from hpcwaas.core.sites import Sites
from hpcwaas.errors import Conflict, InputProblem, InvalidInputs, NotFound, TooLarge

_PROBLEMS = 100

_MASK = "********"
"""Stands in the records for an input that the workflow declares secret."""


Sources: TypeAlias = Callable[[Principal], ExecutionLookup]
"""Gives the function by which an engine finds the executions whose outputs a user may see."""


@dataclass(frozen=True, slots=True)
class Checked:
    """A request to start an execution that has passed every check.

    Attributes:
        inputs: as the user gave them.
        engine: which will run it.
        prepared: the engine's own form of them.
        ssh_keys: ids of the user's SSH keys that it needs: those that the inputs name, and what opens the account.
        placement: where it will run; None where the engine has no sites.
        sources: ids of the executions whose outputs are among the inputs.
    """

    details: WorkflowDetails
    inputs: Mapping[str, JSON]
    engine: Engine
    prepared: Prepared
    ssh_keys: Collection[str]
    placement: Placement | None
    sources: Sequence[str] = ()

    @property
    def masked(self) -> Mapping[str, JSON]:
        """The inputs as they are recorded."""
        secret = self.details.secret_inputs
        return {name: _MASK if name in secret else value for name, value in self.inputs.items()}


class StartRequests:
    """Checks requests to start executions. Starts and stores nothing.

    Args:
        uploads: finds an owner's uploads.
        keys: finds the user's SSH keys that inputs name; see `SSHKeys.used_by`.
        who: finds a user by their subject; None for who is none any more.
        largest: bytes of inputs as JSON.
    """

    def __init__(
        self,
        engines: Engines,
        catalogue: Catalogue,
        sites: Sites,
        uploads: Callable[[str], UploadLookup],
        keys: Callable[[Principal, WorkflowDetails, Mapping[str, JSON]], Collection[str]],
        who: Callable[[str], Principal | None],
        largest: int,
    ) -> None:
        self._engines = engines
        self._catalogue = catalogue
        self._sites = sites
        self._uploads = uploads
        self._keys = keys
        self._who = who
        self._largest = largest

    def check(
        self,
        principal: Principal,
        workflow_id: str,
        inputs: Mapping[str, JSON],
        site: str | None,
        sources: Sources,
        *,
        announced: bool = False,
    ) -> Checked:
        """Checks everything that starting an execution needs, but for the account on its site.

        Args:
            site: where it is to run; None for the only place that is possible.
            sources: finds the executions whose outputs a user may see.
            announced: the inputs may name files that are still to be uploaded. It can't be started then.

        Raises:
            NotFound: no such workflow for this user.
            TooLarge: the inputs are too much for a record.
            BadRequest: all that is wrong with the inputs, or with the site.
            Conflict: nothing opens the user's account on the site.
            Unavailable: nothing new starts on the site for now.
        """
        return self._check(
            principal,
            workflow_id,
            inputs,
            lambda engine, details: self._sites.choose(principal, engine, details.workflow, site),
            sources,
            announced=announced,
        )

    def companions(self, principal: Principal, workflow_id: str, inputs: Mapping[str, JSON]) -> Sequence[Companions]:
        """What a workflow wants beside the files that inputs name.

        Raises:
            NotFound: no such workflow for this user.
            TooLarge: the inputs are more than can be started with.
            InvalidInputs: an expression that says so fails.
            Unavailable: it can't be evaluated at present.
        """
        details = self._catalogue.details(principal, workflow_id)
        _check_size(inputs, self._largest)
        engine, own = self._engines.behind(details)
        return engine.companions(own, inputs) if isinstance(engine, FileEngine) else ()

    def check_again(self, execution: Execution, sources: Sources) -> Checked:
        """Checks the request of an execution of which only the intent is stored. It stays where it was to run.

        Args:
            sources: as `check`.

        Raises:
            NotFound: its owner or workflow isn't there any more.
            Conflict: it can't be started again.
            TooLarge, BadRequest, Unavailable: as `check`.
        """
        principal = self._who(execution.owner)
        if principal is None:
            raise NotFound(f"its owner, {execution.owner}, isn't a user of this service any more.")
        if _MASK in execution.inputs.values():
            raise Conflict("its secret inputs aren't kept. Trigger it again.")

        def place(engine: Engine, _details: WorkflowDetails) -> Placement | None:
            if engine.name != execution.engine:
                raise Conflict(f"its workflow now belongs to another engine, {engine.name}. Trigger it again.")
            return execution.placement or (Placement() if engine.name in self._engines.with_sites else None)

        return self._check(principal, execution.workflow_id, execution.inputs, place, sources)

    def _check(
        self,
        principal: Principal,
        workflow_id: str,
        inputs: Mapping[str, JSON],
        place: Callable[[Engine, WorkflowDetails], Placement | None],
        sources: Sources,
        *,
        announced: bool = False,
    ) -> Checked:
        details = self._catalogue.details(principal, workflow_id, current=True)
        _check_size(inputs, self._largest)
        engine, own = self._engines.behind(details)
        uploads, find = self._uploads(principal.subject), sources(principal)
        used: dict[str, None] = {}

        def source(execution_id: str) -> Execution | None:
            if (found := find(execution_id)) is not None:
                used[found.id] = None
            return found

        if isinstance(engine, FileEngine):
            prepared = engine.prepare(own, inputs, uploads, source, announced=announced)
        else:
            _refuse_outputs(engine, inputs)
            prepared = engine.prepare(own, inputs, uploads)
        keys = frozenset(self._keys(principal, details, inputs))
        placement = place(engine, own)
        if placement is not None:
            prepared = self._sites.place(principal, engine, own, prepared, placement)
            if placement.ssh_key is not None:
                keys |= {placement.ssh_key}
        return Checked(details, inputs, engine, prepared, keys, placement, tuple(used))


def _refuse_outputs(engine: Engine, inputs: Mapping[str, JSON]) -> None:
    """Refuses files of executions for an engine that would take them for texts."""
    problems = [
        InputProblem(
            way,
            f"{way}: outputs of executions can't be inputs here: the workflow belongs to the engine {engine.name}, "
            "which takes none. Download the file, and hand it over as the workflow's documentation says.",
        )
        for way in _outputs(inputs, "")
    ]
    if problems:
        raise InvalidInputs(problems[:_PROBLEMS])


def _outputs(value: JSON, way: str) -> Iterator[str]:
    """The ways to File and Directory objects that are outputs."""
    if isinstance(value, Mapping):
        location = value.get("location")
        if value.get("class") in ("File", "Directory") and isinstance(location, str):
            if location.startswith("/executions/"):
                yield way
        else:
            for name, item in value.items():
                yield from _outputs(item, f"{way}.{name}" if way else name)
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _outputs(item, f"{way}[{index}]")


def _check_size(inputs: Mapping[str, JSON], largest: int) -> None:
    size = len(written.dumps(inputs, ensure_ascii=False).encode(errors="replace"))
    if size > largest:
        raise TooLarge(
            f"The inputs have {size} bytes as JSON; at most {largest} are accepted. Upload what is large as a file, "
            "and name the file's id in the inputs."
        )


def fingerprint(workflow_id: str, inputs: Mapping[str, JSON], site: str | None) -> str:
    """What tells a request to start an execution from others."""
    asked = [workflow_id, inputs, *([] if site is None else [site])]
    return hashlib.sha256(written.dumps(asked, sort_keys=True).encode()).hexdigest()


def announces(value: JSON) -> bool:
    """Whether inputs name files that are still to be uploaded."""
    if isinstance(value, Mapping):
        if value.get("class") in ("File", "Directory") and not {"location", "contents", "listing"} & value.keys():
            return True
        return any(map(announces, value.values()))
    return isinstance(value, list) and any(map(announces, value))
