"""Linear Gaussian encoders of two responses to a prompt: what the multi-view loss keeps."""

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float

from nlhf.learning.reward_on_policy.multiview import ViewLoss
from nlhf.learning.reward_on_policy.multiview import least_loss as shipped_least_loss
from nlhf.numerics import EPSILON
from nlhf.theorems import Citation, Hypothesis, Margin, Theorem

from .draws import Draws, instances
from .self_labels import Labels, fit_error, fitted, risk

UNIVERSAL = 0.148777
"""max_ν F(ν)/ν = 0.14877664 from above: nothing is kept at b ≥ 0.1488 κ."""

CURVATURE = 1 / 2
DROPPED, KEPT = 7.950, 7.951
"""At b = 1 directions are dropped up to κ = 7.950 and kept from 7.951 on."""

_GAIN = 0.14843
"""The gain at which a direction is first kept at b = 1."""

_RANK = 1e-6
_ROOT = 1e-10
"""What the package's root finding may leave, in nats."""

Square = Float[np.ndarray, "feature feature"]
Matrix = Float[np.ndarray, "code feature"]
Ratios = Float[np.ndarray, "feature"]
Table = Float[np.ndarray, "_ _"]


@dataclass(frozen=True, slots=True, eq=False)
class Shared:
    """Responses h_i = c + w_i to a prompt, an encoder z_i = Ah_i + ε_i, a weight of divergence.

    Attributes:
        between: Σ_c, the covariance of c.
        within: Σ_w, that of w_1 and of w_2, positive definite.
        encoder: A.
        weight: b.
        alike: Cov(w_1, w_2)/Σ_w.
        noise: Cov(ε_1, ε_2).
    """

    between: Square
    within: Square
    encoder: Matrix
    weight: float
    alike: float
    noise: float


def directions(between: Square, within: Square) -> tuple[Ratios, Square]:
    """Return κ, and a matrix V with VΣ_wVᵀ = I and VΣ_cVᵀ = diag κ."""
    whiten = np.linalg.inv(np.linalg.cholesky(within))
    ratios, vectors = np.linalg.eigh(whiten @ between @ whiten.T)
    return np.maximum(ratios, 0.0), np.asarray(vectors.T @ whiten)


def shared_information(shared: Shared, encoder: Matrix) -> float:
    """Return I(z_1; z_2) from the joint covariance of the two codes."""
    each = encoder @ (shared.between + shared.within) @ encoder.T + np.eye(len(encoder))
    cross = encoder @ (shared.between + shared.alike * shared.within) @ encoder.T
    cross = cross + shared.noise * np.eye(len(encoder))
    joint = np.block([[each, cross], [cross.T, each]])
    return float(np.linalg.slogdet(each)[1] - 0.5 * np.linalg.slogdet(joint)[1])


def divergence(shared: Shared, encoder: Matrix) -> float:
    """Return E D_SKL(N(Ah_1, I)‖N(Ah_2, I)) = ½E|A(h_1 − h_2)|²."""
    difference = 2.0 * (1.0 - shared.alike) * shared.within
    return float(0.5 * np.trace(encoder @ difference @ encoder.T))


def loss(shared: Shared, encoder: Matrix) -> float:
    """Return −I(z_1; z_2) + b E D_SKL."""
    return -shared_information(shared, encoder) + shared.weight * divergence(shared, encoder)


def information_at(gain: float, ratio: float) -> float:
    """Return I(s, κ) = log(1 + s(1+κ)) − ½log(1+s) − ½log(1 + s(1+2κ))."""
    return float(
        np.log1p(gain * (1.0 + ratio))
        - 0.5 * np.log1p(gain)
        - 0.5 * np.log1p(gain * (1.0 + 2.0 * ratio))
    )


def best_gain(ratio: float, weight: float) -> float:
    """Return the s ≥ 0 that minimises bs − I(s, κ): 0, or a root of a cubic."""
    a, c = 1.0 + ratio, 1.0 + 2.0 * ratio
    # b(1+s)(1+as)(1+cs) = κ²s is where the derivative vanishes.
    cubic = weight * np.array([a * c, a + c + a * c, 1.0 + a + c, 1.0])
    cubic[2] -= ratio**2
    roots = np.roots(cubic)
    real = roots[np.abs(roots.imag) <= 1e-6 * (1.0 + np.abs(roots))].real
    candidates = [0.0, *(float(root) for root in real if root > 0.0)]
    return min(candidates, key=lambda s: weight * s - information_at(s, ratio))


