"""The two scores of slot filling for one utterance, as s3prl's ``slot_type_f1`` and ``slot_value_cer`` count them.

A text marks a slot as ``B-KIND VALUE E-KIND``. F1 compares the sets of kinds, and is 1 if neither text has a slot. Each
value of the reference is compared with the nearest value of its kind in the hypothesis, or with nothing.
"""

from __future__ import annotations

import re

_SLOT = re.compile(r"B-(\S+) (.+?) E-\1")
_MARKS = re.compile(r"B-\S+ | E-\S+")
Slots = dict[str, list[str]]


def slot_scores(hypothesis: str, reference: str) -> tuple[float, float, float]:
    """F1 of the kinds of slots (0 to 1), and errors and letters of the values in the reference."""
    import editdistance

    found, true = _slots(hypothesis), _slots(reference)
    errors = letters = 0
    for kind, values in true.items():
        for value in values:
            letters += len(value)
            given = [_MARKS.sub("", one) for one in found.get(kind, [])]
            errors += min((editdistance.eval(one, value) for one in given), default=len(value))
    return _f1(found, true), float(errors), float(letters)


def _f1(found: Slots, true: Slots) -> float:
    if not found and not true:
        return 1.0
    both = len(found.keys() & true.keys())
    return 2 * both / (len(found) + len(true))


def _slots(text: str) -> Slots:
    slots: Slots = {}
    for kind, value in _SLOT.findall(re.sub(" +", " ", text)):
        slots.setdefault(kind, []).append(value)
    return slots
