"""Strict reading of plain dictionaries (from YAML) into frozen dataclasses.

The dataclass is the only list of keys, types and defaults. `key(...)` declares a range or a choice beside the field.
All problems of a file are reported at once, so that a user can correct the file in one go.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import json
import os
import types
import typing
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from s3prl_gendistiller.documents import read_yaml
from s3prl_gendistiller.errors import ConfigError, UserError
from s3prl_gendistiller.front_ends import FRONT_ENDS, unread_keys
from s3prl_gendistiller.schema_values import convert_scalar, one_of, shown, unknown_keys, with_type
from s3prl_gendistiller.shipped import existing_or_shipped
from s3prl_gendistiller.spellings import other_name

T = TypeVar("T")


@dataclasses.dataclass(frozen=True)
class Variants:
    """The dataclass of a section, chosen by the value of one key of the section.

    Attributes:
        by: name of the key.
        of: value of the key -> dataclass, or a further `Variants`.
        default: the value of a section that lacks the key; None where the key is required.
    """

    by: str
    of: Mapping[str, type | Variants]
    default: str | None = None


def key(
    default: Any = dataclasses.MISSING,
    *,
    low: float | None = None,
    high: float | None = None,
    choices: tuple[Any, ...] | None = None,
    above: float | None = None,
    below: float | None = None,
    variants: Variants | None = None,
    spelt: str | None = None,
    also: str | None = None,
    factory: Any = dataclasses.MISSING,
    about: str | None = None,
) -> Any:
    """A dataclass field with a range or a choice that `from_dict` checks.

    Args:
        low, high: ``low <= value <= high``.
        above, below: ``above < value < below``.
        choices: all allowed values.
        variants: chooses the dataclass of a section, or of each section of a list.
        spelt: the key in the file, where that is no valid name in Python.
        also: a second name of the key in the file, of which a file may use one; see `spellings`.
        factory: makes the default, where that is a section.
        about: the meaning of the key in one line, for `gendistiller config` and the shipped YAML files. A subclass
            that declares the key again takes it over.
    """
    checks: dict[str, Any] = {"low": low, "high": high, "choices": choices, "above": above, "below": below}
    checks |= {"variants": variants, "spelt": spelt, "also": also, "about": about}
    checks |= {"optional": True if default is None else None}
    metadata = {name: value for name, value in checks.items() if value is not None}
    return dataclasses.field(default=default, default_factory=factory, metadata=metadata)


def read_layered_yaml(path: str | Path) -> dict[str, Any]:
    """Reads a YAML file, whose keys override those of its ``base: other.yaml`` (relative to the file, or shipped).

    Raises:
        UserError: a file is missing or not YAML, or the bases form a circle.
    """
    return merge_layers(content for _, content in yaml_layers(path))


def yaml_layers(path: str | Path) -> list[tuple[Path, dict[str, Any]]]:
    """A YAML file, its base, the base of its base, and so on, each without its key `base`.

    In a base from another folder, ``${HERE}`` is replaced by that folder; elsewhere ``${HERE}`` stays, and the caller
    replaces it by the folder of the first file.
    """
    layers: list[tuple[Path, dict[str, Any]]] = []
    current: Path | None = existing_or_shipped(path)
    while current is not None:
        if current.resolve() in (seen for seen, _ in layers):
            raise UserError(f"{path}: base files form a circle at {current}; remove one of the `base` keys")
        content = read_yaml(current)
        base, folder = content.pop("base", None), current.resolve().parent
        if layers and folder != layers[0][0].parent:
            content = placed(content, str(folder))
        layers.append((current.resolve(), content))
        if base is not None and not isinstance(base, str):
            raise UserError(f"{current}: found {with_type(base)} as base, expected the path of another file")
        current = None if base is None else _base_file(current.parent, base)
    return layers


def merge_layers(contents: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """The contents of `yaml_layers` in one mapping; each content overrides those after it."""
    return functools.reduce(merge, reversed(list(contents)), {})


def placed(value: Any, folder: str) -> Any:
    """`value` with `folder` in place of ``${HERE}`` in every text."""
    if isinstance(value, str):
        return value.replace("${HERE}", folder)
    if isinstance(value, dict):
        return {name: placed(item, folder) for name, item in value.items()}
    return [placed(item, folder) for item in value] if isinstance(value, list) else value


def _base_file(folder: Path, base: str) -> Path:
    beside, shipped = folder / os.path.expanduser(base), existing_or_shipped(base)
    return shipped if not beside.exists() and shipped.exists() else beside


def from_dict(cls: type[T], content: Mapping[str, Any], source: str) -> T:
    """Builds `cls` from `content`.

    A dataclass may define ``problems(self) -> Iterator[str]`` for rules about several keys. A rule that reads a wrong
    or missing key ends the rules of its section.

    Raises:
        ConfigError: lists every unknown, mistyped, missing or out-of-range key and every broken rule, with the full key
            and a suggestion where a name looks misspelt.
    """
    problems: list[str] = []
    value = _build(cls, content, "", problems)
    if problems:
        raise ConfigError(source, problems)
    return typing.cast(T, value)


def check_present(cls: type, content: Any, source: str) -> None:
    """Checks the keys of `content` as `from_dict` does, and allows missing keys."""
    problems: list[str] = []
    _build(cls, content, "", problems)
    if wrong := [problem for problem in problems if not isinstance(problem, _Missing)]:
        raise ConfigError(source, wrong)


def checked(cls: type, content: Mapping[str, Any], source: str) -> dict[str, Any]:
    """`content`, checked by `from_dict`, with values in the types of `cls`: YAML's text 2e-4 becomes a number."""
    return typing.cast(dict[str, Any], _given(from_dict(cls, content, source), content))


