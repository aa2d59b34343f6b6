"""Seeded faults in learning: confidence sets, planners, explorers, reward learning on policy."""

from tests.mutations.fault import Fault

CONCEDED = (
    "tests/learning/test_settings.py::test_what_is_conceded_at_a_temperature_is_attained_and_no_reply_gets_less",
)

LEARNING = (
    Fault(
        "radius-without-its-two",
        "nlhf/estimation/classes/finite.py",
        "return 2.0 * nats",
        "return 1.0 * nats",
        ("tests/estimation/classes/test_finite.py::test_the_version_space_is_as_it_is_defined",),
    ),
    Fault(
        "ties-that-count-for-nobody",
        "nlhf/data/preference_data.py",
        "won = np.where(turned[:, 0], self.counts - self.wins, self.wins)",
        "won = self.wins",
        (
            "tests/estimation/classes/test_preference_data.py::test_condensing_changes_neither_sums_of_payoffs_nor_of_wins",
        ),
    ),
    Fault(
        "payoffs-of-the-other-side",
        "nlhf/learning/judging.py",
        "np.matmul(visits[:, None, :], part)[:, :, 0, :]",
        "-np.matmul(visits[:, None, :], part)[:, :, 0, :]",
        ("tests/learning/offline/test_planners.py::test_no_certificate_is_violated_on_the_event",),
    ),
    Fault(
        "widths-that-pessimism-enjoys",
        "nlhf/estimation/classes/models.py",
        "np.maximum(self.model.table - self.width, -self.largest)",
        "np.maximum(self.model.table + self.width, -self.largest)",
        (
            "tests/learning/offline/test_planners.py::test_models_secure_more_than_the_band_around_them",
        ),
    ),
    Fault(
        "replies-that-pay-nothing",
        "nlhf/learning/processes.py",
        "return mean - (price * self.divergence(policy) if price > 0.0 else 0.0)",
        "return mean",
        CONCEDED,
    ),
    Fault(
        "steps-that-add-up-whole",
        "nlhf/learning/processes.py",
        "steps = (values * self.stage_weights[:, None]).reshape(self.process.shape)",
        "steps = values.reshape(self.process.shape)",
        CONCEDED,
    ),
    Fault(
        "doubts-of-one-sign",
        "nlhf/learning/uncertainty.py",
        "return np.maximum(upward, downward), np.where(",
        "return upward, np.where(",
        (
            "tests/learning/online/test_uncertainty.py::test_no_deterministic_competitor_is_more_uncertain_than_the_one_found",
        ),
    ),
    Fault(
        "planes-without-their-price",
        "nlhf/learning/offline/planes.py",
        "plane = plane + price * self.setting.divergence(reply)",
        "plane = plane + 0.0 * self.setting.divergence(reply)",
        ("tests/learning/offline/test_planners.py::test_no_policy_has_a_larger_pessimistic_value",),
    ),
    Fault(
        "competitors-without-what-is-left-out",
        "nlhf/learning/offline/restricted.py",
        "left_out = -setting.temperature * float(mass @ setting.stage_weights)",
        "left_out = 0.0 * float(mass @ setting.stage_weights)",
        (
            "tests/learning/offline/test_planners.py::test_against_one_covered_response_the_plan_is_a_soft_best_reply",
        ),
    ),
    Fault(
        "sure-of-every-label",
        "nlhf/learning/reward_on_policy/consensus.py",
        "0.5 + 0.5 * _ratio((self.pairs * margin)",
        "0.5 + 1.0 * _ratio((self.pairs * margin)",
        (
            "tests/learning/reward_on_policy/test_consensus.py::test_selection_has_the_published_coverage_and_accuracy",
        ),
    ),
    Fault(
        "divergence-that-is-not-matched",
        "nlhf/learning/reward_on_policy/judging.py",
        "covariance(bandit.truth, direction) - slope * covariance(reward, direction)",
        "covariance(bandit.truth, direction) - 0.0 * covariance(reward, direction)",
        (
            "tests/learning/reward_on_policy/test_judging.py::test_the_criterion_is_the_derivative_at_matched_divergence",
        ),
    ),
    Fault(
        "values-of-groups-by-half",
        "nlhf/exact/group_robust.py",
        "shares @ best.values",
        "0.5 * shares @ best.values",
        ("tests/exactness/test_group_robust.py::test_newton_closes_the_gap_of_a_few_games",),
    ),
)
