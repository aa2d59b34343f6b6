"""What is lost token by token: geometric mixtures and KL gradients of autoregressive models."""

from collections.abc import Callable
from dataclasses import dataclass
from math import log

import numpy as np
from jaxtyping import Complex, Float

from nlhf.numerics import EPSILON, log_normalise
from nlhf.spaces.policy import Policy
from nlhf.spaces.realisers import Realiser, SoftBellman, TokenwiseMixture
from nlhf.spaces.tree import TokenTree
from nlhf.theorems import Citation, Hypothesis, Margin, Theorem

from .definitions import depth
from .draws import Draws, instances

APART = 3 / 20
"""Total variation between the two mixtures, at least, where continuations disagree unevenly."""

UNEVEN = 3.0
"""By how much, as a factor, the normalisers differ between two groups of sequences."""

SHARE = 1 / 4
"""The token-wise mass of either group, at least."""

MISSED = 1 / 10
"""Error of the token-wise gradient at the first token, at least."""

Table = Float[np.ndarray, "_ token"]
Model = tuple[Table, ...]
"""Log-probabilities of the next token, one table per prefix length; prefixes in order."""

Sequences = Float[np.ndarray, "sequence"]


def sequence_logs(model: Model) -> Sequences:
    """Return log p(y) of every sequence, in lexicographic order."""
    found = np.zeros(1)
    for table in model:
        found = (found[:, None] + table).ravel()
    return found


def tokenwise(p: Model, q: Model, weight: float) -> Model:
    """Return the mixture ∝ p^{1−w} q^w, renormalised at every prefix."""
    return tuple(log_normalise((1.0 - weight) * a + weight * b) for a, b in zip(p, q, strict=True))


def sequence_level(p: Model, q: Model, weight: float) -> Sequences:
    """Return the mixture ∝ p(y)^{1−w} q(y)^w of whole sequences."""
    return log_normalise((1.0 - weight) * sequence_logs(p) + weight * sequence_logs(q))


def shortfalls(p: Model, q: Model, weight: float) -> Sequences:
    """Return S(y) = Σ_t log Z(y_{<t}), Z being the normalisers of the token-wise mixture."""
    found = np.zeros(1)
    for a, b in zip(p, q, strict=True):
        here = np.logaddexp.reduce((1.0 - weight) * a + weight * b, axis=1, keepdims=True)
        found = (found[:, None] + here + np.zeros_like(a)).ravel()
    return found


@dataclass(frozen=True, slots=True, eq=False)
class Mixed:
    """Two models, the weight of the second, and the weight used token by token."""

    p: Model
    q: Model
    weight: float
    token_weight: float


def is_uneven(x: Mixed) -> bool:
    """Return whether S parts the sequences by log 3 into two groups of mass 1/4 at least."""
    s = shortfalls(x.p, x.q, x.weight)
    mass = np.exp(sequence_logs(tokenwise(x.p, x.q, x.weight)))
    order = np.argsort(s)
    below = np.cumsum(mass[order])[:-1]
    jumps = np.diff(s[order]) >= log(UNEVEN)
    return bool((jumps & (below >= SHARE) & (below <= 1.0 - SHARE)).any())


def _realised(x: Mixed, realiser: Realiser) -> Sequences:
    """Return what a realiser of the package makes of the mixture, sequence by sequence."""
    tree = TokenTree(x.p[0].shape[1], len(x.p))
    anchors = [
        (Policy(np.concatenate(model)), strength)
        for model, strength in ((x.p, 1.0 - x.weight), (x.q, x.weight))
    ]
    policy = realiser.realise(tree, None, anchors)
    return np.asarray(tree.leaf_log_probabilities(policy.log_probabilities))


