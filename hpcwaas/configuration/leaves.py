"""The settings one by one, as the models of `hpcwaas.configuration.settings` nest them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from hpcwaas.common.setting_types import COMMAND
from hpcwaas.configuration.settings import Settings

PREFIX = "HWA_"
"""Of environment variables that are settings."""


@dataclass(frozen=True, slots=True)
class Leaf:
    """A setting that has a value of its own."""

    path: tuple[str, ...]
    field: FieldInfo

    @property
    def key(self) -> str:
        """Full dotted name."""
        return ".".join(self.path)

    @property
    def variable(self) -> str:
        """Name of its environment variable."""
        return PREFIX + "_".join(self.path).upper()

    @property
    def item(self) -> Any:
        """Type of the elements when it is a list, else None."""
        for annotation in _alternatives(self.field.annotation):
            if get_origin(annotation) is tuple:
                return get_args(annotation)[0]
        return None

    @property
    def member(self) -> type[BaseModel] | None:
        """The model of its members when it is a mapping of names to sections, else None."""
        return get_args(self.field.annotation)[1] if get_origin(self.field.annotation) is Mapping else None

    @property
    def is_path(self) -> bool:
        """Whether it is a path, which is relative to the file that names it."""
        return Path in _alternatives(self.field.annotation)

    @property
    def is_command(self) -> bool:
        """Whether it is a program with arguments."""
        return COMMAND in self.field.metadata


def leaves(model: type[BaseModel] = Settings, path: tuple[str, ...] = ()) -> Iterator[Leaf]:
    """All settings, in the order of the models."""
    for name, info in model.model_fields.items():
        section = section_of(info)
        if section is None:
            yield Leaf((*path, name), info)
        else:
            yield from leaves(section, (*path, name))


def section_of(info: FieldInfo) -> type[BaseModel] | None:
    """The model of a field that is a section."""
    return next(
        (it for it in _alternatives(info.annotation) if isinstance(it, type) and issubclass(it, BaseModel)), None
    )


def dotted(path: Sequence[str | int]) -> str:
    """`auth.basic_auth.accounts[0].username`."""
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path).removeprefix(".")


def _alternatives(annotation: Any) -> tuple[Any, ...]:
    """The members of a union, else the annotation alone."""
    return (annotation,) if get_origin(annotation) in (tuple, Mapping) else get_args(annotation) or (annotation,)
