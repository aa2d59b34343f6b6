"""Seeded faults in what concerns people who differ: MaxMin, mixtures of raters, social choice."""

from tests.mutations.fault import Fault

DUALITY = (
    "tests/games/test_maxmin.py::test_the_gap_of_a_profile_is_what_weights_concede_less_what_the_policy_secures"
    "[WholeSimplex(3 groups)]",
)
OBJECTIVE = (
    "tests/estimation/test_mixtures.py::test_the_objective_is_what_it_says_summed_vote_by_vote",
)
SCORES = ("tests/social_choice/test_pairwise.py::test_scores_are_what_counting_says",)

DIVERSITY = (
    Fault(
        "groups-that-want-to-be-served",
        "nlhf/games/maxmin.py",
        "return Evaluation((self.weighted(weights), -self.utilities(policy)))",
        "return Evaluation((self.weighted(weights), self.utilities(policy)))",
        DUALITY,
    ),
    Fault(
        "offsets-with-the-wrong-sign",
        "nlhf/games/maxmin.py",
        "return -np.array([mean(self.reference, reward) for reward in self.rewards])",
        "return np.array([mean(self.reference, reward) for reward in self.rewards])",
        ("tests/games/test_maxmin.py::test_offsets_are_what_their_names_say",),
    ),
    Fault(
        "prompts-counted-evenly",
        "nlhf/spaces/pooled.py",
        "gain=np.array([weighted_mean(found.gain, self.weights)])",
        "gain=np.array([found.gain.mean()])",
        DUALITY,
    ),
    Fault(
        "free-choice-of-weights",
        "nlhf/spaces/groups.py",
        "gain -= temperature * (costs[0] - costs[1])",
        "gain -= 0.0 * (costs[0] - costs[1])",
        DUALITY,
    ),
    Fault(
        "tail-of-the-best-off",
        "nlhf/spaces/ambiguity.py",
        "(policy.probabilities - self.proportions / self.level).max()",
        "(policy.probabilities - self.proportions * self.level).max()",
        (
            "tests/properties/test_ambiguity.py::test_the_excess_says_how_far_outside_a_certain_group_is[ConditionalValueAtRisk]",
        ),
    ),
    Fault(
        "half-a-total-variation",
        "nlhf/spaces/ambiguity.py",
        "distance = 0.5 * float(np.abs(policy.probabilities - self.proportions).sum())",
        "distance = float(np.abs(policy.probabilities - self.proportions).sum())",
        (
            "tests/properties/test_ambiguity.py::test_the_excess_says_how_far_outside_a_certain_group_is[TotalVariationBall]",
        ),
    ),
    Fault(
        "barrier-too-high",
        "nlhf/exact/maxmin.py",
        "_BARRIER = 1e-14",
        "_BARRIER = 1e-5",
        DUALITY,
    ),
    Fault(
        "cap-of-another-level",
        "nlhf/exact/ambiguity_regions.py",
        "cap=eta / ambiguity.level",
        "cap=eta / ambiguity.level**0.5",
        (
            "tests/games/test_maxmin.py::test_the_gap_of_a_profile_is_what_weights_concede_less_what_the_policy_secures"
            "[ConditionalValueAtRisk(3 groups, level 0.5)]",
        ),
    ),
    Fault(
        "raters-without-prior",
        "nlhf/estimation/mixtures/steps.py",
        "return self.weights.logs(coefficients) + self.ballots.by_rater(logs)",
        "return 0.0 * self.weights.logs(coefficients) + self.ballots.by_rater(logs)",
        OBJECTIVE,
    ),
    Fault(
        "objective-without-penalty",
        "nlhf/estimation/mixtures/steps.py",
        "objective = float(total[self.ballots.present].sum()) - penalty",
        "objective = float(total[self.ballots.present].sum())",
        OBJECTIVE,
    ),
    Fault(
        "hard-groups-by-prior-too",
        "nlhf/estimation/mixtures/steps.py",
        "joint = self.ballots.by_rater(log_sigmoid(self.rewards.differences(parameters)))",
        "joint = self.joint(parameters, coefficients)",
        OBJECTIVE,
    ),
    Fault(
        "borda-of-losses",
        "nlhf/social_choice/pairwise.py",
        "return np.asarray(preference_of(source).mean(axis=1))",
        "return np.asarray(preference_of(source).mean(axis=0))",
        SCORES,
    ),
    Fault(
        "ties-that-count-whole",
        "nlhf/social_choice/pairwise.py",
        "(others + beats.sum(axis=1) - beats.sum(axis=0)) / 2.0",
        "(others - beats.sum(axis=0)) / 1.0",
        SCORES,
    ),
    Fault(
        "gap-of-the-other-divergence",
        "nlhf/analysis/impossibility.py",
        "gaps=population.temperature * kl_divergence(everybody, policies)",
        "gaps=population.temperature * kl_divergence(policies, everybody)",
        (
            "tests/analysis/test_impossibility.py::test_the_gap_is_the_same_by_both_routes_and_never_negative",
        ),
    ),
)
