"""What is lost of a reward in a representation that two responses to a prompt share."""

from dataclasses import dataclass, replace
from math import log, sqrt

import numpy as np
from jaxtyping import Float

from nlhf.numerics import EPSILON
from nlhf.theorems import Citation, Hypothesis, Margin, Theorem

from .draws import Draws, instances

PINSKER = 1 / 2
"""TV ≤ √(D/2)."""

LOSS_SLOPE = 1 / 2
"""−log σ(u) ≥ log 2 − u/2."""

_TOLERANCE = 1e-9

Law = Float[np.ndarray, "shared first second label"]
Encoder = Float[np.ndarray, "response code"]
Pairs = Float[np.ndarray, "response response"]
Values = Float[np.ndarray, "response"]


@dataclass(frozen=True, slots=True, eq=False)
class Views:
    """Two views with a label and a code, and a policy's responses to one prompt with codes.

    Attributes:
        law: P(z₁, v₁, v₂, y).
        policy: π_θ(a|x), some of them 0.
        encoder: p(z|x, a).
        head: A reward in [0, 1] for every code.
        reward: r̂(x, a).
        pairs: P(a is compared with b, and a is said to be better).
    """

    law: Law
    policy: Values
    encoder: Encoder
    head: Float[np.ndarray, "code"]
    reward: Values
    pairs: Pairs


def entropy(law: Law, *axes: int) -> float:
    """Return the entropy of some of the variables, in nats."""
    others = tuple(axis for axis in range(4) if axis not in axes)
    p = law.sum(axis=others).ravel()
    p = p[p > 0.0]
    return float(-(p @ np.log(p)))


def information(law: Law, left: tuple[int, ...], right: tuple[int, ...], given: int = -1) -> float:
    """Return I(left; right | given), of variables 0: z₁, 1: v₁, 2: v₂, 3: y."""
    known = () if given < 0 else (given,)
    return (
        entropy(law, *left, *known)
        + entropy(law, *right, *known)
        - entropy(law, *left, *right, *known)
        - (entropy(law, *known) if known else 0.0)
    )


def symmetric_divergence(encoder: Encoder) -> Pairs:
    """Return ½[KL(p_a‖p_b) + KL(p_b‖p_a)] for all pairs of responses."""
    difference = encoder[:, None, :] - encoder[None, :, :]
    with np.errstate(divide="ignore", invalid="ignore"):
        logs = np.log(encoder[:, None, :]) - np.log(encoder[None, :, :])
        return np.asarray(0.5 * np.where(difference == 0.0, 0.0, difference * logs).sum(axis=-1))


def on_policy(policy: Values) -> Pairs:
    """Return π_θ ⊗ π_θ."""
    return np.outer(policy, policy)


def labelled(policy: Values, first: Pairs) -> Pairs:
    """Return pairs of π_θ ⊗ π_θ with labels, from the probability that a is said to beat b > a."""
    above = np.triu(first, 1)
    won = above + np.tril(1.0 - above.T, -1) + 0.5 * np.eye(len(policy))
    return np.asarray(2.0 * on_policy(policy) * won)


def by_reward(reward: Values) -> Pairs:
    """Return the labels of least loss, where the greater reward always wins."""
    return (reward[:, None] > reward[None, :]).astype(np.float64)


def _mib_information(instance: Views) -> Margin:
    law, pairs = instance.law, instance.pairs
    lost = information(law, (3,), (1, 2)) - information(law, (3,), (0,))
    shared = information(law, (1,), (2,), given=0)
    only = information(law, (1,), (3,), given=2) + information(law, (2,), (3,), given=1)
    rounded = 64.0 * EPSILON * law.size
    both = on_policy(instance.policy)
    live = both > 0.0
    skl = float(both[live] @ symmetric_divergence(instance.encoder)[live])
    reach = sqrt(PINSKER * max(skl, 0.0))
    apart = instance.reward[:, None] - instance.reward[None, :]
    loss = float((pairs * np.logaddexp(0.0, -apart)).sum())
    # Where the codes agree the divergence is 0 up to its rounding, of which the root counts.
    off = 1e-7 if skl < 1e-12 else rounded
    return Margin.every(
        {
            "lost information": Margin.at_most(lost, shared + only, scale=1.0, rounding=rounded),
            "differences": Margin.at_most(
                float((pairs * np.abs(apart)).sum()), reach, scale=1.0, rounding=off
            ),
            "loss": Margin.at_most(log(2.0) - LOSS_SLOPE * reach, loss, scale=1.0, rounding=off),
        }
    )


def _is_markov(instance: Views) -> bool:
    law = instance.law
    views = law.sum(axis=0)
    joint = law.sum(axis=(2, 3))
    mass = joint.sum(axis=0)
    code = np.divide(joint, mass, out=np.zeros(joint.shape), where=mass > 0.0)
    return bool(np.abs(law - code[:, :, None, None] * views).max() <= _TOLERANCE)


