"""Batches of exploration: some round of a run that is long enough has a small gap."""

from dataclasses import dataclass, replace
from math import log

import numpy as np
from jaxtyping import Float

from nlhf.numerics import log_normalise, log_of
from nlhf.theorems import Citation, Hypothesis, Margin, Theorem

from .definitions import depth, relative, rounding
from .draws import Draws, instances
from .equilibrium import COMPLEMENTARY, COMPLEMENTARY_TEXT
from .learnt import VALUE

QUERIES = 18.0
"""m = 18 T log(2T|P|/δ)/ε²."""

ROUNDS = 2.0
"""T ≥ 2d."""

CONCENTRATED = 1 / 12
"""λ + (in-sample error)/m ≥ (λ + expected error)/12."""

_EQUILIBRIUM = 1e-10
_LEAST = 1e-10
_STEPS = 80

Tables = Float[np.ndarray, "model response response"]
Counts = Float[np.ndarray, "round response response"]
Choices = Float[np.ndarray, "round response"]
ByRound = Float[np.ndarray, "round model"]


@dataclass(frozen=True, slots=True, eq=False)
class Run:
    """T rounds of a main agent and an enhancer, one prompt, m comparisons a round.

    Attributes:
        tables: The class; the first is P*.
        log_reference: log μ.
        temperature: τ.
        epsilon: ε.
        delta: δ.
        batch: m.
        estimates: Which model each round's main agent took for P*.
        main: log π_t.
        second: log of the enhancer's policy ρ_t.
        counts: How often a was compared with b in each round.
    """

    tables: Tables
    log_reference: Float[np.ndarray, "response"]
    temperature: float
    epsilon: float
    delta: float
    batch: float
    estimates: tuple[int, ...]
    main: Choices
    second: Choices
    counts: Counts

    @property
    def logarithm(self) -> float:
        """log(2T|P|/δ)."""
        return log(2.0 * len(self.estimates) * len(self.tables) / self.delta)

    @property
    def ridge(self) -> float:
        """λ = T log(2T|P|/δ)/m."""
        return len(self.estimates) * self.logarithm / self.batch


def queries(rounds: int, models: int, epsilon: float, delta: float) -> float:
    """Return the cited m."""
    return QUERIES * rounds * log(2.0 * rounds * models / delta) / epsilon**2


def _apart(run: Run) -> Float[np.ndarray, "round model response response"]:
    return np.asarray(run.tables - run.tables[list(run.estimates)][:, None])


def in_sample(run: Run) -> ByRound:
    """Return Σ_{s<t} Σ_j (P − P̂_t)² of every model at every round t."""
    before = np.cumsum(run.counts, axis=0) - run.counts
    return np.asarray(np.einsum("tkab,tab->tk", _apart(run) ** 2, before))


def expected(run: Run) -> ByRound:
    """Return Σ_{s<t} E_{π_s,ρ_s}(P − P̂_t)²."""
    each = np.exp(run.main)[:, :, None] * np.exp(run.second)[:, None, :]
    before = np.cumsum(each, axis=0) - each
    return np.asarray(np.einsum("tkab,tab->tk", _apart(run) ** 2, before))


def out_of_sample(run: Run) -> Float[np.ndarray, "round model response"]:
    """Return E_{a∼π_t}(P − P̂_t)(a, b)."""
    return np.asarray(np.einsum("ta,tkab->tkb", np.exp(run.main), _apart(run)))


def coefficient(run: Run) -> float:
    """Return d, realised along the run, with expected errors below."""
    above = np.einsum("tkb,tb->tk", out_of_sample(run), np.exp(run.second)) ** 2
    ratios = (above / (run.ridge + expected(run))).max(axis=1)
    return float(np.minimum(1.0, ratios).sum())


def uncertainties(run: Run, second: Choices) -> Float[np.ndarray, "round"]:
    """Return Γ̃_t with in-sample errors below."""
    above = np.abs(np.einsum("tkb,tb->tk", out_of_sample(run), np.exp(second)))
    return np.asarray((above / np.sqrt(run.ridge + in_sample(run) / run.batch)).max(axis=1))


def most_uncertain(run: Run) -> Choices:
    """Return the pure replies that maximise Γ̃_t."""
    each = np.abs(out_of_sample(run))
    ratios = each / np.sqrt(run.ridge + in_sample(run) / run.batch)[:, :, None]
    return log_of(np.eye(each.shape[2])[ratios.max(axis=1).argmax(axis=1)])


