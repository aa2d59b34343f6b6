r"""The contract of a realiser: honest about how far it is from the proximal point it stands for."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum, unique
from functools import partial
from typing import Any

import numpy as np

from nlhf.protocols import Anchors
from nlhf.spaces.policy import Policy
from nlhf.spaces.process import Process
from nlhf.spaces.realisers import Realiser, SoftBellman
from nlhf.spaces.sequential import SequentialSpace
from nlhf.testing.clauses import Clause, Probe, Report, examine
from nlhf.testing.instances import ProcessInstance, processes
from nlhf.testing.spaces import apart

_SHARP = 1e-3
"""Payoffs of order 1 over this strength are exponents of nearly deterministic policies."""
_DIFFERENT = 1e-3
"""Policies further apart than this are different."""


@unique
class Claim(StrEnum):
    """What a realiser claims of itself."""

    EXACT = "exact"
    """It is the proximal point."""
    FIXED_POINTS = "fixed points"
    """A step stays at its first anchor where the proximal point would stay, and only there.

    Methods whose every step rests at the equilibrium (mirror descent, extragradient, the proximal
    point method) then have the same resting points. Others need not: the half step of Nash-MD
    moves even at the equilibrium, so with a constant step size Nash-MD ends elsewhere. Nothing is
    said of rates, nor that a method arrives.
    """
    APPROXIMATE = "approximate"
    """Nothing, beyond its residual."""


def check_realiser(
    realiser: Realiser,
    claim: Claim,
    instances: Sequence[ProcessInstance] | None = None,
    *,
    tolerance: float = 1e-10,
) -> Report:
    r"""Check that a realiser keeps its contract on every kind of process.

    Whatever it claims, its answers are policies, reproducible, insensitive to what the proximal
    point does not depend on, and as far from it as the residual says, which is measured here by
    what the objective lacks:

    .. math:: \big[\max_\pi J(\pi) - J(\pi')\big] / \sum_i \tau_i = KL(\pi'\|\pi), \qquad
              J(\pi) = E_\pi[g] - \sum_i \tau_i KL(\pi\|\pi_i).

    Args:
        realiser: The realiser.
        claim: What it claims.
        instances: Processes with policies and payoffs; one of every kind by default.
        tolerance: The largest deviation that passes: of policies in :math:`\sqrt{2 KL}`, of
            objectives relative to the largest term.

    Returns:
        What was measured; a claim that was not made is noted with how far it is from true.

    Raises:
        ContractBroken: At the first clause that the realiser breaks.
    """
    chosen = tuple(processes() if instances is None else instances)
    case = RealiserCase(realiser, claim, chosen, tolerance)
    return examine(f"{type(realiser).__name__} ({claim})", REALISER_CLAUSES, case)


@dataclass(frozen=True, slots=True, eq=False)
class Step:
    """One proximal step to realise."""

    where: str
    instance: ProcessInstance
    space: SequentialSpace
    payoff: Any
    anchors: list[tuple[Policy, float]]

    @property
    def strength(self) -> float:
        """The sum of the strengths."""
        return sum(strength for _, strength in self.anchors)

    def lead(self, p: Policy, q: Policy) -> tuple[float, float]:
        """Return how much better p is than q, and the largest term of the difference."""
        terms = [mean_payoff(self.instance.process, self.payoff, p, q)]
        for anchor, strength in self.anchors:
            terms += [
                strength * self.space.divergence(q, anchor).value,
                -strength * self.space.divergence(p, anchor).value,
            ]
        return sum(terms), max(map(abs, terms))


@dataclass(frozen=True, slots=True, eq=False)
class RealiserCase:
    """A realiser with the steps it is checked on."""

    realiser: Realiser
    claim: Claim
    instances: tuple[ProcessInstance, ...]
    tolerance: float

    def steps(self) -> Iterator[Step]:
        """Every process and payoff, with two anchors."""
        for instance in self.instances:
            space = space_of(instance, self.realiser)
            for i, payoff in enumerate(instance.payoffs):
                anchors = [(instance.policies[i], 0.3), (instance.policies[2], 0.7)]
                yield Step(f"{instance.name}, payoff {i}", instance, space, payoff, anchors)

    def hard_steps(self) -> Iterator[Step]:
        """Steps without payoff, of small strength, and from a nearly deterministic anchor."""
        for step in self.steps():
            instance, (first, second) = step.instance, step.anchors
            if step.payoff is not instance.payoffs[0]:
                continue
            small = [(policy, _SHARP * strength) for policy, strength in step.anchors]
            sharp = SoftBellman().realise(instance.process, step.payoff, small)
            yield replace(step, where=f"{step.where} left out", payoff=None)
            yield replace(step, where=f"{step.where}, small strengths", anchors=small)
            anchors = [(sharp, 0.3), second]
            yield replace(step, where=f"{step.where}, a sharp anchor", anchors=anchors)
            yield replace(step, where=f"{step.where}, sharp", anchors=[(sharp, _SHARP), first])

    def realise(self, instance: ProcessInstance, payoff: Any, anchors: Anchors[Policy]) -> Policy:
        """Return what stands for the proximal point."""
        return self.realiser.realise(instance.process, payoff, anchors)


def space_of(instance: ProcessInstance, realiser: Realiser) -> SequentialSpace:
    """Return the space of a process with equally likely contexts."""
    count = instance.process.contexts[0] if instance.process.contexts else 1
    return SequentialSpace(instance.process, np.full(count, 1.0 / count), realiser)


def mean_payoff(process: Process[Any], payoff: Any, p: Policy, q: Policy) -> float:
    r"""Return E_p[g] − E_q[g], the mean over contexts, by the performance difference lemma.

    .. math:: E_p[g] - E_q[g] = \sum_s d_p(s) \langle p(\cdot|s) - q(\cdot|s), Q^q(s,\cdot)\rangle
    """
    values = process.action_values(q.log_probabilities, payoff, None)
    ahead = ((p.probabilities - q.probabilities) * values).sum(axis=-1)
    return float(process.total(process.visits(p.log_probabilities) * ahead).mean())


def _strengths_checked(case: RealiserCase, probe: Probe) -> None:
    for instance in case.instances:
        (p, q), payoff = instance.policies[:2], instance.payoffs[0]
        for strengths in ((), (0.0,), (2.0, -1.0)):
            anchors = list(zip((p, q), strengths, strict=False))
            where = f"{instance.name}, strengths {strengths}"
            probe.refuses(where, partial(case.realise, instance, payoff, anchors))


def _policies(case: RealiserCase, probe: Probe) -> None:
    for step in case.steps():
        found = case.realise(step.instance, step.payoff, step.anchors).checked()
        shape, wanted = found.log_probabilities.shape, step.instance.process.shape
        probe.require(step.where, shape == wanted, f"shape {shape}, not {wanted}")


def _anchor_alone(case: RealiserCase, probe: Probe) -> None:
    for instance in case.instances:
        space = space_of(instance, case.realiser)
        for i, policy in enumerate(instance.policies):
            found = case.realise(instance, None, [(policy, 0.4)])
            where = f"{instance.name}, policy {i}"
            probe.measure(where, apart(space, found, policy), case.tolerance)


def _unchanged(
    case: RealiserCase, probe: Probe, change: Callable[[Step], tuple[Any, Anchors[Policy]]]
) -> None:
    for step in case.steps():
        found = case.realise(step.instance, step.payoff, step.anchors)
        again = case.realise(step.instance, *change(step))
        probe.measure(step.where, apart(step.space, again, found), case.tolerance)


def _reproducible(case: RealiserCase, probe: Probe) -> None:
    _unchanged(case, probe, lambda step: (step.payoff, step.anchors))


def _split_anchor(case: RealiserCase, probe: Probe) -> None:
    _unchanged(
        case,
        probe,
        lambda step: (
            step.payoff,
            [(policy, part * strength) for policy, strength in step.anchors for part in (0.2, 0.8)],
        ),
    )


def _zero_strength(case: RealiserCase, probe: Probe) -> None:
    _unchanged(
        case, probe, lambda step: (step.payoff, [*step.anchors, (step.instance.policies[3], 0.0)])
    )


def _joint_scaling(case: RealiserCase, probe: Probe) -> None:
    _unchanged(
        case,
        probe,
        lambda step: (step.payoff * 8.0, [(policy, 8.0 * s) for policy, s in step.anchors]),
    )


def _constant_shift(case: RealiserCase, probe: Probe) -> None:
    _unchanged(case, probe, lambda step: (step.payoff + step.instance.constant * 5.0, step.anchors))


def _no_payoff(case: RealiserCase, probe: Probe) -> None:
    for step in case.steps():
        none = case.realise(step.instance, None, step.anchors)
        zero = case.realise(step.instance, step.payoff * 0.0, step.anchors)
        probe.measure(step.where, apart(step.space, none, zero), case.tolerance)


def _residual(case: RealiserCase, probe: Probe) -> None:
    most = 0.0
    for step in (*case.steps(), *case.hard_steps()):
        best = SoftBellman().realise(step.instance.process, step.payoff, step.anchors)
        prox = step.space.prox(step.payoff, step.anchors)
        lacking, scale = step.lead(best, prox.strategy)
        deviation = abs(lacking / step.strength - prox.residual.value)
        probe.measure(step.where, deviation, case.tolerance * (1.0 + scale / step.strength))
        most = max(most, prox.residual.value)
    probe.notes.append(f"residual: the largest is {most:.3g} nats")


def _fixed_points(case: RealiserCase, probe: Probe) -> None:
    """The proximal point of {μ: τ} is that of {itself: s, μ: τ} too."""
    most = 0.0
    for step in case.steps():
        process, (reference, _) = step.instance.process, step.anchors[1]
        best = SoftBellman().realise(process, step.payoff, [(reference, 0.3)])
        stayed = case.realise(step.instance, step.payoff, [(best, 0.5), (reference, 0.3)])
        moved = apart(step.space, stayed, best)
        if case.claim is not Claim.APPROXIMATE:
            probe.measure(step.where, moved, case.tolerance)
        most = max(most, moved)
    if case.claim is Claim.APPROXIMATE:
        probe.notes.append(f"fixed points are not claimed; they are left by up to {most:.3g}")


def _other_fixed_points(case: RealiserCase, probe: Probe) -> None:
    """No policy but the proximal point of {μ: τ} is that of {itself: s, μ: τ}."""
    if case.claim is Claim.APPROXIMATE:
        return
    for step in case.steps():
        process, (reference, _) = step.instance.process, step.anchors[1]
        for payoff in (step.payoff, None):
            best = SoftBellman().realise(process, payoff, [(reference, 0.3)])
            for i, policy in enumerate(step.instance.policies):
                if apart(step.space, policy, best) <= _DIFFERENT:
                    continue
                found = case.realise(step.instance, payoff, [(policy, 0.5), (reference, 0.3)])
                moved = apart(step.space, found, policy)
                told = " without it" if payoff is None else ""
                where = f"{step.where}, policy {i}{told}"
                probe.require(where, moved > case.tolerance, f"it moves by {moved:.3g} only")


def _exact(case: RealiserCase, probe: Probe) -> None:
    most = 0.0
    for step in (*case.steps(), *case.hard_steps()):
        found = case.realise(step.instance, step.payoff, step.anchors)
        for i, policy in enumerate(step.instance.policies):
            value, scale = step.lead(found, policy)
            expected = step.strength * step.space.divergence(policy, found).value
            deviation = abs(value - expected) / max(scale, expected)
            if case.claim is Claim.EXACT:
                probe.measure(f"{step.where}, policy {i}", deviation, case.tolerance)
            most = max(most, deviation)
    if case.claim is not Claim.EXACT:
        probe.notes.append(
            f"exactness is not claimed; the optimality identity is off by {most:.3g}"
        )


REALISER_CLAUSES: tuple[Clause[RealiserCase], ...] = (
    Clause(
        "strengths-checked",
        "raise HypothesisViolated for negative strengths, and when all are zero",
        _strengths_checked,
    ),
    Clause("policies", "the answer is a normalised policy of the process's shape", _policies),
    Clause("reproducible", "the same step twice leads to the same policy", _reproducible),
    Clause("anchor-alone", "without a payoff a single anchor is not left", _anchor_alone),
    Clause("split-anchor", "an anchor may be split in two parts", _split_anchor),
    Clause("zero-strength", "later anchors of strength zero are ignored", _zero_strength),
    Clause(
        "joint-scaling", "scale the payoff and all strengths together: no change", _joint_scaling
    ),
    Clause("constant-shift", "a constant added to every trajectory's payoff", _constant_shift),
    Clause("no-payoff", "a payoff of None is the zero payoff", _no_payoff),
    Clause(
        "residual",
        "the reported residual is what the objective lacks, over the sum of the strengths",
        _residual,
    ),
    Clause(
        "fixed-points",
        "a proximal point that the exact step would not leave is not left; claim no more than "
        "APPROXIMATE otherwise",
        _fixed_points,
    ),
    Clause(
        "other-fixed-points",
        "no other policy is stayed at; claim no more than APPROXIMATE otherwise",
        _other_fixed_points,
    ),
    Clause(
        "exact",
        "the step p is better than any q by t KL(q|p); claim no more than FIXED_POINTS otherwise",
        _exact,
    ),
)
"""The clauses of `check_realiser`, in the order in which they are checked."""
