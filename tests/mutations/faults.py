"""Faults that the test suite must catch: a text of one file, what to put there, who must object.

`python tests/mutations/run.py [KEY ...]` plants them one at a time in a copy of the checkout.
"""

from tests.mutations.diversity_faults import DIVERSITY
from tests.mutations.fault import Fault
from tests.mutations.learning_faults import LEARNING

CERTIFY = ("tests/certificates",)
SIMPLEX = ("tests/properties/test_simplex.py",)
NUMERICS = ("tests/properties/test_numerics.py",)
SOLVE = ("tests/solving", "tests/certificates")
GAMBIT = ("tests/exactness/test_gambit_table.py",)
CONVEX = (
    "tests/exactness/test_convex_program.py::test_both_players_of_a_zero_sum_game_agree_with_the_solver",
)
THIN = (
    "tests/exactness/test_invariances.py::test_thin_factors_and_their_product_are_the_same_game",
)
ZERO = ("tests/exactness/test_temperature_zero.py",)
SPACES = ("tests/contracts/test_shipped.py::test_spaces_of_processes_keep_the_contract",)
REALISERS = ("tests/contracts/test_shipped.py::test_realisers_keep_the_contract",)
CONTRACTS = ("tests/contracts/test_shipped.py::test_games_keep_the_contract",)
CHECKING = ("tests/theorems",)
LEDGER = ("tests/theory",)
PROCESSES = ("tests/processes",)
MAPS = ("tests/algorithms/test_maps.py",)
SEQUENTIAL = ("tests/certificates/test_certify_sequential.py",)
SAME = ("tests/settings/test_same_iterates.py",)
MARKOV = ("tests/games/test_sequential_games.py",)
ENVIRONMENTS = ("tests/environments",)

CERTIFICATES = "nlhf/certificates.py"
BANDIT = "nlhf/spaces/simplex.py"
SYSTEMS = "nlhf/exact/systems.py"
REGULARISED = "nlhf/exact/regularised.py"

