"""The engine `yorc`."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from hpcwaas.common.setting_types import Section, Url
from hpcwaas.engines.settings import EngineSettings


class PublicationSettings(Section):
    """Workflows of deployments that users may run."""

    deployments: tuple[str, ...] = Field(
        min_length=1, description="Ids of deployments, or patterns of them: `demo-*`. The case of letters counts."
    )
    workflows: tuple[str, ...] = Field(
        min_length=1,
        description="Names of workflows, or patterns of them. None matches what Yorc builds in, such as `install`.",
    )
    title: str | None = Field(None, min_length=1, description="Name for people. Default: the workflow's name.")
    description: str | None = Field(None, min_length=1, description="A sentence or two for people.")
    users: tuple[str, ...] | None = Field(
        None, description="Users who may run them. Default, when there are no `groups` either: everybody."
    )
    groups: tuple[str, ...] | None = Field(None, description="Groups whose users may run them.")
    ssh_keys: tuple[str, ...] = Field((), description="Inputs that hold the id of one of the user's SSH keys.")


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
        description="What is published, and for whom. Of several that match a workflow the first one counts.",
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