def least_loss(ratios: Ratios, weight: float) -> float:
    """Return Σ_i min_s [bs − I(s, κ_i)]."""
    gains = [best_gain(float(ratio), weight) for ratio in ratios]
    each = zip(gains, ratios, strict=True)
    return sum(weight * s - information_at(s, float(ratio)) for s, ratio in each)


def best_encoder(between: Square, within: Square, weight: float) -> Matrix:
    """Return the encoder with the best gain in every direction."""
    ratios, basis = directions(between, within)
    gains = np.array([best_gain(float(ratio), weight) for ratio in ratios])
    return np.sqrt(gains)[:, None] * basis


def _mib_threshold(instance: Shared) -> Margin:
    ratios, basis = directions(instance.between, instance.within)
    encoder, weight, top = instance.encoder, instance.weight, float(ratios[-1])
    cost = float(np.trace(encoder @ instance.within @ encoder.T))
    found = shared_information(instance, encoder)
    best = best_encoder(instance.between, instance.within, weight)
    least = least_loss(ratios, weight)
    kept = np.sqrt(_GAIN) * basis[-1:]
    condition = float(np.linalg.cond(instance.within))
    rounded = 256.0 * EPSILON * condition * (1.0 + cost * (1.0 + top))
    shipped = sum(shipped_least_loss(ViewLoss.BOTTLENECK, float(ratio), weight) for ratio in ratios)
    scale = 1.0 + (1.0 + weight) * cost

    def at_most(lhs: float, rhs: float) -> Margin:
        return Margin.at_most(lhs, rhs, scale=scale, rounding=rounded * (1.0 + weight))

    parts = {
        "divergence": Margin.equal(
            divergence(instance, encoder), cost, scale=scale, rounding=rounded
        ),
        "no encoder is better": at_most(least, loss(instance, encoder)),
        "attained": Margin.equal(
            loss(instance, best), least, scale=scale, rounding=rounded * (1.0 + weight)
        ),
        "attained, shipped": Margin.equal(
            loss(instance, best), shipped, scale=scale, rounding=rounded * (1.0 + weight) + _ROOT
        ),
        "universal": at_most(found, UNIVERSAL * top * cost),
        "no small gain": at_most(found, CURVATURE * top**2 * cost**2),
    }
    if top <= DROPPED:
        parts["dropped"] = at_most(found, cost)
    if top >= KEPT:
        parts["kept"] = at_most(divergence(instance, kept), shared_information(instance, kept))
    return Margin.every(parts)


def draw_covariances(draws: Draws, width: int) -> tuple[Square, Square]:
    """Draw Σ_c with ratios on both sides of the threshold, and Σ_w."""
    root = np.eye(width) + 0.5 * np.asarray(draws.array((width, width), -1.0, 1.0)) / width
    ratios = np.array([draws.logarithmic(0.2, 60.0) for _ in range(width)])
    turn = np.linalg.qr(np.eye(width) + np.asarray(draws.array((width, width), -0.4, 0.4)))[0]
    return root @ (turn * ratios) @ turn.T @ root.T, root @ root.T


def _draw_shared(draws: Draws, alike: float = 0.0, noise: float = 0.0) -> Shared:
    width = 1 + draws.whole(2)
    between, within = draw_covariances(draws, width)
    weight = draws.one_of((1.0, draws.logarithmic(0.1, 3.0)))
    if draws.chance(3):
        encoder = best_encoder(between, within, weight)
        encoder = encoder + 0.1 * np.asarray(draws.array(encoder.shape, -1.0, 1.0))
    else:
        shape = (1 + draws.whole(2), width)
        size = draws.logarithmic(0.05, 2.0)
        encoder = size * np.asarray(draws.array(shape, -1.0, 1.0))
    return Shared(between, within, encoder, weight, alike, noise)


def _draw_noise(draws: Draws) -> Shared:
    """Draw noise that the codes share, or that is opposite, then not far above the threshold."""
    if draws.chance(2):
        return _draw_shared(draws, noise=draws.between(0.3, 0.9))
    ratio, encoder = draws.between(8.0, 12.0), draws.between(0.1, 1.0)
    scalars = (np.array([[entry]]) for entry in (ratio, 1.0, encoder))
    between, within, gain = scalars
    return Shared(between, within, gain, 1.0, 0.0, -draws.between(0.3, 0.9))


