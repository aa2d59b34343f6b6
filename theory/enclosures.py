"""Rational bounds of the exponential and the logarithm: what certificates are made of."""

from fractions import Fraction
from typing import NamedTuple

_TERMS = 64
_BITS = 2**160


class Enclosure(NamedTuple):
    """Two rationals between which a real number lies."""

    low: Fraction
    high: Fraction


def exponential(x: Fraction) -> Enclosure:
    """Return bounds of e^x for x ≥ 0, by the series at x/2^k and k squarings."""
    halvings = max(0, (2 * x).__ceil__().bit_length())
    z = x / 2**halvings
    total, term = Fraction(1), Fraction(1)
    for k in range(1, 40):
        term = _down(term * z / k)
        total += term
    # Rounding 39 terms down loses less than 2^-150, and the rest of the series, z ≤ 1/2, is below
    # 2^-190: together below 2^-140.
    low, high = total, total + Fraction(1, 2**140)
    for _ in range(halvings):
        low, high = _down(low * low), _down(high * high) + Fraction(1, _BITS)
    return Enclosure(low, high)


def _down(value: Fraction) -> Fraction:
    return Fraction((value * _BITS).__floor__(), _BITS)


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