def gaps(run: Run, table: Float[np.ndarray, "response response"]) -> Float[np.ndarray, "round"]:
    """Return J_P(π_t, π_t) − J_P(π_t, †), the gaps in a game of value 1/2."""
    tau, mass = run.temperature, np.exp(run.main)
    conceded = mass @ table
    least = -tau * np.logaddexp.reduce(run.log_reference - conceded / tau, axis=1)
    price = tau * (mass * (run.main - run.log_reference)).sum(axis=1)
    return np.asarray(VALUE - least + price)


def _online(run: Run) -> Margin:
    size = 1.0 + run.temperature * depth(run.log_reference, run.main)
    allowed = rounding(size, len(run.log_reference)) + 2.0 * _EQUILIBRIUM
    return relative(float(gaps(run, run.tables[0]).min()), run.epsilon, allowed)


def _is_event(run: Run) -> bool:
    return bool((in_sample(run)[:, 0] <= 2.0 * run.logarithm * (1.0 + _LEAST)).all())


def _is_typical(run: Run) -> bool:
    seen = run.ridge + in_sample(run) / run.batch
    return bool((seen >= CONCENTRATED * (run.ridge + expected(run)) * (1.0 - _LEAST)).all())


def _is_solved(run: Run) -> bool:
    """Return whether every π_t loses nothing in the game of its estimate."""
    tau, mass = run.temperature, np.exp(run.main)
    own = run.tables[list(run.estimates)]
    payoff = np.einsum("tab,tb->ta", own, mass)
    response = log_normalise(run.log_reference + payoff / tau)
    return bool(tau * np.abs(response - run.main).max() <= _EQUILIBRIUM)


def _is_enhanced(run: Run) -> bool:
    best = uncertainties(run, most_uncertain(run))
    return bool((uncertainties(run, run.second) >= best - _LEAST * (1.0 + best)).all())


def _is_batch(run: Run) -> bool:
    least = queries(len(run.estimates), len(run.tables), run.epsilon, run.delta)
    return run.batch >= least * (1.0 - _LEAST)


def _equilibrium(
    table: Float[np.ndarray, "response response"],
    log_reference: Float[np.ndarray, "response"],
    temperature: float,
) -> Float[np.ndarray, "response"]:
    """Return the equilibrium, by damped best responses; they contract at these temperatures."""
    policy = log_reference
    for _ in range(_STEPS):
        best = log_reference + table @ np.exp(policy) / temperature
        policy = 0.5 * policy + 0.5 * (best - np.logaddexp.reduce(best))
        policy = policy - np.logaddexp.reduce(policy)
    return policy


def _likeliest(tables: Tables, wins: Float[np.ndarray, "response response"]) -> int:
    with np.errstate(divide="ignore", invalid="ignore"):
        terms = np.where(wins > 0.0, wins * np.log(tables), 0.0)
    return int(terms.sum(axis=(1, 2)).argmax())


def conduct(blank: Run, rounds: int, generator: np.random.Generator, first: int) -> Run:
    """Play so many rounds with the cited number of queries; the first estimate is anything."""
    tables, n = blank.tables, blank.tables.shape[1]
    batch = int(queries(rounds, len(tables), blank.epsilon, blank.delta)) + 1
    ridge = rounds * log(2.0 * rounds * len(tables) / blank.delta) / batch
    asked, wins = np.zeros((rounds, n, n)), np.zeros((n, n))
    main, second = np.zeros((rounds, n)), np.full((rounds, n), -np.inf)
    known: dict[int, np.ndarray] = {}
    estimates = [first]
    for t in range(rounds):
        centre = estimates[t]
        if centre not in known:
            known[centre] = _equilibrium(tables[centre], blank.log_reference, blank.temperature)
        main[t], apart = known[centre], tables - tables[centre]
        seen = np.sqrt(ridge + np.einsum("kab,ab->k", apart**2, asked.sum(axis=0)) / batch)
        doubt = np.abs(np.einsum("a,kab->kb", np.exp(main[t]), apart)) / seen[:, None]
        reply = int(doubt.max(axis=0).argmax())
        second[t, reply] = 0.0
        mass = np.exp(main[t])
        asked[t, :, reply] = generator.multinomial(batch, mass / mass.sum())
        won = generator.binomial(asked[t].astype(int), tables[0])
        wins += won + (asked[t] - won).T
        estimates.append(_likeliest(tables, wins))
    return replace(
        blank,
        batch=float(batch),
        estimates=tuple(estimates[:rounds]),
        main=main,
        second=second,
        counts=asked,
    )


