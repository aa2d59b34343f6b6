"""The gold reward against the divergence for one normal feature."""

from dataclasses import dataclass
from math import ceil, sqrt

import numpy as np
from jaxtyping import Float

from nlhf.numerics import EPSILON
from nlhf.theorems import Citation, Hypothesis, Margin, Theorem

from .draws import Draws, instances
from .over_optimisation import Nodes, quadrature

GAO_SLOPE_SQUARED = 2.0
GAO_CURVATURE = 2.0

_TAIL = 12.0
"""Standard deviations: a normal law has less than 1e-32 of its mass beyond."""

Polynomial = Float[np.ndarray, "_"]


@dataclass(frozen=True, slots=True, eq=False)
class Line:
    """A feature on the line; every field but the temperature is a polynomial, constant first.

    Attributes:
        log_density: Logarithm of the reference density, up to a constant.
        proxy: r̂.
        gold: r*.
        temperature: β.
    """

    log_density: Polynomial
    proxy: Polynomial
    gold: Polynomial
    temperature: float


def _value(polynomial: Polynomial, at: Nodes) -> Nodes:
    return np.asarray(np.polynomial.polynomial.polyval(at, polynomial))


def _moments(logits: Nodes, each: Nodes) -> tuple[Nodes, float]:
    """Return the probabilities of quadrature nodes under a density, and log of its integral."""
    top = float(logits.max())
    raw = each * np.exp(logits - top)
    return raw / raw.sum(), top + float(np.log(raw.sum()))


def _grid(line: Line) -> tuple[Nodes, Nodes]:
    """Return nodes over both laws: 16 on every stretch of one standard deviation."""
    width = 1.0 / sqrt(-2.0 * line.log_density[2])
    centre = line.log_density[1] * width**2
    shift = line.proxy[1] * width**2 / line.temperature
    low = centre + min(0.0, shift) - _TAIL * width
    high = centre + max(0.0, shift) + _TAIL * width
    pieces = ceil((high - low) / width)
    at, each = quadrature(2.0 * pieces)
    return low + (high - low) * at, (high - low) * each


def _gao_shape(instance: Line) -> Margin:
    at, each = _grid(instance)
    base, proxy = _value(instance.log_density, at), _value(instance.proxy, at)
    before, log_before = _moments(base, each)
    after, log_after = _moments(base + proxy / instance.temperature, each)
    gold = _value(instance.gold, at)
    gain = float((after - before) @ gold)
    nats = float(after @ proxy) / instance.temperature - (log_after - log_before)
    centre = float(before @ at)
    variance = float(before @ (at - centre) ** 2)
    linear, square = float(instance.gold[1]), float(instance.gold[2])
    slope = sqrt(GAO_SLOPE_SQUARED * variance) * (linear + 2.0 * square * centre)
    slope *= float(np.sign(instance.proxy[1]))
    bend = -GAO_CURVATURE * variance * square
    distance = sqrt(max(nats, 0.0))
    expected = instance.proxy[1] ** 2 * variance / (2.0 * instance.temperature**2)
    reach = max(abs(float(at[0])), abs(float(at[-1])))
    terms = 1.0 + abs(float(base @ before)) + float(np.abs(proxy) @ after) / instance.temperature
    off = 64.0 * EPSILON * terms
    scale = (1.0 + reach) * (abs(linear) + abs(square) * reach) + 1e-3
    allowed = 256.0 * EPSILON * scale + off * (abs(slope) / max(distance, 1e-3) + abs(bend))
    shape = distance * (slope - bend * distance)
    parts = {
        "distance": Margin.equal(nats, expected, scale=1.0 + expected, rounding=off),
        "gold": Margin.equal(gain, shape, scale=scale, rounding=allowed),
    }
    if bend > 0.0:
        peak = slope**2 / (4.0 * bend)
        parts["peak"] = Margin.at_most(gain, peak, scale=scale, rounding=allowed)
    return Margin.every(parts)


def _draw_line(draws: Draws, wide: float = 0.0, curved: bool = False, cubic: bool = False) -> Line:
    centre, width = draws.between(-1.0, 1.0), draws.logarithmic(0.3, 3.0)
    quartic = -wide / width**4
    density = np.array([0.0, centre / width**2, -0.5 / width**2, 0.0, quartic])
    tau = draws.logarithmic(0.2, 5.0)
    slope = draws.one_of((-1.0, 1.0)) * draws.between(0.2, 3.0) * tau / width
    bent = -draws.between(0.1, 0.4) * tau / width**2 if curved else 0.0
    proxy = np.array([draws.between(-1.0, 1.0), slope, bent])
    gold = np.array([0.0, draws.between(-1.0, 1.0), draws.one_of((0.0, 1.0)), 0.0])
    gold[2] *= -draws.between(0.0, 1.0)
    if cubic:
        gold[3] = np.sign(slope) * draws.between(0.5, 1.0)
    return Line(density, proxy, gold, tau)


def bell(linear: float, square: float, temperature: float) -> Line:
    """Return a standard normal feature that is the proxy itself."""
    density, proxy = np.array([0.0, 0.0, -0.5, 0.0, 0.0]), np.array([0.0, 1.0, 0.0])
    return Line(density, proxy, np.array([0.0, linear, -square, 0.0]), temperature)


GAO_SHAPE = Theorem(
    key="gao-shape",
    statement=(
        r"\phi \sim N(m,v), \hat r = k\phi, r^* = a\phi - c\phi^2: d = \sqrt{KL(\hat\pi\|\pi_0)}"
        r" = |k|\sqrt v/(\sqrt2\beta) and the gold reward gains d(\alpha - \gamma d) with"
        r" \alpha = sign(k)\sqrt{2v}(a-2cm), \gamma = 2vc: at most \alpha^2/(4\gamma) if c > 0,"
        r" and linear in d if c = 0"
    ),
    sources=(Citation("gao2022", "d(\\alpha-\\beta d), best of n, as commonly stated"),),
    hypotheses=(
        Hypothesis("normal", r"\phi is normal", lambda x: not x.log_density[3:].any()),
        Hypothesis("linear-proxy", r"\hat r = k\phi + const", lambda x: not x.proxy[2:].any()),
        Hypothesis("quadratic-gold", r"r^* = a\phi - c\phi^2", lambda x: not x.gold[3:].any()),
    ),
    margin=_gao_shape,
    instances=instances(_draw_line),
    controls={
        "normal": instances(lambda draws: _draw_line(draws, wide=draws.between(0.05, 1.0))),
        "linear-proxy": instances(lambda draws: _draw_line(draws, curved=True)),
        "quadratic-gold": instances(lambda draws: _draw_line(draws, cubic=True)),
    },
    sharp=(bell(1.0, 0.5, 1.0), bell(1.0, 0.25, 0.5)),
    constants={"slope squared": GAO_SLOPE_SQUARED, "curvature": GAO_CURVATURE},
)

ALL = (GAO_SHAPE,)