FAULTS = (
    # The judge
    Fault(
        "gap-of-one-player",
        CERTIFICATES,
        "gap = game.multiplicity * np.sum(gains, axis=0)",
        "gap = np.sum(gains, axis=0)",
        CERTIFY,
    ),
    Fault(
        "gain-without-temperature",
        BANDIT,
        "temperature * kl_divergence(policy",
        "kl_divergence(policy",
        CERTIFY,
    ),
    Fault(
        "worst-response-for-best",
        BANDIT,
        "self.prox(payoff, [(reference",
        "self.prox(-payoff, [(reference",
        CERTIFY,
    ),
    Fault(
        "divergence-turned-round",
        BANDIT,
        "kl_divergence(policy.log_probabilities, response.log_probabilities)",
        "kl_divergence(response.log_probabilities, policy.log_probabilities)",
        CERTIFY,
    ),
    Fault(
        "distance-too-short",
        CERTIFICATES,
        "np.sqrt(2.0 * np.maximum(gap",
        "np.sqrt(0.2 * np.maximum(gap",
        CERTIFY,
    ),
    Fault(
        "weights-forgotten",
        CERTIFICATES,
        "weighted_mean(gap, game.weights) / share",
        "float(gap.mean()) / share",
        CERTIFY,
    ),
    Fault(
        "exploitability-not-shared",
        CERTIFICATES,
        "players = game.multiplicity * len(profile)",
        "players = len(profile)",
        CERTIFY,
    ),
    Fault(
        "mean-deviation-at-zero",
        BANDIT,
        "payoff.max(axis=-1) - mean",
        "payoff.mean(axis=-1) - mean",
        CERTIFY,
    ),
    Fault(
        "distance-by-the-other-temperature",
        CERTIFICATES,
        "np.array(game.temperatures)[:, None]",
        "np.array(game.temperatures)[::-1, None]",
        CERTIFY,
    ),
    Fault(
        "no-rounding-in-the-bound",
        BANDIT,
        "+ 8 * EPSILON * gain",
        "- temperature * (error * spread + error**2)",
        CERTIFY,
    ),
    # Geometry and numerics
    Fault(
        "strengths-not-normalised",
        "nlhf/spaces/anchors.py",
        "a.log_probabilities * (s / total)",
        "a.log_probabilities * s",
        SIMPLEX,
    ),
    Fault(
        "payoff-not-over-strength",
        BANDIT,
        "logits += payoff / total",
        "logits += payoff",
        SIMPLEX,
    ),
    Fault(
        "series-coefficient",
        "nlhf/numerics.py",
        "(1 / 6 + series",
        "(1 / 3 + series",
        NUMERICS,
    ),
    Fault(
        "divergence-loses-heavy-terms",
        "nlhf/numerics.py",
        "heavy = np.exp(q) - mass -",
        "heavy = np.exp(q) + mass -",
        NUMERICS,
    ),
    # Games
    Fault(
        "payoff-transposed",
        "nlhf/games/payoffs.py",
        "np.matmul(self.matrix, y[..., None])[..., 0]",
        "np.matmul(y[..., None, :], self.matrix)[..., 0, :]",
        SOLVE,
    ),
    Fault(
        "column-player-cooperates",
        "nlhf/games/zero_sum.py",
        "-self.payoff.columns(x.probabilities)",
        "self.payoff.columns(x.probabilities)",
        SOLVE,
    ),
    Fault(
        "log-odds-reversed",
        "nlhf/games/preference.py",
        "odds = np.sign(given - other) *",
        "odds = np.sign(other - given) *",
        ("tests/analysis/test_analysis.py",),
    ),
    Fault(
        "game-forgets-its-reference",
        "nlhf/games/tabular.py",
        "for p, s in anchors] + own)",
        "for p, s in anchors])",
        SOLVE,
    ),
    # Contracts
    Fault(
        "divergence-without-visits",
        "nlhf/spaces/realisers.py",
        "return process.total(visits * each)",
        "return process.total(each)",
        SPACES,
    ),
    Fault(
        "residual-of-one-token",
        "nlhf/spaces/realisers.py",
        "Bound.exact(weighted_mean(distance, weights), Units.NATS)",
        "Bound.exact(0.5 * weighted_mean(distance, weights), Units.NATS)",
        REALISERS,
    ),
    Fault(
        "visits-of-the-transposed-process",
        "nlhf/spaces/discounted.py",
        "(log_policy).T, self.mdp",
        "(log_policy), self.mdp",
        SPACES,
    ),
    Fault(
        "payoffs-subtracted-as-added",
        "nlhf/spaces/duals.py",
        "return LeafPayoff(self.leaves - other.leaves)",
        "return LeafPayoff(self.leaves + other.leaves)",
        SPACES,
    ),
    Fault(
        "gain-of-trajectories-without-temperature",
        "nlhf/spaces/sequential.py",
        "gain = temperature * divergence",
        "gain = divergence",
        CONTRACTS,
    ),
    Fault(
        "lipschitz-of-a-tenth",
        "nlhf/games/tabular.py",
        "return self.payoff.half_range",
        "return 0.1 * self.payoff.half_range",
        CONTRACTS,
    ),
    Fault(
        "operator-transposed-in-bandits-alone",
        "nlhf/games/preference.py",
        "return Evaluation((self.payoff.rows(profile[0].probabilities),))",
        "return Evaluation((self.payoff.columns(profile[0].probabilities),))",
        SAME,
    ),
    # Processes and their games
    Fault(
        "soft-values-without-temperature",
        "nlhf/spaces/layered.py",
        "values = temperature * _normalise(q, target)",
        "values = _normalise(q, target)",
        PROCESSES,
    ),
    Fault(
        "stop-not-weighed",
        "nlhf/spaces/discounted.py",
        "return (1.0 - self.discount) * payoff.steps",
        "return payoff.steps",
        PROCESSES,
    ),
    Fault(
        "visits-of-the-other",
        "nlhf/spaces/realisers.py",
        "visits = process.visits(p)",
        "visits = process.visits(q)",
        PROCESSES,
    ),
    Fault(
        "mixture-without-visits",
        "nlhf/spaces/sequential.py",
        "share + log_of(self.process.visits(log))[..., None] + log",
        "share + log",
        PROCESSES,
    ),
    Fault(
        "prox-renormalised-token-by-token",
        "nlhf/spaces/realisers.py",
        "return Policy(process.optimum(payoff, pull(anchors, total), total))",
        "return Policy(process.optimum(payoff, log_normalise(pull(anchors, total)), total))",
        SAME,
    ),
    Fault(
        "judge-trusts-the-realiser",
        "nlhf/spaces/sequential.py",
        "response = SoftBellman().realise(",
        "response = self.realiser.realise(",
        MARKOV,
    ),
    Fault(
        "gain-without-visits",
        "nlhf/spaces/sequential.py",
        "self.process.total(self.process.visits(log_policy) * short)",
        "self.process.total(short)",
        SEQUENTIAL,
    ),
    Fault(
        "steps-not-averaged",
        "nlhf/games/markov.py",
        "share = (1.0 - w) / self.process.horizon",
        "share = 1.0 - w",
        SEQUENTIAL,
    ),
    Fault(
        "last-states-unweighed",
        "nlhf/games/markov.py",
        "ends = w * self.final.rows(last)",
        "ends = self.final.rows(last)",
        MARKOV,
    ),
    Fault(
        "unreachable-states-pass",
        "nlhf/spaces/mdp.py",
        "if not reached.all() and unreachable is Unreachable.ERROR:",
        "if False:",
        ENVIRONMENTS,
    ),
    # The algorithms
    Fault(
        "extragradient-from-the-half-step",
        "nlhf/algorithms/extragradient.py",
        'moved = game.prox(game.operator(half, stream.child("second")), anchor)',
        'moved = game.prox(game.operator(half, stream.child("second")), [(half, state.strength)])',
        MAPS,
    ),
    Fault(
        "optimism-from-the-old-centre",
        "nlhf/algorithms/optimistic.py",
        "played = game.prox(seen, [(centre, state.strength)])",
        "played = game.prox(seen, [(state.centre, state.strength)])",
        MAPS,
    ),
    Fault(
        "nash-md-decays-too-fast",
        "nlhf/algorithms/nash_md.py",
        "return temperature * steps / 2.0",
        "return temperature * steps",
        MAPS,
    ),
    Fault(
        "magnet-without-pull",
        "nlhf/algorithms/proximal_point.py",
        "[*anchors, (self.magnet, self.strength)]",
        "list(anchors)",
        MAPS,
    ),
    Fault(
        "average-forgets",
        "nlhf/algorithms/average.py",
        "(state.mean, float(state.count))",
        "(state.mean, 1.0)",
        MAPS,
    ),
    Fault(
        "twice-the-proven-step",
        "nlhf/algorithms/mirror_descent.py",
        "value = temperature / constant / constant if constant > 0.0 else inf",
        "value = 2.0 * temperature / constant / constant if constant > 0.0 else inf",
        ("tests/algorithms/test_steps.py",),
    ),
    Fault(
        "resumed-one-step-late",
        "nlhf/algorithms/loop.py",
        "point = Point(point.iteration + 1, state)",
        "point = Point(point.iteration + 2, state)",
        ("tests/algorithms/test_checkpoint.py", "tests/algorithms/test_loop.py"),
    ),
    # The exact solver
    Fault(
        "operator-without-temperature",
        REGULARISED,
        "part /= game.temperature",
        "part /= 1.0",
        GAMBIT,
    ),
    Fault(
        "stacked-sign",
        REGULARISED,
        "-np.swapaxes(matrix, 1, 2) / t2",
        "np.swapaxes(matrix, 1, 2) / t2",
        CONVEX,
    ),
    Fault(
        "temperatures-swapped",
        REGULARISED,
        "stacked[:, :rows, rows:] = matrix / t1",
        "stacked[:, :rows, rows:] = matrix / t2",
        CONVEX,
    ),
    Fault(
        "covariance-without-mean",
        SYSTEMS,
        "moment -= np.outer(",
        "moment -= 0 * np.outer(",
        THIN,
    ),
    Fault(
        "stops-far-from-the-branch-end",
        "nlhf/exact/branch.py",
        "floor = 32 * EPSILON * steepness",
        "floor = 1e-3 * steepness",
        GAMBIT,
    ),
    Fault(
        "selection-without-reference",
        "nlhf/exact/entropy.py",
        "full[support] = log_normalise(logs + slack @ multipliers)",
        "full[support] = log_normalise(slack @ multipliers)",
        ZERO,
    ),
    Fault(
        "constraints-never-activated",
        "nlhf/exact/entropy.py",
        "if margin.min() < -_FEASIBLE:",
        "if margin.min() < -1e9:",
        ZERO,
    ),
    # Theorems
    Fault(
        "violation-sign",
        "nlhf/theorems/statement.py",
        "return self.excess > 0.0",
        "return self.excess < 0.0",
        CHECKING,
    ),
    Fault(
        "rounding-ignored",
        "nlhf/theorems/statement.py",
        "-(self.value + self.rounding) / self.scale",
        "-self.value / self.scale",
        CHECKING,
    ),
    Fault(
        "search-climbs-down",
        "nlhf/theorems/search.py",
        "target(_bounded(part.excess), label=name)",
        "target(_bounded(-part.excess), label=name)",
        CHECKING,
    ),
    Fault(
        "local-search-climbs-down",
        "nlhf/theorems/search.py",
        "_FAR if part is None else -_bounded(part.excess)",
        "_FAR if part is None else _bounded(part.excess)",
        CHECKING,
    ),
    Fault(
        "toothless-controls-pass",
        "nlhf/theorems/checking.py",
        "if control.bites == 0",
        "if control.bites < 0",
        CHECKING,
    ),
    Fault(
        "nothing-tested-passes",
        "nlhf/theorems/checking.py",
        "return Verdict.NOT_FALSIFIED if tested else Verdict.VACUOUS",
        "return Verdict.NOT_FALSIFIED",
        CHECKING,
    ),
    Fault(
        "parts-that-cannot-fail-pass",
        "nlhf/theorems/checking.py",
        "if part.name not in seen",
        "if part.name in ()",
        CHECKING,
    ),
    Fault(
        "undefined-margins-bite",
        "nlhf/theorems/statement.py",
        "if part.violated and not isnan(part.value)",
        "if part.violated",
        CHECKING,
    ),
    # The ledger
    Fault(
        "half-of-a-constant",
        "theory/plug_in.py",
        "RANGE_FACTOR = 1 / 8",
        "RANGE_FACTOR = 1 / 16",
        LEDGER,
    ),
    Fault(
        "punisher-rewards",
        "theory/gap.py",
        "-column_payoff(game, policy), other",
        "column_payoff(game, policy), other",
        LEDGER,
    ),
    Fault(
        "tilt-without-temperature",
        "theory/definitions.py",
        "logits = log_reference + payoff / temperature",
        "logits = log_reference + payoff",
        LEDGER,
    ),
    *DIVERSITY,
    *LEARNING,
)
