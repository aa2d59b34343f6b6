r"""The contract of a space: its proximal map is one, of a linear payoff and a KL geometry.

A space does not say what ⟨g, π⟩ is, and need not: the proximal map does. With the proximal point
:math:`b` of g from a single anchor r of strength τ, for all strategies p and q

.. math:: \langle g, p - q\rangle
          = \tau\,[KL(p\|r) - KL(p\|b) - KL(q\|r) + KL(q\|b)].

That this is one number, whatever the anchor and the strength, that it is linear in g, and that a
step with several anchors maximises it less the KL terms, is the contract. Mixtures are arithmetic
if :math:`\sum_i w_i KL(p_i\|r) = KL(m\|r) + \sum_i w_i KL(p_i\|m)` for all r; then payoffs are
affine in them too.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from math import sqrt
from typing import Any, Generic, TypeVar

from nlhf.errors import InvalidProblem
from nlhf.protocols import Anchors, Prox, Space
from nlhf.results import Knows
from nlhf.testing.clauses import Clause, Probe, Report, examine

S = TypeVar("S")

Pairing = Callable[[Any, S, S], float]
"""The difference ⟨g, p − q⟩ of the mean payoffs of two strategies, in payoff units."""

_STRENGTHS = (0.3, 2.0)
_SMALL = (1e-2, 1e-5)
"""Strengths relative to payoffs: the exponents reach hundreds and hundreds of thousands."""


def check_space(
    space: Space[S, Any],
    strategies: Sequence[S],
    payoffs: Sequence[Any],
    *,
    constant: Any = None,
    pairing: Pairing[S] | None = None,
    tolerance: float = 1e-10,
) -> Report:
    r"""Check that a space keeps its contract.

    A space whose proximal steps all report an exact residual of 0 must satisfy every identity. If
    it reports more, the identities are not asked of it; instead none of the other strategies may
    be better than the one it returned by more than the strength times the residual.

    What cannot be seen without a pairing is the unit of payoffs against divergences. A divergence
    of c KL with c < 1 is right in the space that has one more prompt, of weight 1 − c, with a
    single response; the proximal steps are then those of the payoffs c g.

    Deviations of strategies are :math:`\sqrt{2 KL}`, an upper bound on the distance in total
    variation; those of payoffs and divergences are relative to the largest term.

    Args:
        space: The space.
        strategies: At least three different ones, of full support.
        payoffs: At least two that are not constant.
        constant: The payoff of 1 for every strategy, to check that it changes no step.
        pairing: ⟨g, p − q⟩, computed in another way; needed if proximal steps are not exact.
        tolerance: The largest deviation that passes.

    Raises:
        ContractBroken: At the first clause that the space breaks.
        InvalidProblem: If there are too few strategies or payoffs, or a pairing is needed.
    """
    if len(strategies) < 3 or len(payoffs) < 2:
        raise InvalidProblem(
            f"{len(strategies)} strategies and {len(payoffs)} payoffs are too few",
            "pass at least three different strategies of full support and two payoffs",
        )
    name = type(space).__name__
    exact = _is_exact(space, strategies, payoffs)
    if not exact and pairing is None:
        raise InvalidProblem(
            f"proximal steps of this {name} report residuals, and no pairing is given",
            "pass pairing(payoff, p, q), the difference of the mean payoffs of p and q",
        )
    case = SpaceCase(space, tuple(strategies), tuple(payoffs), constant, pairing, tolerance, exact)
    return examine(name, SPACE_CLAUSES, case)


@dataclass(frozen=True, slots=True, eq=False)
class SpaceCase(Generic[S]):
    """A space with what its steps are made of."""

    space: Space[S, Any]
    strategies: tuple[S, ...]
    payoffs: tuple[Any, ...]
    constant: Any
    pairing: Pairing[S] | None
    tolerance: float
    exact: bool

    def kl(self, p: S, q: S) -> float:
        """Return KL(p‖q)."""
        return self.space.divergence(p, q).value

    def step(self, payoff: Any, anchors: Anchors[S]) -> S:
        """Return the strategy of a proximal step."""
        return self.space.prox(payoff, anchors).strategy

    def steps(self, strength: float = 1.0) -> Iterator[tuple[str, Any, list[tuple[S, float]]]]:
        """Every payoff with two anchors, of this strength together."""
        for i, payoff in enumerate(self.payoffs):
            p, q = self.strategies[i % 2], self.strategies[2]
            where = f"payoff {i}, anchors {i % 2} and 2 of strength {strength}"
            yield where, payoff, [(p, 0.3 * strength), (q, 0.7 * strength)]

    def gain(self, payoff: Any, p: S, q: S, anchor: S, strength: float) -> tuple[float, float]:
        """Return ⟨g, p − q⟩ from a proximal step, and its largest term."""
        reached = self.step(payoff, [(anchor, strength)])
        terms = [
            strength * self.kl(p, anchor),
            -strength * self.kl(p, reached),
            -strength * self.kl(q, anchor),
            strength * self.kl(q, reached),
        ]
        return sum(terms), max(map(abs, terms))

    def objective(self, payoff: Any, anchors: Anchors[S], p: S, q: S) -> tuple[float, float]:
        """Return what p has more than q of ⟨g,π⟩ − Σ τ_i KL(π‖π_i), and its largest term."""
        if self.pairing is None:
            value, scale = self.gain(payoff, p, q, self.strategies[0], 1.0)
        else:
            value = self.pairing(payoff, p, q)
            scale = abs(value)
        for anchor, strength in anchors:
            pulls = strength * self.kl(q, anchor), strength * self.kl(p, anchor)
            value, scale = value + pulls[0] - pulls[1], max(scale, *pulls)
        return value, scale


def apart(space: Space[S, Any], p: S, q: S) -> float:
    """Return √(2 KL(p‖q)), at least ‖p − q‖₁ by Pinsker's inequality."""
    divergence = space.divergence(p, q).value
    return sqrt(2.0 * divergence) if divergence >= 0.0 else abs(divergence)


