"""The keys of a configuration as YAML with comments: meaning, default and range of each.

The dataclass of a configuration holds all of it (`schema.key`); nothing is written a second time here.
"""

from __future__ import annotations

import dataclasses
import textwrap
import typing
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import yaml

from s3prl_gendistiller.errors import UserError
from s3prl_gendistiller.schema import Variants, key_names

WIDTH = 120
_SIGNS = {"low": ">=", "above": ">", "high": "<=", "below": "<"}
_MISSING = dataclasses.MISSING


def meaning(cls: type, name: str) -> str:
    """The meaning of a key, from the nearest class that states one; empty for a key without a meaning."""
    for owner in cls.__mro__:
        field = vars(owner).get("__dataclass_fields__", {}).get(name)
        if field is not None and "about" in field.metadata:
            return str(field.metadata["about"])
    return ""


def meanings(cls: type, content: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Full key and meaning of every key in `content`, which `cls` accepts."""
    hints = typing.get_type_hints(cls)
    for field in dataclasses.fields(cls):
        name = _name_in(field, content)
        if name not in content:
            continue
        value, full = content[name], f"{prefix}{name}"
        yield full, meaning(cls, field.name)
        entries = [(f"{full}[{index}].", entry) for index, entry in enumerate(value)] if _is_list(field, hints) else []
        for start, entry in entries or [(f"{full}.", value)]:
            reader = _reader(field, hints, entry)
            if reader is not None:
                yield from meanings(reader, entry, start)


def describe(cls: type, content: Mapping[str, Any], indent: str = "") -> Iterator[str]:
    """All keys of a configuration as lines of YAML.

    Args:
        content: values that take the place of the defaults, such as those of a recipe.
    """
    hints = typing.get_type_hints(cls)
    for field in dataclasses.fields(cls):
        value = content.get(_name_in(field, content), _default(field))
        variants: Any = field.metadata.get("variants")
        reader = None if _is_list(field, hints) else _reader(field, hints, value)
        if _is_list(field, hints):
            yield from _key(cls, field, _MISSING, indent)
            yield from _entries(variants, value, indent + "  ")
        elif reader is not None:
            yield from _key(cls, field, _MISSING, indent)
            yield from describe(reader, value, indent + "  ")
            chosen = reader
        else:
            yield from _key(cls, field, value, indent)
            chosen = None
        if variants is not None and not _is_list(field, hints):
            yield from _others(variants, chosen, indent + "  ")


def _entries(variants: Variants, given: Sequence[Mapping[str, Any]], indent: str) -> Iterator[str]:
    """The entries of a list of sections; entries that are possible and not given stand as comments."""
    values = {entry.get(variants.by, variants.default): entry for entry in given}
    for name in variants.of:
        mark = "" if name in values else "# "
        try:
            reader = variants.of[name]
        except UserError as error:  # an objective of another package that does not work
            yield from textwrap.wrap(str(error), WIDTH, initial_indent=f"{indent}# ", subsequent_indent=f"{indent}# ")
            continue
        assert isinstance(reader, type)
        first, *rest = describe(reader, values.get(name, {}))
        yield f"{indent}{mark}- {first}"
        yield from (f"{indent}{mark}  {line}" for line in rest)


def _others(variants: Variants, chosen: type | None, indent: str, before: str = "") -> Iterator[str]:
    """One comment for each section that could stand in place of the chosen one."""
    for name, reader in variants.of.items():
        if isinstance(reader, Variants):
            yield from _others(reader, chosen, indent, f"{variants.by}: {name}, ")
        elif reader is not chosen:
            keys = [field.name for field in dataclasses.fields(reader) if field.name not in ("name", variants.by)]
            line = f"{before}{variants.by}: {name}, with {', '.join(keys)}"
            yield from textwrap.wrap(line, WIDTH, initial_indent=f"{indent}# or ", subsequent_indent=f"{indent}#    ")


def _name_in(field: dataclasses.Field[Any], content: Mapping[str, Any]) -> str:
    """The name that a key has in `content`; its first name where the key is not given."""
    names = key_names(field)
    return next((name for name in names if name in content), names[0])


def _key(cls: type, field: dataclasses.Field[Any], value: Any, indent: str) -> Iterator[str]:
    """The line of a key; a comment that is too long for the line stands above the key."""
    line = f"{indent}{key_names(field)[0]}:" + ("" if value is _MISSING else f" {_shown(value)}")
    comment = " ".join(filter(None, (meaning(cls, field.name), _limits(field, value))))
    if comment and len(line) + len(comment) + 4 <= WIDTH:
        yield f"{line}  # {comment}"
        return
    yield from textwrap.wrap(comment, WIDTH, initial_indent=f"{indent}# ", subsequent_indent=f"{indent}# ")
    yield line


def _limits(field: dataclasses.Field[Any], value: Any) -> str:
    """Default, choices and range of a key in parentheses; empty for a section."""
    if value is _MISSING:
        return ""
    default, checks = _default(field), field.metadata
    parts = ["required"] if default is _MISSING else [] if default == value else [f"default {_shown(default)}"]
    if len(checks.get("choices", ())) > 1:
        parts.append(" | ".join(map(str, checks["choices"])))
    if {"low", "high"} <= checks.keys():
        parts.append(f"{checks['low']:g} to {checks['high']:g}")
    else:
        parts += [f"{sign} {checks[name]:g}" for name, sign in _SIGNS.items() if name in checks]
    return f"({', '.join(parts)})" if parts else ""


def _default(field: dataclasses.Field[Any]) -> Any:
    """The default as plain data; a section whose class makes the defaults is empty."""
    if field.default_factory is not _MISSING:
        return {}
    return _plain(field.default)


def _plain(value: Any) -> Any:
    if isinstance(value, tuple | list):
        return [_plain(item) for item in value]
    return dataclasses.asdict(value) if dataclasses.is_dataclass(value) and not isinstance(value, type) else value


def _shown(value: Any) -> str:
    if value is _MISSING:
        return "???"
    return yaml.safe_dump(value, default_flow_style=True, width=10_000).removesuffix("\n").removesuffix("\n...")


def _is_list(field: dataclasses.Field[Any], hints: Mapping[str, Any]) -> bool:
    """Whether a key holds a list of sections."""
    return "variants" in field.metadata and typing.get_origin(hints[field.name]) is tuple


def _reader(field: dataclasses.Field[Any], hints: Mapping[str, Any], value: Any) -> type | None:
    """The dataclass of a section; None for a value that is no section of keys."""
    if not isinstance(value, Mapping):
        return None
    reader: Any = field.metadata.get("variants")
    while isinstance(reader, Variants):
        reader = reader.of[value.get(reader.by, reader.default)]
    hint = hints[field.name]
    found = (reader, hint, *typing.get_args(hint))
    return next((part for part in found if isinstance(part, type) and dataclasses.is_dataclass(part)), None)
