from __future__ import annotations

import numpy as np
import pytest

from hubert.purity import purity


def test_a_case_worked_by_hand() -> None:
    phones = np.array([0, 0, 0, 0, 1, 1, 1, 1])
    units = np.array([0, 0, 0, 1, 1, 1, 2, 2])
    found = purity(units, phones)
    assert found.phone == pytest.approx(7 / 8)  # 3 of unit 0, 2 of unit 1, 2 of unit 2
    assert found.cluster == pytest.approx(5 / 8)  # 3 of phone 0, 2 of phone 1
    # H(phone) is one bit; only unit 1 (3/8 of the frames) leaves doubt: H(1/3)
    doubt = 3 / 8 * (np.log2(3) - 2 / 3)
    assert found.pnmi == pytest.approx(1 - doubt)


def test_bounds() -> None:
    phones = np.random.default_rng(0).integers(0, 5, 1000)
    assert purity(phones, phones) == pytest.approx((1, 1, 1))
    nothing = purity(np.zeros(1000, int), phones)
    assert nothing.pnmi == pytest.approx(0, abs=1e-12) and nothing.cluster == pytest.approx(1)
    assert purity(phones, np.zeros(1000, int)).pnmi == 1


def test_rows_of_two_lengths_are_refused() -> None:
    with pytest.raises(ValueError, match="one length"):
        purity(np.zeros(2, int), np.zeros(3, int))
