"""The function of distutils that s3prl's builders use; Python 3.12 has no distutils."""

from __future__ import annotations

TRUE_WORDS = ("y", "yes", "t", "true", "on", "1")
FALSE_WORDS = ("n", "no", "f", "false", "off", "0")


def strtobool(val: str) -> int:
    """1 for a word for yes, 0 for a word for no; ValueError for any other word."""
    word = val.lower()
    if word in TRUE_WORDS:
        return 1
    if word in FALSE_WORDS:
        return 0
    raise ValueError(f"expected one of {', '.join(TRUE_WORDS + FALSE_WORDS)}, found {val!r}")
