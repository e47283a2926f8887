"""s3prl's ``-o "config.a.b=1,,config.c='x'"``: what it will make of a configuration."""

from __future__ import annotations

import ast
from typing import Any

from s3prl_gendistiller.errors import UserError
from s3prl_gendistiller.schema import merge

OVERRIDE_SEPARATOR = ",,"


def apply_overrides(content: dict[str, Any], overrides: str | None) -> dict[str, Any]:
    """The configuration as s3prl's ``-o "config.a.b=1,,config.c='x'"`` will leave it.

    s3prl evaluates the values as Python; here only literals are read, anything else counts as text.

    Raises:
        UserError: an option is not of the form key=value.
    """
    for option in (overrides or "").split(OVERRIDE_SEPARATOR):
        if not option.strip() or overrides in ("none", "None"):
            continue
        name, separator, text = option.partition("=")
        if not separator or "=" in text:
            raise UserError(
                f"-o: found {option.strip()!r}, expected key=value; separate several with {OVERRIDE_SEPARATOR}"
            )
        first, *path = name.strip().split(".")
        if first != "config" or not path:
            continue
        try:
            value: Any = ast.literal_eval(text.strip())
        except (ValueError, SyntaxError):
            value = text.strip()
        for part in reversed(path):
            value = {part: value}
        content = merge(content, value)
    return content
