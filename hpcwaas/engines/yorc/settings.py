"""The engine `yorc`."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field, field_validator

from hpcwaas.common.setting_types import Section, Url
from hpcwaas.engines.settings import EngineSettings

BUILT_IN = frozenset({"install", "uninstall", "start", "stop", "run", "cancel", "pre_update", "post_update"})
"""Workflows that every deployment may have: those of the normative lifecycle, which Yorc and Alien4Cloud make."""

_LIFECYCLE = frozenset({"install", "uninstall"})
"""Those that deploy and undeploy."""


def is_pattern(text: str) -> bool:
    """Whether a name has a wildcard in it."""
    return any(sign in text for sign in "*?[")


class PublicationSettings(Section):
    """Workflows of deployments that users may run."""

    deployments: tuple[str, ...] = Field(
        min_length=1, description="Ids of deployments, or patterns of them: `demo-*`. The case of letters counts."
    )
    workflows: tuple[str, ...] = Field(
        min_length=1,
        description="Names of workflows, or patterns of them. No pattern matches `start`, `stop`, `run`, `cancel`, "
        "`pre_update` and `post_update`: they have to be named. `install` and `uninstall` are never published.",
    )
    title: str | None = Field(
        None,
        min_length=1,
        description="Name for people; `{workflow}` and `{deployment}` stand for the names of these. "
        "Default: the workflow's name.",
    )
    description: str | None = Field(
        None, min_length=1, description="A sentence or two for people, with the same placeholders."
    )
    users: tuple[str, ...] | None = Field(
        None, description="Users who may run them. Default, when there are no `groups` either: everybody."
    )
    groups: tuple[str, ...] | None = Field(None, description="Groups whose users may run them.")
    ssh_keys: tuple[str, ...] = Field((), description="Inputs that hold the id of one of the user's SSH keys.")
    secret_inputs: tuple[str, ...] = Field((), description="Inputs whose values are never shown or kept.")

    @field_validator("users", "groups", mode="before")
    @classmethod
    def _said(cls, value: object) -> object:
        """What follows the colon may have been lost, and everybody would be let in."""
        if value is None:
            raise ValueError("has nothing in it: `[]` is nobody; remove it if the other one says who may")
        return value

    @field_validator("*")
    @classmethod
    def _names(cls, value: object) -> object:
        """A name with a blank around it fits nobody and nothing."""
        for name in value if isinstance(value, tuple) else ():
            if not name or name != name.strip():
                raise ValueError(f"{name!r} is no name: remove the blanks around it, or remove it")
        return value

    @field_validator("workflows")
    @classmethod
    def _not_the_lifecycle(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for name in value:
            if name.casefold() in _LIFECYCLE:
                raise ValueError(
                    f"{name} would deploy or undeploy what other users work with, so it can't be published"
                )
        return value


class YorcSettings(EngineSettings):
    """The engine `yorc`, which runs workflows of what Yorc has deployed. It is active when any of these is set."""

    address: Url = Field("http://127.0.0.1:8800", description="URL of Yorc.")
    ca_file: Path | None = Field(None, description="Certificates (PEM) to trust. Default: those that come with Python.")
    client_certificate: Path | None = Field(
        None, description="Certificate (PEM) by which Yorc knows this service. Yorc has no other way to sign in."
    )
    client_key: Path | None = Field(None, description="Its private key (PEM), without a passphrase.")
    publish: tuple[PublicationSettings, ...] = Field(
        min_length=1,
        description="What is published, and for whom; nothing is by itself. Of several entries that match a workflow "
        "the first one gives title and description. If they differ in anything else, it isn't published.",
    )
    cache_seconds: float = Field(10.0, gt=0, description="Seconds for which the list of workflows is fresh.")
    connect_timeout: float = Field(3.0, gt=0, description="Seconds to wait for a connection.")
    read_timeout: float = Field(30.0, gt=0, description="Seconds to wait for an answer.")

    @property
    def identity(self) -> tuple[Path, Path] | None:
        """The client's certificate and its key; None when there aren't both."""
        if self.client_certificate is None or self.client_key is None:
            return None
        return self.client_certificate, self.client_key
