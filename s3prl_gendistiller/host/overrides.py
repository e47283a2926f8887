"""s3prl's ``-o "config.a.b=1,,args.c='x'"``, read as plain data and written again as literals.

s3prl evaluates each value as Python. Here a value is read as a literal, or else as text, and s3prl gets literals only.
"""

from __future__ import annotations

import ast
import dataclasses
import math
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from s3prl_gendistiller.config import ModelConfig
from s3prl_gendistiller.errors import ConfigError, UserError
from s3prl_gendistiller.host.locate import find_host
from s3prl_gendistiller.schema_values import one_of, shown
from s3prl_gendistiller.spellings import other_name

OVERRIDE_SEPARATOR = ",,"
MODEL_SECTIONS = tuple(section.name for section in dataclasses.fields(ModelConfig))
_WORDS = {"true": True, "false": False, "null": None}  # as in YAML; s3prl would take them as text, which is true
T = TypeVar("T")


@dataclass(frozen=True)
class Overrides:
    """Values of ``args.c=...`` by the flag's name, and of ``config.a.b=...`` by the path of keys."""

    flags: Mapping[str, Any] = field(default_factory=dict)
    keys: Mapping[tuple[str, ...], Any] = field(default_factory=dict)

    def apply(self, content: Mapping[str, Any]) -> dict[str, Any]:
        """A configuration with the overrides applied as s3prl does: a new value, or section, replaces the old one."""
        changed = dict(content)
        for path, value in self.as_spelt_in(content).keys.items():
            section = changed
            for part in path[:-1]:
                inside = section.get(part, {})
                if not isinstance(inside, Mapping):
                    raise UserError(
                        f"-o: found config.{'.'.join(path)}, but {part} is {shown(inside)} there, no section of keys"
                    )
                section[part] = section = dict(inside)
            section[path[-1]] = value
        return changed

    def as_spelt_in(self, content: Mapping[str, Any]) -> Overrides:
        """The overrides, where a key with two names has the name that it has in `content`."""
        return replace(self, keys={_spelt_in(content, path): value for path, value in self.keys.items()})

    def check(self, content: Mapping[str, Any], check: Callable[[dict[str, Any]], T]) -> T:
        """The result of `check` for `content` with the overrides applied.

        ConfigError of `check`: a UserError, which blames problems that `content` alone does not have on `-o`.
        """
        try:
            return check(self.apply(content))
        except ConfigError as error:
            alone: tuple[str, ...] = ()
            try:
                check(dict(content))
            except ConfigError as before:
                alone = before.problems
            given = [problem for problem in error.problems if problem not in alone]
            if not given:
                raise
            stored = [problem for problem in error.problems if problem in alone]
            parts = [*([ConfigError(error.source, stored)] if stored else []), ConfigError("-o", given)]
            raise UserError("\n".join(map(str, parts))) from error

    def refuse_model_keys(self, remedy: str) -> None:
        """Refuses keys of a model YAML, which `-o` does not reach; `remedy` ends the UserError."""
        found = ", ".join(f"config.{'.'.join(path)}" for path in self.keys if path[0] in MODEL_SECTIONS)
        if found:
            raise UserError(f"-o: found {found}, of the model YAML, expected keys of the run's configuration; {remedy}")

    def text(self) -> str:
        """Text for s3prl's ``-o``, which splits at every ``,,`` and ``=``, even inside quotes."""
        values = {f"args.{name}": value for name, value in self.flags.items()}
        values |= {f"config.{'.'.join(path)}": value for path, value in self.keys.items()}
        return OVERRIDE_SEPARATOR.join(f"{name}={_literal(value)}" for name, value in values.items())