def at_its_best(between: Square, within: Square, weight: float) -> Shared:
    """Return the best encoder."""
    encoder = best_encoder(between, within, weight)
    return Shared(between, within, encoder, weight, 0.0, 0.0)


MIB_THRESHOLD = Theorem(
    key="mib-threshold",
    statement=(
        r"h_i = c + w_i, z_i = Ah_i + \varepsilon_i: -I(z_1;z_2) + b\,E D_{SKL} \ge"
        r" \sum_i\min_s[bs - I(s,\kappa_i)] for every A, attained by gains s_i in the directions"
        r" where Cov(c)v = \kappa_i Cov(w)v, with E D_{SKL} = tr(A\Sigma_wA^\top), I(s,\kappa) ="
        r" \log(1+s(1+\kappa)) - \tfrac12\log(1+s) - \tfrac12\log(1+s(1+2\kappa)). A direction is"
        r" kept iff b < \max_s I/s, never at b \ge 0.1488\kappa, and then with s > 2b/\kappa^2; at"
        r" b=1 from a \kappa^* between 7.950 and 7.951"
    ),
    sources=(
        Citation("lang2024", "Section 4.2, the loss L_M, and Section 5.3"),
        Citation("federici2020", "the multi-view bottleneck, as commonly stated"),
        Citation("chechik2005", "continuous transitions of the Gaussian bottleneck, in contrast"),
        Citation("horn1950", "as commonly stated"),
    ),
    hypotheses=(
        Hypothesis("independent-responses", r"Cov(w_1,w_2) = 0", lambda x: x.alike == 0.0),
        Hypothesis(
            "independent-noise", r"Cov(\varepsilon_1,\varepsilon_2) = 0", lambda x: x.noise == 0.0
        ),
    ),
    margin=_mib_threshold,
    instances=instances(_draw_shared),
    controls={
        "independent-responses": instances(
            lambda draws: _draw_shared(draws, alike=draws.between(0.3, 0.9))
        ),
        "independent-noise": instances(_draw_noise),
    },
    sharp=(
        at_its_best(np.diag([20.0, 0.2]), np.eye(2), 1.0),
        at_its_best(np.array([[9.0, 8.0], [8.0, 9.0]]), np.diag([1.0, 2.0]), 0.5),
    ),
    constants={
        "universal": UNIVERSAL,
        "curvature": CURVATURE,
        "dropped": DROPPED,
        "kept": KEPT,
    },
)


@dataclass(frozen=True, slots=True, eq=False)
class Backbone:
    """A linear backbone h = Bφ under a reward and under the encoders of two views.

    Attributes:
        between: Σ_c of the features.
        within: Σ_w of the features.
        labels: Human comparisons, by differences of features.
        backbone: B.
        heads: Q; encoders are z = A'Qh + ε with A' free.
        reads: R; the reward is v·Rh with v free.
        weight: b.
        share: λ.
    """

    between: Square
    within: Square
    labels: Labels
    backbone: Table
    heads: Table
    reads: Table
    weight: float
    share: float


def least_through(instance: Backbone, through: Table) -> float:
    """Return the least multi-view loss of encoders z = A'(through)φ + ε."""
    rows = np.linalg.svd(through)
    basis = rows[2][: int((rows[1] > 1e-9 * rows[1][0]).sum())]
    between, within = (basis @ each @ basis.T for each in (instance.between, instance.within))
    # Another basis than the orthonormal one, so that the invariance is not assumed.
    square = basis @ through.T @ through @ basis.T
    ratios, _ = directions(square @ between @ square.T, square @ within @ square.T)
    return least_loss(ratios, instance.weight)


