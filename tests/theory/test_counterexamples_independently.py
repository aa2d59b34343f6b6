"""Every refuted row again, from its printed numbers alone: other formulas, other arithmetic.

The certificates compare rationals. Here the violation follows from the definitions, in mpmath's
interval arithmetic, or to sixty digits where an equation has to be solved. Nothing of the ledger is
called but the text that a reader pastes.
"""

import sys
from code import InteractiveConsole
from fractions import Fraction as F

import mpmath as mp
import nlhf_theory
import pytest
from mpmath import iv

from nlhf.theorems import Expected

DIGITS = 60
REFUTED = {t.key: t for t in nlhf_theory.ALL if t.expected is Expected.REFUTED}


@pytest.fixture(autouse=True)
def _sixty_digits():
    mp.mp.dps = iv.dps = DIGITS


def pasted(key, *edits):
    """What the printed source defines, with some of its text replaced."""
    source = REFUTED[key].counterexample.python
    for old, new in edits:
        assert old in source, f"{key} does not print {old!r}"
        source = source.replace(old, new)
    names = {}
    exec(compile(source, key, "exec"), names)
    return names


def enclosed(x):
    return iv.mpf(x.numerator) / x.denominator


def digits(x):
    return mp.mpf(x.numerator) / x.denominator


def relative_entropy(p, q):
    return sum(a * iv.log(a / b) for a, b in zip(p, q, strict=True))


def logistic(x):
    return 1 / (1 + mp.exp(-x))


@pytest.mark.parametrize("key", REFUTED)
def test_what_is_printed_runs_by_itself_and_verifies_the_violation(key):
    names = pasted(key)
    assert "assert" in REFUTED[key].counterexample.python
    numbers = [value for value in names.values() if isinstance(value, F | int | tuple)]
    assert numbers, "it defines exact numbers"
    assert not any(isinstance(value, float) for value in names.values())


class Prompt(InteractiveConsole):
    """Python's prompt, at which a block ends with an empty line; whatever fails is raised."""

    def showsyntaxerror(self, *_args, **_rest):
        raise sys.exc_info()[1]

    showtraceback = showsyntaxerror


@pytest.mark.parametrize("key", REFUTED)
def test_what_is_printed_can_be_pasted_at_the_prompt(key):
    prompt = Prompt({})
    for line in REFUTED[key].counterexample.python.splitlines():
        waiting = prompt.push(line)
    assert not (waiting and prompt.push("")), "it ends in the middle of something"
    assert {name for name in pasted(key) if name != "__builtins__"} <= set(prompt.locals)


def test_a_block_without_an_empty_line_after_it_cannot_be_pasted():
    prompt = Prompt({})
    prompt.push("for i in range(2):")
    prompt.push("    assert i < 2")
    with pytest.raises(SyntaxError):
        prompt.push("assert i == 1")


@pytest.mark.parametrize(
    ("key", "old", "new"),
    [
        ("gap-controls-reverse-kl", "(F(2, 3), F(1, 3))", "(F(1, 2), F(1, 2))"),
        ("gap-controls-reverse-kl", "m = 2 * c + 2", "m = 2 * c + 1"),
        ("mle-radius-without-2", "F(1, 244)", "F(1, 243)"),
        ("mle-radius-without-2", "F(1, 335)", "F(1, 334)"),
        ("mle-radius-without-2", "F(5, 6), 14", "F(5, 6), 13"),
        ("mle-radius-without-2", "159", "158"),
        ("pelhf-as-transcribed", "F(1, 34), F(1, 476)", "F(1, 33), F(1, 476)"),
        ("pelhf-as-transcribed", "F(1, 34), F(1, 476)", "F(1, 34), F(1, 34)"),
        (
            "pelhf-as-transcribed",
            "n, delta, half = F(1, 34), F(1, 476), 14",
            "n, delta, half = F(1, 34), F(1, 476), 13",
        ),
        ("onpo-average-as-extracted", "(F(1, 7), 9,", "(F(1, 7), 8,"),
        ("onpo-average-as-extracted", "(F(1, 4), 13,", "(F(1, 4), 12,"),
        ("impossibility-as-transcribed", "F(3, 4), 4", "F(3, 4), 3"),
        ("impossibility-as-transcribed", "F(1, 2), F(2, 3)", "F(1, 2), F(3, 4)"),
        ("reward-mismatch-misspecified", "F(4), F(3, 4)", "F(4), F(1, 2)"),
        ("reward-mismatch-misspecified", "(u - (k + j) / 2", "(u - (k + 2 * j) / 3"),
        ("reward-mismatch-sharp-misspecified", "F(30), F(10, 11)", "F(30), F(9, 11)"),
        ("reward-mismatch-sharp-misspecified", "F(24, 23), F(30)", "F(24, 23), F(20)"),
    ],
)
def test_what_is_printed_fails_for_other_numbers(key, old, new):
    with pytest.raises(AssertionError):
        pasted(key, (old, new))