def is_exact(prox: Prox[Any]) -> bool:
    """Return whether a step reports an exact residual of zero."""
    return prox.residual.knows is Knows.EXACT and prox.residual.high == 0.0


def _is_exact(space: Space[S, Any], strategies: Sequence[S], payoffs: Sequence[Any]) -> bool:
    anchors = [(strategy, 0.5) for strategy in strategies]
    try:
        return all(is_exact(space.prox(payoff, anchors)) for payoff in payoffs)
    except Exception:  # the clauses will say what is wrong, and where
        return True


def _divergence_zero(case: SpaceCase[S], probe: Probe) -> None:
    for i, p in enumerate(case.strategies):
        probe.measure(f"strategy {i}", abs(case.kl(p, p)), case.tolerance**2)


def _divergence_positive(case: SpaceCase[S], probe: Probe) -> None:
    for i, p in enumerate(case.strategies):
        for j, q in enumerate(case.strategies):
            found = case.kl(p, q)
            finite = found < float("inf")
            probe.require(
                f"strategies {i} and {j}",
                finite and (i == j or found > case.tolerance**2),
                f"KL is {found:.6g} between different strategies of full support",
            )


def _strengths_checked(case: SpaceCase[S], probe: Probe) -> None:
    p, q, payoff = case.strategies[0], case.strategies[1], case.payoffs[0]
    probe.refuses("no anchor", lambda: case.space.prox(payoff, []))
    probe.refuses("strength 0 alone", lambda: case.space.prox(payoff, [(p, 0.0)]))
    probe.refuses("strengths 2 and -1", lambda: case.space.prox(payoff, [(p, 2.0), (q, -1.0)]))


def _reproducible(case: SpaceCase[S], probe: Probe) -> None:
    for where, payoff, anchors in case.steps():
        first, again = case.step(payoff, anchors), case.step(payoff, anchors)
        probe.measure(where, apart(case.space, first, again), case.tolerance)


def _anchor_alone(case: SpaceCase[S], probe: Probe) -> None:
    for i, p in enumerate(case.strategies):
        for strength in _STRENGTHS:
            reached = case.step(None, [(p, strength)])
            where = f"anchor {i} of strength {strength}"
            probe.measure(where, apart(case.space, reached, p), case.tolerance)


def _same_step(
    case: SpaceCase[S],
    probe: Probe,
    change: Callable[[Any, list[tuple[S, float]]], tuple[Any, list[tuple[S, float]]]],
) -> None:
    """Measure how far a change of the arguments, which should not matter, moves the step."""
    if not case.exact:
        return
    for where, payoff, anchors in case.steps():
        changed = case.step(*change(payoff, anchors))
        distance = apart(case.space, changed, case.step(payoff, anchors))
        probe.measure(where, distance, case.tolerance)