def to_dict(config: Any) -> dict[str, Any]:
    """The inverse of `from_dict`: dictionaries, lists and scalars only, for a YAML file or a checkpoint."""
    return typing.cast(dict[str, Any], json.loads(json.dumps(dataclasses.asdict(config))))


def merge(base: Mapping[str, Any], difference: Mapping[str, Any]) -> dict[str, Any]:
    """`base` with the values of `difference`; sections are merged key by key, lists are replaced whole.

    A section that names a front end drops the keys of `base` that this front end does not read. A key with two names
    replaces the key of `base` under either name.
    """
    dropped = {other_name(name) for name in difference}
    dropped |= unread_keys(difference["front_end"]).keys() if difference.get("front_end") in FRONT_ENDS else set()
    merged = {name: value for name, value in base.items() if name not in dropped}
    for name, value in difference.items():
        old = merged.get(name)
        merged[name] = merge(old, value) if isinstance(old, Mapping) and isinstance(value, Mapping) else value
    return merged


class _Missing(str):
    """The message about a missing key, or of a rule of a section in which a key is missing."""


def _given(value: Any, content: Any) -> Any:
    if dataclasses.is_dataclass(value):
        fields = {name: field.name for field in dataclasses.fields(value) for name in key_names(field)}
        return {name: _given(getattr(value, fields[name]), item) for name, item in content.items() if name in fields}
    several = isinstance(value, list | tuple)
    return [_given(item, given) for item, given in zip(value, content, strict=True)] if several else value


def key_names(field: dataclasses.Field[Any]) -> list[str]:
    """The name of a key in a file, and its second name if it has one."""
    return [field.metadata.get("spelt", field.name), *filter(None, [field.metadata.get("also")])]