# The regularised game


def gap_and_reverse(payoff, reference, policy, tau):
    """(max_ρ J(ρ, π) − J(π, π), τ KL(π*‖π)), where the reference must be the equilibrium."""
    size = range(len(policy))
    for played in (reference, policy):
        earned = [sum(payoff[a][b] * played[b] for b in size) for a in size]
        assert all(value == earned[0] for value in earned), "the reply to anything is the reference"
    earned = [enclosed(sum(payoff[a][b] * policy[b] for b in size)) for a in size]
    played, base = [enclosed(x) for x in policy], [enclosed(x) for x in reference]
    best = tau * iv.log(sum(m * iv.exp(e / tau) for m, e in zip(base, earned, strict=True)))
    own = sum(p * e for p, e in zip(played, earned, strict=True))
    gap = best - own + tau * relative_entropy(played, base)
    return gap, tau * relative_entropy(base, played)


@pytest.mark.parametrize("tau", [F(1, 10), F(1), F(7)])
def test_the_reverse_divergence_exceeds_the_gap(tau):
    names = pasted("gap-controls-reverse-kl")
    game = names["P"], names["mu"]
    gap, reverse = gap_and_reverse(*game, names["pi"], enclosed(tau))
    assert reverse.a > gap.b > 0
    assert reverse.b < (gap * iv.mpf("1.04")).a, "and not by more than it does"
    _, other = gap_and_reverse(*game, game[1], enclosed(tau))
    assert abs(other) < mp.mpf(10) ** -50


@pytest.mark.parametrize("constant", [1, 2, 10, 100, 500])
def test_the_reverse_divergence_exceeds_every_multiple_of_the_gap(constant):
    names = pasted("gap-controls-reverse-kl")
    iv.dps = DIGITS + constant
    q = F(1, 2 ** (2 * constant + 2))
    gap, reverse = gap_and_reverse(names["P"], names["mu"], (1 - q, q), iv.mpf(1))
    assert reverse.a > (constant * gap).b
    if constant > 1:
        gap, reverse = gap_and_reverse(names["P"], names["mu"], (1 - 2 * q, 2 * q), iv.mpf(1))
        assert reverse.b < (constant * gap).a, "half of the exponent's step more mass does not"


# Likelihood


def chance_of_rival(p, q, n):
    """By the incomplete beta function, from the number of wins at which log-likelihoods cross."""
    p, q = digits(p), digits(q)
    cross = n * mp.log((1 - p) / (1 - q)) / mp.log(q * (1 - p) / (p * (1 - q)))
    least = int(mp.ceil(cross - mp.mpf(10) ** -40))
    return mp.betainc(least, n - least + 1, 0, p, regularized=True)


def test_the_estimate_is_outside_the_smaller_radius_too_often():
    names = pasted("mle-radius-without-2")
    assert len(names["cases"]) == 2
    for p, q, n, delta in names["cases"]:
        squared, models = enclosed(n * (q - p) ** 2), 2
        assert squared.a > iv.log(models / enclosed(delta)).b
        assert chance_of_rival(p, q, n) > digits(delta) * mp.mpf("1.002")
        assert squared.b < (2 * iv.log(models / enclosed(delta))).a, "twice the radius suffices"
        assert chance_of_rival(p, q, n + 1) < digits(delta), "the rival is ahead less often"


def test_among_a_thousand_models_some_rival_is_outside_far_too_often():
    names = pasted("mle-radius-without-2")
    p, q, n, models, delta = (names[name] for name in ("p", "q", "n", "models", "delta"))
    assert enclosed(n * (q - p) ** 2).a > iv.log(models / enclosed(delta)).b
    some = -mp.expm1((models - 1) * mp.log1p(-chance_of_rival(p, q, n)))
    assert some > 6 * digits(delta)


def equilibrium(payoff, tau, guess):
    """The equilibrium for a uniform reference, as the zero of π ∝ exp(Pπ/τ) in log-odds."""

    def policy(odds):
        raw = [mp.exp(x) for x in (0, *odds)]
        return [x / sum(raw) for x in raw]

    def off(*odds):
        played = policy(odds)
        earned = [sum(w * x for w, x in zip(row, played, strict=True)) for row in payoff]
        return [x - (e - earned[0]) / tau for x, e in zip(odds, earned[1:], strict=True)]

    found = mp.findroot(off, guess)
    assert max(abs(x) for x in off(*found)) < mp.mpf(10) ** -45
    return policy(found)


