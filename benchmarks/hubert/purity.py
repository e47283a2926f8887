"""Agreement of units and phones: the measures of HuBERT (arXiv 2106.07447, section IV-D)."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np


class Purity(NamedTuple):
    """Agreement of units and phones, frame by frame."""

    phone: float
    """Share of the frames whose phone is the most frequent phone of their unit."""
    cluster: float
    """Share of the frames whose unit is the most frequent unit of their phone."""
    pnmi: float
    """Phone-normalised mutual information: mutual information of phone and unit over the entropy of the phone."""


def purity(units: np.ndarray, phones: np.ndarray) -> Purity:
    """
    Args:
        units, phones: (T,) non-negative integers, frame by frame.

    Raises:
        ValueError: the lengths differ or are zero.
    """
    if units.shape != phones.shape or not units.size:
        raise ValueError(f"units {units.shape} and phones {phones.shape}; expected two rows of one length")
    joint = np.zeros((int(phones.max()) + 1, int(units.max()) + 1))
    np.add.at(joint, (phones, units), 1)
    joint /= len(units)
    of_phones, of_units = joint.sum(axis=1), joint.sum(axis=0)
    there = joint > 0
    information = (joint[there] * np.log(joint[there] / np.outer(of_phones, of_units)[there])).sum()
    entropy = -(of_phones[of_phones > 0] * np.log(of_phones[of_phones > 0])).sum()
    known = float(information / entropy) if np.count_nonzero(of_phones) > 1 else 1.0  # with one phone, the entropy is 0
    return Purity(float(joint.max(axis=0).sum()), float(joint.max(axis=1).sum()), known)
