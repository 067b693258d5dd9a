"""The rule that cuts trials short."""

import pytest

from tuners import halving

LEADING, MIDDLE, LAGGING = ([level] * 8 for level in (0.9, 0.5, 0.1))


def test_rungs_double():
    assert [e for e in range(1, 70) if halving.is_rung(e)] == [4, 8, 16, 32, 64]


@pytest.mark.parametrize(
    ("curve", "others", "cut"),
    [
        ([0.2] * 4, [LEADING, MIDDLE, LAGGING], True),
        ([0.5] * 4, [LEADING, MIDDLE, LAGGING], False),
        ([0.6] * 4, [LEADING, MIDDLE, LAGGING], False),
        ([0.2] * 3, [LEADING, MIDDLE, LAGGING], False),  # no rung
        ([0.2] * 5, [LEADING, MIDDLE, LAGGING], False),
        ([0.2] * 4, [LEADING, MIDDLE], False),  # too few to compare with
        ([0.2] * 4, [LEADING, MIDDLE, [0.9] * 3], False),  # one was never there
        ([0.6, 0.1, 0.1, 0.1], [LEADING, MIDDLE, LAGGING], False),  # its best counts
        ([0.2] * 4, [[0.1] * 4 + [0.9]] * 3, False),  # what came later does not
        ([], [LEADING, MIDDLE, LAGGING], False),
    ],
)
def test_the_lower_half_is_cut(curve, others, cut):
    assert halving.hopeless(curve, others) is cut
