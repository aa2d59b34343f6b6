"""Seeded faults in learning: confidence sets, planners, explorers, reward learning on policy."""

from tests.mutations.fault import Fault

FINITE = ("tests/estimation/classes/test_finite.py",)
SETTINGS = ("tests/learning/test_settings.py",)
PLANNERS = ("tests/learning/offline/test_planners.py",)
UNCERTAINTY = ("tests/learning/online/test_uncertainty.py",)
CONSENSUS = ("tests/learning/reward_on_policy/test_consensus.py",)
MATCHED = ("tests/learning/reward_on_policy/test_judging.py",)
ROBUST = ("tests/exactness/test_group_robust.py",)

LEARNING = (
    Fault(
        "radius-without-its-two",
        "nlhf/estimation/classes/finite.py",
        "return 2.0 * nats",
        "return 1.0 * nats",
        FINITE,
    ),
    Fault(
        "ties-that-count-for-nobody",
        "nlhf/data/preference_data.py",
        "won = np.where(turned[:, 0], self.counts - self.wins, self.wins)",
        "won = self.wins",
        ("tests/estimation/classes/test_preference_data.py",),
    ),
    Fault(
        "payoffs-of-the-other-side",
        "nlhf/learning/judging.py",
        "np.matmul(visits[:, None, :], part)[:, :, 0, :]",
        "-np.matmul(visits[:, None, :], part)[:, :, 0, :]",
        PLANNERS,
    ),
    Fault(
        "widths-that-pessimism-enjoys",
        "nlhf/estimation/classes/models.py",
        "np.maximum(self.model.table - self.width, -self.largest)",
        "np.maximum(self.model.table + self.width, -self.largest)",
        PLANNERS,
    ),
    Fault(
        "replies-that-pay-nothing",
        "nlhf/learning/processes.py",
        "return mean - (price * self.divergence(policy) if price > 0.0 else 0.0)",
        "return mean",
        SETTINGS,
    ),
    Fault(
        "steps-that-add-up-whole",
        "nlhf/learning/processes.py",
        "steps = (values * self.stage_weights[:, None]).reshape(self.process.shape)",
        "steps = values.reshape(self.process.shape)",
        SETTINGS,
    ),
    Fault(
        "doubts-of-one-sign",
        "nlhf/learning/uncertainty.py",
        "return np.maximum(upward, downward), np.where(",
        "return upward, np.where(",
        UNCERTAINTY,
    ),
    Fault(
        "planes-without-their-price",
        "nlhf/learning/offline/planes.py",
        "plane = plane + price * self.setting.divergence(reply)",
        "plane = plane + 0.0 * self.setting.divergence(reply)",
        PLANNERS,
    ),
    Fault(
        "competitors-without-what-is-left-out",
        "nlhf/learning/offline/restricted.py",
        "left_out = -setting.temperature * float(mass @ setting.stage_weights)",
        "left_out = 0.0 * float(mass @ setting.stage_weights)",
        PLANNERS,
    ),
    Fault(
        "sure-of-every-label",
        "nlhf/learning/reward_on_policy/consensus.py",
        "0.5 + 0.5 * _ratio((self.pairs * margin)",
        "0.5 + 1.0 * _ratio((self.pairs * margin)",
        CONSENSUS,
    ),
    Fault(
        "divergence-that-is-not-matched",
        "nlhf/learning/reward_on_policy/judging.py",
        "covariance(bandit.truth, direction) - slope * covariance(reward, direction)",
        "covariance(bandit.truth, direction) - 0.0 * covariance(reward, direction)",
        MATCHED,
    ),
    Fault(
        "values-of-groups-by-half",
        "nlhf/exact/group_robust.py",
        "shares @ best.values",
        "0.5 * shares @ best.values",
        ROBUST,
    ),
)
