"""What the settings publish of what Yorc has deployed. Pure functions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from functools import lru_cache

from hpcwaas.core.models import Workflow
from hpcwaas.engines.yorc.documents import Deployment
from hpcwaas.engines.yorc.references import WorkflowId, parse_workflow
from hpcwaas.engines.yorc.settings import BUILT_IN, PublicationSettings, is_pattern
from hpcwaas.errors import NotFound

ENGINE = "yorc"
"""Name of the engine."""

_DEPLOYED = frozenset({"DEPLOYED", "UPDATED"})

_REMEMBERED = 10_000
"""Names of which it is known what they match: many deployments have workflows of the same names."""

_LISTED = 10
"""Most names in one sentence."""


@dataclass(frozen=True, slots=True)
class Publication:
    """An entry of the settings.

    Attributes:
        place: where it stands there.
    """

    place: str
    settings: PublicationSettings

    def covers(self, deployment: str) -> bool:
        """Whether it is about workflows of a deployment."""
        return any(fnmatchcase(deployment, pattern) for pattern in self.settings.deployments)

    def has(self, workflow: str) -> bool:
        """Whether it publishes a workflow of the deployments that it covers."""
        return any(_fits(workflow, pattern) for pattern in self.settings.workflows)

    @property
    def terms(self) -> tuple[object, ...]:
        """What all entries that publish the same workflow have to agree on."""
        settings = self.settings
        return (
            *(None if names is None else frozenset(names) for names in (settings.users, settings.groups)),
            *(frozenset(names) for names in (settings.ssh_keys, settings.secret_inputs)),
        )


@dataclass(frozen=True, slots=True)
class Listing:
    """What is published, and what is not though the settings may mean it.

    Attributes:
        workflows: by their ids, in order.
        problems: why something isn't published, a sentence each.
    """

    workflows: Mapping[str, Workflow]
    problems: Sequence[str] = field(default=())


class Publications:
    """All entries of the settings, in their order."""

    def __init__(self, settings: Sequence[PublicationSettings]) -> None:
        self._all = tuple(Publication(f"yorc.publish[{index}]", it) for index, it in enumerate(settings))
        self._covering = lru_cache(_REMEMBERED)(self._find_covering)
        self._fitting = lru_cache(_REMEMBERED)(self._find_fitting)

    def wanted(self, deployments: Sequence[Deployment]) -> list[str]:
        """The ids of the deployments whose workflows have to be looked at."""
        return [it.id for it in deployments if deployed(it.status) and self._covering(it.id)]

    def publication(self, deployment: str, workflow: str) -> PublicationSettings | None:
        """The entry that publishes a workflow; None when none does, or when they don't agree."""
        return _agreed(self._fitting(deployment, workflow))

    def workflow(self, deployment: str, name: str) -> Workflow | None:
        """A workflow as it is published; None when it isn't."""
        return _workflow(deployment, name, self._fitting(deployment, name))

    def listing(self, deployments: Sequence[Deployment], names: Mapping[str, Sequence[str]]) -> Listing:
        """What is published.

        Args:
            deployments: all that there are.
            names: of the workflows of each deployment that could be asked.
        """
        found: dict[str, Workflow] = {}
        problems: list[str] = []
        for deployment, workflows in sorted(names.items()):
            for name in sorted(set(workflows)):
                if not (fitting := self._fitting(deployment, name)):
                    continue
                if (workflow := _workflow(deployment, name, fitting)) is not None:
                    found[workflow.id] = workflow
                else:
                    problems.append(_withheld(deployment, name, fitting))
        for publication in self._all:
            problems += _without_effect(publication, deployments, names)
        return Listing(dict(sorted(found.items())), tuple(problems))

    def _find_fitting(self, deployment: str, workflow: str) -> tuple[Publication, ...]:
        return tuple(it for it in self._covering(deployment) if it.has(workflow))

    def _find_covering(self, deployment: str) -> tuple[Publication, ...]:
        return tuple(it for it in self._all if it.covers(deployment))