def read_overrides(text: str | None, flags: Collection[str] | None = None) -> Overrides:
    """The options in the text of ``-o``; `flags` are the allowed names of flags, None for any.

    UserError: an option is not of the form config.KEY=VALUE or args.FLAG=VALUE, or its value is no plain data.
    """
    found: dict[str, Any] = {}
    keys: dict[tuple[str, ...], Any] = {}
    options = [] if text is None or text.strip().lower() == "none" else text.split(OVERRIDE_SEPARATOR)
    for option in filter(str.strip, options):
        name, separator, given = (part.strip() for part in option.partition("="))
        if not separator:
            raise UserError(
                f"-o: found {shown(option.strip())}, expected key=value; separate several with {OVERRIDE_SEPARATOR}"
            )
        first, *path = name.split(".")
        if first not in ("config", "args") or not path or not all(path):
            raise UserError(f"-o: found {shown(option.strip())}, {_meant(first, path)}={given[:80]}")
        value = _value(option.strip(), given)
        if first == "config":
            other = (*path[:-1], other_name(path[-1]))
            if other in keys:
                given = f"config.{'.'.join(path)} beside {other[-1]}"
                raise UserError(f"-o: found {given}, the same key under another name; leave one out")
            keys[tuple(path)] = value
        elif flags is not None and (len(path) > 1 or path[0] not in flags):
            raise UserError(f"-o: found args.{'.'.join(path)}, {one_of(path[0], sorted(flags))}")
        else:
            found[".".join(path)] = value
    return Overrides(found, keys)


def apply_overrides(content: dict[str, Any], overrides: str | None) -> dict[str, Any]:
    """A configuration with the text of ``-o`` applied; see `read_overrides` and `Overrides.apply`."""
    found = read_overrides(overrides)
    return found.apply(content) if found.keys else content


def _spelt_in(content: Mapping[str, Any], path: tuple[str, ...]) -> tuple[str, ...]:
    section: Any = content
    for part in path[:-1]:
        section = section.get(part) if isinstance(section, Mapping) else None
    other = other_name(path[-1])
    return (*path[:-1], other) if other and isinstance(section, Mapping) and other in section else path


def script_flags(script: str) -> frozenset[str]:
    """Names of the arguments of s3prl's run_pretrain.py or run_downstream.py, read from the script's source."""
    calls = ast.walk(ast.parse((find_host().package / script).read_text(encoding="utf-8")))
    names: set[str] = set()
    for call in calls:
        if isinstance(call, ast.Call) and getattr(call.func, "attr", "") == "add_argument":
            spelt = [str(argument.value) for argument in call.args if isinstance(argument, ast.Constant)]
            names.update(name.lstrip("-").replace("-", "_") for name in spelt if name.startswith("--"))
    return frozenset(names)


def _meant(first: str, path: list[str]) -> str:
    likeliest = one_of(first, ("config", "args")).partition("did you mean ")[2].rstrip("?")
    meant = [likeliest, *path] if likeliest and path else ["config", first, *path]
    meant = [part for part in meant if part]
    example = meant if len(meant) > 1 and first not in ("config", "args") else ["config", "runner", "total_steps"]
    return f"expected config.KEY=VALUE or args.FLAG=VALUE, such as {'.'.join(example)}"


def _value(option: str, text: str) -> Any:
    try:
        value: Any = ast.literal_eval(text)
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        if "=" in text:
            raise UserError(
                f"-o: found {shown(option)}, expected key=value; separate several with {OVERRIDE_SEPARATOR}, and put "
                "a value that holds = in quotes"
            ) from None
        return _WORDS.get(text.lower(), text)
    problem = _not_plain(value)
    if problem:
        raise UserError(f"-o: found {shown(option)}, {problem}")
    return value


def _not_plain(value: Any, depth: int = 0) -> str:
    """Problem of a literal that no YAML could hold; empty for a good one."""
    if isinstance(value, dict | list | tuple) and depth < 16:
        parts = [*value, *value.values()] if isinstance(value, dict) else value
        return next(filter(None, (_not_plain(part, depth + 1) for part in parts)), "")
    if isinstance(value, float) and not math.isfinite(value):
        return "expected a finite number"
    if isinstance(value, int) and abs(value) >= 2**63:
        return "expected a whole number of 64 bits"
    return "" if value is None or isinstance(value, str | int | float) else "expected text, numbers and lists of them"


def _literal(value: Any) -> str:
    return repr(value).replace("=", "\\x3d").replace(OVERRIDE_SEPARATOR, ",\\x2c")
