"""What s3prl's builders take from distutils, which Python 3.12 no longer brings."""

from __future__ import annotations

TRUE_WORDS = ("y", "yes", "t", "true", "on", "1")
FALSE_WORDS = ("n", "no", "f", "false", "off", "0")


def strtobool(val: str) -> int:
    """1 for a word that means yes, 0 for one that means no.

    Raises:
        ValueError: any other word.
    """
    word = val.lower()
    if word in TRUE_WORDS:
        return 1
    if word in FALSE_WORDS:
        return 0
    raise ValueError(f"expected one of {', '.join(TRUE_WORDS + FALSE_WORDS)}, found {val!r}")