def _no_payoff(case: SpaceCase[S], probe: Probe) -> None:
    if case.exact:
        for where, payoff, anchors in case.steps():
            none, zero = case.step(None, anchors), case.step(payoff * 0.0, anchors)
            probe.measure(where, apart(case.space, none, zero), case.tolerance)


def _anchor_order(case: SpaceCase[S], probe: Probe) -> None:
    _same_step(case, probe, lambda payoff, anchors: (payoff, anchors[::-1]))


def _split_anchor(case: SpaceCase[S], probe: Probe) -> None:
    def halves(payoff: Any, anchors: list[tuple[S, float]]) -> tuple[Any, list[tuple[S, float]]]:
        (first, strength), *others = anchors
        return payoff, [(first, strength / 2), *others, (first, strength / 2)]

    _same_step(case, probe, halves)


def _zero_strength(case: SpaceCase[S], probe: Probe) -> None:
    other = case.strategies[1]
    _same_step(case, probe, lambda payoff, anchors: (payoff, [*anchors, (other, 0.0)]))


def _joint_scaling(case: SpaceCase[S], probe: Probe) -> None:
    for factor in (0.25, 8.0):

        def scaled(
            payoff: Any, anchors: list[tuple[S, float]], factor: float = factor
        ) -> tuple[Any, list[tuple[S, float]]]:
            return payoff * factor, [(p, strength * factor) for p, strength in anchors]

        _same_step(case, probe, scaled)


def _constant_shift(case: SpaceCase[S], probe: Probe) -> None:
    if case.constant is None:
        probe.notes.append("constant-shift: no constant payoff was given")
        return
    shift = case.constant * 5.0
    _same_step(case, probe, lambda payoff, anchors: (payoff + shift, anchors))


def _linear_payoff(case: SpaceCase[S], probe: Probe) -> None:
    """One number, whatever the anchor and the strength it is read off with."""
    if not case.exact:
        return
    p, q = case.strategies[1], case.strategies[2]
    for i, payoff in enumerate(case.payoffs):
        value, scale = case.gain(payoff, p, q, case.strategies[0], 1.0)
        for j, anchor in enumerate(case.strategies):
            for strength in (*_STRENGTHS, *(abs(value) * small for small in _SMALL if value)):
                other, terms = case.gain(payoff, p, q, anchor, strength)
                where = f"payoff {i}, anchor {j} of strength {strength:.3g}"
                probe.measure(where, abs(other - value) / max(scale, terms), case.tolerance)
        if case.pairing is not None:
            known = case.pairing(payoff, p, q)
            probe.measure(f"payoff {i}", abs(known - value) / scale, case.tolerance)


def _payoff_algebra(case: SpaceCase[S], probe: Probe) -> None:
    if not case.exact:
        return
    (g, h), (r, p, q) = case.payoffs[:2], case.strategies[:3]
    gains = [case.gain(payoff, p, q, r, 1.0) for payoff in (g, h)]
    scale = max(term for _, term in gains)
    combinations = {"g + h": (g + h, 1.0, 1.0), "g - h": (g - h, 1.0, -1.0), "3g": (g * 3.0, 3, 0)}
    for where, (payoff, a, b) in combinations.items():
        value, terms = case.gain(payoff, p, q, r, 1.0)
        expected = a * gains[0][0] + b * gains[1][0]
        probe.measure(where, abs(value - expected) / max(scale, terms), case.tolerance)


def _maximiser(case: SpaceCase[S], probe: Probe) -> None:
    r"""The step p of strength τ has τ KL(q‖p) more than any q, or is that good up to its residual.

    An inexact step p' has τ KL(p'‖p) less than the best, which its residual bounds.
    """
    for where, payoff, anchors in (*case.steps(), *case.steps(_SMALL[0])):
        prox, total = case.space.prox(payoff, anchors), sum(strength for _, strength in anchors)
        further = [(prox.strategy, total), (prox.strategy, 4.0 * total), (case.strategies[1], 0.5)]
        tilted = [case.step(payoff, [anchor]) for anchor in further]
        for j, q in enumerate([*case.strategies, *tilted]):
            value, scale = case.objective(payoff, anchors, prox.strategy, q)
            if case.exact:
                lead = total * case.kl(q, prox.strategy)
                excess = abs(value - lead) / max(scale, lead)
                probe.measure(f"{where}, strategy {j}", excess, case.tolerance)
            else:
                allowed = total * prox.residual.high + case.tolerance * scale
                probe.measure(f"{where}, strategy {j}", max(-value, 0.0), allowed)


