"""Builds the wheel of `waas` by setuptools, with manual pages in it, which are made of the commands themselves.

Pip calls the functions by their names (PEP 517), in the folder of `pyproject.toml`, in a process of its own.
"""

from __future__ import annotations

import importlib.util
import shutil
import sys
import tomllib
from pathlib import Path
from typing import Any

from setuptools import build_meta
from setuptools.build_meta import *  # noqa: F403 - what isn't defined here is as in setuptools

_PAGES = Path("build", "man")
"""As `data-files` of `pyproject.toml` says."""


def get_requires_for_build_wheel(config_settings: dict[str, Any] | None = None) -> list[str]:
    """What has to be installed for `build_wheel`: the commands run in it."""
    with Path("pyproject.toml").open("rb") as file:
        needed = tomllib.load(file)["project"]["dependencies"]
    return [*build_meta.get_requires_for_build_wheel(config_settings), *needed]


def build_wheel(
    wheel_directory: str, config_settings: dict[str, Any] | None = None, metadata_directory: str | None = None
) -> str:
    """Makes the wheel; returns its name."""
    _write_pages()
    return str(build_meta.build_wheel(wheel_directory, config_settings, metadata_directory))


def _write_pages() -> None:
    # The folder isn't called like the package that it is installed as, and another version may be installed.
    spec = importlib.util.spec_from_file_location("waas_cli", "__init__.py", submodule_search_locations=["."])
    if spec is None or spec.loader is None:
        raise ImportError("The folder of the command isn't here.")
    sys.modules["waas_cli"] = module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    from waas_cli.main import cli

    shutil.rmtree(_PAGES, ignore_errors=True)
    cli(["gen-doc", str(_PAGES), "man"], prog_name="waas", standalone_mode=False)
