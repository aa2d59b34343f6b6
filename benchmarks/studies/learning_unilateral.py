r"""Data about the equilibrium alone do not find it: the construction behind unilateral coverage.

Two responses, uniform reference; a beats b by 0.3, or b beats a by as much: K = 2 models.

* At temperature 0 both responses of all n = 10², 10⁴, 10⁶ comparisons are a, the pure equilibrium
  if a is the better. Both models give such data the same probability. ``worst gap``: the larger of
  a method's gaps under the two.
* At τ = 0.02, 0.03, 0.05, 0.1 and 0.3 data are comparisons of two draws of the true equilibrium,
  which plays b with probability 1/(1 + e^{0.3/τ}). ``queries``: the least n for which the more
  likely model is the wrong one with probability at most 0.05, ties counted half. Exact: no numbers
  are drawn. ``exponent``: the slope of log queries on 1/τ between the two smallest temperatures,
  c in e^{c/τ}, which tends to the margin of 0.3.
"""

from math import log

import numpy as np

from benchmarks.studies.learning_results import Estimate, Measured
from nlhf.data.preference_data import Pairs, PreferenceData
from nlhf.estimation.classes.finite import FiniteClass
from nlhf.learning.bandits import BanditSetting
from nlhf.learning.offline.plug_in import plan_plug_in
from nlhf.learning.offline.version_space import plan_version_space

DELTA, MARGIN, WRONG = 0.05, 0.3, 0.05
SIZES = (100, 10_000, 1_000_000)
TEMPERATURES = (0.02, 0.03, 0.05, 0.1, 0.3)
MODELS = FiniteClass(MARGIN * np.array([[[[0.0, sign], [-sign, 0.0]]] for sign in (1.0, -1.0)]))
_CONTRASTS = 400
"""With so many comparisons of a and b the wrong model wins with probability below 1e-30."""


def worst_gaps(size: int) -> dict[str, float]:
    """Return each method's larger gap at temperature 0, of data that compare a with itself."""
    setting = BanditSetting(np.full((1, 2), 0.5), 0.0)
    none = np.zeros(1, dtype=np.int64)
    pairs = Pairs.in_contexts((1, 2), none, none, none)
    data = PreferenceData(pairs, np.array([float(size)]), np.array([size / 2.0]))
    confidence = MODELS.confidence(data, DELTA)
    planned = {
        "plug-in": plan_plug_in(setting, confidence),
        "version space": plan_version_space(setting, confidence),
    }
    return {
        method: max(
            setting.exploitability(table, solution.policy, MODELS.link.units).value
            for table in MODELS.tables
        )
        for method, solution in planned.items()
    }


def wrong_probability(size: int, informative: float) -> float:
    """Return how likely the wrong model is the more likely one, ties counted half.

    Args:
        size: n.
        informative: Probability that a comparison is one of a and b.
    """
    from scipy.stats import binom

    contrasts = np.arange(min(size, _CONTRASTS) + 1)
    wrong = binom.cdf(np.ceil(contrasts / 2) - 1, contrasts, 0.5 + MARGIN)
    tied = np.where(contrasts % 2 == 0, binom.pmf(contrasts // 2, contrasts, 0.5 + MARGIN), 0.0)
    return float(binom.pmf(contrasts, size, informative) @ (wrong + tied / 2.0))


def queries_needed(temperature: float) -> int:
    """Return the least n at which the wrong model is chosen with probability at most 0.05."""
    setting = BanditSetting(np.full((1, 2), 0.5), temperature)
    policy = setting.solve(MODELS.tables[0]).probabilities[0]
    informative = 2.0 * float(policy[0] * policy[1])
    high = 1
    while wrong_probability(high, informative) > WRONG:
        high *= 2
    low = high // 2
    while high - low > 1:
        middle = (low + high) // 2
        if wrong_probability(middle, informative) > WRONG:
            low = middle
        else:
            high = middle
    return high


def unilateral() -> list[Measured]:
    """Return both parts of the construction."""
    study, family = "unilateral", "two responses"
    at_zero = [
        Measured(study, family, float(size), method, "worst gap, temperature 0", 0, gap)
        for size in SIZES
        for method, gap in worst_gaps(size).items()
    ]
    return at_zero + [
        Measured(study, family, temperature, "plug-in", "queries, data of the equilibrium", 0, n)
        for temperature in TEMPERATURES
        for n in [float(queries_needed(temperature))]
    ]


def unilateral_exponent() -> Estimate:
    """Return c in e^{c/τ}."""
    first, second = TEMPERATURES[:2]
    ratio = queries_needed(first) / queries_needed(second)
    value = log(ratio) / (1.0 / first - 1.0 / second)
    return Estimate(
        "unilateral",
        "two responses",
        "plug-in",
        "queries, data of the equilibrium",
        "exponent c of e^(c/temperature); exact",
        value,
        value,
        value,
        1.0,
        1,
    )