def _draw_blank(draws: Draws) -> Run:
    """Draw a class, a game and what is asked of its run."""
    responses, models = draws.one_of((2, 3, 4)), draws.one_of((2, 3, 5))
    generator = np.random.default_rng(draws.whole(2**30))
    shape = (models, responses, responses)
    above = generator.uniform(0.02, 0.98, shape)
    if draws.chance(2):
        above[1:] = above[:1] + generator.uniform(-0.2, 0.2, above[1:].shape)
    above = np.triu(np.round(np.clip(above, 0.02, 0.98) * 2**20) / 2**20, 1)
    tables = above + np.tril(1.0 - np.swapaxes(above, 1, 2), -1) + 0.5 * np.eye(responses)
    reference = log_normalise(generator.uniform(-3.0, 0.0, responses))
    nothing = np.zeros((0, responses))
    return Run(
        tables=tables,
        log_reference=reference,
        temperature=draws.logarithmic(0.2, 1.0),
        epsilon=draws.logarithmic(0.003, 0.3),
        delta=draws.one_of((0.01, 0.1)),
        batch=1.0,
        estimates=(),
        main=nothing,
        second=nothing,
        counts=np.zeros((0, responses, responses)),
    )


def _draw_run(draws: Draws) -> Run:
    """Draw a run of the smallest power of two of rounds that is at least twice its d."""
    if draws.chance(3):
        return _draw_stuck(draws)
    blank, seed = _draw_blank(draws), draws.whole(2**30)
    first = draws.whole(len(blank.tables) - 1)
    rounds, run = 2, None
    while run is None or coefficient(run) > rounds / ROUNDS:
        rounds *= 2
        run = conduct(blank, rounds, np.random.default_rng(seed), first)
    return run


def _draw_stuck(draws: Draws) -> Run:
    """Draw a run that is as wrong all along as its events and its d allow."""
    rounds, responses = draws.one_of((1, 1, 2, 4)), draws.one_of((2, 3))
    generator = np.random.default_rng(draws.whole(2**30))
    tau, epsilon = draws.logarithmic(1e-3, 0.3), draws.logarithmic(0.02, 0.5)
    above = np.triu(np.round(generator.uniform(0.2, 0.8, (responses, responses)) * 2**20), 1)
    estimate = above / 2**20
    policy = log_normalise(generator.uniform(-draws.one_of((0.5, 8.0)), 0.0, responses))
    whole = estimate + np.tril(1.0 - estimate.T, -1) + 0.5 * np.eye(responses)
    reference = log_normalise(policy - whole @ np.exp(policy) / tau)
    signs = np.triu(generator.choice([-1.0, 1.0], (responses, responses)), 1)
    off = round(min(0.19, 0.3 * epsilon) * 2**20) / 2**20
    while True:
        first = estimate + off * signs
        tables = np.stack([first + np.tril(1.0 - first.T, -1) + 0.5 * np.eye(responses), whole])
        run = Run(
            tables=tables,
            log_reference=reference,
            temperature=tau,
            epsilon=epsilon,
            delta=0.1,
            batch=queries(rounds, 2, epsilon, 0.1),
            estimates=(1,) * rounds,
            main=np.tile(policy, (rounds, 1)),
            second=np.tile(np.log(np.full(responses, 1.0 / responses)), (rounds, 1)),
            counts=np.zeros((rounds, responses, responses)),
        )
        for _ in range(rounds):  # each round's reply depends on what was asked before
            run = _asked(replace(run, second=most_uncertain(run)))
        if _is_event(run) and _is_enhanced(run) and ROUNDS * coefficient(run) <= rounds:
            return run
        off *= 0.9 if off > 2.0**-16 else 0.0
        off = round(off * 2**20) / 2**20


def _wrong(draws: Draws, rounds: int) -> Run:
    """Draw a run whose main agent always takes the wrong one of two opposites, and asks for it."""
    low = draws.between(0.05, 0.2)
    tables = np.array([[[0.5, p], [1.0 - p, 0.5]] for p in (low, 1.0 - low)])
    reference, tau = np.log(np.full(2, 0.5)), draws.between(0.2, 0.3)
    policy = _equilibrium(tables[1], reference, tau)
    blank = Run(
        tables=tables,
        log_reference=reference,
        temperature=tau,
        epsilon=0.02,
        delta=0.1,
        batch=queries(rounds, 2, 0.02, 0.1),
        estimates=(1,) * rounds,
        main=np.tile(policy, (rounds, 1)),
        second=np.tile(np.array([-np.inf, 0.0]), (rounds, 1)),
        counts=np.zeros((rounds, 2, 2)),
    )
    return replace(blank, second=most_uncertain(blank))


def _asked(run: Run) -> Run:
    """Return the run with as many comparisons as were to be expected."""
    each = np.exp(run.main)[:, :, None] * np.exp(run.second)[:, None, :]
    return replace(run, counts=run.batch * each)


def _draw_missed(draws: Draws) -> Run:
    """The comparisons are made, and the estimate stays wrong."""
    return _asked(_wrong(draws, rounds=8))


