"""The local mode's side for people: what is printed at the start, and the profile by which `waas` finds the service."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path

import yaml

from hpcwaas import __version__
from hpcwaas.common import durable


def profile_path(environ: Mapping[str, str]) -> Path:
    """Where `waas` of the same account looks."""
    state = environ.get("XDG_STATE_HOME", "")
    # The XDG rules: what isn't absolute doesn't count.
    home = Path(state) if state.startswith("/") else Path.home() / ".local" / "state"
    return home / "waas" / "local.yaml"


def write_profile(path: Path, api_url: str, token: str) -> None:
    """Writes the profile so that nobody else can read it and nobody sees half of it."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    durable.replace_among_others(path, yaml.safe_dump({"api_url": api_url, "access_token": token}).encode())


def remove_profile(path: Path, api_url: str, token: str) -> None:
    """Removes the profile, unless another service has written its own meanwhile."""
    try:
        if yaml.safe_load(path.read_text(encoding="utf-8")) == {"api_url": api_url, "access_token": token}:
            path.unlink()
    except (OSError, ValueError, yaml.YAMLError):
        pass  # gone, or not ours


def welcome(api_url: str, token: str | None, data_dir: Path, file: Path) -> str:
    """What is printed when the service is ready.

    Args:
        token: None where the text is kept, in a log say: it then tells where the token is.
        file: where the token is.
    """
    log_in = token or f"with the token in {file}, which only you can read"
    variable = token or f"$(cat {shlex.quote(str(file))})"
    return f"""
Workflow Execution Service {__version__} is ready, for you alone.

    Address      {api_url}
    Swagger UI   {api_url}/ui/
    Log in       {log_in}
                 (Swagger UI: Authorize, paste it under "bearer")
    Data         {data_dir}

The command waas of this account finds the service by itself:

    waas workflows list

For scripts and curl:

    export HW_API_URL={api_url}
    export HW_ACCESS_TOKEN={variable}
    curl -H "Authorization: Bearer $HW_ACCESS_TOKEN" $HW_API_URL/workflows

Ctrl-C stops the service; running executions go on without it.
"""