def _build(cls: Any, content: Any, prefix: str, problems: list[str]) -> Any:
    if not isinstance(content, Mapping):
        problems.append(f"{prefix.rstrip('.') or 'file'}: found {with_type(content)}, expected a section of keys")
        return None
    here: list[str] = []  # apart from `problems`: a section's rules are checked even when another section is wrong
    hints = typing.get_type_hints(cls)
    fields = {key_names(field)[0]: field for field in dataclasses.fields(cls) if field.init}
    spelt = {name for field in fields.values() for name in key_names(field)}
    here += [f"{prefix}{problem}" for problem in unknown_keys(cls, content, list(fields), spelt)]
    values: dict[str, Any] = {}
    wrong: list[str] = []
    for name, field in fields.items():
        before = len(here)
        given = [spelt for spelt in key_names(field) if spelt in content]
        if len(given) > 1:
            here.append(f"{prefix}{name}: found beside {given[1]}, the same key under another name; leave one out")
        if given:
            hint, checks = hints[field.name], field.metadata
            values[field.name] = _convert(content[given[0]], hint, f"{prefix}{given[0]}", checks, here)
        elif field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING:
            here.append(_Missing(f"{prefix}{name}: missing; this key has no default"))
        if len(here) > before and not dataclasses.is_dataclass(values.get(field.name)):  # else a section with gaps
            wrong.append(field.name)
    value = _with_gaps(cls, values, wrong) if here else cls(**values)
    if hasattr(value, "problems"):
        kind = _Missing if any(isinstance(problem, _Missing) for problem in here) else str
        with contextlib.suppress(_UnreadableError):
            for problem in value.problems():
                here.append(kind(f"{prefix}{problem}"))
    problems.extend(here)
    return value


class _UnreadableError(Exception):
    """A rule reads a key that is wrong or missing."""


def _with_gaps(cls: Any, values: Mapping[str, Any], wrong: Sequence[str]) -> Any:
    """An object for the rules of `cls` whose `wrong` keys cannot be read."""

    def refuse(_: Any) -> None:
        raise _UnreadableError

    value: Any = object.__new__(type(cls.__name__, (cls,), dict.fromkeys(wrong, property(refuse))))
    for field in dataclasses.fields(cls):
        if field.name not in wrong:
            made = field.default_factory() if callable(field.default_factory) else field.default
            object.__setattr__(value, field.name, values.get(field.name, made))
    return value


def _convert(value: Any, hint: Any, name: str, checks: Mapping[str, Any], problems: list[str]) -> Any:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if "variants" in checks and origin is not tuple and not (value is None and "optional" in checks):
        reader = _reader(checks["variants"], value, name, problems)
        return None if reader is None else _build(reader, value, f"{name}.", problems)
    if origin in (typing.Union, types.UnionType):
        if value is None and type(None) in arguments:
            return None
        (given,) = (argument for argument in arguments if argument is not type(None))
        return _convert(value, given, name, checks, problems)
    if dataclasses.is_dataclass(hint):
        return _build(hint, value, f"{name}.", problems)
    if origin is tuple:
        return _convert_tuple(value, arguments, name, checks, problems)
    if origin is dict or hint is dict:
        if not isinstance(value, dict):
            problems.append(f"{name}: found {with_type(value)}, expected a mapping")
        return value
    return convert_scalar(value, hint, name, checks, problems)


def _reader(variants: Variants, value: Any, name: str, problems: list[str]) -> Any:
    found: Any = variants
    while isinstance(found, Variants):
        if not isinstance(value, Mapping):
            return found  # `_build` refuses the value
        given, names = value.get(found.by, found.default), list(found.of)
        if not isinstance(given, str) or given not in names:
            is_there = "missing" if given is None else f"found {shown(given)}"
            problems.append(f"{name}.{found.by}: {is_there}, {one_of(given, names)}")
            return None
        try:
            found = found.of[given]
        except UserError as error:  # the class comes from another package, which does not work
            problems.append(f"{name}.{found.by}: {error}")
            return None
    return found


def _convert_tuple(
    value: Any, arguments: tuple[Any, ...], name: str, checks: Mapping[str, Any], problems: list[str]
) -> Any:
    if not isinstance(value, list | tuple):
        problems.append(f"{name}: found {with_type(value)}, expected a list")
        return None
    hints = [arguments[0]] * len(value) if arguments[1:] == (Ellipsis,) else list(arguments)
    if len(value) != len(hints):
        problems.append(f"{name}: found {len(value)} entries, expected {len(hints)}")
        return None
    return tuple(
        _convert(item, hint, f"{name}[{index}]", checks, problems)
        for index, (item, hint) in enumerate(zip(value, hints, strict=True))
    )