def lost_and_bound(names):
    """The gap of the rival's equilibrium, and 4β √(C/n) with β² = 2 log(2/δ)."""
    truth, rival = ([[digits(x) for x in row] for row in names[k]] for k in ("truth", "rival"))
    tau, n, delta = digits(names["tau"]), names["n"], digits(names["delta"])
    policy = equilibrium(rival, tau, [mp.mpf(14), mp.mpf(-150)])
    star = equilibrium(truth, tau, [mp.mpf(-14), mp.mpf(-14)])
    earned = [sum(w * x for w, x in zip(row, policy, strict=True)) for row in truth]
    free = tau * mp.log(sum(mp.exp(e / tau) for e in earned) / 3)
    gap = free - mp.mpf(1) / 2 + tau * sum(x * mp.log(3 * x) for x in policy)
    apart = [sum(star[a] * (truth[a][b] - rival[a][b]) for a in range(3)) for b in range(3)]
    root = max(abs(x) for x in apart) / abs(truth[1][2] - rival[1][2])
    return gap, 4 * mp.sqrt(2 * mp.log(2 / delta) / n) * root


def test_pessimism_loses_more_than_its_cited_bound_too_often():
    names = pasted("pelhf-as-transcribed")
    p, q, n, delta = (names[name] for name in ("p", "q", "n", "delta"))
    for table in (names["truth"], names["rival"]):
        assert all(table[a][b] + table[b][a] == 1 for a in range(3) for b in range(3))
    assert chance_of_rival(p, q, n) > digits(delta)
    assert enclosed(n * (q - p) ** 2).a > iv.log(2 / enclosed(delta)).b, "P* is excluded"
    gap, bound = lost_and_bound(names)
    assert gap > mp.mpf("1.02") * bound
    # With the advantage four times as large, at the same temperature, the bound covers it.
    h = 4 * names["h"]
    half = F(1, 2)
    names["truth"] = ((half, half + h, half + h), (half - h, half, p), (half - h, 1 - p, half))
    names["rival"] = ((half, half - h, half + h), (half + h, half, q), (half - h, 1 - q, half))
    gap, bound = lost_and_bound(names)
    assert gap < bound / 3


# Averages


def gap_of_the_average(payoff, start, count, prepared=True):
    """Optimistic mirror descent with step 1/2 from its definition, in intervals."""
    size = range(len(start))
    table = [[enclosed(x) for x in row] for row in payoff]

    def step(base, towards):
        raw = [
            b * iv.exp(sum(table[a][k] * towards[k] for k in size) / 2) for a, b in enumerate(base)
        ]
        return [x / sum(raw) for x in raw]

    centre = [enclosed(x) for x in start]
    ahead, total = centre, [iv.mpf(0)] * len(start)
    for played in range(count):
        ahead = step(centre, ahead) if prepared or played else centre
        centre = step(centre, ahead)
        total = [t + x for t, x in zip(total, ahead, strict=True)]
    mean = [t / count for t in total]
    against = [sum(table[a][b] * mean[b] for b in size) for a in size]
    conceded = [sum(mean[a] * table[a][b] for a in size) for b in size]
    return max(x.a for x in against) - min(x.b for x in conceded)


@pytest.mark.parametrize("prepared", [True, False])
def test_the_average_of_optimistic_descent_is_worse_than_extracted(prepared):
    names = pasted("onpo-average-as-extracted")
    winner = names["P"]
    others = ((F(1, 2),) * 3 + (F(0),),) * 3 + ((F(1),) * 3 + (F(1, 2),),)
    cases = ((winner, (F(6, 7), F(1, 7)), 9), (winner, (F(3, 4), F(1, 4)), 13))
    for payoff, start, count in (*cases, (others, (F(1, 4),) * 4, 13)):
        distance = iv.log(1 / enclosed(min(start)))
        assert distance.a > mp.mpf(1) / 4, "so that the step is 1/2"
        found = gap_of_the_average(payoff, start, count, prepared)
        assert found > (4 * iv.sqrt(distance) / count).b
        assert found < ((4 * distance + iv.mpf("0.14")) / count).a, "what is proved"
    assert names["q"] == cases[1][1][1]
    assert names["T"] == cases[1][2]
    if prepared:
        bound = 4 * iv.sqrt(iv.log(iv.mpf(7))) / 8
        assert gap_of_the_average(winner, cases[0][1], 8) < bound.a, "one iterate less"


# One reward for everybody


def single_reward(p_u, p_j, share, m):
    """(gap, bound) from rewards φψ with ψ = ±1/2 and β = 1/m."""
    beta = iv.mpf(1) / m
    pooled = share * p_u + (1 - share) * p_j

    def policy(odds):
        raw = [iv.exp(sign * odds / (2 * beta)) for sign in (1, -1)]
        return [x / sum(raw) for x in raw]

    def value(played, odds):
        entropy = relative_entropy(played, [iv.mpf(1) / 2] * 2)
        return (played[0] - played[1]) * odds / 2 - beta * entropy

    odds = [iv.log(enclosed(p / (1 - p))) for p in (p_u, pooled)]
    own, single = policy(odds[0]), policy(odds[1])
    gap = value(own, odds[0]) - value(single, odds[0])
    masses = (*own, *single)
    least = iv.mpf([min(x.a for x in masses), min(x.b for x in masses)])
    epsilon = enclosed(abs(p_u - p_j) * (1 - share))
    return gap, least * epsilon / (64 * beta**2 * enclosed(F(1, 4)))


