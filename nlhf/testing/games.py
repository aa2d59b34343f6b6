r"""The contract of a game: a bilinear zero-sum operator, steps with its references, a true judge.

Nothing is assumed of strategies beyond what the game's spaces can do: profiles are reached by
proximal steps, and mean payoffs are read off such steps (`nlhf.testing.spaces`).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import exp, sqrt
from typing import Any, Generic, TypeVar

from nlhf.algorithms.extragradient import Extragradient
from nlhf.algorithms.rates import promised_iterations
from nlhf.certificates import certify
from nlhf.errors import InvalidProblem
from nlhf.protocols import Anchors, Evaluation, Game, Judge, Space
from nlhf.results import Certificate, Profile
from nlhf.streams import Stream
from nlhf.testing.clauses import Clause, Probe, Report, examine
from nlhf.testing.spaces import SpaceCase, apart

S = TypeVar("S")

_STREAM = Stream(0, ("nlhf.testing", "game"))
_SETTLED = 1e-9
"""The duality gap that a long run must reach, in units of half the range of the payoffs."""
_SHARP = 1e-3
"""Strength, in the same units, at which steps reach nearly deterministic strategies."""
_TURNS = 3
"""From a random pair of profiles this many turns find those that payoffs tell apart best."""


def check_game(
    game: Game[S, Any],
    judge: Judge[S] | None = None,
    *,
    profiles: Sequence[Profile[S]] | None = None,
    tolerance: float = 1e-10,
) -> Report:
    r"""Check that a game keeps its contract.

    The game is a self-play game or a zero-sum game of two players whose proximal steps are exact;
    check its spaces with `check_space` first. Deviations of profiles are :math:`\sqrt{2 KL}`,
    those of payoffs relative to the largest term.

    A Lipschitz constant is refuted by nearly deterministic profiles, found by turns: what
    responses do the payoffs at two profiles tell apart best, and what profiles do those tell
    apart? Neither there nor at one profile may payoffs differ by more than it allows. An extreme
    payoff that no pair of these profiles meets is not seen.

    Args:
        game: The game.
        judge: What certifies a profile of it; `certify` by default.
        profiles: At least three different ones, of full support; by default they are reached
            from the start by proximal steps.
        tolerance: The largest deviation that passes.

    Raises:
        ContractBroken: At the first clause that the game breaks.
        InvalidProblem: If there are too few profiles, or the game says that its proximal steps
            are approximate.
    """
    name = type(game).__name__
    if getattr(game, "exact_steps", True) is False:  # the clauses will say if it is missing
        raise InvalidProblem(
            f"proximal steps of this {name} are approximate (exact_steps is False)",
            "check the game with an exact realiser, and the other one with check_realiser",
        )
    if profiles is None:
        try:
            profiles = reached(game, 4)
        except Exception as error:
            probe = Probe(name, GAME_CLAUSES[0])
            raise probe.broken("its first profiles", f"{type(error).__name__}: {error}") from error
    if len(profiles) < 3:
        raise InvalidProblem(
            f"{len(profiles)} profiles are too few", "pass at least three different ones"
        )

    def certified(profile: Profile[Any]) -> Certificate[Any]:
        own: Any = game
        return certify(own, profile)

    case = GameCase(game, judge or certified, tuple(profiles), tolerance)
    return examine(name, GAME_CLAUSES, case)


def reached(game: Game[S, Any], count: int) -> tuple[Profile[S], ...]:
    """Return profiles that are reached by proximal steps up and down the payoffs, from the start.

    A step's exponents span a few units, whatever the units of the payoff.
    """
    generator = _STREAM.child("profiles").generator()
    strength = game.lipschitz or 1.0
    profiles = [game.start()]
    while len(profiles) < count + 1:
        payoff = game.operator(profiles[-1], _STREAM.child("reach", len(profiles)))
        factor = 2.0 * float(generator.choice([-1.0, 1.0]) + generator.uniform(-0.5, 0.5))
        factor *= 1.0 + sum(game.temperatures) / strength
        profiles.append(game.prox(payoff * factor, [(profiles[-1], strength)]))
    return tuple(profiles[1:])


@dataclass(frozen=True, slots=True, eq=False)
class GameCase(Generic[S]):
    """A game with what it is checked on."""

    game: Game[S, Any]
    judge: Judge[S]
    profiles: tuple[Profile[S], ...]
    tolerance: float

    @property
    def alike(self) -> float:
        """How many players play each strategy."""
        return 2.0 / len(self.game.spaces)

    @property
    def unit(self) -> float:
        """Half the range of the payoffs, or 1 where nothing is at stake."""
        return self.game.lipschitz or 1.0

    @property
    def regularised(self) -> bool:
        """Whether every temperature is positive."""
        return min(self.game.temperatures) > 0.0

    def payoffs(self, profile: Profile[S]) -> Evaluation[Any]:
        """Return the payoffs against a profile, from one stream for all."""
        return self.game.operator(profile, _STREAM.child("operator"))

    def apart(self, p: Profile[S], q: Profile[S]) -> float:
        """Return the largest distance between strategies of one player."""
        return max(apart(s, a, b) for s, a, b in zip(self.game.spaces, p, q, strict=True))

    def close(self, first: Evaluation[Any], second: Evaluation[Any]) -> float:
        """Return how far apart two evaluations move the start."""
        anchor = [(self.game.start(), self.unit)]
        return self.apart(self.game.prox(first, anchor), self.game.prox(second, anchor))

    def gains(
        self, payoffs: Evaluation[Any], p: Profile[S], q: Profile[S]
    ) -> list[tuple[float, float]]:
        """Return ⟨g_i, p_i − q_i⟩ of every player, each with its largest term."""
        found = []
        for i, space in enumerate(self.game.spaces):
            start = self.game.start()[i]
            case = SpaceCase(space, (start,), (), None, None, self.tolerance, True)
            found.append(case.gain(payoffs.payoffs[i], p[i], q[i], start, self.unit))
        return found

    def sharp(self, payoffs: Evaluation[Any]) -> Profile[S]:
        """Return nearly deterministic responses, if payoffs are of the order of the unit."""
        factor = (1.0 + max(self.game.temperatures) / self.unit) / _SHARP
        return self.game.prox(payoffs * factor, [(self.game.start(), self.unit)])

    def improvement(self, p: Profile[S], q: Profile[S]) -> tuple[float, float]:
        """Return what deviations from p to q gain together, and the largest term."""
        start = self.game.start()
        total, scale = 0.0, 0.0
        gains = self.gains(self.payoffs(p), q, p)
        for i, (space, (gain, term)) in enumerate(zip(self.game.spaces, gains, strict=True)):
            strength = self.game.temperatures[i]
            costs = [space.divergence(z[i], start[i]).value if strength else 0.0 for z in (p, q)]
            total += self.alike * (gain + strength * (costs[0] - costs[1]))
            scale = max(scale, term, *(strength * cost for cost in costs))
        return total, scale

    def pairs(self) -> Iterator[tuple[str, Profile[S], Profile[S]]]:
        """Return every pair of profiles."""
        for i, p in enumerate(self.profiles):
            for j, q in enumerate(self.profiles[:i]):
                yield f"profiles {j} and {i}", q, p


def _shape(case: GameCase[S], probe: Probe) -> None:
    game, players = case.game, len(case.game.spaces)
    probe.require("spaces", players in (1, 2), f"{players} distinct players")
    probe.require("the protocol", isinstance(game, Game), "attributes or methods are missing")
    counts = {
        "temperatures": len(game.temperatures),
        "start": len(game.start()),
        "operator": len(case.payoffs(game.start()).payoffs),
        "prox": len(case.profiles[0]),
        "mixture": len(game.mixture([(p, 1.0) for p in case.profiles])),
    }
    for where, count in counts.items():
        probe.require(where, count == players, f"{count} entries for {players} players")
    numbers = [game.lipschitz, *game.temperatures]
    probe.require("numbers", all(0.0 <= x < float("inf") for x in numbers), f"{numbers}")


def _reproducible(case: GameCase[S], probe: Probe) -> None:
    for i, p in enumerate(case.profiles):
        distance = case.close(case.payoffs(p), case.payoffs(p))
        probe.measure(f"profile {i}", distance, case.tolerance)


def _evaluation_algebra(case: GameCase[S], probe: Probe) -> None:
    for where, p, q in case.pairs():
        f, g = case.payoffs(p), case.payoffs(q)
        probe.measure(f"{where}: F + G - G", case.close(f + g - g, f), case.tolerance)
        probe.measure(f"{where}: 3F - 2F", case.close(f * 3.0 - 2.0 * f, f), case.tolerance)


def _references(case: GameCase[S], probe: Probe) -> None:
    game, start = case.game, case.game.start()
    for where, p, q in case.pairs():
        f = case.payoffs(p)
        reached = game.prox(f, [(q, 0.5)])
        for i, space in enumerate(game.spaces):
            own = [(q[i], 0.5), (start[i], game.temperatures[i])]
            expected = space.prox(f.payoffs[i], own).strategy
            distance = apart(space, reached[i], expected)
            probe.measure(f"{where}, player {i}", distance, case.tolerance)
    if case.regularised:
        probe.measure("no payoff", case.apart(game.prox(None, []), start), case.tolerance)


def _several_anchors(case: GameCase[S], probe: Probe) -> None:
    game, start = case.game, case.game.start()
    a, b = 0.3 * case.unit, 0.7 * case.unit
    for where, p, q in case.pairs():
        f = case.payoffs(p)
        reached = game.prox(f, [(p, a), (q, b)])
        turned = game.prox(f, [(q, b), (p, a)])
        split = game.prox(f, [(p, a / 2), (q, b), (p, a / 2)])
        probe.measure(f"{where}: q, p", case.apart(turned, reached), case.tolerance)
        probe.measure(f"{where}: p, q, p", case.apart(split, reached), case.tolerance)
        for i, space in enumerate(game.spaces):
            own = [(p[i], a), (q[i], b), (start[i], game.temperatures[i])]
            expected = space.prox(f.payoffs[i], own).strategy
            distance = apart(space, reached[i], expected)
            probe.measure(f"{where}, player {i}", distance, case.tolerance)


def _no_payoff(case: GameCase[S], probe: Probe) -> None:
    game, start = case.game, case.game.start()
    for where, p, q in case.pairs():
        for anchors in ([(p, case.unit)], [(p, 0.3 * case.unit), (q, 0.7 * case.unit)]):
            reached = game.prox(None, anchors)
            for i, space in enumerate(game.spaces):
                own = [(z[i], strength) for z, strength in anchors]
                own += [(start[i], game.temperatures[i])] if game.temperatures[i] else []
                for other in (p[i], q[i], start[i]):
                    deviation, scale = _off_centre(space, reached[i], own, other)
                    total = sum(strength for _, strength in own)
                    allowed = case.tolerance * (scale + case.tolerance * total)
                    probe.measure(
                        f"{where}, {len(anchors)} anchors, player {i}", deviation, allowed
                    )


def _off_centre(space: Space[S, Any], p: S, anchors: Anchors[S], q: S) -> tuple[float, float]:
    r"""Return by how much Σ s_k KL(q‖a_k) = Σ s_k KL(p‖a_k) + (Σ s_k) KL(q‖p) is off.

    It holds for all q if and only if p minimises the sum of the pulls.
    """
    pulls = [s * space.divergence(q, a).value for a, s in anchors]
    least = [s * space.divergence(p, a).value for a, s in anchors]
    lead = sum(s for _, s in anchors) * space.divergence(q, p).value
    return abs(sum(pulls) - sum(least) - lead), max(*pulls, *least, lead)


def _affine(case: GameCase[S], probe: Probe) -> None:
    for where, p, q in case.pairs():
        for weight in (0.5, 0.9):
            mixed = case.game.mixture([(p, weight), (q, 1.0 - weight)])
            mean = case.payoffs(p) * weight + case.payoffs(q) * (1.0 - weight)
            distance = case.close(case.payoffs(mixed), mean)
            probe.measure(f"{where}, weight {weight}", distance, case.tolerance)


def _zero_sum(case: GameCase[S], probe: Probe) -> None:
    for where, p, q in case.pairs():
        gains = case.gains(case.payoffs(p) - case.payoffs(q), p, q)
        scale = max(term for _, term in gains)
        total = abs(sum(gain for gain, _ in gains))
        probe.measure(where, total / (scale or 1.0), case.tolerance)


def _lipschitz(case: GameCase[S], probe: Probe) -> None:
    r"""Find ⟨F(z) − F(z'), p − q⟩ > L ‖z − z'‖₁ ‖p − q‖₁, one player's strategy changed."""
    game = case.game
    for where, z, other in case.pairs():
        for turn in range(_TURNS):
            for i, space in enumerate(game.spaces):
                change = case.payoffs(z) - case.payoffs((*z[:i], other[i], *z[i + 1 :]))
                p, q = case.sharp(change), case.sharp(change * -1.0)
                far = _at_most_apart(space, z[i], other[i])
                for k, (gain, term) in enumerate(case.gains(change, p, q)):
                    bound = game.lipschitz * far * _at_most_apart(game.spaces[k], p[k], q[k])
                    noise = case.tolerance * (term + case.tolerance * case.unit)
                    probe.measure(f"{where}, turn {turn}, player {k}", abs(gain), bound + noise)
            for told, profile in (("first", z), ("second", other)):
                _half_range(case, probe, f"{where}, turn {turn}, the {told}", profile)
            change = case.payoffs(z) - case.payoffs(other)
            z, other = case.sharp(change), case.sharp(change * -1.0)


def _half_range(case: GameCase[S], probe: Probe, where: str, profile: Profile[S]) -> None:
    """Find ⟨F(z), p − q⟩ > L ‖p − q‖₁: bounds on KL(z*‖start) need L to be that large too."""
    payoffs = case.payoffs(profile)
    p, q = case.sharp(payoffs), case.sharp(payoffs * -1.0)
    for k, (gain, term) in enumerate(case.gains(payoffs, p, q)):
        bound = case.game.lipschitz * _at_most_apart(case.game.spaces[k], p[k], q[k])
        probe.measure(f"{where}, player {k}", abs(gain), bound + case.tolerance * term)


def _at_most_apart(space: Space[S, Any], p: S, q: S) -> float:
    r"""Return a bound on ‖p − q‖₁ by the inequalities of Pinsker and of Bretagnolle and Huber.

    Their squares are concave in KL. So the bound holds for root mean squares over contexts, and
    so does a Lipschitz constant of every context, by the inequality of Cauchy and Schwarz.
    """
    least = max(min(space.divergence(p, q).value, space.divergence(q, p).value), 0.0)
    return sqrt(min(2.0 * least, 4.0 * (1.0 - exp(-least))))


def _gap_not_negative(case: GameCase[S], probe: Probe) -> None:
    for i, p in enumerate((*case.profiles, case.game.start())):
        bound = case.judge(p).bound
        probe.measure(f"profile {i}", max(-bound.value, 0.0), case.tolerance * case.unit)
        probe.require(f"profile {i}", bound.value < float("inf"), f"gap {bound.value}")


def _gap_by_responses(case: GameCase[S], probe: Probe) -> None:
    """At temperature τ a player gains τ KL(π‖b) by moving to its regularised best response b."""
    if not case.regularised:
        return
    for i, p in enumerate(case.profiles):
        best = case.game.prox(case.payoffs(p), [])
        gap = 0.0
        for k, space in enumerate(case.game.spaces):
            gain = case.game.temperatures[k] * space.divergence(p[k], best[k]).value
            gap += case.alike * gain
        deviation = abs(case.judge(p).bound.value - gap)
        probe.measure(f"profile {i}", deviation, case.tolerance * (case.unit + gap))


def _no_better_deviation(case: GameCase[S], probe: Probe) -> None:
    for where, p, q in case.pairs():
        for a, b in ((p, q), (q, p)):
            gained, scale = case.improvement(a, b)
            allowed = case.judge(a).bound.high + case.tolerance * scale
            probe.measure(where, max(gained, 0.0), allowed)


def _witness(case: GameCase[S], probe: Probe) -> None:
    for i, p in enumerate(case.profiles):
        certificate = case.judge(p)
        gained, scale = case.improvement(p, certificate.witness)
        deviation = abs(gained - certificate.bound.value)
        probe.measure(f"profile {i}", deviation, case.tolerance * max(scale, case.unit))


def _settles(case: GameCase[S], probe: Probe) -> None:
    if not case.regularised:
        probe.notes.append("settles: a temperature is zero, no rate is known")
        return
    goal = _SETTLED * case.unit
    steps, equilibrium = settled(case.game, case.judge, goal)
    probe.measure(f"step {steps} of extragradient", case.judge(equilibrium).bound.high, goal)
    for i, p in enumerate(case.profiles):
        pulls = [
            case.alike * t * s.divergence(a, b).value
            for t, s, a, b in zip(
                case.game.temperatures, case.game.spaces, p, equilibrium, strict=True
            )
        ]
        # A profile of gap ε is of the order √ε from the equilibrium.
        allowed = case.judge(p).bound.high + 10.0 * (goal * case.unit) ** 0.5
        probe.measure(f"profile {i}: divergence from the equilibrium", sum(pulls), allowed)


def settled(game: Game[S, Any], judge: Judge[S], gap: float) -> tuple[int, Profile[S]]:
    """Run extragradient as long as its rate needs for a duality gap, or until it is reached."""
    method = Extragradient()
    promised = promised_iterations(game, method, gap)
    state = method.init(game, game.start())
    for step in range(promised):
        profile = method.profile(state)
        if step % 10 == 0 and judge(profile).bound.high <= gap:
            return step, profile
        state = method.step(game, state, _STREAM.child("settle", step))
    return promised, method.profile(state)


GAME_CLAUSES: tuple[Clause[GameCase[Any]], ...] = (
    Clause(
        "shape",
        "the protocol's attributes are there, with one entry per distinct player; one player is "
        "self-play, two are a zero-sum game",
        _shape,
    ),
    Clause("reproducible", "the same profile and stream give the same payoffs", _reproducible),
    Clause(
        "evaluation-algebra",
        "evaluations add, subtract and scale like vectors",
        _evaluation_algebra,
    ),
    Clause(
        "references",
        "prox is that of the spaces with the start as one more anchor, its strength being the "
        "temperature; without payoff and anchors it is the start",
        _references,
    ),
    Clause(
        "several-anchors",
        "prox is that of the spaces with every anchor, whatever their order; one may be split",
        _several_anchors,
    ),
    Clause(
        "no-payoff",
        "without payoff prox minimises the pulls of the anchors and the start together: for all "
        "q, sum s_k KL(q|a_k) is more by (sum s_k) KL(q|p)",
        _no_payoff,
    ),
    Clause("affine-in-mixtures", "F(sum w_k z_k) = sum w_k F(z_k), up to constants", _affine),
    Clause(
        "zero-sum",
        "<F(p) - F(q), p - q> = 0 over all players: J(p,q) + J(q,p) is constant",
        _zero_sum,
    ),
    Clause(
        "lipschitz",
        "payoffs change by at most lipschitz times the distance of the profiles, and their range "
        "is at most twice that",
        _lipschitz,
    ),
    Clause("gap-not-negative", "the duality gap is finite and not negative", _gap_not_negative),
    Clause(
        "gap-by-responses",
        "the duality gap is what moving to prox(F(z), []) gains, t KL(z|b) per player",
        _gap_by_responses,
    ),
    Clause("no-better-deviation", "no deviation gains more than the gap", _no_better_deviation),
    Clause("witness", "the witness of the certificate attains its gap", _witness),
    Clause(
        "settles",
        "extragradient reaches 1e-9 of the payoff range within its rate, and t KL(z|z*) is at "
        "most the gap",
        _settles,
    ),
)
"""The clauses of `check_game`, in the order in which they are checked."""
