"""YAML and JSON files of a user, read as plain data: mappings with text as keys, lists and scalars.

Limits protect the reader: size of the file, depth, number of entries after aliases are expanded, digits of a number.
Numbers are finite. A mapping that has a key twice is refused, because one of the two values would be lost.
"""

from __future__ import annotations

import contextlib
import json
import math
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from s3prl_gendistiller.errors import UserError
from s3prl_gendistiller.shipped import existing_or_shipped

YAML_BYTES, JSON_BYTES = 2**18, 2**28
DEPTH = 64
ENTRIES = 100_000  # entries of a YAML whose aliases are expanded
DIGITS = 19  # digits of a whole number of 64 bits


class _Refused(ValueError):
    """A file holds something other than plain data, or too much of it."""


def read_yaml(path: str | Path) -> dict[str, Any]:
    """Reads a YAML mapping from a file, which `existing_or_shipped` finds.

    Raises:
        UserError: the file is missing, is no YAML of plain data, or holds no mapping.
    """
    path = existing_or_shipped(path)
    return parse_yaml(_text(path, "a YAML configuration", YAML_BYTES), str(path))


def parse_yaml(text: str, source: str) -> dict[str, Any]:
    """Reads a YAML mapping from a text, as `read_yaml`; messages name its origin `source`."""
    with _as_user_error(source, "YAML"):
        loader = _PlainLoader(text)
        node = loader.get_single_node()
        content = None if node is None else loader.plain(node)
        if content is None:
            raise _Refused("found nothing in it, expected a mapping of sections")
        if not isinstance(content, dict):
            raise _Refused(f"found {'a list' if isinstance(content, list) else repr(content)[:80]}, expected a mapping")
        return content


def read_json(path: str | Path, most: int = JSON_BYTES) -> Any:
    """Reads a JSON file of at most `most` bytes.

    Raises:
        UserError: the file is missing, or is no JSON of plain data.
    """
    return parse_json(_text(Path(path), "a JSON file", most), str(path))


def parse_json(text: str, source: str) -> Any:
    """Reads JSON from a text, such as a line of a file, as `read_json`; messages name its origin `source`."""
    with _as_user_error(source, "JSON"):
        content = json.loads(
            text, parse_int=_whole_number, parse_float=_finite, parse_constant=_finite, object_pairs_hook=_mapping
        )
        _check_depth(content)
        return content


def leaves(content: Any, name: str = "", depth: int = 0) -> Iterator[tuple[str, Any]]:
    """Full key and value of every scalar in mappings and lists below the full key `name`; `DEPTH` limits the levels."""
    if depth > DEPTH:
        raise UserError(f"{name.partition('.')[0]}: nested deeper than {DEPTH} levels, expected a configuration")
    if isinstance(content, Mapping):
        for part, value in content.items():
            yield from leaves(value, f"{name}.{part}" if name else str(part), depth + 1)
    elif isinstance(content, list | tuple):
        for index, value in enumerate(content):
            yield from leaves(value, f"{name}[{index}]", depth + 1)
    else:
        yield name, content


def _whole_number(text: str) -> int:
    if len(text) > DIGITS + 1:
        raise _Refused(f"found a whole number of {len(text)} digits, expected at most {DIGITS}")
    return int(text)


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise _Refused(f"found {text[:40]}, expected a finite number")
    return value


def _text(path: Path, expected: str, most: int) -> str:
    try:
        if not path.exists():
            raise UserError(f"{path}: no such file; expected {expected}; check the path")
        if not path.is_file():  # reading a FIFO would never end
            found = "a folder" if path.is_dir() else "a pipe or a device"
            raise UserError(f"{path}: found {found}, expected {expected}; name the file itself")
        size = path.stat().st_size
        if size > most:
            raise UserError(f"{path}: found {size:,} bytes, expected {expected} of at most {most:,}; name another file")
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not UTF-8 at byte {error.start}, expected {expected}; save it as UTF-8") from error
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror or error}); expected {expected}") from error


