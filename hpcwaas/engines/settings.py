"""What the settings of every engine are."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from hpcwaas.common.setting_types import Section


class EngineSettings(Section):
    """The section of an engine, which is active when the section is there."""

    def writable_places(self) -> Sequence[tuple[str, Path]]:
        """Directories that executions may write in, by the names of the settings that say so."""
        return ()
