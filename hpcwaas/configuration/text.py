"""The settings for people: the effective ones, and the reference of all there are."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, get_args

import yaml
from pydantic import BaseModel, SecretStr

from hpcwaas.common.scrubbing import MASK
from hpcwaas.common.setting_types import SECRET_PARAMETER, Size
from hpcwaas.configuration.flags import FLAGS
from hpcwaas.configuration.leaves import Leaf, leaves, section_of
from hpcwaas.configuration.load import SYSTEM_FILE, USER_FILE, Effective
from hpcwaas.configuration.settings import Settings

_UNITS = (("GiB", 2**30), ("MiB", 2**20), ("kiB", 2**10))

_WITHOUT = {"auth": "local mode, for one user with a token", "vault_config": "private keys rest in the embedded vault"}


def effective(found: Effective) -> str:
    """The settings in effect as YAML, with where each came from; secrets are masked."""
    return "".join(_section(found, (), found.settings))


def _section(found: Effective, path: tuple[str, ...], section: BaseModel) -> Iterator[str]:
    indent = "  " * len(path)
    for name, info in type(section).model_fields.items():
        value, here = getattr(section, name), (*path, name)
        if isinstance(value, BaseModel):
            yield f"{indent}{name}:\n"
            yield from _section(found, here, value)
        elif Leaf(here, info).member is not None and value:
            yield f"{indent}{name}:\n"
            for own, member in value.items():
                yield f"{indent}  {own}:\n"
                yield from _section(found, (*here, own), member)
        elif section_of(info) is not None:
            yield f"{indent}# {name}: not given; {_WITHOUT.get(name, 'this engine is off')}\n"
        else:
            leaf = Leaf(here, info)
            if leaf.key == "listen_address":
                value = found.settings.addresses[0]
            elif leaf.key == "store.url":
                value = _database(found.settings.database_url)
            yield f"{indent}{name}: {_shown(leaf, value)}  # {found.origins.get(leaf.key, 'default')}\n"


def _database(url: str) -> str:
    from sqlalchemy import make_url  # imported here: slow, and needed for nothing else

    parsed = make_url(url)
    masked = {name: MASK for name in parsed.query if SECRET_PARAMETER.search(name)}
    return parsed.update_query_dict(masked).render_as_string(hide_password=True)


def _shown(leaf: Leaf, value: Any) -> str:
    if _is_size(leaf) and value is not None:
        value = _size(value)
    return (
        yaml.safe_dump(_plain(value), default_flow_style=True, width=10**6, allow_unicode=True)
        .split("\n...\n")[0]
        .strip()
    )


def _plain(value: Any) -> Any:
    match value:
        case SecretStr():
            return MASK
        case Path():
            return str(value)
        case BaseModel():
            return {name: _plain(getattr(value, name)) for name in type(value).model_fields}
        case tuple():
            return [_plain(item) for item in value]
    return value


def _is_size(leaf: Leaf) -> bool:
    inner = (getattr(it, "__metadata__", ()) for it in get_args(leaf.field.annotation))  # of `Size | None`
    validators = (it for some in (leaf.field.metadata, *inner) for it in some)
    return leaf.item is None and get_args(Size)[1] in validators


def _size(value: int) -> str:
    unit, factor = next(((unit, factor) for unit, factor in _UNITS if value % factor == 0), ("", 1))
    return f"{value // factor}{unit}"


def reference() -> str:
    """The page about all settings, in Markdown."""
    flags = [flag for flag in FLAGS if flag.help]
    parts = [
        Path(__file__)
        .with_name("reference.md")
        .read_text(encoding="utf-8")
        .format(
            user_file=USER_FILE,
            system_file=SYSTEM_FILE,
            flags=", ".join(f"`{flag.name}`" + (f" (`{flag.short}`)" if flag.short else "") for flag in flags),
        )
    ]
    return "".join([*parts, *_sections(Settings, ())])


def _sections(model: type[BaseModel], under: tuple[str, ...]) -> Iterator[str]:
    """A table for each section, one after another.

    Args:
        under: the way to the model; no variables lead to what has a name of the operator's choice in it.
    """
    sections: dict[tuple[str, ...], list[Leaf]] = {}
    for leaf in leaves(model, under):
        sections.setdefault(leaf.path[:-1], []).append(leaf)
    for path, members in sections.items():
        yield _heading(model, path, len(under))
        yield _table(members, variables=not under)
        for leaf in members:
            if _is_model(leaf.item):
                yield f"\nEach of `{leaf.key}`:\n\n{_table(list(leaves(leaf.item, leaf.path)), variables=False)}"
    for leaf in [it for members in sections.values() for it in members]:
        if leaf.member is not None:
            yield from _sections(leaf.member, (*leaf.path, "ID"))


def _heading(model: type[BaseModel], path: tuple[str, ...], skipped: int) -> str:
    for name in path[skipped:]:
        model = section_of(model.model_fields[name]) or model
    title = f"`{'.'.join(path)}`" if path else "Top level"
    return f"\n## {title}\n\n{' '.join((model.__doc__ or '').split())}\n\n"


def _table(members: Sequence[Leaf], *, variables: bool = True) -> str:
    lines = ["| setting | value | default | what it does |", "| --- | --- | --- | --- |"]
    for leaf in members:
        variable = f"<br>`{leaf.variable}`" if variables else ""
        lines.append(f"| `{leaf.path[-1]}`{variable} | {_kind(leaf)} | {_default(leaf)} | {leaf.field.description} |")
    return "\n".join(lines) + "\n"


def _is_model(item: Any) -> bool:
    return isinstance(item, type) and issubclass(item, BaseModel)


def _kind(leaf: Leaf) -> str:
    if leaf.item is not None:
        return "list of sections" if _is_model(leaf.item) else "list of text"
    if leaf.member is not None:
        return "sections by id"
    if _is_size(leaf):
        return "size"
    words = {bool: "true or false", int: "number", float: "number", Path: "path", SecretStr: "secret text"}
    kinds = (leaf.field.annotation, *get_args(leaf.field.annotation))
    return next((word for kind, word in words.items() if kind in kinds), "text")


def _default(leaf: Leaf) -> str:
    if leaf.field.is_required():
        return "required"
    if leaf.field.default_factory is not None or leaf.field.default is None:
        return "see right" if "Default: " in (leaf.field.description or "") else "none"
    return f"`{_shown(leaf, leaf.field.default)}`"