def _tokenwise_mixture(x: Mixed) -> Margin:
    s = shortfalls(x.p, x.q, x.token_weight)

    def identity(whole: Sequences, by_token: Sequences) -> Margin:
        predicted = s - np.logaddexp.reduce(by_token + s)
        size = depth(whole, by_token, s)
        return Margin.equal(
            float(np.abs(whole - by_token - predicted).max()),
            0.0,
            scale=size,
            rounding=32.0 * EPSILON * (s.size + 8) * size,
        )

    whole = sequence_level(x.p, x.q, x.weight)
    by_token = sequence_logs(tokenwise(x.p, x.q, x.token_weight))
    realised = _realised(x, SoftBellman()), _realised(x, TokenwiseMixture())
    parts = {"ratio": identity(whole, by_token), "ratio, shipped": identity(*realised)}
    for name, (one, other) in {"apart": (whole, by_token), "apart, shipped": realised}.items():
        distance = 0.5 * float(np.abs(np.exp(one) - np.exp(other)).sum())
        parts[name] = Margin.at_most(APART, distance, scale=1.0, rounding=1e-12)
    return Margin.every(parts)


def _tables(draws: Draws, vocabulary: int, horizon: int, spread: float) -> Model:
    return tuple(
        log_normalise(draws.array((vocabulary**h, vocabulary), -spread, 0.0))
        for h in range(horizon)
    )


def _draw_uneven(draws: Draws) -> Mixed:
    """Draw models that nearly agree, but contradict each other after some first tokens."""
    vocabulary, horizon = draws.one_of(((2, 2), (2, 3), (3, 2)))
    p = _tables(draws, vocabulary, horizon, 1.0)
    shift = _tables(draws, vocabulary, horizon, 0.2)
    p = (log_normalise(0.3 * p[0]), *p[1:])
    q = tuple(log_normalise(a + b) for a, b in zip(p, shift, strict=True))
    peak = draws.between(6.0, 12.0)
    agreeing = vocabulary - 1
    for h in range(1, horizon):
        each = vocabulary ** (h - 1)  # prefixes of length h with a given first token
        contrary = slice(0, each * agreeing)
        p[h][contrary, 0] += peak
        q[h][contrary, -1] += peak
    models = tuple(tuple(log_normalise(table) for table in model) for model in (p, q))
    weight = draws.between(0.35, 0.65)
    return Mixed(models[0], models[1], weight, weight)


def _draw_even(draws: Draws) -> Mixed:
    """Draw models whose tokens do not depend on each other, or of a single token."""
    vocabulary, horizon = draws.one_of(((2, 2), (3, 1), (2, 3), (3, 2)))
    tables = []
    for _ in range(2):
        rows = [draws.array((1, vocabulary), -3.0, 0.0) for _ in range(horizon)]
        tables.append(
            tuple(
                log_normalise(np.repeat(row, vocabulary**h, axis=0)) for h, row in enumerate(rows)
            )
        )
    weight = draws.between(0.1, 0.9)
    return Mixed(tables[0], tables[1], weight, weight)


def _draw_other_weight(draws: Draws) -> Mixed:
    x = _draw_uneven(draws)
    return Mixed(x.p, x.q, x.weight, x.weight + draws.between(0.05, 0.3))


TOKENWISE_MIXTURE = Theorem(
    key="tokenwise-mixture",
    statement=(
        r"with \log Z(h) of the normalisers of the token-wise mixture and S(y) = \sum_t \log"
        r" Z(y_{<t}), the sequence-level geometric mixture is the token-wise one times"
        r" e^{S}/E e^{S}: they are equal iff S is constant, and apart by 3/20 in total variation"
        r" where S parts the sequences by \log 3 into two groups of token-wise mass 1/4 or more"
    ),
    sources=(Citation("munos2023", "the mixture, as commonly implemented token by token"),),
    hypotheses=(
        Hypothesis(
            "same-weight",
            r"both mixtures have the weights 1-w, w",
            lambda x: x.weight == x.token_weight,
        ),
        Hypothesis(
            "uneven",
            r"S(y) \ge S(y') + \log 3 for y in a set of mass in [1/4, 3/4], y' outside",
            is_uneven,
        ),
    ),
    margin=_tokenwise_mixture,
    instances=instances(_draw_uneven),
    controls={
        "same-weight": instances(_draw_other_weight),
        "uneven": instances(_draw_even),
    },
    constants={"apart": APART, "uneven": UNEVEN, "share": SHARE},
)


