"""Values that s3prl's downstream experts print, in lines ``SPLIT METRIC: VALUE``."""

from __future__ import annotations

import re

# `dev acc: 0.5`, `sv-voxceleb1/test-EER: 0.1` and `mode dev acc 0.9 der 0.1`
_FORMS = (r"^(?:\S+/)?{split}[ -]{name}: ({number})\s*$", r"^mode {split} .*\b{name} ({number})")
_NUMBER = r"[-+.\deE]+|nan|inf"


def printed_values(text: str, split: str, name: str) -> list[float]:
    """All values of a metric in the output of a run, in order."""
    found = []
    for form in _FORMS:
        pattern = form.format(split=re.escape(split), name=re.escape(name), number=_NUMBER)
        found += [float(value) for value in re.findall(pattern, text, flags=re.MULTILINE)]
    return found
