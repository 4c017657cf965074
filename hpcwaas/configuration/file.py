"""Reads the configuration file: YAML with the line of every key, and without keys that stand twice."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

import yaml

from hpcwaas.errors import ConfigurationError

Way: TypeAlias = tuple[str | int, ...]
"""The way to a value in nested mappings and lists."""


@dataclass(frozen=True, slots=True)
class ConfigurationFile:
    """What a file says.

    Attributes:
        tree: its sections.
        lines: of every key and list item, counted from 1.
        duplicates: keys that stand in one mapping twice; the line is that of the later one.
    """

    tree: dict[str, Any] = field(default_factory=dict)
    lines: dict[Way, int] = field(default_factory=dict)
    duplicates: tuple[Way, ...] = ()


def read_file(path: Path) -> ConfigurationFile:
    """Reads a configuration file.

    Raises:
        ConfigurationError: it can't be read, or isn't a YAML mapping. The message quotes nothing of it.
    """
    try:
        text = path.read_text(encoding="utf-8")
        root = yaml.compose(text, Loader=yaml.SafeLoader)
        if root is None:
            return ConfigurationFile()
        lines: dict[Way, int] = {}
        duplicates = tuple(_walk(root, (), lines, frozenset()))
        tree = yaml.safe_load(text)
    except OSError as error:
        raise ConfigurationError("--config", f"can't read {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ConfigurationError("--config", f"{path} isn't text in UTF-8") from error
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f"{path}:{mark.line + 1}:{mark.column + 1}" if mark else str(path)
        # Not chained: the error's own text quotes the line, which may hold a secret.
        raise ConfigurationError("--config", f"{where} isn't YAML: {error.problem}") from None
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise ConfigurationError("--config", f"{path} can't be read as YAML: {type(error).__name__}") from None
    if not isinstance(tree, dict):
        raise ConfigurationError("--config", f"{path} has to contain settings as `name: value`")
    return ConfigurationFile(tree, lines, duplicates)


def _walk(node: yaml.Node, path: Way, lines: dict[Way, int], above: frozenset[int]) -> Iterator[Way]:
    """Notes the lines and yields the duplicates below a node."""
    if id(node) in above:
        raise RecursionError("an alias refers to a value that contains it")
    above |= {id(node)}
    if isinstance(node, yaml.MappingNode):
        seen = set()
        for key, value in node.value:
            here = (*path, str(key.value))
            lines[here] = key.start_mark.line + 1
            if here in seen:
                yield here
            seen.add(here)
            yield from _walk(value, here, lines, above)
    elif isinstance(node, yaml.SequenceNode):
        for index, value in enumerate(node.value):
            lines[(*path, index)] = value.start_mark.line + 1
            yield from _walk(value, (*path, index), lines, above)