def test_the_gap_of_a_single_reward_is_below_the_bound_as_transcribed():
    names = pasted("impossibility-as-transcribed")
    case = tuple(names[name] for name in ("p_u", "p_j", "share", "m"))
    gap, bound = single_reward(*case)
    assert 0 < gap.a <= gap.b < bound.a
    for other in ((*case[:3], 3), (F(1, 2), F(3, 4), F(3, 4), 4), (F(1, 2), F(2, 3), F(1, 2), 4)):
        gap, bound = single_reward(*other)
        assert gap.a > bound.b, other


def pooled_reward(pairs, law, rewards, shares, start):
    """The zero of the score of the pooled likelihood, to sixty digits."""

    def chance(reward, z):
        return logistic(sum(r * x for r, x in zip(reward, z, strict=True)))

    def score(*at):
        off = [
            w
            * (chance(at, z) - sum(s * chance(r, z) for s, r in zip(shares, rewards, strict=True)))
            for z, w in zip(pairs, law, strict=True)
        ]
        return [sum(o * z[i] for o, z in zip(off, pairs, strict=True)) for i in range(len(start))]

    return list(mp.findroot(score, start))


@pytest.mark.parametrize("share", ["0.01", "0.3", "0.9"])
def test_the_reward_of_everybody_is_that_of_the_most_distant_group(share):
    names = pasted("reward-mismatch-misspecified")
    pairs, share = names["pairs"], mp.mpf(share)
    rewards = [[mp.log(digits(x)) for x in names["odds"][g]] for g in "ukj"]
    shares = [share, (1 - share) / 2, (1 - share) / 2]

    def mismatch(law):
        found = pooled_reward(pairs, law, rewards, shares, [mp.mpf("1.2"), mp.mpf("-0.2")])
        apart = mp.sqrt(sum((a - b) ** 2 for a, b in zip(found, rewards[0], strict=True)))

        def distance(a, b):
            dots = [[sum(r * x for r, x in zip(g, z, strict=True)) for z in pairs] for g in (a, b)]
            both = zip(law, *dots, strict=True)
            return sum(w * abs(logistic(x) - logistic(y)) for w, x, y in both)

        assert distance(rewards[0], rewards[2]) > distance(rewards[0], rewards[1])
        epsilon = distance(rewards[0], rewards[2]) - distance(rewards[1], rewards[2])
        return apart, (1 - share) * epsilon

    apart, claimed = mismatch([digits(w) for w in names["law"]])
    assert apart < mp.mpf(10) ** -45
    radius = 8  # the features (0,0), (1,0), (1,1), (0,-8)
    assert claimed > mp.mpf("1e-5")
    assert apart < claimed / (4 * radius)
    # Where the first pair is compared less often the reward of everybody is another.
    apart, claimed = mismatch([mp.mpf(x) for x in ("0.20", "0.78", "0.02")])
    assert apart > claimed / (4 * radius)
    assert claimed > 0


def score_and_claim(often, own, other, share, reach):
    """The score at the largest φ that the sharp bound excludes, in intervals."""
    pairs = ((reach, enclosed(often)), (1, 1 - enclosed(often)))
    mine, theirs, share = iv.log(enclosed(own)), iv.log(enclosed(other)), enclosed(share)

    def chance(x):
        return 1 / (1 + iv.exp(-x))

    epsilon = sum(w * (chance(z * theirs) - chance(z * mine)) for z, w in pairs)
    radius = iv.mpf(reach) / 2  # features N/2, -N/2, N/2 - 1
    at = mine + 2 / radius * (1 - share) * epsilon
    return sum(
        w * z * (chance(z * at) - share * chance(z * mine) - (1 - share) * chance(z * theirs))
        for z, w in pairs
    )


def test_the_reward_of_two_groups_is_nearer_than_the_sharp_bound():
    names = pasted("reward-mismatch-sharp-misspecified")
    case = [names[name] for name in ("often", "own", "other", "share")]
    reach = names["weights"][0][0]
    # The score increases; it is positive at φ_u + claimed, so that φ* − φ_u is smaller.
    assert score_and_claim(*case, reach).a > 0
    assert score_and_claim(*case, reach - 3).b < 0
    assert score_and_claim(*case[:3], F(1, 2), reach).b < 0