def _rows(draws: Draws, shape: tuple[int, int]) -> Float[np.ndarray, "row column"]:
    raw = np.exp(np.asarray(draws.array(shape, -draws.one_of((0.3, 3.0, 10.0)), 0.0)))
    return np.asarray(raw / raw.sum(axis=1, keepdims=True))


def _draw_views(draws: Draws) -> Views:
    """Draw binary views; the label is anything, or a function of the first view."""
    views = _rows(draws, (1, 4))[0].reshape(2, 2)
    label = _rows(draws, (4, 2)).reshape(2, 2, 2)
    if draws.chance(3):
        label = np.broadcast_to(np.eye(2)[:, None, :], (2, 2, 2))
    code = _rows(draws, (2, 2))
    law = code.T[:, :, None, None] * (views[:, :, None] * label)
    policy = np.append(_rows(draws, (1, 3))[0], 0.0)
    encoder = _rows(draws, (4, 3))
    closeness = draws.one_of((0.0, 0.01, 1.0))
    encoder[1:3] = encoder[0] + closeness * (encoder[1:3] - encoder[0])
    head = np.asarray(draws.array((3,), 0.0, 1.0))
    reward = encoder @ head
    first = by_reward(reward)
    if draws.chance(2):
        first[np.triu_indices(4, 1)] = draws.array((6,), 0.0, 1.0)
    return Views(law, policy, encoder, head, reward, labelled(policy, first))


def _draw_knowing(draws: Draws) -> Views:
    """Draw a code that sees the second view and the label."""
    atoms = ((0, 0, 0, 1), (0, 1, 0, 0), (1, 1, 0, 1), (1, 1, 1, 0))
    law = np.zeros((2, 2, 2, 2))
    for atom, usual in zip(atoms, (2.0, 1.0, 1.0, 2.0), strict=True):
        law[atom] = usual * draws.between(0.8, 1.2)
    return replace(_draw_views(draws), law=law / law.sum())


def _draw_off_policy(draws: Draws) -> Views:
    """Draw comparisons with a response that the policy never gives, and whose code differs."""
    instance = _draw_views(draws)
    encoder = np.tile(np.array([0.9, 0.1, 0.0]), (4, 1))
    encoder[3] = [0.1, 0.9, 0.0]
    head = np.array([draws.between(0.0, 0.3), draws.between(0.7, 1.0), 0.5])
    pairs = np.zeros((4, 4))
    pairs[3, :3] = 1.0 / 3.0
    return replace(instance, encoder=encoder, head=head, reward=encoder @ head, pairs=pairs)


def _draw_backbone(draws: Draws) -> Views:
    """Draw a reward that is read from the response, whose codes are all alike."""
    instance = _draw_views(draws)
    policy = np.array([0.4, 0.3, 0.3, 0.0])
    encoder = np.tile(instance.encoder[0], (4, 1))
    reward = np.array([1.0, draws.between(0.0, 0.5), 0.0, 0.0])
    pairs = labelled(policy, by_reward(reward))
    return replace(instance, policy=policy, encoder=encoder, reward=reward, pairs=pairs)


MIB_INFORMATION = Theorem(
    key="mib-information",
    statement=(
        r"z_1 - v_1 - (v_2,y) Markov: I(y;v_1v_2) - I(y;z_1) \le I(v_1;v_2|z_1) + I(v_1;y|v_2) +"
        r" I(v_2;y|v_1). If \hat r(x,a) = E[\rho(z)|x,a] with 0 \le \rho \le 1, then for a, b from"
        r" \pi_\theta(\cdot|x) with D = E D_{SKL}: E|\hat r(a)-\hat r(b)| \le \sqrt{D/2}, and the"
        r" Bradley-Terry loss of any labels is at least \log2 - \tfrac12\sqrt{D/2}"
    ),
    sources=(
        Citation("lang2024", "Section 4.2, the loss L_M"),
        Citation("federici2020", "Corollary on mutually redundant views, as commonly stated"),
    ),
    hypotheses=(
        Hypothesis("markov", r"z_1 - v_1 - (v_2, y)", _is_markov),
        Hypothesis(
            "on-policy",
            r"pairs are drawn from \pi_\theta\otimes\pi_\theta, labels are any",
            lambda x: bool(
                np.abs(0.5 * (x.pairs + x.pairs.T) - on_policy(x.policy)).max() <= _TOLERANCE
            ),
        ),
        Hypothesis(
            "read-from-code",
            r"\hat r(x,a) = E[\rho(z)|x,a], 0 \le \rho \le 1",
            lambda x: bool(np.abs(x.reward - x.encoder @ x.head).max() <= _TOLERANCE),
        ),
    ),
    margin=_mib_information,
    instances=instances(_draw_views),
    controls={
        "markov": instances(_draw_knowing),
        "on-policy": instances(_draw_off_policy),
        "read-from-code": instances(_draw_backbone),
    },
    constants={"pinsker": PINSKER, "loss slope": LOSS_SLOPE},
)

ALL = (MIB_INFORMATION,)