def _linear_backbone(instance: Backbone) -> Margin:
    labels, width = instance.labels, instance.within.shape[0]
    free = fitted(labels, np.zeros(width))
    through = instance.reads @ instance.backbone
    seen = replace(labels, contrasts=labels.contrasts @ through.T)
    read = through.T @ fitted(seen, np.zeros(len(through)))
    condition = float(np.linalg.cond(instance.within)) ** 2
    for matrix in (instance.heads @ instance.backbone, through):
        values = np.linalg.svd(matrix)[1]
        condition *= float(values[0] / values[values > 1e-9 * values[0]][-1]) ** 2
    off = 8.0 * (fit_error(labels, free) + fit_error(seen, np.linalg.lstsq(through.T, read)[0]))
    off = off * max(1.0, float(np.linalg.norm(through, 2)))
    alone = least_loss(directions(instance.between, instance.within)[0], instance.weight)
    found = least_through(instance, instance.heads @ instance.backbone)
    rounded = 1e3 * EPSILON * condition
    risks = risk(labels, free), risk(labels, read)
    return Margin.every(
        {
            "multi-view loss": Margin.equal(
                found, alone, scale=1.0 + abs(alone), rounding=rounded * (1.0 + abs(alone))
            ),
            "reward": Margin.equal(
                float(np.abs(read - free).max()),
                0.0,
                scale=1.0 + float(np.abs(free).max()),
                rounding=off,
            ),
            "joint optimum": Margin.equal(
                risks[1] + instance.share * found,
                risks[0] + instance.share * alone,
                scale=1.0 + instance.share * abs(alone),
                rounding=rounded * (1.0 + instance.share * abs(alone)),
            ),
        }
    )


def has_full_rank(matrix: Table, width: int) -> bool:
    """Return whether the columns are independent, well enough to compute with."""
    values = np.linalg.svd(matrix)[1]
    complete = matrix.shape[1] == width and len(values) == width
    return complete and bool(values[-1] >= _RANK * values[0])


def _steady(draws: Draws, rows: int, width: int) -> Table:
    """Draw a matrix with independent columns."""
    return np.eye(rows, width) + np.asarray(draws.array((rows, width), -0.4, 0.4)) / width


def _draw_backbone(draws: Draws, narrow: str = "") -> Backbone:
    width = 2 + draws.whole(1)
    between, within = draw_covariances(draws, width)
    pairs = np.eye(width + 1, width) + np.asarray(draws.array((width + 1, width), -0.3, 0.3))
    labels = Labels(pairs, np.ones(width + 1), np.asarray(draws.array((width + 1,), 0.1, 0.9)))
    rows = width + draws.whole(1)
    backbone = _steady(draws, rows, width)
    if narrow == "backbone":
        rows = 1
        backbone = np.asarray(draws.array((1, width), 0.2, 1.0))
    heads, reads = _steady(draws, rows, rows), _steady(draws, rows, rows)
    if narrow == "heads":
        heads = np.linalg.pinv(backbone)[:1]
    if narrow == "reads":
        reads = np.asarray(draws.array((1, rows), 0.2, 1.0))
    weight, share = draws.logarithmic(0.1, 1.0), draws.between(0.1, 1.0)
    return Backbone(between, within, labels, backbone, heads, reads, weight, share)


LINEAR_BACKBONE = Theorem(
    key="linear-backbone",
    statement=(
        r"backbone h = B\phi with independent columns, a free linear reward v\cdot h, free linear"
        r" Gaussian heads Ah + \varepsilon: the least multi-view loss over the heads does not"
        r" depend on B, the least L_R + \lambda L_M is \min L_R + \lambda\min L_M, and the reward"
        r" at it is the maximum-likelihood estimate without L_M"
    ),
    sources=(Citation("lang2024", "Section 4.2, Equation 1"),),
    hypotheses=(
        Hypothesis(
            "injective",
            r"rank B = d",
            lambda x: has_full_rank(x.backbone, x.within.shape[0]),
        ),
        Hypothesis(
            "free-heads",
            r"A is any matrix",
            lambda x: has_full_rank(x.heads, len(x.backbone)),
        ),
        Hypothesis(
            "free-reward",
            r"\hat r is any linear function of h",
            lambda x: has_full_rank(x.reads, len(x.backbone)),
        ),
    ),
    margin=_linear_backbone,
    instances=instances(_draw_backbone),
    controls={
        "injective": instances(lambda draws: _draw_backbone(draws, "backbone")),
        "free-heads": instances(lambda draws: _draw_backbone(draws, "heads")),
        "free-reward": instances(lambda draws: _draw_backbone(draws, "reads")),
    },
)

ALL = (MIB_THRESHOLD, LINEAR_BACKBONE)