@dataclass(frozen=True, slots=True, eq=False)
class Trained:
    """A model π, a reference μ, and the model that the sequences are drawn from."""

    policy: Model
    reference: Model
    sampler: Model


def divergence_of(policy: Model, reference: Model) -> float:
    """Return KL(π‖μ) between distributions over sequences."""
    logs = sequence_logs(policy)
    return float(np.exp(logs) @ (logs - sequence_logs(reference)))


def exact_gradient(x: Trained) -> Float[np.ndarray, "logit"]:
    """Return ∇_θ KL(π_θ‖μ) of the enumerated divergence, in the logits, by complex steps."""
    sizes = [table.shape for table in x.policy]
    at = np.concatenate([table.ravel() for table in x.policy])
    target = sequence_logs(x.reference)

    def value(logits: Complex[np.ndarray, "logit"]) -> complex:
        found, start = np.zeros(1, dtype=complex), 0
        for shape in sizes:
            table = logits[start : start + shape[0] * shape[1]].reshape(shape)
            start += table.size
            table = table - np.log(np.exp(table).sum(axis=1, keepdims=True))
            found = (found[:, None] + table).ravel()
        return complex(np.exp(found) @ (found - target))

    tiny = 1e-40
    return np.array([value(at + 1j * tiny * row).imag / tiny for row in np.eye(at.size)])


Credit = Callable[[Float[np.ndarray, "sequence step"]], Float[np.ndarray, "sequence step"]]


def own_token(ratios: Float[np.ndarray, "sequence step"]) -> Float[np.ndarray, "sequence step"]:
    """Credit every token with its own log-ratio."""
    return ratios


def to_go(ratios: Float[np.ndarray, "sequence step"]) -> Float[np.ndarray, "sequence step"]:
    """Credit every token with the log-ratios from it to the end."""
    return np.cumsum(ratios[:, ::-1], axis=1)[:, ::-1]


