"""Settings as the command `hpcwaas-api` reads them."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import chain
from pathlib import Path

from hpcwaas.configuration.checks import contradictions
from hpcwaas.configuration.load import read
from hpcwaas.configuration.settings import Settings
from hpcwaas.server import listening


def load(config_file: Path | None, environ: Mapping[str, str], flags: Mapping[str, object]) -> Settings:
    """The settings; everything that stands against them is an error."""
    return read(
        config_file, environ, flags, lambda settings: chain(listening.problems(settings), contradictions(settings))
    ).settings