def _mixtures(case: SpaceCase[S]) -> Iterator[tuple[str, list[tuple[S, float]], S]]:
    for weights in ((0.5, 0.5), (0.9, 0.1), (0.01, 0.99)):
        weighted = list(zip(case.strategies[:2], weights, strict=True))
        yield f"weights {weights}", weighted, case.space.mixture(weighted)


def _mixture_weights(case: SpaceCase[S], probe: Probe) -> None:
    p, q = case.strategies[:2]
    for i, strategy in enumerate(case.strategies):
        alone = case.space.mixture([(strategy, 0.4)])
        probe.measure(f"strategy {i} alone", apart(case.space, alone, strategy), case.tolerance)
    for where, weighted, mixed in _mixtures(case):
        more = [*((s, 7.0 * weight) for s, weight in weighted), (case.strategies[2], 0.0)]
        again = case.space.mixture(more)
        probe.measure(where, apart(case.space, again, mixed), case.tolerance)
    probe.refuses("no weight", lambda: case.space.mixture([(p, 0.0), (q, 0.0)]))
    probe.refuses("weights 2 and -1", lambda: case.space.mixture([(p, 2.0), (q, -1.0)]))


def _mixture_identity(case: SpaceCase[S], probe: Probe) -> None:
    r"""Compensation: Σ w_i KL(p_i‖r) = KL(m‖r) + Σ w_i KL(p_i‖m), which determines m."""
    for where, weighted, mixed in _mixtures(case):
        for j, r in enumerate(case.strategies):
            left = sum(weight * case.kl(p, r) for p, weight in weighted)
            spread = sum(weight * case.kl(p, mixed) for p, weight in weighted)
            deviation = abs(left - case.kl(mixed, r) - spread) / left
            probe.measure(f"{where}, strategy {j}", deviation, case.tolerance)


SPACE_CLAUSES: tuple[Clause[SpaceCase[Any]], ...] = (
    Clause("divergence-zero", "KL of a strategy from itself is zero", _divergence_zero),
    Clause(
        "divergence-positive",
        "KL between different strategies of full support is positive and finite",
        _divergence_positive,
    ),
    Clause(
        "strengths-checked",
        "raise HypothesisViolated for negative strengths, and when all are zero",
        _strengths_checked,
    ),
    Clause("reproducible", "the same step twice leads to the same strategy", _reproducible),
    Clause("anchor-alone", "without a payoff a single anchor is not left", _anchor_alone),
    Clause("no-payoff", "a payoff of None is the zero payoff", _no_payoff),
    Clause("anchor-order", "the order of the anchors is no matter", _anchor_order),
    Clause("split-anchor", "an anchor may be split in two of half the strength", _split_anchor),
    Clause("zero-strength", "anchors of strength zero are ignored", _zero_strength),
    Clause(
        "joint-scaling", "scale the payoff and all strengths together: no change", _joint_scaling
    ),
    Clause("constant-shift", "a constant added to the payoff changes no step", _constant_shift),
    Clause(
        "linear-payoff",
        "<g, p - q> is one number, whichever anchor and strength a step has",
        _linear_payoff,
    ),
    Clause("payoff-algebra", "+, - and * of payoffs are those of <g, p - q>", _payoff_algebra),
    Clause(
        "maximiser",
        "a step p maximises <g, q> - sum t_i KL(q|p_i): all q have t KL(q|p) less; an inexact "
        "step is as good up to its residual",
        _maximiser,
    ),
    Clause(
        "mixture-weights",
        "weights are normalised, zeros ignored, negative and all-zero ones refused with "
        "HypothesisViolated; a single strategy is its own mixture",
        _mixture_weights,
    ),
    Clause(
        "mixture-identity",
        "mixtures are arithmetic: sum w_i KL(p_i|r) = KL(m|r) + sum w_i KL(p_i|m)",
        _mixture_identity,
    ),
)
"""The clauses of `check_space`, in the order in which they are checked."""
