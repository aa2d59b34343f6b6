"""Rational bounds of the exponential and the logarithm: what certificates are made of."""

from fractions import Fraction
from typing import NamedTuple

_TERMS = 64


class Enclosure(NamedTuple):
    """Two rationals between which a real number lies."""

    low: Fraction
    high: Fraction


def exponential(x: Fraction) -> Enclosure:
    """Return bounds of e^x for 0 ≤ x < 32, by Taylor's series and its remainder."""
    total, term = Fraction(0), Fraction(1)
    for k in range(1, _TERMS + 1):
        total += term
        term *= x / k
    return Enclosure(total, total + term / (1 - x / (_TERMS + 1)))


def logarithm(x: Fraction, terms: int = _TERMS) -> Enclosure:
    r"""Return bounds of log x for x > 0.

    log x = k log 2 + log y with 2/3 ≤ y ≤ 4/3 and log y = 2 artanh t, t = (y − 1)/(y + 1), whose
    series after n terms is off by less than 2|t|^{2n+1}/((2n + 1)(1 − t²)), in the direction of t.
    """
    halvings = 0
    while x > Fraction(4, 3):
        x, halvings = x / 2, halvings + 1
    while x < Fraction(2, 3):
        x, halvings = x * 2, halvings - 1
    low, high = _near_one(x, terms)
    two = _near_one(Fraction(2), terms)
    ends = sorted((halvings * two.low, halvings * two.high))
    return Enclosure(low + ends[0], high + ends[1])


def _near_one(x: Fraction, terms: int) -> Enclosure:
    t = (x - 1) / (x + 1)
    total, power = Fraction(0), 2 * t
    for k in range(terms):
        total += power / (2 * k + 1)
        power *= t * t
    off = power / ((2 * terms + 1) * (1 - t * t))
    return Enclosure(min(total, total + off), max(total, total + off))
