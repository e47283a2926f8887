"""Strict reading of plain dictionaries (from YAML) into frozen dataclasses.

The dataclass is the only list of keys, types and defaults. A range or a choice is declared beside the field
through `key(...)`. Every problem of a file is collected and reported at once: a person fixes a configuration
in one go, not key by key.
"""

from __future__ import annotations

import contextlib
import dataclasses
import difflib
import types
import typing
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

import yaml

from s3prl_gendistiller.errors import ConfigError, UserError
from s3prl_gendistiller.shipped import existing_or_shipped

T = TypeVar("T")


def key(
    default: Any = dataclasses.MISSING,
    *,
    low: float | None = None,
    high: float | None = None,
    choices: tuple[Any, ...] | None = None,
    above: float | None = None,
) -> Any:
    """A dataclass field with a checked range: ``low <= value <= high``, ``above < value``, or one of `choices`."""
    checks = {"low": low, "high": high, "choices": choices, "above": above}
    metadata = {name: value for name, value in checks.items() if value is not None}
    if isinstance(default, list | dict):
        return dataclasses.field(default_factory=lambda: type(default)(default), metadata=metadata)
    return dataclasses.field(default=default, metadata=metadata)


def read_yaml(path: str | Path) -> dict[str, Any]:
    """Reads a YAML mapping.

    Raises:
        UserError: the file is missing, is not YAML, or does not hold a mapping.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(f"{path}: no such file; expected a YAML configuration; correct the path")
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        reason = " ".join(str(error).split())
        raise UserError(f"{path}: not readable as YAML ({reason}); correct the file") from error
    if not isinstance(content, dict):
        raise UserError(f"{path}: found {_kind(content)}, expected a mapping of sections; see `gendistiller config`")
    return content


def read_layered_yaml(path: str | Path) -> dict[str, Any]:
    """Reads a YAML file; ``base: other.yaml`` (relative to the file, or shipped) is read first, then overridden by key.

    Raises:
        UserError: a file is missing or not YAML, or the bases form a circle.
    """
    return merge_layers(content for _, content in yaml_layers(path))


def yaml_layers(path: str | Path) -> list[tuple[Path, dict[str, Any]]]:
    """A YAML file and the files that it is based on, the deepest last, each without its key `base`.

    Raises:
        UserError: as `read_layered_yaml`.
    """
    layers: list[tuple[Path, dict[str, Any]]] = []
    current: Path | None = Path(path)
    while current is not None:
        if current.resolve() in (seen for seen, _ in layers):
            raise UserError(f"{path}: base files form a circle at {current}; remove one of the `base` keys")
        content = read_yaml(current)
        base = content.pop("base", None)
        layers.append((current.resolve(), content))
        current = None if base is None else _base_file(current.parent, str(base))
    return layers


def merge_layers(contents: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Contents as `yaml_layers` orders them: each overrides those after it."""
    merged: dict[str, Any] = {}
    for content in reversed(list(contents)):
        merged = merge(merged, content)
    return merged


def _base_file(folder: Path, base: str) -> Path:
    beside, shipped = folder / base, existing_or_shipped(base)
    return shipped if not beside.exists() and shipped.exists() else beside


def from_dict(cls: type[T], content: Mapping[str, Any], source: str) -> T:
    """Builds `cls` from `content`, refusing unknown, mistyped, missing and out-of-range keys together.

    A dataclass may define ``problems(self) -> Iterator[str]`` for rules that span several keys; they are checked
    once all single keys are right.

    Raises:
        ConfigError: lists every problem, with the full key and a suggestion where a name looks misspelt.
    """
    problems: list[str] = []
    value = _build(cls, content, "", problems)
    if problems:
        raise ConfigError(source, problems)
    return typing.cast(T, value)


def to_dict(config: Any) -> dict[str, Any]:
    """The inverse of `from_dict`: plain dictionaries, lists and scalars only, fit for YAML and for a checkpoint."""
    return typing.cast(dict[str, Any], _plain(dataclasses.asdict(config)))


def merge(base: Mapping[str, Any], difference: Mapping[str, Any]) -> dict[str, Any]:
    """`base` with the keys of `difference` replaced, section by section; lists are replaced whole."""
    merged = dict(base)
    for name, value in difference.items():
        old = merged.get(name)
        merged[name] = merge(old, value) if isinstance(old, Mapping) and isinstance(value, Mapping) else value
    return merged