def _draw_unseen(draws: Draws) -> Run:
    """The comparisons that the policies call for are not made."""
    return _wrong(draws, rounds=8)


def _draw_short(draws: Draws) -> Run:
    """Draw a single round, before which nothing is known."""
    return _wrong(draws, rounds=1)


def _draw_small(draws: Draws) -> Run:
    """Draw batches so small that nothing is learnt, and λ so large that nothing is doubted."""
    run = _wrong(draws, rounds=2)
    return _asked(replace(run, batch=0.1))


def _draw_idle(draws: Draws) -> Run:
    """Draw an enhancer that asks about what nobody doubts."""
    run = _wrong(draws, rounds=4)
    # P* differs from the estimate on the pair (1, 2) alone, and the enhancer plays 0.
    tables = np.full((2, 3, 3), 0.5)
    tables[:, 1, 2], tables[:, 2, 1] = np.array([0.0625, 0.9375]), np.array([0.9375, 0.0625])
    reference = np.log(np.array([1e-3, 0.4995, 0.4995]))
    policy = _equilibrium(tables[1], reference, run.temperature)
    return _asked(
        replace(
            run,
            tables=tables,
            log_reference=reference,
            counts=np.zeros((4, 3, 3)),
            main=np.tile(policy, (4, 1)),
            second=np.tile(np.array([0.0, -np.inf, -np.inf]), (4, 1)),
        )
    )


def _draw_known(draws: Draws) -> Run:
    """Draw a class of which all is known."""
    run = _wrong(draws, rounds=4)
    return _asked(replace(run, tables=run.tables[[1, 1]]))


def _draw_unsolved(draws: Draws) -> Run:
    run = _draw_known(draws)
    return replace(run, main=np.flip(run.main, axis=1).copy())


def _draw_lopsided(draws: Draws) -> Run:
    run = _draw_known(draws)
    return replace(run, tables=run.tables - draws.one_of((0.125, 0.25)))


ONLINE_EXISTENCE = Theorem(
    key="online-existence",
    statement=(
        r"with m = 18T\log(2T|\mathcal P|/\delta)/\epsilon^2 comparisons a round,"
        r" \lambda = T\log(2T|\mathcal P|/\delta)/m and T \ge 2d, with probability 1-\delta some"
        r" round has gap(\pi_t) \le \epsilon, where"
        r" d = \sum_t\min\{1,\max_P(E_{\pi_t,\rho_t}(P-\hat P_t))^2/(\lambda+\sum_{s<t}"
        r"E_{\pi_s,\rho_s}(P-\hat P_t)^2)\} is realised along the run; on the event that"
        r" \sum_{s<t}(P^*-\hat P_t)^2 \le 2\log(2T|\mathcal P|/\delta) and that \lambda plus the"
        r" mean in-sample error is at least a twelfth of \lambda plus the expected error"
    ),
    sources=(Citation("ye2024", "as commonly transcribed"),),
    hypotheses=(
        Hypothesis(
            COMPLEMENTARY,
            COMPLEMENTARY_TEXT,
            lambda x: bool((x.tables + np.swapaxes(x.tables, 1, 2) == 1.0).all()),
        ),
        Hypothesis(
            "event",
            r"\sum_{s<t,j}(P^*-\hat P_t)^2 \le 2\log(2T|\mathcal P|/\delta) at every t",
            _is_event,
        ),
        Hypothesis(
            "typical",
            r"\lambda+\tfrac1m\sum_{s<t,j}(P-\hat P_t)^2"
            r" \ge \tfrac1{12}(\lambda+\sum_{s<t}E(P-\hat P_t)^2)",
            _is_typical,
        ),
        Hypothesis("equilibrium", r"\pi_t = NE(\hat P_t)", _is_solved),
        Hypothesis("enhancer", r"\rho_t maximises \tilde\Gamma_t", _is_enhanced),
        Hypothesis(
            "rounds",
            r"T \ge 2d",
            lambda x: len(x.estimates) >= ROUNDS * coefficient(x),
        ),
        Hypothesis("queries", r"m \ge 18T\log(2T|\mathcal P|/\delta)/\epsilon^2", _is_batch),
    ),
    margin=_online,
    instances=instances(_draw_run),
    controls={
        COMPLEMENTARY: instances(_draw_lopsided),
        "event": instances(_draw_missed),
        "typical": instances(_draw_unseen),
        "equilibrium": instances(_draw_unsolved),
        "enhancer": instances(_draw_idle),
        "rounds": instances(_draw_short),
        "queries": instances(_draw_small),
    },
    constants={"queries": QUERIES, "rounds": ROUNDS, "concentrated": CONCENTRATED},
)

ALL = (ONLINE_EXISTENCE,)