@contextlib.contextmanager
def _as_user_error(source: str, form: str) -> Iterator[None]:
    try:
        yield
    except _Refused as error:
        raise UserError(f"{source}: {error}; correct the file") from error
    except (yaml.YAMLError, ValueError) as error:
        raise UserError(f"{source}: not readable as {form} ({' '.join(str(error).split())[:300]})") from error
    except RecursionError as error:
        raise UserError(f"{source}: nested too deep for {form} of at most {DEPTH} levels; correct the file") from error


def _mapping(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found, names = dict(pairs), [name for name, _ in pairs]
    if len(found) < len(pairs):
        twice = next(name for name in names if names.count(name) > 1)
        raise _Refused(f"found the key {twice!r} twice in one mapping, expected it once")
    return found


def _check_depth(content: Any) -> None:
    level = [content]
    for _ in range(DEPTH):
        parts = [part.values() if isinstance(part, dict) else part for part in level if isinstance(part, dict | list)]
        level = [item for part in parts for item in part]
    if level:
        raise RecursionError


class _PlainLoader(yaml.SafeLoader):
    """Loads scalars, lists and mappings alone: no date, set, bytes or Python object."""

    depth = 0
    entries = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        self.depth += 1
        if self.depth > DEPTH:
            raise RecursionError
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node

    def plain(self, node: yaml.Node, depth: int = 0) -> Any:
        """The value of a node. An alias counts towards `ENTRIES` each time it is used."""
        self.entries += 1
        if depth > DEPTH:
            raise RecursionError
        if self.entries > ENTRIES:
            raise _Refused(f"found more than {ENTRIES:,} entries, its aliases expanded, expected a configuration")
        tag = node.tag.removeprefix("tag:yaml.org,2002:")
        if isinstance(node, yaml.SequenceNode) and tag == "seq":
            return [self.plain(item, depth + 1) for item in node.value]
        if isinstance(node, yaml.MappingNode) and tag == "map":
            return self._section(node, depth + 1)
        if not isinstance(node, yaml.ScalarNode) or tag not in _SCALARS:
            raise _Refused(f"found {node.tag}{_line(node)}, expected plain values, lists and mappings")
        return _SCALARS[tag](self, node)

    def _section(self, node: yaml.MappingNode, depth: int) -> dict[str, Any]:
        pairs, merged = [], {}
        for name, value in node.value:
            if name.tag == "tag:yaml.org,2002:merge":
                content = self.plain(value, depth)
                for part in reversed(content if isinstance(content, list) else [content]):
                    if not isinstance(part, dict):
                        raise _Refused(f"found << without a mapping{_line(name)}, expected one")
                    merged.update(part)
                continue
            key = self.plain(name, depth)
            if not isinstance(key, str):
                raise _Refused(f"found {str(key)[:40]} as a key{_line(name)}, expected text; put the key in quotes")
            pairs.append((key, self.plain(value, depth)))
        return {**merged, **_mapping(pairs)}

    def number(self, node: yaml.ScalarNode, construct: Callable[[yaml.ScalarNode], Any]) -> Any:
        """A whole number of 64 bits, or a finite float."""
        if len(node.value) <= 2 * DIGITS or "." in node.value:
            with contextlib.suppress(OverflowError, ValueError):
                value = construct(node)
                if math.isfinite(value) and (isinstance(value, float) or abs(value) < 2**63):
                    return value
        raise _Refused(f"found {node.value[:40]}{_line(node)}, expected a finite number of at most {DIGITS} digits")


_SCALARS: dict[str, Callable[[_PlainLoader, yaml.ScalarNode], Any]] = {
    "null": lambda loader, node: None,
    "bool": lambda loader, node: loader.construct_yaml_bool(node),
    "int": lambda loader, node: loader.number(node, loader.construct_yaml_int),
    "float": lambda loader, node: loader.number(node, loader.construct_yaml_float),
    "str": lambda loader, node: node.value,
    "timestamp": lambda loader, node: node.value,  # a name such as 2024-01-01 is text here
    "value": lambda loader, node: node.value,
}


def _line(node: yaml.Node) -> str:
    return f" in line {node.start_mark.line + 1}"