def estimated_gradient(x: Trained, credit: Credit) -> Float[np.ndarray, "logit"]:
    """Return E Σ_t credit_t ∇ log π(y_t|y_{<t}), by enumeration of the sampled sequences."""
    vocabulary, horizon = x.policy[0].shape[1], len(x.policy)
    numbers = np.arange(vocabulary**horizon)
    prefixes = [numbers // vocabulary ** (horizon - h) for h in range(horizon)]
    tokens = [numbers // vocabulary ** (horizon - 1 - h) % vocabulary for h in range(horizon)]
    ratios = np.stack(
        [(x.policy[h] - x.reference[h])[prefixes[h], tokens[h]] for h in range(horizon)],
        axis=1,
    )
    weights = np.exp(sequence_logs(x.sampler))[:, None] * credit(ratios)
    parts = []
    for h in range(horizon):
        score = np.zeros_like(x.policy[h])
        np.add.at(score, (prefixes[h], tokens[h]), weights[:, h])
        mass = np.bincount(prefixes[h], weights[:, h], minlength=len(score))
        parts.append((score - mass[:, None] * np.exp(x.policy[h])).ravel())
    return np.concatenate(parts)


def future(x: Trained) -> Float[np.ndarray, "token"]:
    """Return π(a)(V(a) − E V) for first tokens a, V(a) being the KL of what follows a."""
    first = np.exp(x.policy[0][0])
    follows = np.zeros(first.size)
    if len(x.policy) > 1:
        reach = np.ones((first.size, 1))
        for h in range(1, len(x.policy)):
            own = np.exp(x.policy[h])
            here = (own * (x.policy[h] - x.reference[h])).sum(axis=1)
            follows = follows + (reach * here.reshape(first.size, -1)).sum(axis=1)
            reach = (reach[..., None] * own.reshape(*reach.shape, -1)).reshape(first.size, -1)
    return first * (follows - first @ follows)


def _tokenwise_kl_gradient(x: Trained) -> Margin:
    exact = exact_gradient(x)
    first = x.policy[0].size
    size = depth(*x.policy, *x.reference) * len(x.policy)
    allowed = 64.0 * EPSILON * (exact.size + 8) * size
    by_token = estimated_gradient(x, own_token)
    lost = float(np.abs(by_token - exact)[:first].max())
    missing = np.abs((exact - by_token)[:first] - future(x))
    return Margin.every(
        {
            "reward to go": Margin.equal(
                float(np.abs(estimated_gradient(x, to_go) - exact).max()),
                0.0,
                scale=size,
                rounding=allowed,
            ),
            "what is missing": Margin.equal(
                float(missing.max()), 0.0, scale=size, rounding=allowed
            ),
            "token-wise": Margin.at_most(MISSED, lost, scale=1.0, rounding=allowed),
        }
    )


def _draw_trained(draws: Draws, off_policy: bool = False) -> Trained:
    """Draw models that differ more after the last first token than after the others."""
    vocabulary, horizon = draws.one_of(((2, 2), (2, 3), (3, 2)))
    policy = _tables(draws, vocabulary, horizon, 2.0)
    policy = (log_normalise(0.3 * policy[0]), *policy[1:])
    reference = _tables(draws, vocabulary, horizon, 1.0)
    contrary = vocabulary ** (horizon - 2) * (vocabulary - 1)
    reference[-1][contrary:, 0] -= draws.between(8.0, 14.0)
    policy[-1][contrary:, 0] += 2.0
    policy = tuple(log_normalise(table) for table in policy)
    reference = tuple(log_normalise(table) for table in reference)
    sampler = _tables(draws, vocabulary, horizon, 2.0) if off_policy else policy
    return Trained(policy, reference, sampler)


def _draw_alike(draws: Draws) -> Trained:
    """Draw models whose tokens do not depend on each other, or of a single token."""
    mixed = _draw_even(draws)
    return Trained(mixed.p, mixed.q, mixed.p)


TOKENWISE_KL_GRADIENT = Theorem(
    key="tokenwise-kl-gradient",
    statement=(
        r"with \ell_t = \log\pi(y_t|y_{<t}) - \log\mu(y_t|y_{<t}), \nabla KL(\pi\|\mu) = E_\pi"
        r" \sum_t (\sum_{s\ge t}\ell_s)\nabla\log\pi(y_t|y_{<t}); with \ell_t alone the part"
        r" \pi(a)(V(a) - E_\pi V) is missing at the first token a, where V(a) is the KL of what"
        r" follows: it is not the gradient wherever V is not constant"
    ),
    sources=(Citation("tang2025", "as commonly stated"),),
    hypotheses=(
        Hypothesis(
            "on-policy",
            r"y \sim \pi",
            lambda x: all(bool((a == b).all()) for a, b in zip(x.policy, x.sampler, strict=True)),
        ),
        Hypothesis(
            "uneven-future",
            r"\max_a \pi(a)|V(a) - E_\pi V| \ge 1/10",
            lambda x: float(np.abs(future(x)).max()) >= MISSED,
        ),
    ),
    margin=_tokenwise_kl_gradient,
    instances=instances(_draw_trained),
    controls={
        "on-policy": instances(lambda draws: _draw_trained(draws, off_policy=True)),
        "uneven-future": instances(_draw_alike),
    },
    constants={"missed": MISSED},
)

ALL = (TOKENWISE_MIXTURE, TOKENWISE_KL_GRADIENT)
