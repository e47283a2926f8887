"""`View`: a module with some names replaced, for one importing module."""

from __future__ import annotations

from typing import Any


class View:
    """A module in which a few `names` are other objects."""

    def __init__(self, module: Any, **names: Any) -> None:
        self._module = module
        self.__dict__.update(names)

    def __getattr__(self, name: str) -> Any:
        if name == "_module":  # while a view is unpickled in a worker process
            raise AttributeError(name)
        return getattr(self._module, name)