def deployed(status: str) -> bool:
    """Whether the workflows of a deployment in this status can be run."""
    return status in _DEPLOYED


def _missed(status: str) -> bool:
    """Whether somebody should know that a deployment in this status publishes nothing."""
    return status.endswith(("_FAILED", "_FAILURE"))


def usable(deployment: str, workflow: str) -> bool:
    """Whether an id made of these comes apart again."""
    try:
        return parse_workflow(str(WorkflowId(deployment, workflow))) == (deployment, workflow)
    except NotFound:
        return False


@lru_cache(_REMEMBERED)
def _fits(workflow: str, pattern: str) -> bool:
    if is_pattern(pattern):
        return workflow.casefold() not in BUILT_IN and fnmatchcase(workflow, pattern)
    return workflow == pattern


def _workflow(deployment: str, name: str, fitting: Sequence[Publication]) -> Workflow | None:
    settings = _agreed(fitting)
    if settings is None or not usable(deployment, name):
        return None
    return Workflow(
        id=str(WorkflowId(deployment, name)),
        name=name,
        engine=ENGINE,
        application_id=deployment,
        environment_id=ENGINE,
        environment_name=ENGINE,
        label=_filled(settings.title, deployment, name),
        description=_filled(settings.description, deployment, name),
        authorized_users=None if settings.users is None else frozenset(settings.users),
        authorized_groups=None if settings.groups is None else frozenset(settings.groups),
    )


def _agreed(publications: Sequence[Publication]) -> PublicationSettings | None:
    return publications[0].settings if publications and _agree(publications) else None


def _agree(publications: Sequence[Publication]) -> bool:
    return len(publications) == 1 or len({it.terms for it in publications}) == 1


def _filled(text: str | None, deployment: str, workflow: str) -> str | None:
    return text and text.replace("{deployment}", deployment).replace("{workflow}", workflow)


def _withheld(deployment: str, name: str, fitting: Sequence[Publication]) -> str:
    if _agree(fitting):
        return f"{deployment}: the workflow {name!r} isn't published, because its name can't be a part of an id"
    places = " and ".join(it.place for it in fitting)
    return (
        f"{deployment}: the workflow {name!r} isn't published, because {places} differ in users, groups, ssh_keys or "
        "secret_inputs. Let one of them not match it, or let them say the same"
    )


def _without_effect(
    publication: Publication, deployments: Sequence[Deployment], names: Mapping[str, Sequence[str]]
) -> Iterator[str]:
    """The patterns of an entry that match nothing, and what it may be meant for that isn't deployed."""
    for pattern in publication.settings.deployments:
        matching = [it for it in deployments if fnmatchcase(it.id, pattern)]
        if not matching:
            yield f"{publication.place}: no deployment matches {pattern!r}; it publishes nothing"
        none = not any(deployed(it.status) for it in matching)
        for it in [it for it in matching if _missed(it.status) or (none and not deployed(it.status))][:_LISTED]:
            yield f"{publication.place}: {it.id} is {it.status}; its workflows aren't published until it is DEPLOYED"
    covered = {it.id for it in deployments if deployed(it.status) and publication.covers(it.id)}
    if not covered or covered - names.keys():
        return  # nothing to look at, or some of it couldn't be asked
    there = {name for deployment in covered for name in names[deployment]}
    for pattern in publication.settings.workflows:
        if not any(_fits(name, pattern) for name in there):
            yield f"{publication.place}: {_none_matches(pattern, there, covered)}"


def _none_matches(pattern: str, there: set[str], covered: set[str]) -> str:
    where = ", ".join(sorted(covered)[:_LISTED]) + (", ..." if len(covered) > _LISTED else "")
    sentence = f"no workflow of {where} matches {pattern!r}"
    hidden = sorted(name for name in there if name.casefold() in BUILT_IN and fnmatchcase(name, pattern))
    if hidden:
        sentence += f"; {', '.join(hidden)} would, but Yorc's own workflows are published only where they are named"
    return sentence