def _build(cls: Any, content: Any, prefix: str, problems: list[str]) -> Any:
    if not isinstance(content, Mapping):
        problems.append(f"{prefix.rstrip('.') or 'file'}: found {_kind(content)}, expected a section of keys")
        return None
    here: list[str] = []  # a section's own rules are checked even when another section is wrong
    hints = typing.get_type_hints(cls)
    fields = {field.name: field for field in dataclasses.fields(cls) if field.init}
    for name in content:
        if name not in fields:
            here.append(f"{prefix}{name}: unknown key; {_suggest(str(name), list(fields))}")
    values: dict[str, Any] = {}
    for name, field in fields.items():
        if name in content:
            values[name] = _convert(content[name], hints[name], f"{prefix}{name}", field.metadata, here)
        elif field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING:
            here.append(f"{prefix}{name}: missing; this key has no default")
    value = None if here else cls(**values)
    rules: Callable[[], Iterator[str]] | None = getattr(value, "problems", None)
    if rules is not None:
        here.extend(f"{prefix}{problem}" for problem in rules())
    problems.extend(here)
    return value


def _convert(value: Any, hint: Any, name: str, checks: Mapping[str, Any], problems: list[str]) -> Any:
    origin = typing.get_origin(hint)
    arguments = typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        if value is None and type(None) in arguments:
            return None
        kinds = [argument for argument in arguments if argument is not type(None)]
        hint = kinds[0] if len(kinds) == 1 else _named(kinds, value, name, problems)
        if hint is None:
            return None
        return _convert(value, hint, name, checks, problems)
    if dataclasses.is_dataclass(hint):
        return _build(hint, value, f"{name}.", problems)
    if origin is tuple:
        return _convert_tuple(value, arguments, name, checks, problems)
    if origin is dict or hint is dict:
        if not isinstance(value, dict):
            problems.append(f"{name}: found {_kind(value)}, expected a mapping")
        return value
    return _convert_scalar(value, hint, name, checks, problems)


def _named(kinds: list[Any], value: Any, name: str, problems: list[str]) -> Any:
    """Of several dataclasses the one whose default `name` a section bears; the first if it bears none."""
    known = {str(field.default): kind for kind in kinds for field in dataclasses.fields(kind) if field.name == "name"}
    given = value.get("name", next(iter(known))) if isinstance(value, Mapping) else next(iter(known))
    if given not in known:
        names = list(known)
        problems.append(
            f"{name}.name: found {given!r}, expected one of {', '.join(names)}; {_suggest(str(given), names)}"
        )
        return None
    return known[given]


def _convert_tuple(
    value: Any, arguments: tuple[Any, ...], name: str, checks: Mapping[str, Any], problems: list[str]
) -> Any:
    if not isinstance(value, list | tuple):
        problems.append(f"{name}: found {_kind(value)}, expected a list")
        return None
    if len(arguments) == 2 and arguments[1] is Ellipsis:
        hints = [arguments[0]] * len(value)
    else:
        hints = list(arguments)
        if len(value) != len(hints):
            problems.append(f"{name}: found {len(value)} entries, expected {len(hints)}")
            return None
    return tuple(
        _convert(item, hint, f"{name}[{index}]", checks, problems)
        for index, (item, hint) in enumerate(zip(value, hints, strict=True))
    )


def _convert_scalar(value: Any, hint: Any, name: str, checks: Mapping[str, Any], problems: list[str]) -> Any:
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    if hint is float and isinstance(value, str):
        # YAML 1.1 reads 1e-4 (no dot) as text; people write it all the time.
        with contextlib.suppress(ValueError):
            value = float(value)
    if not isinstance(value, hint) or (hint is not bool and isinstance(value, bool)):
        problems.append(f"{name}: found {_kind(value)}, expected {_TYPE_NAMES.get(hint, hint.__name__)}")
        return None
    problems.extend(f"{name}: {problem}" for problem in _out_of_range(value, checks))
    return value


def _out_of_range(value: Any, checks: Mapping[str, Any]) -> Iterator[str]:
    choices = checks.get("choices")
    if choices is not None and value not in choices:
        names = [str(choice) for choice in choices]
        yield f"found {value!r}, expected one of {', '.join(names)}; {_suggest(str(value), names)}"
    if "low" in checks and value < checks["low"]:
        yield f"found {value}, expected at least {checks['low']}"
    if "high" in checks and value > checks["high"]:
        yield f"found {value}, expected at most {checks['high']}"
    if "above" in checks and value <= checks["above"]:
        yield f"found {value}, expected more than {checks['above']}"


def _suggest(found: str, known: list[str]) -> str:
    close = difflib.get_close_matches(found, known, n=1, cutoff=0.5)
    return f"did you mean {close[0]}?" if close else f"known here: {', '.join(known)}"


_TYPE_NAMES = {int: "a whole number", float: "a number", bool: "true or false", str: "text"}


def _kind(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, Mapping):
        return "a mapping"
    if isinstance(value, list | tuple):
        return "a list"
    return f"{value!r} ({_TYPE_NAMES.get(type(value), type(value).__name__)})"


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _plain(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value
