"""The engine `alien4cloud`."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field, SecretStr

from hpcwaas.common.setting_types import Url
from hpcwaas.engines.settings import EngineSettings


class Alien4CloudSettings(EngineSettings):
    """The engine `alien4cloud`, which runs what Alien4Cloud's applications publish. It is active when any of these is
    set."""

    address: Url = Field("http://127.0.0.1:8088", description="URL of Alien4Cloud.")
    user: str = Field("admin", min_length=1, description="Account that this service uses there.")
    password: SecretStr = Field(SecretStr("admin"), description="Password of that account.")
    ca_file: Path | None = Field(None, description="Certificates (PEM) to trust. Default: those that come with Python.")
    skip_secure: bool = Field(False, description="Whether to accept any certificate. For trials only.")
    cache_seconds: float = Field(10.0, gt=0, description="Seconds for which the list of workflows is fresh.")
    connect_timeout: float = Field(3.0, gt=0, description="Seconds to wait for a connection.")
    read_timeout: float = Field(30.0, gt=0, description="Seconds to wait for an answer.")
