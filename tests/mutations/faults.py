"""Faults that the test suite must catch: a text of one file, what to put there, who must object.

`python tests/mutations/run.py [KEY ...]` plants them one at a time in a copy of the checkout.
"""

from tests.mutations.diversity_faults import DIVERSITY
from tests.mutations.fault import Fault
from tests.mutations.learning_faults import LEARNING
from tests.mutations.theorem_faults import THEOREMS

BOUND = (
    "tests/certificates/test_certify.py::test_the_bound_contains_the_gap_of_the_stored_policy",
)
PROX = (
    "tests/properties/test_simplex.py::test_prox_is_the_maximiser_and_every_other_policy_loses_exactly_its_divergence",
)
RATE = ("tests/solving/test_solve.py::test_extragradient_contracts_at_its_rate",)
TOKENS = (
    "tests/contracts/test_shipped.py::test_spaces_of_processes_keep_the_contract[token tree]",
)
SAME = (
    "tests/settings/test_same_iterates.py::test_every_method_has_the_same_iterates_in_every_setting"
    "[MirrorDescent(step_size=None, unproven=False)-0.05]",
)
DISCOUNTED = (
    "tests/processes/test_processes.py::test_no_policy_beats_the_optimum_of_a_discounted_process",
)
MARKOV = (
    "tests/certificates/test_certify_sequential.py::test_a_markov_game_is_judged_as_its_definition_says",
)
GAMBIT = ("tests/exactness/test_gambit_table.py::test_our_equilibrium_is_gambits_to_1e_9",)
CONVEX = (
    "tests/exactness/test_convex_program.py::test_both_players_of_a_zero_sum_game_agree_with_the_solver",
)
SELECTION = (
    "tests/exactness/test_temperature_zero.py::test_the_selection_is_the_mixture_of_brute_forced_equilibria_of_least_divergence",
)

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
        BOUND,
    ),
    Fault(
        "gain-without-temperature",
        BANDIT,
        "temperature * kl_divergence(policy",
        "kl_divergence(policy",
        BOUND,
    ),
    Fault(
        "worst-response-for-best",
        BANDIT,
        "self.prox(payoff, [(reference",
        "self.prox(-payoff, [(reference",
        BOUND,
    ),
    Fault(
        "divergence-turned-round",
        BANDIT,
        "kl_divergence(policy.log_probabilities, response.log_probabilities)",
        "kl_divergence(response.log_probabilities, policy.log_probabilities)",
        BOUND,
    ),
    Fault(
        "distance-too-short",
        CERTIFICATES,
        "np.sqrt(2.0 * np.maximum(gap",
        "np.sqrt(0.2 * np.maximum(gap",
        ("tests/certificates/test_certify.py::test_the_distance_bound_holds",),
    ),
    Fault(
        "weights-forgotten",
        CERTIFICATES,
        "weighted_mean(gap, game.weights) / share",
        "float(gap.mean()) / share",
        (
            "tests/certificates/test_certify.py::test_contexts_are_weighted_by_the_prompt_distribution",
        ),
    ),
    Fault(
        "exploitability-not-shared",
        CERTIFICATES,
        "players = game.multiplicity * len(profile)",
        "players = len(profile)",
        BOUND,
    ),
    Fault(
        "mean-deviation-at-zero",
        BANDIT,
        "payoff.max(axis=-1) - mean",
        "payoff.mean(axis=-1) - mean",
        (
            "tests/certificates/test_certify.py::test_at_temperature_zero_the_bound_contains_the_gap",
        ),
    ),
    Fault(
        "distance-by-the-other-temperature",
        CERTIFICATES,
        "np.array(game.temperatures)[:, None]",
        "np.array(game.temperatures)[::-1, None]",
        (
            "tests/certificates/test_certify.py::test_the_distance_bounds_of_two_players_hold_and_each_has_its_own_temperature",
        ),
    ),
    Fault(
        "no-rounding-in-the-bound",
        BANDIT,
        "+ 8 * EPSILON * gain",
        "- temperature * (error * spread + error**2)",
        BOUND,
    ),
    # Geometry and numerics
    Fault(
        "strengths-not-normalised",
        "nlhf/spaces/anchors.py",
        "a.log_probabilities * (s / total)",
        "a.log_probabilities * s",
        PROX,
    ),
    Fault(
        "payoff-not-over-strength",
        BANDIT,
        "logits += payoff / total",
        "logits += payoff",
        PROX,
    ),
    Fault(
        "series-coefficient",
        "nlhf/numerics.py",
        "(1 / 6 + series",
        "(1 / 3 + series",
        (
            "tests/properties/test_numerics.py::test_exp_remainder_is_accurate_against_exact_arithmetic",
        ),
    ),
    Fault(
        "divergence-loses-heavy-terms",
        "nlhf/numerics.py",
        "heavy = np.exp(q) - mass -",
        "heavy = np.exp(q) + mass -",
        ("tests/properties/test_numerics.py::test_kl_agrees_with_fifty_digit_arithmetic",),
    ),
    # Games
    Fault(
        "payoff-transposed",
        "nlhf/games/payoffs.py",
        "np.matmul(self.matrix, y[..., None])[..., 0]",
        "np.matmul(y[..., None, :], self.matrix)[..., 0, :]",
        RATE,
    ),
    Fault(
        "column-player-cooperates",
        "nlhf/games/zero_sum.py",
        "-self.payoff.columns(x.probabilities)",
        "self.payoff.columns(x.probabilities)",
        (
            "tests/certificates/test_certify.py::test_the_bound_contains_the_gap_of_two_players_and_of_their_solution",
        ),
    ),
    Fault(
        "log-odds-reversed",
        "nlhf/games/preference.py",
        "odds = np.sign(given - other) *",
        "odds = np.sign(other - given) *",
        (
            "tests/analysis/test_analysis.py::test_votes_that_are_bradley_terry_leave_nothing_to_gain_under_log_odds",
        ),
    ),
    Fault(
        "game-forgets-its-reference",
        "nlhf/games/tabular.py",
        "for p, s in anchors] + own)",
        "for p, s in anchors])",
        RATE,
    ),
    # Contracts
    Fault(
        "divergence-without-visits",
        "nlhf/spaces/realisers.py",
        "return process.total(visits * each)",
        "return process.total(each)",
        TOKENS,
    ),
    Fault(
        "residual-of-one-token",
        "nlhf/spaces/realisers.py",
        "Bound.exact(weighted_mean(distance, weights), Units.NATS)",
        "Bound.exact(0.5 * weighted_mean(distance, weights), Units.NATS)",
        (
            "tests/contracts/test_shipped.py::test_realisers_keep_the_contract"
            "[PolicyMirrorDescent()-fixed points]",
        ),
    ),
    Fault(
        "visits-of-the-transposed-process",
        "nlhf/spaces/discounted.py",
        "(log_policy).T, self.mdp",
        "(log_policy), self.mdp",
        (
            "tests/contracts/test_shipped.py::test_spaces_of_processes_keep_the_contract[discounted]",
        ),
    ),
    Fault(
        "payoffs-subtracted-as-added",
        "nlhf/spaces/duals.py",
        "return LeafPayoff(self.leaves - other.leaves)",
        "return LeafPayoff(self.leaves + other.leaves)",
        TOKENS,
    ),
    Fault(
        "gain-of-trajectories-without-temperature",
        "nlhf/spaces/sequential.py",
        "gain = temperature * divergence",
        "gain = divergence",
        ("tests/contracts/test_shipped.py::test_games_keep_the_contract[token tree]",),
    ),
    Fault(
        "lipschitz-of-a-tenth",
        "nlhf/games/tabular.py",
        "return self.payoff.half_range",
        "return 0.1 * self.payoff.half_range",
        ("tests/contracts/test_shipped.py::test_games_keep_the_contract[bandit]",),
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
        (
            "tests/processes/test_processes.py::test_a_markov_policy_has_the_same_payoff_and_divergence_on_histories",
        ),
    ),
    Fault(
        "stop-not-weighed",
        "nlhf/spaces/discounted.py",
        "return (1.0 - self.discount) * payoff.steps",
        "return payoff.steps",
        DISCOUNTED,
    ),
    Fault(
        "visits-of-the-other",
        "nlhf/spaces/realisers.py",
        "visits = process.visits(p)",
        "visits = process.visits(q)",
        DISCOUNTED,
    ),
    Fault(
        "mixture-without-visits",
        "nlhf/spaces/sequential.py",
        "share + log_of(self.process.visits(log))[..., None] + log",
        "share + log",
        ("tests/processes/test_processes.py::test_a_mixture_has_the_mean_visits",),
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
        (
            "tests/games/test_sequential_games.py::test_the_certificate_does_not_depend_on_how_steps_are_realised",
        ),
    ),
    Fault(
        "gain-without-visits",
        "nlhf/spaces/sequential.py",
        "self.process.total(self.process.visits(log_policy) * short)",
        "self.process.total(short)",
        MARKOV,
    ),
    Fault(
        "steps-not-averaged",
        "nlhf/games/markov.py",
        "share = (1.0 - w) / self.process.horizon",
        "share = 1.0 - w",
        MARKOV,
    ),
    Fault(
        "last-states-unweighed",
        "nlhf/games/markov.py",
        "ends = w * self.final.rows(last)",
        "ends = self.final.rows(last)",
        ("tests/games/test_sequential_games.py::test_the_two_comparisons_are_weighed",),
    ),
    Fault(
        "unreachable-states-pass",
        "nlhf/spaces/mdp.py",
        "if not reached.all() and unreachable is Unreachable.ERROR:",
        "if False:",
        ("tests/environments/test_importers.py::test_sizes_and_ends_are_the_documented_ones",),
    ),
    # The algorithms
    Fault(
        "extragradient-from-the-half-step",
        "nlhf/algorithms/extragradient.py",
        'moved = game.prox(game.operator(half, stream.child("second")), anchor)',
        'moved = game.prox(game.operator(half, stream.child("second")), [(half, state.strength)])',
        ("tests/algorithms/test_maps.py::test_extragradient_is_egpo_and_nash_mirror_prox",),
    ),
    Fault(
        "optimism-from-the-old-centre",
        "nlhf/algorithms/optimistic.py",
        "played = game.prox(seen, [(centre, state.strength)])",
        "played = game.prox(seen, [(state.centre, state.strength)])",
        (
            "tests/algorithms/test_maps.py::test_optimistic_mirror_descent_at_temperature_zero_is_onpo",
        ),
    ),
    Fault(
        "nash-md-decays-too-fast",
        "nlhf/algorithms/nash_md.py",
        "return temperature * steps / 2.0",
        "return temperature * steps",
        ("tests/algorithms/test_maps.py::test_nash_md_steps_against_the_geometric_mixture",),
    ),
    Fault(
        "magnet-without-pull",
        "nlhf/algorithms/proximal_point.py",
        "[*anchors, (self.magnet, self.strength)]",
        "list(anchors)",
        (
            "tests/algorithms/test_maps.py::test_a_proximal_point_step_solves_the_game_around_the_magnet"
            "[Extragradient(step_size=None, unproven=False)-0.0]",
        ),
    ),
    Fault(
        "average-forgets",
        "nlhf/algorithms/average.py",
        "(state.mean, float(state.count))",
        "(state.mean, 1.0)",
        ("tests/algorithms/test_maps.py::test_an_average_is_that_of_distributions",),
    ),
    Fault(
        "twice-the-proven-step",
        "nlhf/algorithms/mirror_descent.py",
        "value = temperature / constant / constant if constant > 0.0 else inf",
        "value = 2.0 * temperature / constant / constant if constant > 0.0 else inf",
        ("tests/algorithms/test_steps.py::test_the_default_is_the_largest_proven_step",),
    ),
    Fault(
        "resumed-one-step-late",
        "nlhf/algorithms/loop.py",
        "point = Point(point.iteration + 1, state)",
        "point = Point(point.iteration + 2, state)",
        ("tests/algorithms/test_checkpoint.py::test_an_interrupted_run_loses_nothing",),
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
        (
            "tests/exactness/test_invariances.py::test_thin_factors_and_their_product_are_the_same_game",
        ),
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
        SELECTION,
    ),
    Fault(
        "constraints-never-activated",
        "nlhf/exact/entropy.py",
        "if margin.min() < -_FEASIBLE:",
        "if margin.min() < -1e9:",
        SELECTION,
    ),
    *THEOREMS,
    *DIVERSITY,
    *LEARNING,
)
