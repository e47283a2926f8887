"""Objectives of other packages, which those packages install as entry points of the group `GROUP`.

An entry point is stated by an installed package and leads from the name of an objective to the class of its
configuration. No file of a user names a module: a YAML can only choose among what was installed.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterator, MutableMapping
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Generic, TypeVar

from s3prl_gendistiller.errors import UserError

GROUP = "s3prl_gendistiller.objectives"

T = TypeVar("T")


class ObjectiveTable(MutableMapping[str, type[T]], Generic[T]):
    """Class of the configuration by the name of the objective: this package's own, then those of other packages.

    A package is imported when its objective is chosen, so that a broken one does not stop the others.

    Args:
        base: the class that every configuration extends.
        own: the objectives of this package.
    """

    def __init__(self, base: type[T], own: dict[str, type[T]]) -> None:
        self._base = base
        self._own = own

    def __getitem__(self, name: str) -> type[T]:
        """
        Raises:
            KeyError: no objective has this name.
            UserError: another package has taken the name, or the package of the objective does not work.
        """
        found = installed().get(name, ())
        if name in self._own and found:
            raise UserError(
                f"found the objective {name} of {packages(name)}, expected another name, because s3prl-gendistiller "
                "has an objective of this name; uninstall that package, or rename its entry point"
            )
        if len(found) > 1:
            raise UserError(
                f"found the objective {name} in {packages(name)}, expected it in one; uninstall all but one of them"
            )
        return self._loaded(found[0]) if found else self._own[name]

    def __setitem__(self, name: str, config: type[T]) -> None:
        self._own[name] = config

    def __delitem__(self, name: str) -> None:
        del self._own[name]

    def __iter__(self) -> Iterator[str]:
        yield from self._own
        yield from (name for name in installed() if name not in self._own)

    def __len__(self) -> int:
        return len(list(iter(self)))

    def __contains__(self, name: object) -> bool:
        return name in self._own or name in installed()

    def _loaded(self, point: EntryPoint) -> type[T]:
        """The class of an entry point, after a check that it is one."""
        try:
            config: Any = point.load()
        except Exception as error:  # importing a module of others can fail in any way
            raise broken(point.name, f"{point.value} cannot be imported", error) from error
        if not (isinstance(config, type) and issubclass(config, self._base)):
            wanted = f"{self._base.__module__}.{self._base.__name__}"
            raise _unfit(point, f"found {point.value}, expected a class that extends {wanted}")
        fields = vars(config).get("__dataclass_fields__")
        if fields is None:
            raise _unfit(point, f"found {point.value} without @dataclass(frozen=True), expected it above the class")
        default = fields["name"].default
        if default != point.name:
            stated = "no default" if default is dataclasses.MISSING else f"the default {default!r}"
            raise _unfit(point, f"found {stated} of its key name, expected {point.name!r}")
        if not isinstance(getattr(config, "module", None), str):
            raise _unfit(point, f"found no `module` in {config.__name__}, expected the module with its function build")
        return config


@functools.cache
def installed() -> dict[str, tuple[EntryPoint, ...]]:
    """The entry points of all installed packages by the name of the objective; nothing is imported."""
    found: dict[str, tuple[EntryPoint, ...]] = {}
    for point in sorted(entry_points(group=GROUP), key=lambda point: (point.name, _package(point))):
        found[point.name] = (*found.get(point.name, ()), point)
    return found


def packages(name: str) -> str:
    """The installed packages that bring an objective, with their versions; empty for one of this package."""
    return " and ".join(_package(point) for point in installed().get(name, ()))


def broken(name: str, what: str, error: Exception) -> UserError:
    """The error about an installed objective that does not work, which names its package."""
    reason = f"{type(error).__name__}: {error}".splitlines()[0][:200]
    return UserError(
        f"found the objective {name} of {packages(name)}, and {what} ({reason}); repair or uninstall that package"
    )


def _unfit(point: EntryPoint, problem: str) -> UserError:
    return UserError(f"the objective {point.name} of {_package(point)}: {problem}; repair or uninstall that package")


def _package(point: EntryPoint) -> str:
    return "an unknown package" if point.dist is None else f"{point.dist.name} {point.dist.version}"
